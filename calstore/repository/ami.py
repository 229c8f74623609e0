"""Views that LCLS-I AMI reads: nothing in them that AMI would replace by its default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import ami_group_of, group_of
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.repository.store import Store
from calstore.store import objects
from calstore.views.resolve import Timeline

LIVE_RUN: Final = 0x7FFFFFFF
"""The run that live AMI asks for (lcls-daq/ami event/Calib.cc): only ``-end`` files hold it."""


def aliases(detectors: Iterable[Detector]) -> dict[str, str]:
    """Links by which AMI finds what psana has elsewhere: path → target, relative to its folder."""
    links = {}
    for group, source in detectors:
        ami_group = ami_group_of(source)
        if ami_group in (None, group) or group != group_of(source):
            continue
        if ami_group:
            links[f"{ami_group}/{source}"] = f"../{group}/{source}"
        else:
            links[source] = f"{group}/{source}"
    return links


def for_ami(
    store: Store, detectors: Mapping[Detector, DetectorManifest]
) -> dict[Detector, DetectorManifest]:
    """The detectors, with constants whose imported text AMI would drop to be rendered anew.

    Raises
    ------
    Invalid
        With all reasons for which AMI would still take its default.
    """
    reasons: list[str] = []
    made = {key: _detector(store, key, manifest, reasons) for key, manifest in detectors.items()}
    if reasons:
        listed = "\n  ".join(reasons)
        raise Invalid(f"AMI would take its default in silence for {len(reasons)}:\n  {listed}")
    return made


def _detector(
    store: Store, key: Detector, manifest: DetectorManifest, reasons: list[str]
) -> DetectorManifest:
    if ami_group_of(key[1]) is None or key[0] != group_of(key[1]):
        return manifest
    from calstore.formats.ami_text import ami_reads  # brings numpy, which few views need

    for type_name in ami_reads(key[1]):
        by_range = manifest.constants.get(type_name)
        if by_range is None:
            continue
        if Timeline(by_range).at(LIVE_RUN) is None:
            last = max(by_range)
            reasons.append(
                f"{key[1]} {type_name}: no range goes to the end, so live AMI finds none; "
                f"give one with: calstore set REF {key[1]} {type_name} {last.first}-end FILE"
            )
        made = {}
        for runs, constant in by_range.items():
            where = f"{key[1]} {type_name} {runs}"
            made[runs] = _constant(store, key[1], type_name, constant, where, reasons)
        manifest = manifest.replaced(type_name, made)
    return manifest


def _constant(
    store: Store,
    source: str,
    type_name: str,
    constant: Constant,
    where: str,
    reasons: list[str],
) -> Constant:
    from calstore.formats.ami_text import ami_refusal, ami_shape_problem

    if not isinstance(constant.content, ArrayReference):
        if type_name != "geometry":
            reasons.append(f"{where}: an opaque file, not an array")
        return constant
    problem = ami_shape_problem(source, type_name, constant.content.shape)
    if problem is not None:
        reasons.append(f"{where}: {problem}")
    if constant.source is None or (constant.name or "").endswith(".npy"):
        return constant
    data = objects.get(store.backend, objects.BLOBS, constant.source)
    if ami_refusal(data, type_name, constant.content.shape) is None:
        return constant
    return replace(constant, source=None)
