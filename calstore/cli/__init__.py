"""The command line: each command parses, calls one verb, and prints."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point that the package installs."""
    from calstore.cli.app import run

    run()
