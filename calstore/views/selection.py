"""The part of a version that a view shall have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from calstore.errors import NotFound
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.views.receipt import Part
from calstore.views.resolve import Timeline


@dataclass(frozen=True, slots=True)
class Selection:
    """All of a version, or one detector, one of its types, what one run gets.

    Parameters
    ----------
    detector, type_name, run
        ``None`` for all; a type needs a detector.
    """

    detector: Detector | None = None
    type_name: str | None = None
    run: int | None = None

    @classmethod
    def of_part(cls, part: Part) -> Selection:
        """What a part of a view, in a layout with groups, was made of."""
        if not part.under:
            return cls(run=part.run)
        group, source, *types = part.under.split("/")
        return cls((group, source), types[0] if types else None, part.run)

    def under(self, detector_folder: str) -> str:
        """The folder of the selection, where its detector has this one; ``""`` for all."""
        if self.detector is None:
            return ""
        return detector_folder if self.type_name is None else f"{detector_folder}/{self.type_name}"

    def detectors(
        self, detectors: Mapping[Detector, DetectorManifest]
    ) -> dict[Detector, DetectorManifest]:
        """The selected detectors, each with its selected constants.

        Raises
        ------
        NotFound
            When nothing is left.
        """
        selected = {}
        for key, manifest in detectors.items():
            if self.detector not in (None, key):
                continue
            types = {
                name: by_range
                for name, all_ranges in manifest.constants.items()
                if self.type_name in (None, name) and (by_range := self._of_run(all_ranges))
            }
            if types:
                selected[key] = DetectorManifest(types)
        if detectors and not selected:
            raise NotFound(f"there is nothing for {self}; calstore show lists what there is")
        return selected

    def files(self, files: Mapping[str, Reference]) -> dict[str, Reference]:
        """The selected loose files: those of a detector lie in its folder, a run has none."""
        if self.run is not None:
            return {}
        folder = "" if self.detector is None else self.under("/".join(self.detector)) + "/"
        return {path: blob for path, blob in files.items() if path.startswith(folder)}

    def _of_run(self, by_range: Mapping[RunRange, Constant]) -> Mapping[RunRange, Constant]:
        if self.run is None:
            return by_range
        winner = Timeline(by_range).at(self.run)
        return {} if winner is None else {winner: by_range[winner]}

    def __str__(self) -> str:
        words = [] if self.detector is None else [self.detector[1]]
        if self.type_name is not None:
            words.append(self.type_name)
        if self.run is not None:
            words.append(f"run {self.run}")
        return " ".join(words) or "all"
