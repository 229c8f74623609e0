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
    from calstore.cli.identity import stamp
    from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
    from calstore.model.runs import RunRange
    from calstore.repository.branch import delete_ref, fork, tag
    from calstore.repository.import_tree import import_tree
    from calstore.repository.materialize import materialize
    from calstore.repository.refs import log, refs
    from calstore.repository.set_constant import set_constant
    from calstore.repository.store import Store, init_store, open_store
    from calstore.repository.verify import verify
    from calstore.repository.version import Version

    init = init_store
    open = open_store

_HOMES = {
    "CalstoreError": "errors",
    "Conflict": "errors",
    "Corrupt": "errors",
    "Invalid": "errors",
    "NotFound": "errors",
    "RunRange": "model.runs",
    "Store": "repository.store",
    "Version": "repository.version",
    "delete_ref": "repository.branch",
    "fork": "repository.branch",
    "import_tree": "repository.import_tree",
    "init": "repository.store:init_store",
    "log": "repository.refs",
    "materialize": "repository.materialize",
    "open": "repository.store:open_store",
    "refs": "repository.refs",
    "set_constant": "repository.set_constant",
    "stamp": "cli.identity",
    "tag": "repository.branch",
    "verify": "repository.verify",
}

__all__ = [
    "CalstoreError",
    "Conflict",
    "Corrupt",
    "Invalid",
    "NotFound",
    "RunRange",
    "Store",
    "Version",
    "__version__",
    "delete_ref",
    "fork",
    "import_tree",
    "init",
    "log",
    "materialize",
    "open",
    "refs",
    "set_constant",
    "stamp",
    "tag",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'calstore' has no attribute {name!r}")
    home, _, other = _HOMES[name].partition(":")
    value: object = getattr(import_module(f"calstore.{home}"), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
