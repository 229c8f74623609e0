"""Approvals: who vouched for which set, what readers take of it, and what stands against it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from backends import FailingBackend, copied, counting
from builders import damages, small_files, stamp, write_files
from commandline import Outcome, run
from object_store import shorten

from calstore.errors import CalstoreError, Invalid, NotFound
from calstore.model.records import Stamp
from calstore.model.runs import RunRange
from calstore.repository.approvals import approval_of, approvals_log
from calstore.repository.approve import approve
from calstore.repository.branch import delete_ref, fork
from calstore.repository.import_tree import import_tree
from calstore.repository.refs import refs
from calstore.repository.set_constant import set_constant
from calstore.repository.settings import change_setting, settings_of
from calstore.repository.store import Store, init_store, open_store
from calstore.store import logs

MAIN = "cxis0113/main"


@pytest.fixture
def store(tmp_path: Path, store_place: str) -> Store:
    """A ref with three records."""
    store = init_store(store_place, "0" * 32)
    import_tree(store, write_files(tmp_path / "tree", small_files()), MAIN, stamp())
    for run_number in (5, 7):
        change(store, run_number)
    return store


def change(store: Store, run_number: int) -> None:
    values = np.full((3, 4), run_number, np.float32)
    runs = RunRange(run_number, run_number)
    set_constant(store, MAIN, "Opal1000.0", "pedestals", runs, values, stamp())


def operator(claimed: str | None) -> Stamp:
    by_wilson = stamp("flat")
    who = dataclasses.replace(by_wilson.who, user="cxiopr", claimed=claimed)
    return dataclasses.replace(by_wilson, who=who)


def test_the_newest_approved_version_is_taken_wherever_the_ref_has_gone(store: Store) -> None:
    approve(store, f"{MAIN}@1", "good", stamp("flat"))
    approve(store, f"{MAIN}@2", "good", stamp("flatter"))

    version = store.version(MAIN, approved=True)

    assert version.name == f"{MAIN}@2"
    assert version.digest == store[f"{MAIN}@approved"].digest == store[f"{MAIN}@2"].digest
    assert store[MAIN].name == f"{MAIN}@3"


def test_the_newest_word_about_a_set_counts(store: Store) -> None:
    approve(store, f"{MAIN}@1", "good", stamp("flat"))
    approve(store, f"{MAIN}@2", "good", stamp("flat"))
    approve(store, f"{MAIN}@2", "rejected", stamp("a light leak"))

    assert store.version(MAIN, approved=True).name == f"{MAIN}@1"
    approve(store, f"{MAIN}@1", "superseded", stamp("see @3"))
    with pytest.raises(
        NotFound, match=r"no version of cxis0113/main is approved.*calstore approve"
    ):
        store.version(MAIN, approved=True)


def test_a_word_is_about_the_set_under_every_name_that_it_has(store: Store) -> None:
    fork(store, MAIN, "cxis0113/users/wilson/try", stamp())

    record = approve(store, "cxis0113/users/wilson/try", "good", stamp("flat"))

    assert store.version(MAIN, approved=True).name == f"{MAIN}@3"
    assert record.what == "good: cxis0113/users/wilson/try@1"
    assert [parent.log for parent in record.parents] == ["refs/cxis0113/users/wilson/try"]


def test_a_digest_is_approved_without_any_name(store: Store) -> None:
    digest = store[f"{MAIN}@1"].digest

    record = approve(store, str(digest), "rejected", stamp("dead row"))

    assert record.what == f"rejected: {digest}"
    assert record.parents == ()
    assert approval_of(store, digest) == record


@pytest.mark.parametrize("why", ["", "  \n"])
def test_an_approval_without_a_reason_is_refused(store: Store, why: str) -> None:
    with pytest.raises(Invalid, match="needs a reason"):
        approve(store, MAIN, "good", stamp(why))

    assert logs.names(store.backend, "approvals/") == []


def test_a_status_that_is_not_there_is_refused_with_those_that_are(store: Store) -> None:
    with pytest.raises(Invalid, match="'fine'; choose one of good, rejected, superseded"):
        approve(store, MAIN, "fine", stamp("flat"))


def test_a_shared_account_must_say_who_it_is(store: Store) -> None:
    with pytest.raises(Invalid, match=r"cxiopr is an account that several share.*CALSTORE_USER"):
        approve(store, MAIN, "good", operator(None))

    record = approve(store, MAIN, "good", operator("ada"))

    assert str(record.stamp.who) == "ada (cxiopr)"


def test_what_was_approved_before_a_deletion_is_not_taken_after_it(
    store: Store, tmp_path: Path
) -> None:
    approve(store, f"{MAIN}@1", "good", stamp("flat"))
    delete_ref(store, MAIN, stamp())
    with pytest.raises(NotFound, match="was deleted"):
        store.version(MAIN, approved=True)
    other = write_files(tmp_path / "other", small_files(1))

    import_tree(store, other, MAIN, stamp())

    with pytest.raises(NotFound, match="no version of"):
        store.version(MAIN, approved=True)


@pytest.mark.parametrize("name", [f"{MAIN}@1", "xxh128:0123456789"])
def test_only_a_ref_has_a_newest_approved_version(store: Store, name: str) -> None:
    with pytest.raises(Invalid):
        store.version(name, approved=True)


def test_ten_people_at_once_are_all_heard(store: Store) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: approve(store, MAIN, "good", stamp(f"by {n}")), range(10)))

    entries = list(logs.history(store.backend, approvals_log(store[MAIN].digest)))

    assert {entry.record.stamp.why for entry in entries} == {f"by {n}" for n in range(10)}
    assert [entry.record.number for entry in entries] == list(range(10, 0, -1))


def test_verify_reads_approvals_and_finds_a_torn_one(store: Store, store_place: str) -> None:
    approve(store, MAIN, "good", stamp("flat"))
    assert damages(store) == ()

    shorten(store_place, "approvals/*/00000001")

    assert [damage.key for damage in damages(store)] == [
        f"approvals/{store[MAIN].digest.hex}/00000001"
    ]
    assert damages(open_store(store_place))


@pytest.mark.parametrize("before", [True, False])
def test_whatever_call_fails_a_word_and_a_setting_are_there_or_not_and_once_more_mends_it(
    store: Store, before: bool
) -> None:
    origin = store.backend
    digest = store[MAIN].digest
    for act, read in (
        (lambda to: approve(to, MAIN, "good", stamp("flat")), lambda to: approval_of(to, digest)),
        (
            lambda to: change_setting(to, "calib-dir/xppn4116", "/here", stamp()),
            lambda to: settings_of(to).get("calib-dir/xppn4116"),
        ),
    ):
        for nth in range(1, 40):
            inner = Store(copied(origin), store.id)
            failing = FailingBackend(inner.backend, nth, before)
            succeeded = True
            try:
                act(Store(failing, store.id))
            except CalstoreError:
                succeeded = False
            if failing.failed is None:
                break
            assert damages(inner) == ()
            assert not succeeded or read(inner)
            act(inner)
            assert read(inner)
            assert damages(inner) == ()
        assert 3 < nth < 39


def test_listing_refs_asks_once_for_all_approvals(store: Store) -> None:
    for number in range(20):
        fork(store, MAIN, f"cxis0113/users/wilson/try{number}", stamp())
    from calstore.repository.approvals import approval_finder

    backend = counting(store.backend)
    counted = Store(backend, store.id)

    approval = approval_finder(counted)
    found = [approval(ref.head.manifest.digest) for ref in refs(store) if ref.head.manifest]

    assert found == [None] * 21
    assert dict(backend.calls) == {"list": 1}


@pytest.fixture
def approved(calstore: Callable[..., Outcome], camera_tree: Path) -> Callable[..., Outcome]:
    assert calstore("import", camera_tree, "xpp/main").code == 0
    assert (
        calstore("approve", "xpp/main", "--status", "good", "--reason", "flat\nand dark").code == 0
    )
    (camera_tree / "notes.txt").write_bytes(b"changed\n")
    assert calstore("import", camera_tree, "xpp/main").code == 0
    return calstore


def test_refs_log_show_and_coverage_say_who_approved_and_that_it_is_a_claim(
    approved: Callable[..., Outcome],
) -> None:
    claim = r"(name claimed)"

    assert approved("refs").out.split()[3] == "-"
    assert claim not in approved("show", "xpp/main").out
    for words in (("log", "xpp/main"), ("show", "xpp/main@1"), ("coverage", "xpp/main@1")):
        text = approved(*words).out
        assert "good by " in text
        assert claim in text
        assert "flat\\nand dark" in text, "what people wrote does not reach the terminal raw"


def test_json_of_approvals_says_that_nothing_was_verified(approved: Callable[..., Outcome]) -> None:
    log = json.loads(approved("log", "xpp/main", "--json").out)
    show = json.loads(approved("show", "xpp/main@1", "--json").out)

    assert list(log["approvals"]) == ["xpp/main@1"]
    assert show["approval"] == log["approvals"]["xpp/main@1"]
    assert show["approval"]["verified"] is False
    assert json.loads(approved("refs", "--json").out)["refs"][0]["approval"] is None


def test_materialize_approved_makes_the_approved_set(
    approved: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = approved("materialize", "xpp/main", "view", "--approved")

    assert outcome.code == 0
    assert "xpp/main@1" in outcome.out
    assert (tmp_path / "view" / "notes.txt").read_bytes() == b"by hand\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("approve", "xpp/none", "--status", "good", "--reason", "x"), 3, "there is no ref"),
        (("approve", "xpp/main", "--status", "fine", "--reason", "x"), 5, "choose one of"),
        (("approve", "xpp/main", "--status", "good", "--reason", " "), 5, "needs a reason"),
        (("approve", "xpp/main", "--status", "good"), 2, "--reason"),
        (("show", "xpp/main@approve"), 5, "xpp/main@approved"),
        (("materialize", "xpp/main@1", "view", "--approved"), 5, "name the ref"),
    ],
)
def test_wrong_words_are_answered_in_a_line(
    approved: Callable[..., Outcome], words: tuple[str, ...], code: int, said: str
) -> None:
    outcome = approved(*words)

    assert outcome.code == code
    assert said in outcome.err


def test_an_operator_account_is_refused_on_the_command_line(
    approved: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pwd

    entry = pwd.getpwuid(0)
    fields = ("xppopr", *entry[1:])
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(fields))
    words = ("approve", "xpp/main", "--status", "good", "--reason", "flat")

    refused = run(*words, folder=tmp_path)
    monkeypatch.setenv("CALSTORE_USER", "ada")
    taken = run(*words, folder=tmp_path)

    assert (refused.code, taken.code) == (5, 0)
    assert "CALSTORE_USER" in refused.err
    assert "good by ada (xppopr) (name claimed)" in taken.out
