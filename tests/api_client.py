"""A store with something of everything, the JSON API over one, and a client of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from builders import stamp
from psana2_client import put_version
from starlette.applications import Starlette

from calstore.model.uses import Use
from calstore.repository.approve import approve
from calstore.repository.branch import delete_ref, fork, tag
from calstore.repository.runs import Told, tag_run
from calstore.repository.store import Store, init_store
from calstore.repository.uses import record_use
from calstore.serve.api import Api
from calstore.serve.app import bound, running

EXPERIMENT: Final = "mfx101332224"
REF: Final = f"{EXPERIMENT}/main"
OF_JUNGFRAU: Final = "jungfrau", "jungfrau", ("8-1", "8-2")
OF_EPIX: Final = "epix100", "epix100", ("3-1",)
PEDESTALS: Final = np.random.default_rng(1).normal(2000, 5, (3, 2, 64, 96)).astype(np.float32)
GEOMETRY: Final = "# a geometry\n"


def make_store(folder: Path) -> Store:
    """Two records of a ref, the newer one approved; a tag, a deleted fork, a mark, a use."""
    store = init_store(folder / ".calstore", "0" * 32)
    constants = {"pedestals": PEDESTALS, "geometry": GEOMETRY}
    of_epix = {"pedestals": PEDESTALS[0, 0], "pixel_status": np.zeros((64, 96), np.uint32)}
    put_version(store, REF, {OF_JUNGFRAU: constants, OF_EPIX: of_epix})
    newer = {**constants, "pedestals": PEDESTALS + 1}
    put_version(store, REF, {OF_JUNGFRAU: newer, OF_EPIX: of_epix}, "5-end")
    approve(store, REF, "good", stamp("flat"))
    tag(store, f"{REF}@1", f"{EXPERIMENT}/first", stamp())
    fork(store, REF, f"{EXPERIMENT}/users/wilson/mine", stamp())
    delete_ref(store, f"{EXPERIMENT}/users/wilson/mine", stamp())
    tag_run(store, EXPERIMENT, 7, Told(is_dark=True, reason="power-cycled"), stamp())
    use = Use("node7", "python x.py", {"jungfrau": ("pedestals",)})
    record_use(store[REF], EXPERIMENT, 7, use, stamp())
    return store


@contextlib.contextmanager
def serving(store: Store) -> Iterator[str]:
    """The API over a store, and nothing else; gives its URL."""
    with bound("127.0.0.1", 0) as socket:
        app: Any = Starlette(routes=Api(store).routes())
        with running(app, socket):
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"


class Answer:
    """An answer with its headers."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.data = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def digest(self) -> str:
        return self.headers["etag"].strip('"')


def ask(
    url: str,
    place: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    **query: Any,
) -> Answer:
    """Ask for a place below the prefix; its path is sent as it is written."""
    words = f"?{urllib.parse.urlencode(query)}" if query else ""
    return ask_path(url, f"/api/v1/{place}{words}", method, headers)


def ask_path(
    url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def digest_of(url: str, type_name: str = "pedestals", version: str = REF) -> str:
    """The digest of what run 7 gets of the Jungfrau."""
    of = {"version": version, "detector": "jungfrau", "type": type_name, "run": 7}
    return ask(url, "constant", "HEAD", **of).digest
