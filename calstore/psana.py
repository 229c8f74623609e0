"""Constants of a version for a run of psana 2 that is open in this process, as in a notebook."""

from __future__ import annotations

from typing import Any

from calstore.errors import Invalid
from calstore.repository.prefetch import gather
from calstore.repository.version import Version

__all__ = ["inject"]


def inject(run: Any, version: Version, *, allow_missing: bool = False) -> None:
    """Let a run of psana 2 have the constants of a version; no service is asked.

    Open the data with ``skip_calib_load="all"``, and inject before ``run.Detector()``: a detector
    keeps the constants that it was made with. For psana 4.3, of which it uses two inner names.

        run = next(psana.DataSource(files=…, skip_calib_load="all").runs())
        calstore.psana.inject(run, calstore.open(…)["mfx101332224/main"])

    Parameters
    ----------
    run
        Of psana 2, as ``DataSource.runs()`` gives it.
    allow_missing
        Whether detectors with pixels may go without constants.

    Raises
    ------
    NotFound
        When the version has nothing for a detector with pixels.
    Invalid
        For what is no run of psana 4.3.
    """
    try:
        unique_ids, number, parameters = run.get_filtered_detinfo(), run.runnum, run.dsparms
        before = run._calib_const
    except AttributeError as error:
        raise Invalid(
            f"this is no run of psana 4.3 ({error}); give one of DataSource.runs()"
        ) from None
    del before
    gathered = gather(version, int(number), unique_ids, allow_missing=allow_missing)
    run._calib_const = {name: dict(each) for name, each in gathered.constants.items()}
    parameters.calibconst = run._calib_const
