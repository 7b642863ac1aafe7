"""What every module may import: errors, events, the model, settings, files and the clock."""
