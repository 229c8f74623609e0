"""unset: some runs get nothing of a type any more, and every other run keeps what it got."""

from __future__ import annotations

from calstore.errors import NotFound
from calstore.model.records import Record, Stamp
from calstore.model.runs import RunRange
from calstore.repository.change import Move, move, type_of, with_type
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version
from calstore.views.resolve import Timeline, cleared


def unset(
    store: Store, name: str, detector: str, type_name: str, runs: RunRange, stamp: Stamp
) -> Record:
    """Take a type's constants from runs: psana falls to its default there.

    Parameters
    ----------
    detector
        The source, or a unique part of it.

    Raises
    ------
    NotFound
        When there is no such ref or detector, or these runs have nothing of that type.
    Invalid
        When no file names can say so.
    """

    def decide(version: Version | None) -> Move:
        assert version is not None
        key = version.find(detector)
        before = type_of(version, key, type_name)
        pieces = Timeline(before).pieces
        if not any(piece.first <= runs.last and runs.first <= piece.last for piece in pieces):
            raise NotFound(
                f"no {type_name} for {key[1]} in runs {runs} of {version.name}; "
                f"it has {', '.join(map(str, before)) or 'none at all'}"
            )
        after = {
            new: before[old] if new == old else before[old].renamed()
            for new, old in cleared(before, runs).items()
        }
        manifest = with_type(version, key, type_name, after)
        return Move(manifest, f"unset {key[1]} {type_name} {runs}")

    return move(store, ref_name(name), decide, stamp, "unset").record
