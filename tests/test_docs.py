"""The documentation does what it says."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def console_blocks(page):
    return re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def steps(block):
    """Commands and the output that follows each."""
    command, output = None, []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, output
            command, output = line[2:], []
        else:
            output.append(line)
    yield command, output


def pattern(lines):
    text = "\n".join(line.rstrip() for line in lines)
    return re.escape(text).replace("…", ".*")


def test_the_examples_of_the_format_page_are_right():
    failed, tried = doctest.testfile(str(ROOT / "docs" / "format.md"), module_relative=False)

    assert tried >= 9
    assert failed == 0


def test_every_line_of_the_tutorial_prints_what_it_says(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "calstore").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m calstore "$@"\n')
    (programs / "calstore").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    environment.pop("CALSTORE", None)

    for block in console_blocks(ROOT / "docs" / "tutorial.md"):
        for command, expected in steps(block):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            printed = "\n".join(line.rstrip() for line in done.stdout.splitlines())
            assert re.fullmatch(pattern(expected), printed), f"$ {command}\n{done.stdout}"
            assert done.returncode == 0, command


def test_the_page_of_commands_is_what_they_say_of_themselves():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_cli.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.skipif(shutil.which("bash") is None, reason="the CI script is for bash")
def test_the_readme_has_the_two_commands_that_ci_runs():
    readme = (ROOT / "README.md").read_text()

    assert re.search(r"^<!-- demo -->\n```sh\n.*calstore demo\n```$", readme, re.MULTILINE)
    assert re.search(r"^<!-- test -->\n```sh\n.*pytest.*\n```$", readme, re.MULTILINE)
