"""How what a view holds is made from the store: rendered bytes, and where constants come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.provenance import records_of
from calstore.repository.store import Store
from calstore.repository.version import Version
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
)
from calstore.views.write import Render

if TYPE_CHECKING:
    from calstore.model.digest import Buffer


def renderer(store: Store) -> Render:
    """Makes the bytes of a file, verified, from what it is planned to hold."""

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


def origins_of(
    version: Version, detectors: Mapping[Detector, DetectorManifest], layout: Layout
) -> Origins:
    """The records by which the constants came that the layout renders."""
    rendered: dict[tuple[Detector, str, RunRange], Constant] = {
        (key, type_name, runs): constant
        for key, manifest in detectors.items()
        for type_name, by_range in manifest.constants.items()
        for runs, constant in by_range.items()
        if layout != "npy" and is_rendered(constant, layout)
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
