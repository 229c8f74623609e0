"""What calstore knows of a view outlives kills between any two bytes, and costs what it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calstore.errors import Conflict
from calstore.views import ledger
from calstore.views.ledger import JOURNAL, REMOVED
from calstore.views.receipt import NAME, Part, Receipt, Written
from calstore.views.tree import Tree

EMPTY = Receipt("0" * 32, "psana", (Part("xpp/main@1", f"xxh128:{0:032x}"),))


def written(number: int) -> Written:
    return Written(f"blob xxh128:{number:032x}", f"{number:032x}", number, number)


def large(count: int = 200) -> Receipt:
    return replace(EMPTY, files={f"G/S/T/{run}-end.data": written(run) for run in range(count)})


def settled(dest: Path, receipt: Receipt) -> None:
    with Tree(dest) as tree:
        ledger.settle(tree, ledger.read(tree, dest), receipt)


def known(dest: Path) -> ledger.Ledger:
    with Tree(dest) as tree:
        return ledger.read(tree, dest)


def test_one_changed_file_of_many_is_a_line_of_the_journal(tmp_path: Path) -> None:
    before = large()
    settled(tmp_path, before)
    receipt = (tmp_path / NAME).stat()
    after = replace(before, files={**before.files, "G/S/T/7-end.data": written(1000)})

    settled(tmp_path, after)

    assert known(tmp_path).receipt == after
    assert (tmp_path / NAME).stat().st_ino == receipt.st_ino
    assert (tmp_path / JOURNAL).stat().st_size < 600


def test_many_lines_become_a_new_receipt_and_the_journal_goes(tmp_path: Path) -> None:
    now = large()
    settled(tmp_path, now)
    size, sizes = (tmp_path / NAME).stat().st_size, []

    for number in range(200):
        now = replace(now, files={**now.files, "G/S/T/7-end.data": written(number)})
        settled(tmp_path, now)
        assert known(tmp_path).receipt == now
        sizes.append((tmp_path / JOURNAL).stat().st_size if (tmp_path / JOURNAL).exists() else 0)

    assert max(sizes) <= size // 4 + 200
    assert sizes.count(0) > 1


def receipt_of(
    files: dict[int, int], folders: set[str], links: dict[str, str], number: int
) -> Receipt:
    changed = {f"G/S/T/{run}-end.data": written(other) for run, other in files.items()}
    return replace(
        EMPTY,
        files={**large(60 + number).files, **changed},
        folders=frozenset(folders),
        links=links,
        parts=(Part(f"xpp/main@{number + 1}", f"xxh128:{number:032x}", "", number),),
    )


RECEIPTS = st.lists(
    st.builds(
        receipt_of,
        st.dictionaries(st.integers(0, 65), st.integers(0, 9), max_size=5),
        st.sets(st.sampled_from(["G", "G/S", "G/S/T"])),
        st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["c", "d"])),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=6,
)


@given(RECEIPTS)
def test_what_was_settled_last_is_known(
    tmp_path_factory: pytest.TempPathFactory, receipts: list[Receipt]
) -> None:
    dest = tmp_path_factory.mktemp("view")

    for receipt in receipts:
        settled(dest, receipt)

        assert known(dest).receipt == receipt


def test_a_journal_cut_at_any_byte_says_the_old_the_new_or_that_it_was_broken_off(
    tmp_path: Path,
) -> None:
    old = large()
    settled(tmp_path, old)
    new = replace(old, files={**old.files, "README": written(5)})
    with Tree(tmp_path) as tree:
        before = ledger.read(tree, tmp_path)
        ledger.settle(tree, ledger.note(tree, before, {"README": "ab"}, ["G/S/T/7-end.data"]), new)
    data = (tmp_path / JOURNAL).read_bytes()

    seen = set()
    for end in range(len(data) + 1):
        (tmp_path / JOURNAL).write_bytes(data[:end])
        there = known(tmp_path)
        if there.noted:
            assert there.receipt == old
            assert there.noted == {"README": {"ab"}, "G/S/T/7-end.data": {REMOVED}}
            seen.add("noted")
        else:
            assert there.receipt in (old, new)
            seen.add("old" if there.receipt == old else "new")
        with Tree(tmp_path) as tree:  # whoever goes on from there is understood
            ledger.note(tree, there, {"x": "cd"}, [])
        assert known(tmp_path).noted["x"] == {"cd"}
    assert seen == {"old", "noted", "new"}


def test_a_journal_of_an_older_receipt_says_nothing(tmp_path: Path) -> None:
    old = large()
    settled(tmp_path, old)
    with Tree(tmp_path) as tree:
        ledger.note(tree, ledger.read(tree, tmp_path), {"README": "ab"}, [])
    stale = (tmp_path / JOURNAL).read_bytes()
    settled(tmp_path, large(400))
    (tmp_path / JOURNAL).write_bytes(stale)  # killed before it went

    there = known(tmp_path)

    assert there.receipt == large(400)
    assert there.noted == {}
    assert there.journal == 0


def test_an_update_of_a_directory_without_a_receipt_is_noted_too(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        ledger.note(tree, ledger.read(tree, tmp_path), {"README": "ab"}, [])

    assert known(tmp_path).receipt is None
    assert known(tmp_path).noted == {"README": {"ab"}}
    settled(tmp_path, EMPTY)
    assert known(tmp_path) == ledger.Ledger(
        EMPTY, {}, known(tmp_path).base, (tmp_path / NAME).stat().st_size
    )


@pytest.mark.parametrize(
    "line",
    [
        b'{"done": {}}',
        b'{"done": 5}',
        b'{"put": 5, "remove": []}',
        b'{"put": {}}',
        b"[]",
        b'{"done": {"files": {"x": ["k", "d", "1", 2]}}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_of_a_journal_says_nothing(tmp_path: Path, line: bytes) -> None:
    settled(tmp_path, large())
    changed = replace(large(), files={**large().files, "README": written(5)})
    settled(tmp_path, changed)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(line + b"\n")

    assert known(tmp_path).receipt == changed
    assert known(tmp_path).noted == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": 9}', b"\xff", b"null"])
def test_a_receipt_that_cannot_be_read_is_a_conflict(tmp_path: Path, data: bytes) -> None:
    (tmp_path / NAME).write_bytes(data)

    with pytest.raises(Conflict, match="materialize into a new directory"):
        known(tmp_path)
