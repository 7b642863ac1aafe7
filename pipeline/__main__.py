"""`python -m pipeline` is the `omneo-import` command."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
