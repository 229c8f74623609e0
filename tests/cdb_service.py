"""A calibration service of psana 2 as SLAC has one, on loopback: documents in a dictionary.

It keeps what it is given and believes it, so that what calstore makes of such a service can be
compared with it. What psana 4.3.4 asks and sends is in psana/pscalib/calib/MDBWebUtils.py.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Answer = tuple[int, bytes]


class CdbService:
    """Databases → collections → documents; ids begin with ``now``, which only moves when told."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.payloads: dict[str, bytes] = {}
        self.now = 1_700_000_000
        self.steps = True
        self.asked: list[str] = []
        self.answers: dict[str, Answer | Callable[[Any], None]] = {}
        self._count = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def do_DELETE(self) -> None:
                self._answer()

            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urllib.parse.urlsplit(self.path)
                place = parts.path.split("/calib_ws", 1)[-1].strip("/")
                service.asked.append(f"{self.command} {place}")
                odd = service.answers.get(place)
                if callable(odd):
                    odd(self)
                    return
                query = urllib.parse.parse_qs(parts.query).get("query_string", [""])[0]
                status, data = odd or service.answer(self.command, place, query, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ws"

    def __enter__(self) -> CdbService:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, command: str, place: str, query: str, body: bytes) -> Answer:
        """What such a service does."""
        parts = place.split("/") if place else []
        if command == "POST":
            return 200, json.dumps({"_id": self._posted(parts, body)}).encode()
        if command == "PUT":
            new = json.loads(body)
            old = self._find(parts[0], parts[1], {"_id": parts[2]})[0]
            old.update(new)
            return 200, json.dumps({"_id": parts[2]}).encode()
        if command == "DELETE":
            self._deleted(parts)
            return 200, b"{}"
        if len(parts) == 3 and parts[1] == "gridfs":
            return (200, self.payloads[parts[2]]) if parts[2] in self.payloads else (404, b"")
        if len(parts) == 3:
            return 200, json.dumps((self._find(*parts[:2], {"_id": parts[2]}) or [{}])[0]).encode()
        if len(parts) == 2:
            text = query or body.decode() or "{}"
            asked = json.loads(text) if text != "None" else {}
            return 200, json.dumps(self._find(*parts, asked)).encode()
        names: Any = self.documents.get(parts[0], {}) if parts else self.documents
        return 200, json.dumps(list(names)).encode()

    def deposit(
        self, where: str, long: str, short: str, value: np.ndarray | str, **fields: Any
    ) -> str:
        """What a deploying tool does: a payload, and a document in a database."""
        data = value.encode() if isinstance(value, str) else value.tobytes()
        document: dict[str, Any] = {
            "experiment": where,
            "detector": short,
            "shortname": short,
            "longname": long,
            "detname": short.partition("_")[0],
            "run": 0,
            "run_end": "end",
            "uid": "wilson",
            "host": "psana0101",
            "cwd": "/tmp",
            "comment": "no comment",
            "time_sec": 1_000_000_000,
            "extpars": json.dumps({"content": "…", "command": "cdb add -x"}),
            "id_data": self.put_payload(data),
            "data_type": "str",
        }
        if not isinstance(value, str):
            document |= {
                "data_type": "ndarray",
                "data_dtype": str(value.dtype),
                "data_shape": str(value.shape),
                "data_size": str(value.size),
                "data_ndim": str(value.ndim),
            }
        return self.put_document(f"cdb_{where}", short, {**document, **fields})

    def name(self, long: str, short: str) -> None:
        """Register a short name."""
        kind, number = short.rsplit("_", 1)
        document = {"long": long, "short": short, "seqnumber": int(number)}
        self.put_document("cdb_detnames", kind, document)

    def put_payload(self, data: bytes) -> str:
        """Keep a payload; its id."""
        identity = self._id()
        self.payloads[identity] = data
        return identity

    def put_document(self, database: str, collection: str, document: dict[str, Any]) -> str:
        """Keep a document; its id."""
        found = {**document, "_id": self._id()}
        self.documents.setdefault(database, {}).setdefault(collection, []).append(found)
        return str(found["_id"])

    def _posted(self, parts: list[str], body: bytes) -> str:
        if parts[1] == "gridfs":
            self.documents.setdefault(parts[0], {})
            return self.put_payload(body)
        return self.put_document(parts[0], parts[1], json.loads(body))

    def _deleted(self, parts: list[str]) -> None:
        if len(parts) == 1:
            self.documents.pop(parts[0], None)
        elif len(parts) == 2:
            self.documents.get(parts[0], {}).pop(parts[1], None)
        elif parts[1] == "gridfs":
            self.payloads.pop(parts[2], None)
        else:
            there = self.documents[parts[0]][parts[1]]
            there[:] = [each for each in there if each["_id"] != parts[2]]

    def _find(self, database: str, collection: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        there = self.documents.get(database, {}).get(collection, [])
        return [each for each in there if all(_is(each, *item) for item in query.items())]

    def _id(self) -> str:
        self._count += 1
        self.now += self.steps
        return f"{self.now:08x}{self._count:016x}"


def _is(document: dict[str, Any], name: str, wanted: Any) -> bool:
    if name not in document:
        return False
    found = document[name]
    if isinstance(wanted, dict):
        low, high = wanted.get("$gte"), wanted.get("$lte")
        return (low is None or found >= low) and (high is None or found <= high)
    if name == "_id":
        match = re.fullmatch(r"(?:ObjectId\()?([0-9a-f]{24})\)?", str(wanted))
        return match is not None and found == match[1]
    return bool(found == wanted)
