"""coverage tells for every run what psana's rule gives it, and what nobody gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import stamp
from commandline import EPIX, OPAL, REAL_TREE, Outcome, pedestals_text, write_tree
from hypothesis import given
from hypothesis import strategies as st
from ranges import LIVE, RUNS, by_brute_force, run_ranges, sets_of_ranges

from calstore.formats import psana_text_writer
from calstore.model.digest import reference_to
from calstore.model.manifests import Constant, DetectorManifest
from calstore.model.runs import END, MAX_RUN, RunRange
from calstore.repository.coverage import answers, coverage
from calstore.repository.import_tree import import_tree
from calstore.repository.store import init_store
from calstore.views.coverage import DetectorCoverage, coverage_of, shadow_of

Calstore = Callable[..., Outcome]
EPIX_KEY = ("Epix100a::CalibV1", "XppGon.0:Epix100a.1")


def constants(ranges: Mapping[RunRange, tuple[str, ...]]) -> dict[RunRange, Constant]:
    """A constant of its own for each range, for the panels of these serials."""
    return {
        runs: Constant(reference_to(str(runs).encode()), serials=serials)
        for runs, serials in ranges.items()
    }


def covered(types: Mapping[str, Mapping[RunRange, tuple[str, ...]]]) -> DetectorCoverage:
    manifest = DetectorManifest({name: constants(ranges) for name, ranges in types.items()})
    (found,) = coverage_of({EPIX_KEY: manifest}, ())
    return found


filled = sets_of_ranges.filter(bool)


@given(filled)
def test_every_run_is_told_what_a_loop_over_all_names_gives(ranges: set[RunRange]) -> None:
    (pedestals,) = covered({"pedestals": dict.fromkeys(ranges, ())}).types

    for run in RUNS:
        assert pedestals.at(run) == by_brute_force(ranges, run)
    assert pedestals.live == by_brute_force(ranges, LIVE)
    every_run = {by_brute_force(ranges, run) for run in RUNS}
    assert set(pedestals.shadowed) == ranges - every_run
    assert {run for run in RUNS if any(gap.first <= run <= gap.last for gap in pedestals.gaps)} == {
        run for run in RUNS if by_brute_force(ranges, run) is None
    }


@given(filled)
def test_stretches_cover_every_run_once_and_are_as_long_as_can_be(ranges: set[RunRange]) -> None:
    (pedestals,) = covered({"pedestals": dict.fromkeys(ranges, ())}).types
    stretches = pedestals.stretches

    assert (stretches[0].first, stretches[-1].last) == (0, END)
    for before, after in pairwise(stretches):
        assert before.last + 1 == after.first
        assert before.winner != after.winner


panels = st.sampled_from([(), ("a", "b"), ("b", "a"), ("c",)])
with_panels = st.dictionaries(run_ranges(), panels, min_size=1, max_size=6)


@given(with_panels, with_panels)
def test_pedestals_and_gains_of_different_panels_are_told_for_just_their_runs(
    pedestals: dict[RunRange, tuple[str, ...]], gains: dict[RunRange, tuple[str, ...]]
) -> None:
    found = covered({"pedestals": pedestals, "pixel_gain": gains}).mismatches

    for run in RUNS:
        mine, theirs = by_brute_force(pedestals, run), by_brute_force(gains, run)
        told = [one for one in found if one.first <= run <= one.last]
        expected = []
        if mine is not None and theirs is not None:
            both = pedestals[mine], gains[theirs]
            if all(both) and both[0] != both[1]:
                expected = [(mine, theirs, both)]
        assert [(one.pedestals, one.winner, one.panels) for one in told] == expected


@given(sets_of_ranges, run_ranges())
def test_a_shadow_is_told_if_and_only_if_some_run_gets_another(
    ranges: set[RunRange], runs: RunRange
) -> None:
    shadow = shadow_of(ranges, runs)

    winners = {run: by_brute_force({*ranges, runs}, run) for run in RUNS if runs.holds(run)}
    taken = [run for run, winner in winners.items() if winner != runs]
    if shadow is None:
        assert taken == []
    else:
        assert taken[0] == shadow.first
        assert winners[taken[0]] == shadow.by
        assert shadow.is_whole == (len(taken) == len(winners))
        assert shadow.last <= runs.last


def test_a_shadow_is_said_as_a_person_would() -> None:
    def said(runs: str, *others: str) -> str:
        return str(shadow_of(map(RunRange.parse, others), RunRange.parse(runs)))

    assert said("5-20", "10-end") == "5-20 is shadowed by 10-end from run 10"
    assert said("5-20", "10-12") == "5-20 is shadowed by 10-12 from run 10 to 12"
    assert said("5-end", "5-9999") == "5-end is shadowed by 5-9999 from run 5 to 9999"
    assert said("5-20", "5-7", "8-end") == "5-20 is shadowed by 5-7: no run gets it"
    assert said("5-20", "0-end") == "None"


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        (
            ("iStar::CalibV1", "XppEndstation.0:iStar.0"),
            "nobody reads iStar::CalibV1/XppEndstation.0:iStar.0; psana looks in Camera::CalibV1/",
        ),
        (("Camera::CalibV1", "XppEndstation.0:Nothing.0"), "psana does not know the device"),
        (
            ("Camera::CalibV1", "XppEndstation.0:Opal1000.0"),
            "AMI looks in XppEndstation.0:Opal1000.0, which a view has when it is made with --for",
        ),
        (
            ("Epix10ka::CalibV1", "XppEndstation.0:Epix10k.0"),
            "AMI looks in Epix10k::CalibV1/XppEndstation.0:Epix10k.0",
        ),
    ],
)
def test_a_folder_in_which_no_reader_looks_is_told(detector: tuple[str, str], said: str) -> None:
    manifest = DetectorManifest({"pedestals": constants({RunRange(0, END): ()})})

    (found,) = coverage_of({detector: manifest}, ())

    assert [problem[: len(said)] for problem in found.problems] == [said]


def test_a_name_that_makes_psana_lose_a_folder_is_told() -> None:
    manifest = DetectorManifest({"pedestals": constants({RunRange(0, END): ()})})
    path = f"{EPIX}/pedestals/7-foo.data"

    (found,) = coverage_of({EPIX_KEY: manifest}, [path, f"{EPIX}/pedestals/HISTORY"])

    assert len(found.problems) == 1
    assert found.problems[0].startswith(path)
    assert "loses every constant of the folder" in found.problems[0]


def test_types_that_psana_asks_for_and_nobody_gave_are_told_with_their_defaults() -> None:
    found = covered({"pedestals": {RunRange(0, END): ()}})

    assert found.absent == {
        "pixel_rms": "1 everywhere",
        "pixel_status": "0 everywhere",
        "pixel_gain": "1 everywhere",
        "common_mode": "4 6 30 30",
        "geometry": "the table shipped with psana",
    }


def test_a_run_is_told_by_which_record_its_constant_came(tmp_path: Path) -> None:
    store = init_store("memory:", "0" * 32)
    files = {f"{OPAL}/pedestals/1-end.data": pedestals_text(1)}
    import_tree(store, write_tree(tmp_path / "one", files), "xpp/main", stamp())
    files[f"{OPAL}/pedestals/10-20.data"] = pedestals_text(2)
    import_tree(store, write_tree(tmp_path / "two", files), "xpp/main", stamp())
    version = store["xpp/main"]
    (found,) = coverage(version)

    (answer,) = answers(version, found, 15)

    assert answer.constant is not None
    assert answer.record is not None
    assert (str(answer.constant.runs), answer.record.name) == ("10-20", "xpp/main@2")
    assert list(map(str, answer.beaten)) == ["1-end"]


@pytest.mark.skipif(
    not REAL_TREE.is_dir(), reason="the real calibration files are not beside this checkout"
)
def test_on_the_real_tree_every_run_is_told_what_the_names_of_its_files_give() -> None:
    store = init_store("memory:", "0" * 32)
    import_tree(store, REAL_TREE, "xppn4116/main", stamp())

    found = {one.detector: one for one in coverage(store["xppn4116/main"])}

    names: dict[tuple[str, str, str], list[str]] = {}
    for path in REAL_TREE.rglob("*.data"):
        group, source, type_name, name = path.relative_to(REAL_TREE).parts
        names.setdefault((group, source, type_name), []).append(name.removesuffix(".data"))
    assert names
    for (group, source, type_name), spelled in names.items():
        ranges = [RunRange.parse(text) for text in spelled]
        (of_type,) = [one for one in found[group, source].types if one.name == type_name]
        for run in (0, 1, 98, 99, 136, 137, MAX_RUN, MAX_RUN + 1, LIVE):
            assert of_type.at(run) == by_brute_force(ranges, run)
    assert set(found) == {(group, source) for group, source, _ in names}


@pytest.fixture
def imported(calstore: Calstore, camera_tree: Path) -> Calstore:
    status = psana_text_writer.write(np.zeros((3, 4), np.uint16), type_name="pixel_status")
    write_tree(
        camera_tree,
        {
            f"{OPAL}/pedestals/12-15.data": pedestals_text(300),
            f"{OPAL}/pedestals/11-20.data": pedestals_text(400),
            f"{OPAL}/pedestals/11-30.data": pedestals_text(400),
            f"{OPAL}/pixel_status/5-9.data": status,
        },
    )
    assert calstore("import", camera_tree, "xpp/main").code == 0
    return calstore


def test_the_table_says_which_runs_get_what(imported: Calstore) -> None:
    lines = imported("coverage", "xpp/main", "--detector", "Opal").out.splitlines()
    rows = [line.split() for line in lines if line.startswith("  ")]

    assert lines[2] == OPAL
    start = next(number for number, row in enumerate(rows) if row[0] == "pedestals")
    assert rows[start][:3] == ["pedestals", "0-0", "nothing"]
    assert [row[:2] for row in rows[start + 1 : start + 7]] == [
        ["1-9", "1-end"],
        ["10-10", "10-20"],
        ["11-11", "11-20"],
        ["12-15", "12-15"],
        ["16-20", "11-20"],
        ["21-30", "11-30"],
    ]
    assert "live AMI too" in " ".join(rows[start + 7])
    assert ["live", "AMI", "finds", "no", "pixel_status:"] not in [row[:5] for row in rows]


def test_one_run_is_told_what_it_gets_and_why(imported: Calstore) -> None:
    outcome = imported("coverage", "xpp/main", "--run", "15")
    lines = [line.split(maxsplit=3) for line in outcome.out.splitlines() if line[:2] == "  "]
    told = {row[0]: row[1:] for row in lines}

    assert told["pedestals"][0] == "12-15"
    assert told["pedestals"][2].startswith("since xpp/main@1, ")
    assert told["pedestals"][2].endswith("goes before 1-end, 10-20, 11-20, 11-30")
    assert told["pixel_status"][0] == "nothing"
    assert "no array, so the data stay as they are" in outcome.out


def test_json_says_the_same_as_the_table(imported: Calstore) -> None:
    document = json.loads(imported("coverage", "xpp/main", "--run", "8", "--json").out)

    (opal,) = document["detectors"]
    types = {one["type"]: one for one in opal["types"]}
    assert [one["runs"] for one in types["pixel_status"]["stretches"]] == ["0-4", "5-9", "10-end"]
    assert [one["winner"] for one in types["pixel_status"]["stretches"]] == [None, "5-9", None]
    assert {one["type"]: one["winner"] for one in opal["run"]} == {
        "geometry": "0-end",
        "pedestals": "1-end",
        "pixel_status": "5-9",
    }


def test_wrong_words_are_answered_in_a_line(imported: Calstore) -> None:
    for words, code in (
        (("coverage", "xpp/none"), 3),
        (("coverage", "xpp/main", "--detector", "Epix"), 3),
        (("coverage", "xpp/main", "--run", "-1"), 2),
        (("coverage", "xpp"), 5),
    ):
        outcome = imported(*words)
        assert outcome.code == code, words
        assert outcome.out == ""


def test_an_underlay_tells_where_it_does_not_reach(imported: Calstore, tmp_path: Path) -> None:
    (tmp_path / "new.data").write_bytes(pedestals_text(7))
    words = ("set", "xpp/main", "Opal", "pedestals")

    under = imported(*words, "5-14", "new.data", "--underlay")
    over = imported(*words, "5-14", "new.data")
    free = imported(*words, "50-60", "new.data", "--underlay")

    assert under.err == "warning: pedestals 5-14 is shadowed by 10-20 from run 10 to 10\n"
    assert (over.err, free.err) == ("", "")


def test_an_import_tells_of_what_cannot_reach_its_runs(
    calstore: Calstore, camera_tree: Path
) -> None:
    write_tree(camera_tree, {f"{OPAL}/pedestals/30-40.data": pedestals_text(1)})
    write_tree(camera_tree, {f"{OPAL}/pedestals/30-50.data": pedestals_text(2)})
    write_tree(camera_tree, {f"{OPAL}/pedestals/41-50.data": pedestals_text(3)})
    source = OPAL.rpartition("/")[2]

    first = calstore("import", camera_tree, "xpp/main")
    write_tree(camera_tree, {f"{OPAL}/pedestals/5-20.data": pedestals_text(4)})
    second = calstore("import", camera_tree, "xpp/main")
    third = calstore("import", camera_tree, "xpp/main")

    whole = f"warning: {source} pedestals 30-50 is shadowed by 30-40: no run gets it\n"
    assert first.err == whole
    assert second.err == f"warning: {source} pedestals 5-20 is shadowed by 10-20 from run 10\n"
    assert third.err == ""
