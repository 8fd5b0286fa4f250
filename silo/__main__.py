"""`python -m silo` is the `silo` command."""

from silo.cli import main

main()
