"""materialize: a version becomes a directory that psana reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.damage import naming_versions
from calstore.repository.provenance import records_of
from calstore.repository.store import Store
from calstore.repository.version import Version, load_detector
from calstore.store import objects
from calstore.views.plan import (
    Content,
    History,
    Layout,
    Npy,
    Origin,
    Origins,
    Text,
    Verbatim,
    is_rendered,
    plan,
)
from calstore.views.receipt import Receipt
from calstore.views.write import Change, Render, write_view

if TYPE_CHECKING:
    from calstore.model.digest import Buffer


def materialize(
    store: Store,
    version: Version,
    dest: Path,
    *,
    layout: Layout = "psana",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Change:
    """Make ``dest`` a view of the version: its constants and loose files, as files.

    Parameters
    ----------
    dest
        A directory that does not exist, is empty, or is a view that calstore made.
    layout
        ``psana`` for what psana and AMI read; ``npy`` for arrays as ``.npy``.
    progress
        Called with the number of files done and of all.

    Raises
    ------
    Conflict
        When calstore did not make ``dest``, or somebody changed a file in it.
    Invalid
        When an array of the version cannot be written in psana's text.
    Corrupt
        When a constant is not what was stored. ``dest`` is then as before, or has some of its
        files renewed; the same command mends it.
    """
    with naming_versions(store):
        detectors = {
            key: load_detector(store, reference)
            for key, reference in version.manifest.detectors.items()
        }
        origins = _origins(version, detectors, layout)
        planned = plan(detectors, version.manifest.files, layout, origins)
        receipt = Receipt(store.id, version.name, str(version.digest), layout)
        return write_view(dest, planned, receipt, _renderer(store), progress)


def _renderer(store: Store) -> Render:
    def render(content: Content) -> Sequence[Buffer]:
        match content:
            case Verbatim(blob):
                return [objects.get(store.backend, objects.BLOBS, blob)]
            case History():
                return [_history(store, content)]
            case Text(reference, type_name, comments):
                from calstore.formats import psana_text_writer
                from calstore.store import arrays

                array = arrays.get(store.backend, reference)
                return [psana_text_writer.write(array, type_name=type_name, comments=comments)]
            case Npy(reference):
                return _npy(store, content)

    return render


def _npy(store: Store, content: Npy) -> Sequence[Buffer]:
    from calstore.formats import npy
    from calstore.store import arrays

    return npy.render(arrays.get(store.backend, content.array))


def _history(store: Store, content: History) -> bytes:
    from calstore.formats import history

    imported = b""
    if content.imported is not None:
        imported = objects.get(store.backend, objects.BLOBS, content.imported)
        if imported and not imported.endswith(b"\n"):
            imported += b"\n"
    lines = [
        history.render(
            file=name,
            copy_of=str(digest),
            experiment=origin.experiment,
            run="-",
            comment=f"{origin.record} {origin.what}",
            user=origin.user,
            host=origin.host,
            time=origin.when.partition(".")[0],
            zone="UTC",
        )
        for name, digest, origin in content.lines
    ]
    return imported + "".join(line.rstrip("\n") + "\n" for line in lines).encode()


def _origins(
    version: Version, detectors: dict[Detector, DetectorManifest], layout: Layout
) -> Origins:
    rendered: dict[tuple[Detector, str, RunRange], Constant] = {
        (key, type_name, runs): constant
        for key, manifest in detectors.items()
        for type_name, by_range in manifest.constants.items()
        for runs, constant in by_range.items()
        if layout == "psana" and is_rendered(constant, layout)
    }
    if not rendered:
        return {}
    return {
        key: Origin(
            record=record.name,
            experiment=record.log.split("/")[1],
            user=str(record.stamp.who),
            host=record.stamp.who.host,
            when=record.stamp.when,
            what=record.what,
            why=record.stamp.why,
        )
        for key, record in records_of(version, rendered).items()
    }
