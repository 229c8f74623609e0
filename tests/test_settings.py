"""A known experiment: the store remembers where its directories are, and commands need no path."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from builders import damages, stamp
from commandline import OPAL, Outcome, regular_files
from hypothesis import given
from hypothesis import strategies as st

from calstore.errors import Invalid
from calstore.repository.settings import change_setting, is_experiment, place_of, settings_of
from calstore.repository.store import Store, init_store

Calstore = Callable[..., Outcome]


@pytest.fixture
def store(kept_place: str) -> Store:
    return init_store(kept_place, "0" * 32)


def test_without_settings_an_experiment_is_where_lcls_has_it(store: Store) -> None:
    place = place_of(store, "calib-dir", "xppn4116")

    assert place == Path("/sdf/data/lcls/ds/xpp/xppn4116/calib")
    assert place_of(store, "data-dir", "XPPn4116").parts[-3:] == ("xpp", "XPPn4116", "xtc")


def test_one_experiment_goes_before_the_pattern_of_all(store: Store) -> None:
    change_setting(store, "calib-dir", "/data/{experiment}/{instrument}/calib", stamp())
    change_setting(store, "calib-dir/xppn4116", "/elsewhere", stamp())

    assert place_of(store, "calib-dir", "xppn4116") == Path("/elsewhere")
    assert place_of(store, "calib-dir", "cxis0113") == Path("/data/cxis0113/cxi/calib")


def test_unset_goes_back_and_history_stays(store: Store) -> None:
    change_setting(store, "calib-dir/xppn4116", "/one", stamp())
    change_setting(store, "calib-dir/xppn4116", "/two", stamp())

    record = change_setting(store, "calib-dir/xppn4116", None, stamp("moved back"))

    assert record is not None
    assert (record.number, record.what) == (3, "calib-dir/xppn4116 is the default")
    assert settings_of(store) == {}
    assert damages(store) == ()


def test_what_is_so_already_adds_no_record(store: Store) -> None:
    change_setting(store, "calib-dir/xppn4116", "/one", stamp())

    assert change_setting(store, "calib-dir/xppn4116", "/one", stamp()) is None
    assert change_setting(store, "data-dir", None, stamp()) is None


def test_settings_of_a_newer_calstore_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calstore.repository import settings

    monkeypatch.setattr(settings, "DEFAULTS", {**settings.DEFAULTS, "frames": ""})
    change_setting(store, "frames", "/frames/{experiment}", stamp())
    monkeypatch.undo()

    change_setting(store, "calib-dir/xppn4116", "/one", stamp())

    assert settings_of(store) == {"calib-dir/xppn4116": "/one", "frames": "/frames/{experiment}"}


def test_eight_writers_of_settings_lose_none(tmp_path: Path) -> None:
    store = init_store(tmp_path / "store", "0" * 32)

    def one(number: int) -> None:
        change_setting(store, f"calib-dir/xpp{number:05d}", f"/{number}", stamp())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(40)))

    assert settings_of(store) == {f"calib-dir/xpp{n:05d}": f"/{n}" for n in range(40)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("calib", "/x"),
        ("calib-dir/", "/x"),
        ("calib-dir/../x", "/x"),
        ("calib-dir/xx", "/x"),
        ("calib-dir/xppn4116", "relative"),
        ("calib-dir/xppn4116", ""),
        ("calib-dir/xppn4116", "/a\nb"),
        ("calib-dir/xppn4116", "/{hutch}/x"),
        ("calib-dir/xppn4116", "/{experiment"),
        ("calib-dir/xppn4116", "/{experiment.__class__}"),
        ("calib-dir", "/all/in/one/place"),
    ],
)
def test_what_is_no_setting_is_refused(store: Store, name: str, value: str) -> None:
    with pytest.raises(Invalid):
        change_setting(store, name, value, stamp())

    assert settings_of(store) == {}


@given(st.text())
def test_no_name_of_an_experiment_leads_out_of_its_place(text: str) -> None:
    if is_experiment(text):
        assert text.isalnum()
        assert text.isascii()


@pytest.fixture
def known(calstore: Calstore, tmp_path: Path) -> Calstore:
    """A store that knows that experiments are below ``ds``; xppn4116 is there."""
    (tmp_path / "ds" / "xppn4116").mkdir(parents=True)
    pattern = f"{tmp_path}/ds/{{experiment}}/calib"
    assert calstore("config", "calib-dir", pattern).code == 0
    return calstore


def test_import_and_materialize_need_no_path(
    known: Calstore, camera_tree: Path, tmp_path: Path
) -> None:
    calib = tmp_path / "ds" / "xppn4116" / "calib"
    camera_tree.rename(calib)
    before = regular_files(calib)

    imported = known("import", "xppn4116", "-m", "as found")
    (calib / OPAL / "pedestals" / "10-20.data").unlink()
    made = known("materialize", "xppn4116/main")

    assert (imported.code, made.code) == (0, 0), made.err
    assert imported.out.startswith("xppn4116/main@1")
    assert regular_files(calib) == before


def test_an_experiment_goes_into_the_ref_that_is_named(
    known: Calstore, camera_tree: Path, tmp_path: Path
) -> None:
    camera_tree.rename(tmp_path / "ds" / "xppn4116" / "calib")

    outcome = known("import", "xppn4116", "xppn4116/users/ada/try")

    assert outcome.out.startswith("xppn4116/users/ada/try@1")


def test_a_sandbox_never_goes_into_the_experiments_directory_unasked(
    known: Calstore, camera_tree: Path, tmp_path: Path
) -> None:
    known("import", camera_tree, "xppn4116/users/ada/try")
    known("fork", "xppn4116/users/ada/try", "detectors/opal-1/main")

    for ref in ("xppn4116/users/ada/try", "detectors/opal-1/main"):
        outcome = known("materialize", ref)
        assert outcome.code == 5
        assert "name DEST" in outcome.err
    assert not (tmp_path / "ds" / "xppn4116" / "calib").exists()


def test_no_directory_is_made_where_the_experiment_is_not(
    known: Calstore, camera_tree: Path, tmp_path: Path
) -> None:
    known("import", camera_tree, "cxis0113/main")

    for words in (("materialize", "cxis0113/main"), ("import", "cxis0113")):
        outcome = known(*words)
        assert outcome.code == 3
        assert f"there is no {tmp_path}/ds/cxis0113" in outcome.err
        assert "calstore config calib-dir/cxis0113 PATH" in outcome.err
    assert not (tmp_path / "ds" / "cxis0113").exists()


def test_a_directory_without_a_ref_is_refused(known: Calstore, camera_tree: Path) -> None:
    outcome = known("import", camera_tree)

    assert outcome.code == 5
    assert "name the ref as well" in outcome.err


def test_config_shows_what_holds_and_what_was_set(known: Calstore, tmp_path: Path) -> None:
    known("config", "calib-dir/cxis0113", "/cxi/calib", "-m", "moved")

    lines = known("config").out.splitlines()
    settings = json.loads(known("config", "--json").out)["settings"]

    assert [line.split()[0] for line in lines] == [
        "calib-dir",
        "data-dir",
        "ffb-dir",
        "calib-dir/cxis0113",
    ]
    assert lines[1].endswith("default")
    assert settings["calib-dir/cxis0113"] == {"default": False, "value": "/cxi/calib"}
    assert settings["data-dir"]["default"] is True
    assert known("config", "calib-dir/cxis0113").out == "/cxi/calib\n"
    known("config", "--unset", "calib-dir/cxis0113")
    assert known("config", "calib-dir/cxis0113").code == 5
