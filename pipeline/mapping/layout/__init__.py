"""Raw rows of any layout become transactions with their lines and payments."""
