"""How a command is reported outside: a file of metrics, a message to an address, traces."""
