"""A service in a thread, and a client that asks as psana 2 does."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

import numpy as np
from builders import stamp

from calstore.repository.store import Store
from calstore.serve.access import Access
from calstore.serve.api import Api
from calstore.serve.app import application, bound, running
from calstore.serve.catalogue import Catalogue, Shown
from calstore.serve.deposits import Deposits
from calstore.serve.use_book import UseBook

EVERYBODY: Final = Access()


class Service:
    """A service in a thread, and a client of it."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        follows: bool = False,
        access: Access = EVERYBODY,
        writes: bool = False,
    ) -> None:
        self.now = 0.0
        self.experiment = name.split("/")[0]
        self.token = access.token
        shown = (Shown(self.experiment, name, follows),)
        self.catalogue = Catalogue(store, shown, lambda: self.now)
        deposits = Deposits(self.catalogue, {self.experiment: name}, stamp) if writes else None
        self.parts = contextlib.ExitStack()
        self.socket = self.parts.enter_context(bound("127.0.0.1", 0))
        self.book = self.parts.enter_context(UseBook(stamp))
        self.app = application(
            self.catalogue, self.book, access, deposits=deposits, more=Api(store).routes()
        )
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __enter__(self) -> Service:
        self.parts.enter_context(running(self.app, self.socket))
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.close()

    def raw(
        self, path: str, body: bytes | None = None, method: str = "GET", token: str | None = None
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def find(self, place: str, query: object, *, jwt: bool = False) -> Any:
        text = json.dumps(query)
        if jwt:
            status, data = self.raw(f"/ws-jwt/calib_ws/{place}", text.encode())
        else:
            words = urllib.parse.urlencode({"query_string": text})
            status, data = self.raw(f"/ws/calib_ws/{place}?{words}")
        assert status == 200
        return json.loads(data)

    def constants(self, long: str, run: int, *, jwt: bool = False) -> dict[str, Any]:
        """What psana's requests at the start of a run give: type → array or text."""
        kind = long.split("_")[0]
        names = self.find(f"cdb_detnames/{kind}", {"long": long}, jwt=jwt)
        if not names:
            return {}
        (name,) = names
        assert name["long"] == long
        short = name["short"]
        query = {"detector": short, "run": {"$lte": run}}
        found = {}
        for document in self.find(f"cdb_{self.experiment}/{short}", query, jwt=jwt):
            if not document["run"] <= run <= document["run_end"]:
                continue
            assert document["ctype"] not in found
            _, data = self.raw(f"/ws/calib_ws/cdb_{self.experiment}/gridfs/{document['id_data']}")
            found[document["ctype"]] = _decoded(document, data)
        assert self.find(f"cdb_{short}/{short}", {"detector": short, "run": {"$lte": 9999}}) == []
        return found


def _decoded(document: dict[str, Any], data: bytes) -> Any:
    if document["data_type"] == "str":
        return data.decode()
    shape = json.loads(
        document["data_shape"].replace("(", "[").replace(")", "]").replace(",]", "]")
    )
    values = np.frombuffer(data, document["data_dtype"])
    assert values.size == int(document["data_size"])
    return values.reshape(shape)
