"""materialize: a version becomes a directory that psana reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from calstore.errors import Conflict, Invalid
from calstore.model.manifests import Detector, DetectorManifest
from calstore.repository import ami
from calstore.repository.damage import naming_versions
from calstore.repository.rendering import origins_of, renderer
from calstore.repository.store import Store
from calstore.repository.version import Version, load_detector
from calstore.views import generations as generation
from calstore.views.plan import Content, Layout, plan
from calstore.views.receipt import Part, Receipt
from calstore.views.remarks import ViewRemark, remarks_on
from calstore.views.selection import Selection
from calstore.views.update import update
from calstore.views.write import Change, Job, build, drop_unfinished

ALL = Selection()


def materialize(
    store: Store,
    version: Version,
    dest: Path,
    *,
    layout: Layout = "psana",
    selection: Selection = ALL,
    for_ami: bool = False,
    discard: bool = False,
    generations: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Change:
    """Make ``dest`` a view of the version: its constants and loose files, as files.

    Parameters
    ----------
    dest
        A new directory appears at once. One that is there is updated file by file: what
        others put there stays, new files come before old ones go.
    layout
        ``psana`` for what psana and AMI read; ``version`` for the same with the calib-version
        in the group's place; ``npy`` for arrays as ``.npy``.
    selection
        One detector, one of its types, or what one run gets. The rest of a directory that is
        there stays as it is, but for ``run`` alone, which takes the place of all.
    for_ami
        Also make the aliases that AMI looks for, render anew what AMI would drop in silence, and
        refuse what that does not mend.
    discard
        Let files give way that calstore did not leave so.
    generations
        Make ``dest`` a link that is switched at once, and keep that many directories.
    progress
        Called with the number of files done and of all.

    Raises
    ------
    Conflict
        When a file that would be touched holds somebody's work.
    Invalid
        When an array of the version cannot be written in psana's text, or AMI would drop it.
    NotFound
        When the selection is empty.
    Corrupt
        When a constant is not what was stored. ``dest`` is then as before, or has some of its
        files renewed; the same command mends it.
    """
    if generations is not None and (generations < 1 or selection != ALL):
        raise Invalid("generations: keep 1 or more, of whole versions")
    with naming_versions(store):
        said: list[ViewRemark] = []
        job = _job(version, layout, selection, for_ami, discard, progress, said)
        change = _made(dest, job, generations)
    concerned = (
        remark
        for remark in said
        if any(path.startswith(f"{remark.folder}/") for path in change.written)
    )
    return replace(change, remarks=tuple(concerned))


def contents_of(
    version: Version, layout: Layout, selection: Selection, for_ami: bool
) -> tuple[Mapping[Detector, DetectorManifest], Mapping[str, Content]]:
    """The constants that a view has, and its files: path → what it holds.

    Raises
    ------
    Invalid
        When AMI would drop a constant, or two things would get the same path.
    NotFound
        When the selection is empty.
    """
    detectors = selection.detectors(
        {
            key: load_detector(version.store, reference)
            for key, reference in version.manifest.detectors.items()
            if selection.detector in (None, key)
        }
    )
    if for_ami:
        detectors = ami.for_ami(version, detectors, selection)
    origins = origins_of(version, detectors, layout)
    files = selection.files(version.manifest.files)
    return detectors, plan(detectors, files, layout, origins, calib_version_of(version, layout))


def calib_version_of(version: Version, layout: Layout) -> str:
    """The name in the group's place; ``""`` where the layout has groups."""
    if layout != "version":
        return ""
    if version.record is None:
        raise Invalid(f"{version.name} is a digest; the layout version needs the name of a ref")
    return version.record.log.rpartition("/")[2]


def _made(dest: Path, job: Job, generations: int | None) -> Change:
    drop_unfinished(dest)
    if generations is not None:
        return generation.switch(dest, job, generations)
    if generation.current(dest) is not None:
        raise Conflict(f"{dest} is a link to generations; update it with --generations K")
    if not os.path.lexists(dest):
        return build(dest, job)
    # A directory that is there, be it empty, has an owner, a mode and an access list to keep.
    return update(dest, job)


def _job(
    version: Version,
    layout: Layout,
    selection: Selection,
    for_ami: bool,
    discard: bool,
    progress: Callable[[int, int], None],
    said: list[ViewRemark],
) -> Job:
    """What is to be done; what is to be said comes with the plan."""
    if for_ami and layout != "psana":
        raise Invalid(f"AMI reads the layout psana, not {layout}")

    def make_plan() -> Mapping[str, Content]:
        detectors, planned = contents_of(version, layout, selection, for_ami)
        said.extend(remarks_on(detectors, layout))
        if for_ami:
            said.extend(ami.remarks_on(version, detectors, selection))
        return planned

    folder = _folder(selection.detector, calib_version_of(version, layout))
    part = Part(version.name, str(version.digest), selection.under(folder), selection.run)
    links = ami.aliases(version.detectors, selection.detector) if for_ami else {}
    receipt = Receipt(version.store.id, layout, (part,), for_ami, links=links)
    return Job(receipt, make_plan, renderer(version.store), discard, progress)


def _folder(detector: Detector | None, calib_version: str) -> str:
    if detector is None:
        return ""
    return f"{calib_version or detector[0]}/{detector[1]}"
