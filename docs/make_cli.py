"""Writes docs/cli.md from the commands' own help; ``--check`` fails if that would change it."""

import sys
from pathlib import Path

import click
from typer.main import get_command

from calstore.cli.app import app

HEAD = "# Commands\n\nMade from `calstore COMMAND --help` by `docs/make_cli.py`.\n"


def page() -> str:
    root = get_command(app)
    assert isinstance(root, click.Group)
    context = click.Context(root, info_name="calstore", terminal_width=100)
    parts = [HEAD, _block("calstore", root.get_help(context))]
    parts += _blocks(root, context)
    return "\n".join(parts)


def _blocks(group: click.Group, context: click.Context) -> list[str]:
    blocks = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100)
        blocks.append(_block(inner.command_path, command.get_help(inner)))
        if isinstance(command, click.Group):
            blocks += _blocks(command, inner)
    return blocks


def _block(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


def main() -> None:
    target = Path(__file__).with_name("cli.md")
    made = page()
    if "--check" not in sys.argv:
        target.write_text(made)
    elif target.read_text() != made:
        sys.exit("docs/cli.md is not what the commands say; run: python docs/make_cli.py")


if __name__ == "__main__":
    main()
