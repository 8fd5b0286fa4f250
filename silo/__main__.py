"""`python -m silo` is the `silo` command."""

from silo.cli import main

if __name__ == "__main__":
    main()
