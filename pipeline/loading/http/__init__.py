"""HTTP: the interface, the transport behind it, and how far an answer is believed."""
