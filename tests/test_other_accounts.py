"""Two people of one group: what they share stays shared, and what is not theirs stays."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import OPAL, small_files, write_files
from commandline import Outcome, npy_bytes, snapshot, spawn

ADA, WILSON, GROUP = 5001, 5002, 5000
NEW = f"{OPAL}/pixel_status/5-9.data"
OLD = f"{OPAL}/pedestals/0-end.data"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root on Linux, with setpriv, can become two other people",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the group, in which Ada has a store with two versions, and the files for them."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    if run(ADA, "--version", folder=Path("/")).code:
        shutil.rmtree(top)
        pytest.skip("another account cannot run this Python")
    work = top / "work"
    work.mkdir()
    os.chown(work, ADA, GROUP)
    work.chmod(0o2775)
    write_files(work / "tree", small_files())
    (work / "new.npy").write_bytes(npy_bytes(np.ones((3, 4), np.uint16)))
    (work / "pedestals.npy").write_bytes(npy_bytes(np.full((3, 4), 7, np.float32)))
    done(ADA, "init", folder=work)
    done(ADA, "import", "tree", "xpp/main", folder=work)
    words = ("set", "xpp/main", "Opal1000.0")
    done(ADA, *words, "pixel_status", "5-9", "new.npy", folder=work)
    done(ADA, *words, "pedestals", "0-end", "pedestals.npy", folder=work)
    yield work
    for path in top.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(top)


def run(who: int, *words: object, folder: Path, umask: str = "022") -> Outcome:
    account = ("setpriv", "--reuid", str(who), "--regid", str(who), "--groups", str(GROUP), "--")
    before = (*account, "sh", "-c", f'umask {umask}; exec "$@"', "sh")
    return spawn(*words, folder=folder, before=before, environment={"HOME": "/nonexistent"})


def done(who: int, *words: object, folder: Path, umask: str = "022") -> Outcome:
    outcome = run(who, *words, folder=folder, umask=umask)
    assert outcome.code == 0, outcome.err
    return outcome


def refused(outcome: Outcome, code: int) -> str:
    """The one line of a command that did nothing."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err
    return outcome.err


def shared(folder: Path, mode: int) -> Path:
    """The first version, made by Ada, in a directory whose folders have this mode."""
    dest = folder / "calib"
    done(ADA, "materialize", "xpp/main@1", dest, folder=folder)
    for path in (dest, *dest.rglob("*")):
        os.chown(path, ADA, GROUP)
        path.chmod(mode if path.is_dir() else 0o664)
    (dest / OPAL / "pedestals" / "notes").write_bytes(b"of Ada\n")
    return dest


def test_another_of_the_group_updates_and_modes_and_groups_stay(folder: Path) -> None:
    dest = shared(folder, 0o2775)

    done(WILSON, "materialize", "xpp/main", dest, folder=folder)

    for path in (OLD, NEW, f"{OPAL}/pixel_status/HISTORY"):
        found = (dest / path).stat()
        assert found.st_gid == GROUP, path
        assert stat.S_IMODE(found.st_mode) == 0o664, path
    assert (dest / OLD).stat().st_uid == WILSON
    assert (dest / OPAL / "pedestals" / "notes").read_bytes() == b"of Ada\n"
    done(ADA, "materialize", "xpp/main@1", dest, folder=folder)
    assert not (dest / NEW).exists()


def test_a_strict_umask_hides_nothing_from_the_group(folder: Path) -> None:
    dest = shared(folder, 0o2775)

    done(WILSON, "materialize", "xpp/main", dest, folder=folder, umask="077")

    for path in (dest, *dest.rglob("*")):
        wanted = 0o2050 if path.is_dir() else 0o040
        assert path.stat().st_mode & wanted == wanted, path
    done(ADA, "status", dest, folder=folder)


def test_in_a_sticky_directory_the_file_of_another_is_named_and_stays(folder: Path) -> None:
    dest = shared(folder, 0o3775)
    before = snapshot(dest)

    line = refused(run(WILSON, "materialize", "xpp/main", dest, folder=folder), 5)

    assert str(dest) in line
    assert "sticky" in line
    assert snapshot(dest) == before
    done(ADA, "materialize", "xpp/main", dest, folder=folder)


def test_a_directory_of_another_is_left_as_it_is(folder: Path) -> None:
    dest = shared(folder, 0o2755)
    before = snapshot(dest)

    line = refused(run(WILSON, "materialize", "xpp/main", dest, folder=folder), 5)
    (folder / "closed").mkdir(mode=0o700)

    assert "ask its owner, or choose another place" in line
    assert snapshot(dest) == before
    for words in (
        ("materialize", "xpp/main", "closed/calib"),
        ("materialize", "xpp/main", "closed/calib", "--generations", "3"),
        ("status", "closed/calib"),
        ("diff", "xpp/main", "./closed/calib"),
        ("adopt", "closed/calib", "xpp/users/wilson/try"),
        ("import", "closed/calib", "xpp/users/wilson/try"),
    ):
        assert "closed/calib" in refused(run(WILSON, *words, folder=folder), 5)
    assert done(WILSON, "status", dest, folder=folder).out.startswith(str(dest))


def test_the_store_of_another_can_be_read_and_says_that_it_cannot_be_written(
    folder: Path,
) -> None:
    mine = folder / "mine"
    mine.mkdir()
    os.chown(mine, WILSON, WILSON)
    before = snapshot(folder / ".calstore")

    for words in (
        ("refs",),
        ("coverage", "xpp/main", "--run", "7"),
        ("check", "xpp/main", "Opal1000.0"),
        ("materialize", "xpp/main", "mine/view"),
        ("status", "mine/view"),
        ("diff", "xpp/main", "./mine/view"),
    ):
        done(WILSON, *words, folder=folder)
    (mine / "view" / "README").write_bytes(b"changed\n")
    for words in (
        ("adopt", "mine/view", "xpp/users/wilson/try"),
        ("approve", "xpp/main", "--status", "good", "--reason", "flat"),
        ("config", "calib-dir/xppn4116", "/here"),
        ("unset", "xpp/main", "Opal1000.0", "pixel_status", "5-9"),
        ("undo", "xpp/main"),
        ("copy", "xpp/main", "Opal1000.0", "xpp/users/wilson/copy"),
    ):
        line = refused(run(WILSON, *words, folder=folder), 5)
        assert ".calstore" in line, words

    assert snapshot(folder / ".calstore") == before
