"""`python -m pipeline` is the `omneo-import` command."""

from pipeline.cli.group import main

if __name__ == "__main__":
    main()
