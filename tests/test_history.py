"""HISTORY lines are taken for what they are: evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calstore.formats import history

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"

FILE_DEPLOYER = (
    "file:137-end.data    copy_of:work/clb-XppGon.0:Epix100a.1.txt  exp:xppn4116  run:0137  "
    "comment:calibrun-dark  user:someone  host:node1  cptime:2024-05-31T10:03:41  zone:PDT"
)
DELETED = (
    "file:5-end.data     cmd:rm old  comment:  user:someone  host:node1  "
    "cptime:2024-05-31T10:03:41  zone:PDT"
)
GLOBAL_UTILS = (
    "file:0-end.data     copy_of:./data/geometry.data ctype:geometry user:someone host:node1 "
    "cptime:2024-05-31T10:03:42 cwd:/home/someone/a dir cmt:"
)
FILE_FINDER = (
    "file:0-end.data      copy_of:in.txt  exp:xppn4116  run:0001  app:my-app      user:someone  "
    "host:node1  cptime:2024-05-31T10:03:41  zone:PDT  comment:as seen at 10:03, by eye"
)


def fields_of(line: str) -> dict[str, str]:
    (parsed,) = history.parse(line.encode())
    return dict(parsed.fields)


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        (FILE_DEPLOYER, "file copy_of exp run comment user host cptime zone"),
        (DELETED, "file cmd comment user host cptime zone"),
        (GLOBAL_UTILS, "file copy_of ctype user host cptime cwd cmt"),
        (FILE_FINDER, "file copy_of exp run app user host cptime zone comment"),
    ],
)
def test_the_lines_of_all_four_writers_are_understood(line: str, keys: str) -> None:
    (parsed,) = history.parse(line.encode())

    assert [key for key, _ in parsed.fields] == keys.split()
    assert parsed.file == dict(parsed.fields)["file"]
    assert parsed.text == line


def test_values_keep_their_colons_and_inner_blanks_and_lose_their_padding() -> None:
    assert fields_of(FILE_DEPLOYER)["copy_of"] == "work/clb-XppGon.0:Epix100a.1.txt"
    assert fields_of(FILE_DEPLOYER)["cptime"] == "2024-05-31T10:03:41"
    assert fields_of(GLOBAL_UTILS)["cwd"] == "/home/someone/a dir"
    assert fields_of(FILE_FINDER)["comment"] == "as seen at 10:03, by eye"
    assert fields_of(FILE_FINDER)["app"] == "my-app"
    assert fields_of(DELETED)["comment"] == ""


def test_a_key_that_comes_again_belongs_to_the_value() -> None:
    assert fields_of("file:1-end.data  comment:was file:0-end.data") == {
        "file": "1-end.data",
        "comment": "was file:0-end.data",
    }


def test_a_line_that_says_nothing_known_is_kept() -> None:
    (line,) = history.parse(b"\n  \nby hand, see the logbook: page 3\r\n")

    assert line == history.HistoryLine(None, (), "by hand, see the logbook: page 3")


@settings(deadline=None)
@given(st.binary())
def test_junk_never_raises_and_its_bytes_come_back(data: bytes) -> None:
    lines = history.parse(data)

    for line in lines:
        assert line.text.encode(errors="surrogateescape") in data


def rendered(comment: str = "dark", user: str = "someone") -> str:
    return history.render(
        file="137-end.data",
        copy_of="work/clb-XppGon.0:Epix100a.1.txt",
        experiment="xppn4116",
        run="0137",
        comment=comment,
        user=user,
        host="node1",
        time="2024-05-31T10:03:41",
        zone="PDT",
    )


def test_a_rendered_line_is_in_the_form_of_the_existing_tools() -> None:
    assert rendered(comment="calibrun-dark") == FILE_DEPLOYER + "\n"


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_no_value_forges_a_line_or_a_field(comment: str, user: str) -> None:
    lines = history.parse(rendered(comment, user).encode())

    (line,) = lines
    keys = " ".join(key for key, _ in line.fields)
    assert keys == "file copy_of exp run comment user host cptime zone"
    assert dict(line.fields)["host"] == "node1"


def test_a_comment_that_looks_like_fields_stays_a_comment() -> None:
    fields = fields_of(rendered("bad\nfile:0-end.data  user:root"))

    assert fields["comment"] == "bad file=0-end.data user=root"
    assert (fields["file"], fields["user"]) == ("137-end.data", "someone")
    assert fields_of(rendered(""))["comment"] == "-"


def test_the_real_history_files_are_understood() -> None:
    if not REAL.is_dir():
        pytest.skip("the real calibration files are not beside this checkout")
    found = sorted((REAL / "calib-xpp").rglob("HISTORY"))

    lines = [line for path in found for line in history.parse(path.read_bytes())]

    assert len(lines) == 9
    assert {line.file for line in lines} == {"0-end.data", "137-end.data"}
    assert all(len(line.fields) in (8, 9) for line in lines)
