"""The command line: commands, their options, the console and exit codes."""

from pipeline.cli.group import cli, main

__all__ = ["cli", "main"]
