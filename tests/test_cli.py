"""The command line is prose: what it prints, where its errors go, and what a shell is told."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from commandline import (
    EPIX,
    OPAL,
    REAL_TREE,
    Outcome,
    npy_bytes,
    pedestals_text,
    regular_files,
    run,
    snapshot,
    spawn,
    write_tree,
)
from object_store import shorten

from calstore.formats import psana_text

Calstore = Callable[..., Outcome]

COMMANDS = (
    *("init", "import", "refs", "log", "show", "coverage", "diff", "drift", "compare-runs"),
    *("get", "image", "fork", "tag"),
    *("sources", "dark", "mask", "reproduce", "set", "unset", "copy", "promote", "undo"),
    *(
        "delete-ref",
        "materialize",
        "status",
        "adopt",
        "approve",
        "serve",
        "run",
        "prefetch",
        "used",
    ),
    *("check", "config", "push", "pull", "clone", "mirror", "verify", "repair"),
    "demo",
    "runs",
)
NAME_AND_DIGEST = r"{}@{}  xxh128:[0-9a-f]{{12}}"


def said(outcome: Outcome) -> str:
    """What a command that succeeded printed."""
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


def refused(outcome: Outcome, code: int) -> str:
    """The one line on stderr of a command that did not succeed."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("calstore: ")
    assert outcome.err.count("\n") == 1
    return outcome.err


@pytest.fixture
def imported(calstore: Calstore, camera_tree: Path) -> Calstore:
    said(calstore("import", camera_tree, "xpp/main", "-m", "as found"))
    return calstore


# --- the main story ------------------------------------------------------------------------


def test_init_prints_where_the_store_is(tmp_path: Path) -> None:
    assert said(run("init", folder=tmp_path)) == ".calstore\n"
    assert said(run("init", "deep/er", folder=tmp_path)) == "deep/er\n"

    assert "there is a store already" in refused(run("init", folder=tmp_path), 4)


def test_import_prints_the_name_and_digest_that_the_next_command_needs(
    calstore: Calstore, camera_tree: Path
) -> None:
    first = said(calstore("import", camera_tree, "xpp/main"))
    again = said(calstore("import", camera_tree, "xpp/main"))

    assert re.fullmatch(
        NAME_AND_DIGEST.format("xpp/main", 1) + r"  3 constants, 2 other files, \d+ B\n", first
    )
    assert again == first.rstrip("\n") + "  unchanged\n"
    version, digest = first.split()[:2]
    assert (
        said(calstore("show", version)).splitlines()[1:]
        == (said(calstore("show", digest)).splitlines()[1:])
    )


def test_quiet_import_prints_nothing_when_nothing_changed(
    imported: Calstore, camera_tree: Path
) -> None:
    quiet = imported("import", camera_tree, "xpp/main", "-q")
    (camera_tree / "notes.txt").write_text("changed\n")
    changed = imported("import", camera_tree, "xpp/main", "-q")

    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert said(changed).startswith("xpp/main@2  ")


def test_quiet_import_is_quiet_about_what_it_said_before(
    calstore: Calstore, camera_tree: Path
) -> None:
    # Else cron sends the same mail every hour, and nobody reads the one that matters.
    write_tree(
        camera_tree,
        {f"{OPAL}/pedestals/7-foo.data": b"1 2\n", f"{OPAL}/pixel_rms/0-end.data": b"nan nan\n"},
    )
    first = calstore("import", camera_tree, "xpp/main", "-q")

    again = calstore("import", camera_tree, "xpp/main", "-q")

    assert "7-foo.data" in first.err
    assert (again.code, again.out, again.err) == (0, "", "")


def test_a_fork_set_and_materialize_change_only_what_they_say(
    imported: Calstore, tmp_path: Path, camera_tree: Path
) -> None:
    mask = np.ones((3, 4), np.float32) * 7
    (tmp_path / "new.npy").write_bytes(npy_bytes(mask))

    fork = said(imported("fork", "xpp/main", "xpp/users/wilson/try", "-m", "why not"))
    change = said(
        imported("set", "xpp/users/wilson/try", "Opal", "pedestals", "15-30", "new.npy", "-m", "x")
    )
    main = said(imported("materialize", "xpp/main", "view"))
    said(imported("materialize", "xpp/users/wilson/try", "sandbox"))

    assert re.fullmatch(NAME_AND_DIGEST.format("xpp/users/wilson/try", 1) + "\n", fork)
    assert re.fullmatch(NAME_AND_DIGEST.format("xpp/users/wilson/try", 2) + "\n", change)
    assert main == "view  xpp/main@1  5 files written, 0 removed, 0 unchanged\n"
    assert regular_files(tmp_path / "view") == regular_files(camera_tree)
    sandbox = tmp_path / "sandbox"
    for number, expected in {1: 100, 12: 200, 15: 7, 30: 7, 31: 100}.items():
        assert read_as_psana(sandbox, OPAL, "pedestals", number)[0, 0] == expected
        assert read_as_psana(tmp_path / "view", OPAL, "pedestals", number)[0, 0] == (
            200 if 10 <= number <= 20 else 100
        )
    assert said(imported("log", "xpp/main")).count("xpp/main@") == 1


def test_a_second_materialize_touches_only_what_changed(
    imported: Calstore, tmp_path: Path, camera_tree: Path
) -> None:
    said(imported("materialize", "xpp/main", "view"))
    (camera_tree / "notes.txt").write_text("changed\n")
    (camera_tree / OPAL / "pedestals/10-20.data").unlink()
    said(imported("import", camera_tree, "xpp/main"))
    kept = (tmp_path / "view" / OPAL / "pedestals/1-end.data").stat()

    update = said(imported("materialize", "xpp/main", "view"))
    again = said(imported("materialize", "xpp/main", "view"))

    assert update == "view  xpp/main@2  1 files written, 1 removed, 3 unchanged\n"
    assert again == "view  xpp/main@2  0 files written, 0 removed, 4 unchanged\n"
    assert (tmp_path / "view" / OPAL / "pedestals/1-end.data").stat() == kept
    assert regular_files(tmp_path / "view") == regular_files(camera_tree)


def test_deploy_is_another_word_for_materialize(imported: Calstore, tmp_path: Path) -> None:
    said(imported("deploy", "xpp/main", "view"))
    said(imported("materialize", "xpp/main", "other"))

    assert regular_files(tmp_path / "view") == regular_files(tmp_path / "other")
    assert "deploy" not in said(imported("--help"))


def test_show_says_what_a_run_gets_and_where_it_is_from(imported: Calstore) -> None:
    whole = said(imported("show", "xpp/main"))
    at_12 = said(imported("show", "xpp/main", "opal", "--run", "12"))
    origin = said(imported("show", "xpp/main", "opal", "pedestals", "--run", "12"))

    assert whole.splitlines()[-1] == "and 2 other files"
    assert "1-end" in whole
    assert "10-20" in at_12
    assert "1-end" not in at_12
    assert "10-20 since xpp/main@1, " in origin
    assert "as found" in origin
    assert "HISTORY says: file:10-20.data" in origin


def test_get_writes_the_array_or_the_file(
    imported: Calstore, tmp_path: Path, camera_tree: Path
) -> None:
    original = (camera_tree / OPAL / "pedestals/10-20.data").read_bytes()
    words = ("get", "xpp/main", "Opal1000.1", "pedestals", "--run", "12", "-o")

    assert said(imported(*words, "a.npy")) == ""
    assert said(imported(*words, "a.data")) == ""
    piped = imported(*words, "-")

    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(12).reshape(3, 4) + 200)
    assert (tmp_path / "a.data").read_bytes() == original
    assert (piped.code, piped.raw, piped.err) == (0, original, "")


def test_get_renders_what_was_set_as_psana_reads_it(imported: Calstore, tmp_path: Path) -> None:
    values = np.array([[0.1, 1 / 3], [-0.0, 1e-38]], np.float32)
    (tmp_path / "new.npy").write_bytes(npy_bytes(values))
    said(imported("set", "xpp/main", "Opal", "pixel_bkgd", "3-4", "new.npy"))

    said(imported("get", "xpp/main", "Opal", "pixel_bkgd", "--run", "3", "-o", "a.data"))

    reading = psana_text.read(
        (tmp_path / "a.data").read_bytes(), group="Camera::CalibV1", type_name="pixel_bkgd"
    )
    assert reading.array.tobytes() == values.tobytes()
    assert reading.remarks == ()


def test_a_run_without_a_constant_is_never_given_a_default(imported: Calstore) -> None:
    words = ("get", "xpp/main", "Opal", "pedestals", "--run", "0", "-o", "a.npy")

    message = refused(imported(*words), 3)

    assert message == (
        "calstore: no pedestals for XppEndstation.0:Opal1000.1 at run 0; "
        "the nearest range is 1-end\n"
    )


def test_log_is_newest_first_and_any_record_is_a_version(
    imported: Calstore, camera_tree: Path
) -> None:
    (camera_tree / "notes.txt").write_text("changed\n")
    said(imported("import", camera_tree, "xpp/main", "-m", "second\nthought"))

    lines = said(imported("log", "xpp/main")).splitlines()
    one = said(imported("log", "xpp/main", "-n", "1")).splitlines()

    assert [line.split()[0] for line in lines if line[0] != " "] == ["xpp/main@2", "xpp/main@1"]
    assert one == lines[:4]
    assert lines[2:4] == ["    second", "    thought"]
    assert "xpp/main@1" in said(imported("show", "xpp/main@1"))


def test_a_tag_never_moves(imported: Calstore, tmp_path: Path) -> None:
    (tmp_path / "new.npy").write_bytes(npy_bytes(np.ones((2, 2), np.float32)))
    tag = said(imported("tag", "xpp/main@1", "xpp/published"))

    again = refused(imported("tag", "xpp/main", "xpp/published"), 4)
    moved = refused(imported("set", "xpp/published", "Opal", "pedestals", "1-2", "new.npy"), 5)

    assert re.fullmatch(NAME_AND_DIGEST.format("xpp/published", 1) + "\n", tag)
    assert "choose another name" in again
    assert "is a tag, which never moves; fork it" in moved
    assert "  tag  " in said(imported("refs", "xpp/pub*"))


def test_an_import_into_a_tag_is_refused(imported: Calstore, camera_tree: Path) -> None:
    said(imported("tag", "xpp/main", "xpp/published"))
    (camera_tree / "notes.txt").write_text("changed\n")

    assert "never moves" in refused(imported("import", camera_tree, "xpp/published"), 5)


def test_a_deleted_branch_can_be_forked_onto_and_a_deleted_tag_cannot(imported: Calstore) -> None:
    said(imported("fork", "xpp/main", "xpp/try"))
    said(imported("tag", "xpp/main", "xpp/published"))
    deleted = said(imported("delete-ref", "xpp/try", "-m", "done"))
    said(imported("delete-ref", "xpp/published"))

    gone = refused(imported("show", "xpp/try"), 3)
    forked = said(imported("fork", "xpp/main", "xpp/try"))
    refused(imported("tag", "xpp/main", "xpp/published"), 5)
    refused(imported("fork", "xpp/main", "xpp/published"), 5)

    assert deleted == "xpp/try@2  deleted; xpp/try@1 is what it was\n"
    assert "xpp/try@1 is still there" in gone
    assert forked.startswith("xpp/try@3  ")
    assert "xpp/published" not in said(imported("refs"))
    assert "xpp/published@2  deleted" in said(imported("refs", "--deleted"))
    assert said(imported("log", "xpp/try")).count("xpp/try@") == 3


def test_refs_prints_nothing_where_there_is_nothing(calstore: Calstore) -> None:
    assert said(calstore("refs")) == ""
    assert json.loads(said(calstore("refs", "--json"))) == {"refs": []}


def test_verify_says_what_is_damaged_and_whom_it_hurts(
    imported: Calstore, store_place: str
) -> None:
    clean = said(imported("verify"))
    shard = shorten(store_place, "objects/arrays/*/c.*")

    damaged = imported("verify")

    assert re.fullmatch(
        r"1 records, \d+ objects \(.*\), 0 of them unreferenced: all as stored\n", clean
    )
    assert damaged.code == 6
    assert shard.rpartition(".calstore")[2] in damaged.err
    assert "it hurts xpp/main@1" in damaged.err
    assert "1 damaged" in damaged.out


def test_verify_misses_a_record_that_was_expected(imported: Calstore) -> None:
    there = imported("verify", "--expect", "xpp/main@1")
    gone = imported("verify", "--expect", "xpp/main@2")

    assert (there.code, gone.code) == (0, 6)
    assert "refs/xpp/main/00000002 is gone" in gone.err


def test_the_demo_works_and_so_do_the_commands_that_it_proposes(tmp_path: Path) -> None:
    outcome = run("demo", "a demo", folder=tmp_path)
    story, _, proposals = said(outcome).partition("Try next:\n")

    assert "all as stored" in story
    assert "5-20" in story
    assert_plain(outcome)
    for line in proposals.splitlines():
        words = shlex.split(line)
        if words[0] == "calstore":
            said(run(*words[1:], folder=tmp_path))
    assert np.load(tmp_path / "pedestals.npy").shape == (704, 768)
    assert regular_files(tmp_path / "a demo/main") == regular_files(tmp_path / "a demo/calib")
    assert "is there already" in refused_after_story(run("demo", "a demo", folder=tmp_path), 4)


def refused_after_story(outcome: Outcome, code: int) -> str:
    assert outcome.code == code
    assert outcome.err.count("\n") == 1
    return outcome.err


# --- what a shell is told ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, ["refs"]),
        (2, ["nonsense"]),
        (2, ["fork", "xpp/main"]),
        (2, ["show", "xpp/main", "Opal", "--run", "-1"]),
        (2, ["log", "xpp/main", "-n", "0"]),
        (3, ["log", "xpp/nothing"]),
        (3, ["show", "xpp/main", "Jungfrau"]),
        (3, ["--store", "nowhere", "refs"]),
        (4, ["fork", "xpp/main", "xpp/main"]),
        (5, ["fork", "xpp/main", "no name"]),
        (6, ["show", "xpp/broken"]),
    ],
)
def test_each_exit_code_is_reached(
    imported: Calstore, store_place: str, code: int, words: list[str]
) -> None:
    said(imported("fork", "xpp/main", "xpp/broken"))
    if code == 6:
        shorten(store_place, "refs/xpp/broken/00000001")

    outcome = imported(*words)

    assert outcome.code == code
    if code in (3, 4, 5, 6):
        refused(outcome, code)


def test_the_installed_command_ends_as_the_one_in_this_process(
    imported: Calstore, tmp_path: Path
) -> None:
    for words in (["log", "xpp/main"], ["log", "xpp/nothing"], ["nonsense"], ["show", "xpp/main"]):
        here, there = imported(*words), spawn(*words, folder=tmp_path)

        assert (here.code, here.out) == (there.code, there.out)
        assert here.code == 2 or here.err == there.err


def assert_plain(outcome: Outcome) -> None:
    for text in (outcome.out, outcome.err):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x1b]", text)
        assert "%" not in text


def test_a_pipe_gets_no_progress_and_no_control_characters(
    calstore: Calstore, camera_tree: Path, tmp_path: Path
) -> None:
    outcomes = [
        spawn("import", camera_tree, "xpp/main", folder=tmp_path),
        spawn("materialize", "xpp/main", "view", folder=tmp_path),
        spawn("verify", folder=tmp_path),
        *(calstore(*words) for words in (["refs"], ["log", "xpp/main"], ["show", "xpp/main"])),
    ]

    for outcome in outcomes:
        assert outcome.code == 0
        assert_plain(outcome)


def test_a_message_cannot_send_control_characters_to_a_terminal(imported: Calstore) -> None:
    said(imported("fork", "xpp/main", "xpp/try", "-m", "loud \a\b and \x1b]0;title\x07 clear\x7f"))

    for words in (["log", "xpp/try"], ["refs"], ["show", "xpp/try", "Opal", "pedestals"]):
        assert_plain(imported(*words))


def test_a_name_left_out_cannot_send_control_characters_to_a_terminal(
    calstore: Calstore, camera_tree: Path
) -> None:
    (camera_tree / "a\x1b[31m\n_workdir").mkdir()

    outcome = calstore("import", camera_tree, "xpp/main")

    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert_plain(outcome)


def test_a_reader_that_leaves_early_sees_no_traceback(
    calstore: Calstore, camera_tree: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (camera_tree / "notes.txt").write_text(f"{number}\n")
        said(calstore("import", camera_tree, "xpp/main", "-m", "long message " * 1000))
    command = f"{shlex.quote(sys.executable)} -m calstore"

    for words in (
        "log xpp/main",
        "log xpp/main --json",
        "get xpp/main Opal pedestals --run 3 -o -",
    ):
        done = subprocess.run(
            ["bash", "-c", f"{command} {words} | head -1"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.count(b"\n") == 1


# --- help and completion -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS, "deploy"])
@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_has_an_example_and_exit_codes_and_fits_100_columns(
    command: str, columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    text = said(run(*command.split(), "--help", folder=tmp_path))

    assert "Example: calstore " in text
    assert all(" Example: " not in line.lstrip() for line in text.splitlines())
    assert "Exit codes: " in text
    assert max(map(len, text.splitlines())) <= 100
    assert said(run(*command.split(), "-h", folder=tmp_path)) == text


def test_the_example_of_each_help_is_a_command_that_exists(tmp_path: Path) -> None:
    for command in COMMANDS:
        text = " ".join(said(run(command, "--help", folder=tmp_path)).split())
        example = shlex.split(text.partition("Example: calstore ")[2].partition(" Exit codes")[0])

        assert example[0] == command
        for word in example:
            assert not word.startswith("-") or word in text.replace(",", " ").split()


def test_a_whole_source_is_not_taken_for_a_part_of_another(
    calstore: Calstore, tmp_path: Path
) -> None:
    twelve = OPAL + "2"
    tree = write_tree(tmp_path / "calib", {f"{twelve}/pedestals/1-end.data": pedestals_text()})
    said(calstore("import", tree, "xpp/main"))

    refusal = refused(calstore("show", "xpp/main", OPAL.rpartition("/")[2]), 3)

    assert f"it has {twelve.rpartition('/')[2]}" in refusal
    assert calstore("show", "xpp/main", twelve.rpartition("/")[2].upper()).code == 0
    assert calstore("show", "xpp/main", "Opal1000.1").code == 0


def test_help_lists_every_command(tmp_path: Path) -> None:
    text = said(run("--help", folder=tmp_path))

    listed = [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines()]
    assert listed == list(COMMANDS)
    # Without a word there is nothing to do: the help, as a usage error.
    assert run(folder=tmp_path).code == 2


def completed(folder: Path, words: str, **environment: str) -> list[str]:
    """What the shell would offer for the last word."""
    script = "import sys; sys.argv[0] = 'calstore'; from calstore.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "_CALSTORE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **environment,
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_the_shell_completes_refs_and_commands(
    imported: Calstore, tmp_path: Path, store_place: str
) -> None:
    said(imported("fork", "xpp/main", "xpp/users/wilson/mask"))
    said(imported("fork", "xpp/main", "cxi/main"))

    assert completed(tmp_path, "calstore log ") == ["cxi/main", "xpp/main", "xpp/users/wilson/mask"]
    assert completed(tmp_path, "calstore log xpp/u") == ["xpp/users/wilson/mask"]
    assert completed(tmp_path, "calstore verify c") == ["cxi/main"]
    assert completed(tmp_path, "calstore mat") == ["materialize"]
    elsewhere = tmp_path.parent
    assert completed(elsewhere, f"calstore --store {store_place} log cxi") == ["cxi/main"]
    assert completed(elsewhere, "calstore log cxi", CALSTORE="/nowhere") == []


def test_the_completion_script_can_be_had(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; sys.argv[0] = 'calstore'; from calstore.cli import main; main()",
        ],
        cwd=tmp_path,
        env={**os.environ, "_CALSTORE_COMPLETE": "source_bash"},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0
    assert "_CALSTORE_COMPLETE=complete_bash" in done.stdout
    assert subprocess.run(["bash", "-n", "-c", done.stdout], check=False).returncode == 0


def test_the_version_says_the_format_too(tmp_path: Path) -> None:
    assert re.fullmatch(
        r"calstore \d+\.\d+\.\d+, store format 1\n", said(run("--version", folder=tmp_path))
    )


# --- which store, and who ------------------------------------------------------------------


def test_the_option_beats_the_variable_beats_the_nearest_folder(
    tmp_path: Path, camera_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    for name, place in {"option": "x", "variable": "y", "far": ".calstore"}.items():
        said(run("init", place, folder=tmp_path))
        said(run("--store", place, "import", camera_tree, f"xpp/{name}", folder=tmp_path))

    def refs(*words: str) -> str:
        return said(run(*words, "refs", folder=inner)).split("@")[0]

    assert refs() == "xpp/far"
    said(run("init", "a/.calstore", folder=tmp_path))
    said(run("--store", "a/.calstore", "import", camera_tree, "xpp/near", folder=tmp_path))
    assert refs() == "xpp/near"
    monkeypatch.setenv("CALSTORE", str(tmp_path / "y"))
    assert refs() == "xpp/variable"
    assert refs("--store", str(tmp_path / "x")) == "xpp/option"
    monkeypatch.setenv("CALSTORE", "")
    assert refs() == "xpp/near"


def test_without_any_store_the_message_says_what_to_do(tmp_path: Path) -> None:
    message = refused(run("refs", folder=tmp_path), 3)

    assert "neither --store nor $CALSTORE" in message
    assert "calstore init" in message


def test_the_person_behind_an_operator_account_is_kept(
    calstore: Calstore, camera_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALSTORE_USER", "wilson")
    said(calstore("import", camera_tree, "xpp/main"))
    monkeypatch.delenv("CALSTORE_USER")
    said(calstore("fork", "xpp/main", "xpp/try"))

    (record,) = json.loads(said(calstore("log", "xpp/main", "--json")))["records"]
    (plain,) = json.loads(said(calstore("log", "xpp/try", "--json")))["records"]

    assert record["who"]["claimed"] == "wilson"
    assert record["who"]["uid"] == os.getuid()
    assert plain["who"] == {**record["who"], "claimed": None}
    assert f"wilson ({record['who']['user']})" in said(calstore("log", "xpp/main"))


# --- a real tree ---------------------------------------------------------------------------


def find_as_psana(tree: Path, detector: str, type_name: str, number: int) -> Path | None:
    """The file that psana's finder gives a run: largest begin, then smallest end."""
    parsed = []
    for path in (tree / detector / type_name).iterdir():
        match = re.fullmatch(r"(\d{1,4})-(\d{1,4}|end)\.data", path.name)
        if match:
            last = 9999 if match[2] == "end" else int(match[2])
            parsed.append((int(match[1]), -last, path))
    number = min(number, 9999)
    for first, negative_last, path in sorted(parsed, reverse=True):
        if first <= number <= -negative_last:
            return path
    return None


PSANA_DTYPES = {
    "pedestals": np.float32,
    "pixel_bkgd": np.float32,
    "pixel_status": np.uint16,
    "pixel_mask": np.uint8,
}


def read_as_psana(tree: Path, detector: str, type_name: str, number: int) -> np.ndarray:
    """What psana's Python reader makes of the file that it finds: header dtype, then a cast."""
    path = find_as_psana(tree, detector, type_name, number)
    assert path is not None
    dtype = np.float32
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            continue
        fields = [field for field in line.split(" ") if field]
        if fields[1:2] == ["DTYPE"]:
            dtype = np.dtype(fields[2])
    return np.loadtxt(path, dtype=dtype).astype(PSANA_DTYPES[type_name])


@pytest.fixture
def real_tree() -> Iterator[Path]:
    if not REAL_TREE.is_dir():
        pytest.skip(f"the published calib directory is not beside the checkout ({REAL_TREE.name})")
    before = snapshot(REAL_TREE)
    yield REAL_TREE
    assert snapshot(REAL_TREE) == before


def test_a_real_tree_is_imported_forked_changed_and_found_by_psanas_rule(
    calstore: Calstore, real_tree: Path, tmp_path: Path
) -> None:
    status = read_as_psana(real_tree, EPIX, "pixel_status", 137)
    worse = status.copy()
    worse[100:110, :] |= 1
    (tmp_path / "status.npy").write_bytes(npy_bytes(worse))

    assert calstore("import", real_tree, "xpp/main").code == 0
    said(calstore("fork", "xpp/main", "xpp/users/wilson/rows"))
    said(
        calstore(
            *("set", "xpp/users/wilson/rows", "Epix100a.1", "pixel_status", "100-137"),
            *("status.npy", "-m", "dead rows"),
        )
    )
    said(calstore("materialize", "xpp/main", "main"))
    said(calstore("materialize", "xpp/users/wilson/rows", "sandbox"))

    assert (status.shape, int(status.sum())) == ((704, 768), 103437)
    originals = regular_files(real_tree)
    assert regular_files(tmp_path / "main") == originals
    sandbox = regular_files(tmp_path / "sandbox")
    history = f"{EPIX}/pixel_status/HISTORY"
    added = f"{EPIX}/pixel_status/100-137.data"
    assert set(sandbox) == set(originals) | {added}
    assert sandbox.pop(history).startswith(originals.pop(history))
    del sandbox[added]
    assert sandbox == originals
    for number in (0, 99, 100, 137, 138, 9999, 0x7FFFFFFF):
        changed = 100 <= number <= 137
        for view, expected in (("main", status), ("sandbox", worse if changed else status)):
            found = read_as_psana(tmp_path / view, EPIX, "pixel_status", number)
            np.testing.assert_array_equal(found, expected)
        geometry = find_as_psana(tmp_path / "sandbox", EPIX, "geometry", number)
        assert geometry is not None
        assert geometry.read_bytes() == originals[f"{EPIX}/geometry/0-end.data"]
    assert find_as_psana(tmp_path / "sandbox", EPIX, "pedestals", 137) is None
    assert said(calstore("verify")).endswith("all as stored\n")


def test_text_that_is_set_comes_out_as_the_bytes_that_went_in(
    imported: Calstore, tmp_path: Path
) -> None:
    data = pedestals_text(5)
    (tmp_path / "new.data").write_bytes(data)

    said(imported("set", "xpp/main", "Opal", "pedestals", "40-50", "new.data"))
    said(imported("materialize", "xpp/main", "view"))

    assert (tmp_path / "view" / OPAL / "pedestals/40-50.data").read_bytes() == data


def test_a_reader_that_goes_away_is_no_finding(calstore: Calstore, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "calstore", "refs", "--json"],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)

    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == b""
