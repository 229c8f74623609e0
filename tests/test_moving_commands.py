"""unset, set --underlay, copy, promote and undo as people type them, right and wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commandline import EPIX, OPAL, REAL_TREE, Outcome, npy_bytes, spawn, write_tree

Calstore = Callable[..., Outcome]

MAIN, MINE = "xpp/main", "xpp/users/wilson/mask"
DETECTOR = "detectors/opal_7/main"
SOURCE = "XppEndstation.0:Opal1000.1"


def said(outcome: Outcome) -> str:
    """What a command that succeeded printed."""
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


def refused(outcome: Outcome, code: int) -> str:
    """What a command said on stderr that did not succeed; nothing is on stdout."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert outcome.err.startswith("calstore: ")
    return outcome.err


def misused(outcome: Outcome) -> str:
    """What a command that was typed in a wrong way said."""
    assert (outcome.code, outcome.out) == (2, "")
    return outcome.err


@pytest.fixture
def imported(calstore: Calstore, camera_tree: Path, tmp_path: Path) -> Calstore:
    """A store with a ref, a sandbox of it, and two files to set."""
    said(calstore("import", camera_tree, MAIN))
    said(calstore("fork", MAIN, MINE))
    for value in (1, 2):
        array = np.full((3, 4), value, np.float32)
        (tmp_path / f"{value}.npy").write_bytes(npy_bytes(array))
    return calstore


def winners(calstore: Calstore, ref: str, type_name: str = "pedestals", detector: str = "Opal"):
    """What each stretch of runs gets, as the commands tell it: runs → the first digits."""
    document = json.loads(said(calstore("coverage", ref, "--detector", detector, "--json")))
    types = {each["type"]: each["stretches"] for each in document["detectors"][0]["types"]}
    return {
        each["runs"]: each["winner"] and each["digest"][:13] for each in types.get(type_name, [])
    }


def provenance(calstore: Calstore, *words: object) -> list[str]:
    """What show tells of where constants come from."""
    lines = said(calstore("show", *words)).splitlines()
    return [line for line in lines if re.match(r"[0-9]+-\S+ since|    ", line)]


# --- unset, set --underlay -------------------------------------------------------------------


def test_unset_takes_from_some_runs_and_says_what_the_next_command_needs(imported):
    before = winners(imported, MAIN)

    out = said(imported("unset", MAIN, "Opal", "pedestals", "15-30", "-m", "light leak"))

    assert re.fullmatch(rf"{MAIN}@2  xxh128:[0-9a-f]{{12}}\n", out)
    after = winners(imported, MAIN)
    assert after == {
        "0-0": None,
        "1-9": before["1-9"],
        "10-14": before["10-20"],
        "15-30": None,
        "31-end": before["21-end"],
    }
    assert "unset XppEndstation.0:Opal1000.1 pedestals 15-30\n    light leak" in said(
        imported("log", MAIN)
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("Opal", "pedestals", "0-0"), 3, "no pedestals for XppEndstation.0:Opal1000.1 in runs"),
        (("Opal", "pixel_gain", "5-6"), 3, "it has none at all"),
        (("Opal", "", "5-6"), 3, "it has none at all"),
        (("Jungfrau", "pedestals", "5-6"), 3, "no detector 'Jungfrau'"),
        (("", "pedestals", "5-6"), 5, "an empty text names no detector"),
        (("Opal", "pedestals", "20-15"), 5, "did you mean 15-20?"),
        (("Opal", "pedestals", "9999-10000"), 5, "at 9999 to 9999 or at 'end'"),
        (("Opal", "pedestals", "10000-end"), 5, "begins at 0 to 9999"),
        (("Opal", "pedestals", "0-9999"), 5, "write 0-end"),
        (("Opal", "pedestals", "12"), 5, "write 12-12 for one run"),
    ],
)
def test_an_unset_of_what_is_not_there_is_refused(imported, words, code, says):
    assert says in refused(imported("unset", MAIN, *words), code)
    assert said(imported("log", MAIN)).count(f"{MAIN}@") == 1


def test_unset_of_a_record_or_a_tag_is_refused(imported):
    said(imported("tag", MAIN, "xpp/published"))

    assert "name the ref: xpp/main" in refused(
        imported("unset", f"{MAIN}@1", "Opal", "pedestals", "5-6"), 5
    )
    assert "is a tag" in refused(imported("unset", "xpp/published", "Opal", "pedestals", "5-6"), 5)


def test_a_detector_without_constants_is_gone_and_two_of_a_name_are_told_apart(
    imported, camera_tree
):
    write_tree(camera_tree, {f"{EPIX}/geometry/0-end.data": b"IP 0 E 0  0 0 0  0 0 0  0 0 0\n"})
    said(imported("import", camera_tree, MAIN))

    assert "is a part of several detectors" in refused(
        imported("unset", MAIN, "Xpp", "geometry", "0-end"), 5
    )
    said(imported("unset", MAIN, "Epix", "geometry", "0-end"))

    assert "no detector 'Epix'" in refused(imported("show", MAIN, "Epix"), 3)


def test_an_underlay_lets_later_ranges_keep_their_runs(imported):
    before = winners(imported, MAIN)

    outcome = imported("set", MAIN, "Opal", "pedestals", "5-end", "1.npy", "--underlay")

    assert (outcome.code, outcome.out[:12]) == (0, f"{MAIN}@2  ")
    assert "pedestals 5-end is shadowed by 10-20 from run 10 to 20" in outcome.err
    after = winners(imported, MAIN)
    assert (after["1-4"], after["10-20"]) == (before["1-9"], before["10-20"])
    assert after["5-9"] == after["21-end"] != before["21-end"]
    assert "5-end as an underlay from 1.npy" in said(imported("log", MAIN))


# --- copy ------------------------------------------------------------------------------------


@pytest.fixture
def with_detector(imported: Calstore) -> Calstore:
    """Constants of a camera wherever it goes, under its own source."""
    said(imported("fork", MAIN, DETECTOR))
    said(imported("set", DETECTOR, "Opal", "pedestals", "1-end", "1.npy", "-m", "lab dark"))
    return imported


def test_copy_begins_a_new_experiment_from_a_detectors_own_constants(with_detector):
    first = said(with_detector("copy", DETECTOR, "Opal", "xppn4116/main", "-m", "start"))
    again = said(with_detector("copy", DETECTOR, "Opal", "xppn4116/main"))

    assert re.fullmatch(r"xppn4116/main@1  xxh128:[0-9a-f]{12}  a new ref\n", first)
    assert again == first.replace("a new ref", "unchanged")
    assert winners(with_detector, "xppn4116/main") == winners(with_detector, DETECTOR)
    assert "other files" not in said(with_detector("show", "xppn4116/main"))


def test_show_tells_the_origin_of_a_copy_and_how_it_came_here(with_detector):
    said(
        with_detector(
            *("copy", DETECTOR, "Opal", "xppn4116/main"), "--as", "XppGon.0:Opal1000.3", "-m", "go"
        )
    )

    lines = provenance(with_detector, "xppn4116/main", "Opal", "geometry")
    assert re.match(r"0-end since xpp/main@1, \S+ \S+ by \S+: import /", lines[0])
    assert re.match(
        r"    in xppn4116/main since xppn4116/main@1, .*: copy detectors/opal_7/main@2 "
        rf"{SOURCE} as XppGon.0:Opal1000.3",
        lines[1],
    )
    lines = provenance(with_detector, "xppn4116/main", "Opal", "pedestals")
    assert lines[0].startswith("1-end since detectors/opal_7/main@2, ")
    assert lines[1] == "    lab dark"


def test_copy_of_one_run_gives_it_to_the_runs_that_are_named(with_detector):
    before = winners(with_detector, MAIN)

    said(
        with_detector(
            *("copy", MAIN, "Opal", "pedestals", DETECTOR), "--from-run", 12, "--runs", "3-5"
        )
    )

    after = winners(with_detector, DETECTOR)
    assert after["3-5"] == before["10-20"]
    assert after["1-2"] == after["6-end"] == winners(with_detector, f"{DETECTOR}@2")["1-end"]


def test_copy_within_a_ref_brings_back_older_constants_for_some_runs(with_detector):
    old = winners(with_detector, f"{DETECTOR}@1")

    said(with_detector("copy", f"{DETECTOR}@1", "Opal", "pedestals", DETECTOR, "--runs", "5-12"))

    after = winners(with_detector, DETECTOR)
    assert (after["5-9"], after["10-12"]) == (old["1-9"], old["10-20"])
    assert said(with_detector("copy", DETECTOR, "Opal", DETECTOR)).endswith("  unchanged\n")


def test_a_copy_of_what_the_runs_get_already_changes_no_name(with_detector):
    said(with_detector("copy", DETECTOR, "Opal", "xppn4116/main"))

    out = said(with_detector("copy", DETECTOR, "Opal", "xppn4116/main", "--runs", "20-30"))

    assert re.fullmatch(r"xppn4116/main@1  \S+  unchanged\n", out)


def test_runs_get_what_another_run_of_the_same_ref_gets(with_detector):
    run_12 = winners(with_detector, MAIN)["10-20"]
    words = ("copy", MAIN, "Opal", "pedestals", MAIN, "--from-run", "12", "--runs", "30-end")

    said(with_detector(*words))

    assert winners(with_detector, MAIN)["30-end"] == run_12
    newest = json.loads(said(with_detector("log", MAIN, "--json")))["records"][0]
    assert newest["parents"] == [f"{MAIN}@1"]
    assert said(with_detector("verify"))


def test_serials_and_verbatim_files_travel_along(with_detector, tmp_path):
    said(with_detector("copy", MAIN, "Opal", "xppn4116/main"))

    def columns(ref):
        document = json.loads(said(with_detector("show", ref, "--json")))
        return [(each["type"], each["runs"], each["verbatim"]) for each in document["constants"]]

    assert columns("xppn4116/main") == columns(MAIN)
    assert any(verbatim for _, _, verbatim in columns(MAIN))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((MAIN, "Jungfrau", DETECTOR), 3, "no detector 'Jungfrau'"),
        ((MAIN, "Opal", "pixel_gain", DETECTOR), 3, "it has none at all"),
        ((MAIN, "Opal", "", DETECTOR), 5, "an empty text names no type"),
        ((MAIN, "Opal", "pedestals", DETECTOR, "--runs", "0-0"), 3, "in runs 0-0 of xpp/main@1"),
        ((MAIN, "Opal", "pedestals", DETECTOR, "--runs", "9-5"), 5, "did you mean 5-9?"),
        ((MAIN, "Opal", DETECTOR, "--from-run", "0", "--runs", "0-end"), 0, ""),
        (
            (MAIN, "Opal", "pedestals", DETECTOR, "--from-run", "0", "--runs", "0-end"),
            3,
            "at run 0 of",
        ),
        ((MAIN, "Opal", DETECTOR, "--runs", "9999-10000"), 5, "at 9999 to 9999 or at 'end'"),
        ((MAIN, "Opal", f"{DETECTOR}@1"), 5, "name the ref"),
        ((MAIN, "Opal", "main"), 5, "is not of the form"),
        (("xpp/none", "Opal", DETECTOR), 3, "there is no ref xpp/none"),
        ((MAIN, "Opal", DETECTOR, "--as", "Zyla"), 3, "no detector 'Zyla'"),
        ((MAIN, "Opal", "xpp/new", "--as", "Zyla"), 5, "names no detector that psana knows"),
        ((MAIN, "Opal", DETECTOR, "--as", "XppGon.0:Cam.1"), 5, "or <group>/<source>"),
        ((MAIN, "Opal", DETECTOR, "--as", "a/b"), 5, "or <group>/<source>"),
        (
            (MAIN, "Opal", "pedestals", DETECTOR, "--as", "XppGon.0:Epix100a.1"),
            5,
            "psana would use its default in silence",
        ),
    ],
)
def test_a_copy_that_cannot_be_is_refused(with_detector, words, code, says):
    outcome = with_detector("copy", *words)

    if code == 0:
        said(outcome)
    else:
        assert says in refused(outcome, code)
        assert said(with_detector("log", DETECTOR)).count(f"{DETECTOR}@2  ") == 1
        assert "@3" not in said(with_detector("log", DETECTOR))


def test_a_whole_source_is_never_taken_for_a_part_of_another(with_detector):
    said(with_detector("copy", MAIN, "Opal", DETECTOR, "--as", "XppGon.0:Opal1000.12"))
    said(with_detector("copy", MAIN, "Opal1000.1", DETECTOR, "--as", "XppGon.0:Opal1000.1"))

    document = json.loads(said(with_detector("show", DETECTOR, "--json")))
    assert {each["source"] for each in document["constants"]} == {
        SOURCE,
        "XppGon.0:Opal1000.12",
        "XppGon.0:Opal1000.1",
    }


def test_a_copy_typed_in_a_wrong_way_says_how_it_is_typed(with_detector):
    assert "--from-run needs --runs" in misused(
        with_detector("copy", MAIN, "Opal", DETECTOR, "--from-run", "5")
    )
    assert "write REF D T TO" in misused(
        with_detector("copy", MAIN, "Opal", "pedestals", "geometry", DETECTOR)
    )
    assert "[T] TO" in misused(with_detector("copy", MAIN, "Opal"))


def test_a_copied_file_whose_name_is_a_loose_file_there_gets_its_plain_name(
    imported, camera_tree, tmp_path
):
    folder = f"{OPAL}/pedestals"
    data = (camera_tree / folder / "10-20.data").read_bytes()
    write_tree(tmp_path / "other", {f"{folder}/0010-0020.data": data + b"\n"})
    said(imported("import", tmp_path / "other", "xpp/other"))
    write_tree(camera_tree, {f"{folder}/0010-0020.data": data})
    assert imported("import", camera_tree, MAIN).code == 0
    loose = json.loads(said(imported("show", MAIN, "--json")))["files"]
    assert f"{folder}/0010-0020.data" in [each["path"] for each in loose]

    said(imported("copy", "xpp/other", "Opal", "pedestals", MAIN))

    said(imported("materialize", MAIN, "view"))
    assert (tmp_path / "view" / folder / "10-20.data").read_bytes() == data + b"\n"


# --- promote ---------------------------------------------------------------------------------


def test_promote_tells_what_changed_and_the_name_and_digest(imported):
    said(imported("set", MINE, "Opal", "pedestals", "15-30", "1.npy"))
    said(imported("set", MINE, "Opal", "pixel_rms", "5-end", "1.npy"))

    dry = said(imported("promote", MINE, MAIN, "--dry-run")).splitlines()
    assert said(imported("log", MAIN)).count(f"{MAIN}@") == 1
    out = said(imported("promote", MINE, MAIN, "-m", "reviewed")).splitlines()
    again = said(imported("promote", MINE, MAIN))

    assert [line.split() for line in out[:-1]] == [
        [SOURCE, "pedestals", "15-30", "changed"],
        [SOURCE, "pixel_rms", "5-end", "added"],
    ]
    assert dry[:-1] == out[:-1]
    assert re.fullmatch(
        rf"{MAIN}@1  xxh128:[0-9a-f]{{12}}  would take in {MINE}@3, fast-forward", dry[-1]
    )
    assert re.fullmatch(
        rf"{MAIN}@2  xxh128:[0-9a-f]{{12}}  takes in {MINE}@3, fast-forward", out[-1]
    )
    assert (
        again == f"{out[-1].partition('  takes')[0]}  unchanged: it has all of {MINE}@3 already\n"
    )


def test_a_conflict_is_one_line_per_stretch_and_the_next_step_works(imported):
    said(imported("set", MAIN, "Opal", "pedestals", "12-30", "1.npy"))
    said(imported("set", MINE, "Opal", "pedestals", "5-15", "2.npy"))
    said(imported("unset", MINE, "Opal", "pedestals", "25-26"))

    messages = [
        refused(imported("promote", MINE, MAIN, *words), 4) for words in ((), ("--dry-run",))
    ]

    assert messages[0] == messages[1]
    first, *listed = messages[0].splitlines()
    assert listed == [f"  {SOURCE} pedestals 12-15", f"  {SOURCE} pedestals 25-26"]
    assert f"calstore copy {MINE}@3 D T {MAIN} --runs R" in first
    assert said(imported("log", MAIN)).count(f"{MAIN}@") == 2
    said(imported("copy", f"{MINE}@3", "Opal", "pedestals", MAIN, "--runs", "12-15"))
    said(imported("unset", MAIN, "Opal", "pedestals", "25-26"))
    mine, main = winners(imported, MINE), winners(imported, MAIN)
    said(imported("promote", MINE, MAIN))
    after = winners(imported, MAIN)
    assert (after["5-15"], after["25-26"]) == (mine["5-15"], None)
    assert after["16-24"] == main["16-24"]


def test_json_of_a_conflict_lists_it_and_the_exit_code_says_so(imported):
    said(imported("set", MAIN, "Opal", "pedestals", "12-30", "1.npy"))
    said(imported("set", MINE, "Opal", "pedestals", "5-15", "2.npy"))

    outcome = imported("promote", MINE, MAIN, "--dry-run", "--json")

    assert (outcome.code, outcome.err) == (4, "")
    document = json.loads(outcome.out)
    assert [each["runs"] for each in document["conflicts"]["runs"]] == ["12-15"]
    assert (document["changed"], document["record"]["name"]) == (False, f"{MAIN}@2")


def test_what_was_taken_back_is_said_with_the_way_to_have_it_again(imported):
    said(imported("set", MINE, "Opal", "pedestals", "15-30", "1.npy"))
    said(imported("promote", MINE, MAIN))
    said(imported("undo", MAIN))

    out = said(imported("promote", MINE, MAIN))
    assert out.endswith(f"{MAIN}@3 took it back; again: calstore undo {MAIN} --to 2\n")
    said(imported("undo", MAIN, "--to", "2"))

    assert winners(imported, MAIN) == winners(imported, MINE)


def test_a_constant_that_no_run_gets_and_that_is_left_out_is_said(imported):
    for runs in ("10-20", "21-25"):
        said(imported("set", MINE, "Opal", "pixel_rms", runs, "1.npy"))
    said(imported("promote", MINE, MAIN))
    assert imported("set", MAIN, "Opal", "pixel_rms", "10-25", "2.npy", "--underlay").code == 0
    said(imported("unset", MINE, "Opal", "pixel_rms", "15-16"))

    outcome = imported("promote", MINE, MAIN)

    assert outcome.code == 0
    assert re.fullmatch(
        rf"warning: {SOURCE} pixel_rms 10-25 xxh128:[0-9a-f]{{12}} is left out: "
        r"no run got it, and it could not stay unused\n",
        outcome.err,
    )
    assert winners(imported, MAIN, "pixel_rms")["15-16"] is None


def test_somebody_elses_sandbox_can_be_promoted_from_and_to_and_the_record_says_by_whom(
    imported, monkeypatch
):
    monkeypatch.setenv("CALSTORE_USER", "brown")
    said(imported("fork", MAIN, "xpp/users/brown/try"))
    said(imported("set", "xpp/users/brown/try", "Opal", "pedestals", "15-30", "1.npy"))

    said(imported("promote", "xpp/users/brown/try", MINE))

    assert re.search(rf"{MINE}@2  .*  brown \(\w+\)\n", said(imported("log", MINE)))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((MINE, "xpp/none"), 3, "there is no ref xpp/none"),
        (("xpp/users/nobody/x", MAIN), 3, "there is no ref xpp/users/nobody/x"),
        ((MINE, "xpp/published"), 5, "is a tag, which never moves"),
        ((MINE, MINE), 5, f"{MINE}@1 is of {MINE} itself"),
        ((f"{MINE}@1", MINE), 5, f"calstore undo {MINE} --to 1"),
        ((MINE, f"{MAIN}@1"), 5, "name the ref: xpp/main"),
        ((MINE, "xpp/unrelated"), 5, "take constants over with: calstore copy"),
        ((f"{MINE}@9", MAIN), 3, "there is no record"),
        (("xxh128:000000", MAIN), 3, "no object begins with"),
    ],
)
def test_a_promote_that_cannot_be_is_refused(imported, camera_tree, words, code, says):
    said(imported("tag", MAIN, "xpp/published"))
    said(imported("import", camera_tree, "xpp/unrelated"))

    for how in ((), ("--dry-run",), ("--json",)):
        assert says in refused(imported("promote", *words, *how), code)


# --- undo ------------------------------------------------------------------------------------


def test_undo_goes_back_one_record_and_twice_is_redo(imported):
    said(imported("set", MAIN, "Opal", "pedestals", "15-30", "1.npy"))
    states = [winners(imported, f"{MAIN}@{number}") for number in (1, 2)]

    first = said(imported("undo", MAIN, "-m", "light leak"))
    undone = winners(imported, MAIN)
    second = said(imported("undo", MAIN))
    redone = winners(imported, MAIN)

    assert re.fullmatch(rf"{MAIN}@3  xxh128:[0-9a-f]{{12}}  undo to {MAIN}@1\n", first)
    assert re.fullmatch(rf"{MAIN}@4  xxh128:[0-9a-f]{{12}}  undo to {MAIN}@2\n", second)
    assert [undone, redone] == states
    records = json.loads(said(imported("log", MAIN, "--json")))["records"]
    assert records[1]["operation"] == "undo"
    assert records[1]["parents"] == [f"{MAIN}@2", f"{MAIN}@1"]


def test_undo_to_a_record_can_be_repeated(imported):
    for number in (1, 2):
        said(imported("set", MAIN, "Opal", "pedestals", "15-30", f"{number}.npy"))

    first = said(imported("undo", MAIN, "--to", 1))
    again = said(imported("undo", MAIN, "--to", "1"))

    assert first.endswith(f"undo to {MAIN}@1\n")
    assert again == first.replace(f"undo to {MAIN}@1", "unchanged")
    assert winners(imported, MAIN) == winners(imported, f"{MAIN}@1")


def test_undo_brings_a_deleted_branch_back(imported):
    said(imported("set", MINE, "Opal", "pedestals", "15-30", "1.npy"))
    before = winners(imported, MINE)
    said(imported("delete-ref", MINE))

    out = said(imported("undo", MINE))

    assert out.endswith(f"undo to {MINE}@2\n")
    assert winners(imported, MINE) == before
    assert f"{MINE}@3 deletes the ref" in refused(imported("undo", MINE, "--to", "3"), 3)
    assert f"{MINE}@3 deletes the ref" in refused(imported("undo", MINE), 3)
    assert said(imported("verify"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((MAIN,), 5, f"{MAIN}@1 is the first record, so there is nothing to go back to"),
        ((MAIN, "--to", "7"), 3, f"there is no record {MAIN}@7; its newest is {MAIN}@1"),
        ((MAIN, "--to", "100000000"), 5, "is no record"),
        ((f"{MAIN}@1",), 5, "name the ref: xpp/main"),
        (("xpp/none",), 3, "there is no ref xpp/none"),
        (("xpp/published",), 5, "is a tag, which never moves"),
        (("xpp/published", "--to", "1"), 5, "is a tag"),
        (("xpp/gone",), 5, "is a tag, which never moves; fork it: calstore fork xpp/gone@1 NEW"),
    ],
)
def test_an_undo_that_cannot_be_is_refused(imported, words, code, says):
    said(imported("tag", MAIN, "xpp/published"))
    said(imported("tag", MAIN, "xpp/gone"))
    said(imported("delete-ref", "xpp/gone"))

    assert says in refused(imported("undo", *words), code)


def test_an_undo_to_no_number_is_typed_in_a_wrong_way(imported):
    for number in ("0", "-1", "two"):
        assert "--to" in misused(imported("undo", MAIN, "--to", number))


# --- from a shell ----------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_TREE.is_dir(), reason="the real calib directory is not here")
def test_an_evening_at_the_instrument_on_real_files(tmp_path):
    def calstore(*words: object) -> Outcome:
        return spawn(*words, folder=tmp_path, environment={"CALSTORE_USER": "wilson"})

    real, sandbox, new = "xpptut15/main", "xpptut15/users/wilson/mask", "xppn4116/main"
    (tmp_path / "mask.npy").write_bytes(npy_bytes(np.ones((704, 768), np.uint8)))
    calstore("init")
    assert calstore("import", REAL_TREE, real, "-q").code == 0
    said(calstore("fork", real, sandbox))
    said(calstore("set", sandbox, "Epix100a.1", "pixel_mask", "5-20", "mask.npy"))
    said(calstore("unset", real, "Epix100a.1", "pixel_status", "30-40"))

    promoted = said(calstore("promote", sandbox, real))
    said(calstore("copy", real, "Epix100a.1", new, "--from-run", 12, "--runs", "1-end"))
    status = said(calstore("show", new, "Epix100a.1", "pixel_status"))
    said(calstore("undo", real, "--to", 1))

    assert "pixel_mask  5-20  added" in promoted
    assert f"1-end since {real}@1, " in status
    assert f"in {new} since {new}@1, " in status
    digests = [said(calstore("show", f"{real}@{n}")).split()[1] for n in (1, 4)]
    assert digests[0] == digests[1]
    assert "all as stored" in said(calstore("verify"))
