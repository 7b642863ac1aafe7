"""The command line."""


def main() -> None:
    """Run the `omneo-import` command."""
