"""calstore: a content-addressed store for the calibration constants of X-ray detectors.

::

    import calstore

    store = calstore.open("/path/to/.calstore")
    version = store["xppn4116/main"]                            # or a record, or a digest
    constants = version["XppGon.0:Epix100a.1"].at(run=137)
    constants["pedestals"].array                                # a verified numpy array
    constants["pedestals"].provenance

Every public name is listed in ``__all__``; each is loaded when it is first used, so that a
command that needs no array does not wait for numpy and zarr.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from calstore._version import __version__

if TYPE_CHECKING:
    from calstore import psana
    from calstore.cli.identity import stamp
    from calstore.correct.common_mode import CommonMode
    from calstore.correct.corrections import Corrections
    from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
    from calstore.model.runs import RunRange
    from calstore.repository.adopt import adopt
    from calstore.repository.approve import approve
    from calstore.repository.branch import delete_ref, fork, tag
    from calstore.repository.check import check
    from calstore.repository.copy import copy_constants
    from calstore.repository.coverage import coverage
    from calstore.repository.dark import DarkRequest, dark
    from calstore.repository.derive_mask import MaskRequest
    from calstore.repository.diff import diff, version_of
    from calstore.repository.import_tree import import_tree
    from calstore.repository.mask import make_mask
    from calstore.repository.materialize import materialize
    from calstore.repository.mirror import clone, mirror
    from calstore.repository.mirror_check import missing_from
    from calstore.repository.promote import promote
    from calstore.repository.push import copy_version, pull, push
    from calstore.repository.read_back import read_back
    from calstore.repository.refs import log, refs
    from calstore.repository.repair import repair
    from calstore.repository.reproduce import reproduce
    from calstore.repository.runs import flag_run, mark_of, marks_of, tag_run
    from calstore.repository.set_constant import set_constant
    from calstore.repository.store import Store, init_store, open_store
    from calstore.repository.undo import undo
    from calstore.repository.unset import unset
    from calstore.repository.verify import verify
    from calstore.repository.version import Version
    from calstore.store.cached import ReadCache
    from calstore.views.state import status

    init = init_store
    open = open_store

_HOMES = {
    "CalstoreError": "errors",
    "CommonMode": "correct.common_mode",
    "Conflict": "errors",
    "Corrections": "correct.corrections",
    "Corrupt": "errors",
    "DarkRequest": "repository.dark",
    "Invalid": "errors",
    "MaskRequest": "repository.derive_mask",
    "NotFound": "errors",
    "ReadCache": "store.cached",
    "RunRange": "model.runs",
    "Store": "repository.store",
    "Version": "repository.version",
    "adopt": "repository.adopt",
    "approve": "repository.approve",
    "check": "repository.check",
    "clone": "repository.mirror",
    "constant_numbers": "repository.diff_numbers",
    "copy_constants": "repository.copy",
    "copy_version": "repository.push",
    "coverage": "repository.coverage",
    "dark": "repository.dark",
    "delete_ref": "repository.branch",
    "diff": "repository.diff",
    "flag_run": "repository.runs",
    "fork": "repository.branch",
    "import_tree": "repository.import_tree",
    "init": "repository.store:init_store",
    "log": "repository.refs",
    "make_mask": "repository.mask",
    "mark_of": "repository.runs",
    "marks_of": "repository.runs",
    "materialize": "repository.materialize",
    "mirror": "repository.mirror",
    "missing_from": "repository.mirror_check",
    "open": "repository.store:open_store",
    "promote": "repository.promote",
    "pull": "repository.push",
    "push": "repository.push",
    "read_back": "repository.read_back",
    "refs": "repository.refs",
    "repair": "repository.repair",
    "reproduce": "repository.reproduce",
    "set_constant": "repository.set_constant",
    "stamp": "cli.identity",
    "status": "views.state",
    "tag": "repository.branch",
    "tag_run": "repository.runs",
    "undo": "repository.undo",
    "unset": "repository.unset",
    "verify": "repository.verify",
    "version_of": "repository.diff",
}

__all__ = [
    "CalstoreError",
    "CommonMode",
    "Conflict",
    "Corrections",
    "Corrupt",
    "DarkRequest",
    "Invalid",
    "MaskRequest",
    "NotFound",
    "ReadCache",
    "RunRange",
    "Store",
    "Version",
    "__version__",
    "adopt",
    "approve",
    "check",
    "clone",
    "constant_numbers",
    "copy_constants",
    "copy_version",
    "coverage",
    "dark",
    "delete_ref",
    "diff",
    "flag_run",
    "fork",
    "import_tree",
    "init",
    "log",
    "make_mask",
    "mark_of",
    "marks_of",
    "materialize",
    "mirror",
    "missing_from",
    "open",
    "promote",
    "psana",
    "pull",
    "push",
    "read_back",
    "refs",
    "repair",
    "reproduce",
    "set_constant",
    "stamp",
    "status",
    "tag",
    "tag_run",
    "undo",
    "unset",
    "verify",
    "version_of",
]


def __getattr__(name: str) -> object:
    if name == "psana":
        return import_module("calstore.psana")
    if name not in _HOMES:
        raise AttributeError(f"module 'calstore' has no attribute {name!r}")
    home, _, other = _HOMES[name].partition(":")
    value: object = getattr(import_module(f"calstore.{home}"), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
