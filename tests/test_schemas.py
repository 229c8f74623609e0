"""What the command line prints for machines, and what lies on disk, is as ``schemas/`` says.

A schema that accepts everything proves nothing: each is also shown broken documents.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import numpy as np
import pytest
from builders import stamp
from cdb_service import CdbService
from commandline import EPIX, OPAL, Outcome, npy_bytes, pedestals_text, run, write_tree
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.protocols import Validator
from object_store import shorten
from psana2_client import put_version
from referencing import Registry, Resource

from calstore.model.manifests import DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.runs import RunRange
from calstore.model.uses import Use
from calstore.report.records import approvals_json
from calstore.repository.approvals import approvals_of
from calstore.repository.change import put_set
from calstore.repository.store import open_store
from calstore.repository.uses import record_use
from calstore.store import objects

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
NAMES = sorted(path.stem for path in SCHEMAS.glob("*.json"))
DOCUMENTS = [name for name in NAMES if name != "definitions"]


def schema(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.json").read_text())


REGISTRY: Registry[Any] = Registry().with_resources(
    (f"{name}.json", Resource.from_contents(schema(name))) for name in NAMES
)


@cache
def validator(name: str) -> Validator:
    return jsonschema.Draft202012Validator(schema(name), registry=REGISTRY)


@cache
def definition(name: str) -> Validator:
    return jsonschema.Draft202012Validator(
        {"$ref": f"definitions.json#/$defs/{name}"}, registry=REGISTRY
    )


def as_json(value: Any) -> Any:
    """A decoded manifest as its schema describes it: byte strings in lower-case hex."""
    match value:
        case bytes():
            return value.hex()
        case list():
            return [as_json(item) for item in value]
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case _:
            return value


def _read_back_beside_a_stranger(printed: Callable[..., Any], stranger: Path) -> Any:
    stranger.write_bytes(pedestals_text())
    document = printed("materialize", "xpp/main", "view", "--verify", code=1)
    stranger.unlink()
    return document


def _import_of_a_service(printed: Callable[..., Any]) -> list[Any]:
    """With something left out, again, and where nothing can be taken."""
    with CdbService() as service:
        service.name("e_1", "e_000001")
        service.deposit("xppl1", "e_1", "e_000001", np.ones(3), ctype="pedestals")
        service.deposit("xppl1", "e_1", "e_000001", np.ones(3), ctype="x", data_type="any")
        service.deposit("xppl2", "e_1", "e_000001", "", ctype="x", data_type="any")
        words = ("--url", service.url)
        return [
            printed("import", "cdb:xppl1", *words),
            printed("import", "cdb:xppl1", *words),
            printed("import", "cdb:xppl2", *words),
        ]


def _diff_with_numbers(
    folder: Path, done: Callable[..., Outcome], printed: Callable[..., Any]
) -> list[Any]:
    """Of pedestals with noise, of a status, of a gain, and of a geometry."""
    opal = "Camera::CalibV1/XppEndstation.0:Opal1000.7"
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    files = {
        "pedestals.npy": numbers,
        "pixel_rms.npy": numbers + 1,
        "pixel_status.npy": np.zeros((3, 4), np.uint16),
        "pixel_gain.npy": np.full((3, 4), 2, np.float32),
    }
    tree = {f"{opal}/geometry/0-end.data": b"IP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n"}
    for side, more in (("a", 0), ("b", 1)):
        done("import", write_tree(folder / side, tree), f"xpp/{side}")
        for name, array in files.items():
            np.save(folder / name, array + np.asarray(more, array.dtype))
            done("set", f"xpp/{side}", "Opal1000.7", name[:-4], "0-end", name)
        tree = {name: data.replace(b"0 0 0\n", b"0 0 1\n") for name, data in tree.items()}
    return [printed("diff", "xpp/a", "xpp/b", "--numbers", code=1)]


def _drift_over_shapes(folder: Path, printed: Callable[..., Any]) -> Any:
    """Over three records: one of another shape, and one without a number."""
    store = open_store(folder / ".calstore")
    shapes = (np.ones((2, 3)), np.full((2, 3), 2.0), np.full((3, 2), np.nan))
    for array in shapes:
        put_version(store, "xpp/drift", {("epix100", "epix", ("1",)): {"pedestals": array}})
    return printed("drift", "xpp/drift", "epix", "pedestals", "--run", "7")


def _approvals(folder: Path) -> Any:
    store = open_store(folder / ".calstore")
    digest = store["xpp/main"].digest
    return approvals_json(digest, approvals_of(store, digest))


def _used(folder: Path, printed: Callable[..., Any]) -> Any:
    """By name and by digest, with something missing and without."""
    store = open_store(folder / ".calstore")
    version = store["xpp/main"]
    found, none = Use("node7", "python x.py", {"Opal": ("pedestals",)}), Use("h", "", {}, ("e_1",))
    record_use(version, "xpp", 5, found, stamp())
    record_use(store[str(version.digest)], "xpp", 5, none, stamp())
    return printed("used", "xpp", 5)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Schema → documents that real commands printed, and what they left on disk."""
    folder = tmp_path_factory.mktemp("documents")
    calib = write_tree(
        folder / "calib",
        {
            f"{OPAL}/pedestals/1-end.data": pedestals_text(),
            f"{OPAL}/pedestals/0005-0010.data": pedestals_text(5),
            f"{OPAL}/pedestals/HISTORY": b"file:1-end.data  copy_of:x\n",
            f"{OPAL}/pixel_mask/0-end.data": b"nan\n",
            f"{EPIX}/geometry/0-end.data": b"IP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
            f"{EPIX}/pedestals/7-foo.data": b"1 2\n",
            "pedestal_workdir/x": b"x",
            "notes.txt": b"by hand\n",
        },
    )
    (folder / "new.npy").write_bytes(npy_bytes(np.ones((3, 4), np.float32)))

    def done(*words: object) -> Outcome:
        outcome = run(*words, folder=folder)
        assert outcome.code == 0, outcome.err
        return outcome

    def printed(*words: object, code: int = 0) -> Any:
        outcome = run(*words, "--json", folder=folder)
        assert outcome.code == code, outcome.err
        return json.loads(outcome.out)

    done("init")
    found: dict[str, list[Any]] = {"import": [printed("import", calib, "xpp/main", "-m", "first")]}
    found["import"].append(printed("import", calib, "xpp/main"))
    done("fork", "xpp/main", "xpp/users/wilson/try", "-m", "another\nline")
    done("set", "xpp/users/wilson/try", "Opal", "pedestals", "7-8", "new.npy")
    done("tag", "xpp/main@1", "xpp/published")
    found["promote"] = _promoted(folder, done, printed)
    done("approve", "xpp/main", "--status", "good", "--reason", "flat")
    done("config", "calib-dir/xppn4116", "/reg/xppn4116/calib")
    found["diff"] = [
        printed("diff", "xpp/main", "xpp/users/wilson/try", code=1),
        printed("diff", "xpp/users/wilson/try", "./calib", "--run", "7", code=1),
        printed("diff", "xpp/main", "./calib"),
        *_diff_with_numbers(folder, done, printed),
    ]
    found["config"] = [printed("config"), printed("config", "data-dir")]
    found["coverage"] = [
        printed("coverage", "xpp/main"),
        printed("coverage", "xpp/main@1", "--detector", "Opal", "--run", "6"),
        _coverage_of_swapped_panels(folder),
    ]
    found["check"] = [
        printed("check", "xpp/main", code=1),
        printed("check", "xpp/users/wilson/try", "Opal", "pedestals", "--run", "7"),
        _check_of_a_dead_panel(folder, done, printed),
    ]
    found["mask"] = _masked(folder, done, printed)
    done("runs", "tag", "xpp", 5, "--dark", "--reason", "power-cycled", "--valid", "5-9")
    done("runs", "tag", "xpp", 6, "--dark", "--reason", "as ever", "--detector", "Epix")
    done("runs", "flag", "xpp", 6, "--flawed", "shutter open", "-m", "seen later")
    found["runs"] = [
        printed("runs", "list", "xpp"),
        printed("runs", "list", "xpp", "--history", "6"),
        printed("runs", "list", "xpp", "--reason", "temperature"),
    ]
    found["import-service"] = _import_of_a_service(printed)
    found["drift"] = [
        printed("drift", "xpp/a", "Opal1000.7", "pedestals"),
        printed("drift", "xpp/a", "Opal1000.7", "pixel_status", "--run", "7"),
        _drift_over_shapes(folder, printed),
    ]
    found["approvals"] = [_approvals(folder)]
    found["used"] = [_used(folder, printed)]
    found["reproduce"] = _reproduced(folder, done, printed)
    np.save(folder / "mode.npy", np.full((60, 1, 8, 8), 2000, np.uint16))
    words = ("dark", "xpp", 7, "--ref", "xpp/dark", "--detector", "jungfrau", "--kind", "jungfrau")
    modes = ("--from", "G0=mode.npy", "--from", "G1=mode.npy", "--without", "G2")
    found["dark"] = [printed(*words, *modes), printed(*words, *modes)]
    np.save(folder / "raw.npy", np.zeros((60, 3, 8, 8), np.uint16))
    found["sources"] = [printed("sources", "raw.npy")]
    done("fork", "xpp/main", "detectors/epix_1/main")
    done("delete-ref", "detectors/epix_1/main")
    found["refs"] = [printed("refs"), printed("refs", "--deleted"), printed("refs", "nothing/*")]
    refs = [item["name"] for item in found["refs"][1]["refs"]]
    found["log"] = [printed("log", ref) for ref in refs] + [printed("log", "-n", "1", refs[-1])]
    found["record"] = [record for log in found["log"] for record in log["records"]]
    digest = found["record"][0]["manifest"] or found["record"][1]["manifest"]
    found["show"] = [
        printed("show", "xpp/main"),
        printed("show", "xpp/users/wilson/try", "Opal", "pedestals", "--run", "7"),
        printed("show", f"xxh128:{digest['xxh128']}"),
    ]
    found["materialize"] = [
        printed("materialize", "xpp/main", "view"),
        printed("materialize", "xpp/users/wilson/try", "view"),
        printed("materialize", "xpp/main", "view"),
        printed("materialize", "xpp/main", "arrays", "--layout", "npy"),
        printed("materialize", "xpp/main", "view", "--verify"),
        _read_back_beside_a_stranger(printed, folder / "view" / OPAL / "pedestals" / "6-end.data"),
    ]
    found["view-receipt"] = [
        json.loads((folder / view / ".calstore-view.json").read_text())
        for view in ("view", "arrays")
    ]
    done("materialize", "xpp/users/wilson/try", "view")
    found["view-receipt"].append(json.loads((folder / "view/.calstore-view.json").read_text()))
    found["view-journal"] = _journal_of_a_large_view(folder, done)
    (folder / "view/notes.txt").write_bytes(b"changed\n")
    found["status"] = [printed("status", "arrays"), printed("status", "view", code=1)]
    found["adopt"] = [
        printed("adopt", "view", "xpp/users/wilson/adopted"),
        printed("adopt", "view", "xpp/users/wilson/adopted"),
    ]
    found |= _manifests(folder / ".calstore")
    found |= _between_stores(folder, done, printed)
    found["verify"] = [printed("verify"), printed("verify", "xpp/main")]
    found["verify"].append(printed("verify", "--against", "clone", code=1))
    found["verify"].append(_verified_with_damage(folder))
    return found


def _between_stores(
    folder: Path, done: Callable[..., Outcome], printed: Callable[..., Any]
) -> dict[str, list[Any]]:
    """A push, a pull, a clone, a version alone, and a mirror that went on otherwise."""
    done("init", "mirror")
    done("init", "far")
    done("init", "void")
    main, alone = "xpp/main", "xpp/users/wilson/alone"
    transfers = [printed("push", main, "far"), printed("push", main, "far", "--as", alone)]
    transfers.append(printed("pull", main, "far"))
    transfers.append(printed("clone", ".calstore", "clone", "--refs", "xpp/*"))
    mirrors = [printed("mirror", "mirror"), printed("mirror", "mirror")]
    done("--store", "mirror", "set", main, "Opal", "pixel_rms", "90-91", "new.npy")
    mirrors.append(printed("mirror", "mirror", code=4))
    repairs = [printed("repair", "clone")]
    for place, code in (("void", 6), (".calstore", 0)):
        shorten(str(folder / "clone"), "refs/xpp/main/00000001")
        repairs.append(printed("--store", "clone", "repair", place, code=code))
    return {"transfer": transfers, "mirror": mirrors, "repair": repairs}


def _journal_of_a_large_view(folder: Path, done: Callable[..., Outcome]) -> list[Any]:
    files = {
        f"{EPIX}/geometry/{run}-end.data": b"IP 0 C 0  0 0 0  0 0 0  0 0 0\n" for run in range(60)
    }
    for changed in (
        {},
        {f"{EPIX}/geometry/7-end.data": b"# better\n", f"{EPIX}/tilt/0-end.data": b"1\n"},
    ):
        done("import", write_tree(folder / "large", {**files, **changed}), "xpp/large")
        done("materialize", "xpp/large", "large-view")
    done("materialize", "xpp/large@1", "large-view")
    lines = (folder / "large-view/.calstore-view.journal").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


def _promoted(folder: Path, done: Callable[..., Outcome], printed: Callable[..., Any]) -> list[Any]:
    """Forward, in vain, merged with a constant left out, and with runs and a file in dispute."""
    mine, main = "xpp/users/wilson/mine", "xpp/promoted"
    done("fork", "xpp/main@1", main)
    done("set", main, "Opal", "pixel_rms", "10-20", "new.npy")
    done("fork", main, mine)
    done("set", mine, "Opal", "pixel_rms", "21-25", "new.npy")
    found = [printed("promote", mine, main, "--dry-run"), printed("promote", mine, main)]
    found.append(printed("promote", mine, main))
    (folder / "other.npy").write_bytes(npy_bytes(np.zeros((3, 4), np.float32)))
    done("set", main, "Opal", "pixel_rms", "10-25", "other.npy", "--underlay")
    done("unset", mine, "Opal", "pixel_rms", "15-16")
    found.append(printed("promote", mine, main))
    for ref in (mine, main):
        text = pedestals_text(len(ref))
        tree = {f"{OPAL}/pedestals/1-end.data": text, "notes.txt": ref.encode()}
        done("import", write_tree(folder / "disputed", tree), ref)
    return [*found, printed("promote", mine, main, "--dry-run", code=4)]


def _reproduced(
    folder: Path, done: Callable[..., Outcome], printed: Callable[..., Any]
) -> list[Any]:
    """The same, and after the frames were taken away."""
    noise = np.random.default_rng(1).normal(3000, 5, (60, 8, 8))
    np.save(folder / "r5.npy", noise.round().astype(np.uint16))
    done("dark", "xpp", 5, "--from", "r5.npy", "--detector", "cam", "--ref", "xpp/dark")
    documents = [printed("reproduce", "xpp/dark")]
    (folder / "r5.npy").unlink()
    return [*documents, printed("reproduce", "xpp/dark", code=3)]


def _masked(folder: Path, done: Callable[..., Outcome], printed: Callable[..., Any]) -> list[Any]:
    """By every cause, folded or not, for one range of runs and for two."""
    jungfrau = "Jungfrau::CalibV1/CxiDs1.0:Jungfrau.0"
    (folder / "one.npy").write_bytes(npy_bytes(np.zeros((3, 1, 512, 1024), np.uint16)))
    (folder / "own.npy").write_bytes(npy_bytes(np.ones((512, 1024), np.uint8)))
    main = "xpp/masked"
    done("fork", "xpp/main", main)
    for runs in ("0-end", "9-end"):
        done("set", main, jungfrau, "pixel_status", runs, "one.npy")
    words = ("mask", main, "Jungfrau", "--edges", "1", "--centre", "1", "--neighbours", "1")
    return [
        printed(*words, "--user", "own.npy", "--runs", "5-end", "--apply"),
        printed("mask", main, "Jungfrau"),
        printed("mask", main, "Jungfrau", "--apply-to", "status_extra"),
    ]


def _check_of_a_dead_panel(
    folder: Path, done: Callable[..., Outcome], printed: Callable[..., Any]
) -> Any:
    """In one gain mode of a Jungfrau, for two ranges of runs."""
    status = np.zeros((3, 2, 512, 1024), np.uint16)
    status[1, 0] = 1
    (folder / "status.npy").write_bytes(npy_bytes(status))
    jungfrau = "Jungfrau::CalibV1/CxiDs1.0:Jungfrau.0"
    for runs in ("1-5", "7-end"):
        done("set", "xpp/users/wilson/mine", jungfrau, "pixel_status", runs, "status.npy")
    return printed("check", "xpp/users/wilson/mine", "Jungfrau", code=1)


def _coverage_of_swapped_panels(folder: Path) -> Any:
    """Of a set that no command makes yet: pedestals and gains that know their panels."""
    store = open_store(folder / ".calstore")
    array = store["xpp/main"]["Opal"].at(1)["pedestals"].constant
    constants = {
        name: {RunRange(1, 9): dataclasses.replace(array, serials=(serial,))}
        for name, serial in (("pedestals", "left"), ("pixel_gain", "right"))
    }
    manifest = objects.put(store.backend, objects.MANIFESTS, DetectorManifest(constants).encoded())
    reference = put_set(store, SetManifest({("Camera::CalibV1", "Det.0:Opal1000.0"): manifest}))
    outcome = run("coverage", str(reference.digest), "--json", folder=folder)
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def _manifests(store: Path) -> dict[str, list[Any]]:
    values = [
        as_json(msgpack.unpackb(path.read_bytes()))
        for path in sorted(store.glob("objects/manifests/*/*"))
    ]
    return {
        f"{kind}-manifest": [value for value in values if value["kind"] == kind]
        for kind in ("set", "detector", "input", "derivation")
    }


def _verified_with_damage(folder: Path) -> Any:
    blob = next((folder / ".calstore").glob("objects/blobs/*/*"))
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes() + b"!")
    outcome = run("verify", "--json", folder=folder)
    assert outcome.code == 6
    return json.loads(outcome.out)


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_a_schema(name: str) -> None:
    document = schema(name)

    jsonschema.Draft202012Validator.check_schema(document)

    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"{name}.json"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_object_of_a_schema_is_closed(name: str) -> None:
    for place in _objects(schema(name)):
        if "properties" in place and place.get("type") == "object":
            assert place["additionalProperties"] is False
            assert set(place["required"]) <= set(place["properties"])
        elif place.get("type") == "object" and "additionalProperties" in place:
            assert place["additionalProperties"] is not True


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_commands_print_and_write_is_as_its_schema_says(
    name: str, documents: dict[str, list[Any]]
) -> None:
    assert documents[name]

    for document in documents[name]:
        validator(name).validate(document)


def test_the_documents_show_what_their_schemas_leave_open(documents: dict[str, list[Any]]) -> None:
    operations = {record["operation"] for record in documents["record"]}
    kinds = {constant["kind"] for show in documents["show"] for constant in show["constants"]}
    made = {
        written[0].split()[0].rstrip("1")
        for receipt in documents["view-receipt"]
        for written in receipt["files"].values()
    }

    assert operations >= {"import", "fork", "set", "tag", "delete"}
    assert kinds == {"array", "blob"}
    assert made == {"blob", "text", "npy", "history"}
    assert documents["import"][0]["problems"]
    assert documents["import"][0]["left_out"]
    assert documents["verify"][-1]["damages"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_missing_key_or_one_too_many_is_refused_anywhere(
    name: str, documents: dict[str, list[Any]]
) -> None:
    check = validator(name)
    document = max(documents[name], key=lambda item: len(json.dumps(item)))
    named_by_content = _maps_by_content(name)
    tried = 0

    for path in _paths_of_objects(document):
        if any(pattern.fullmatch("/".join(map(str, path))) for pattern in named_by_content):
            continue
        for broken in _each_broken(document, path):
            assert not check.is_valid(broken), path
            tried += 1

    assert tried >= 3


def _maps_by_content(name: str) -> list[re.Pattern[str]]:
    # Maps whose keys are data: one more or less is another document, not a broken one.
    by_name = {
        "set-manifest": ["detectors", "detectors/[^/]+", "files"],
        "used": ["uses/[^/]+/given"],
        "detector-manifest": ["constants", "constants/[^/]+", "constants/[^/]+/[^/]+"],
        "dark": [
            f"detectors/[^/]+/{name}"
            for name in ("arrays", "frames", "inherited", "modes", "parameters")
        ],
        "derivation-manifest": ["inputs", "modes", "parameters"],
        "view-journal": ["put", "done/files", "done/folders", "done/links"],
        "view-receipt": ["files", "links"],
        "config": ["settings"],
        "coverage": ["detectors/[^/]+/absent"],
        "log": ["approvals"],
    }
    return [re.compile(text) for text in by_name.get(name, [])]


def _paths_of_objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    match value:
        case dict():
            yield path
            for key, item in value.items():
                yield from _paths_of_objects(item, (*path, key))
        case list() if value:
            yield from _paths_of_objects(value[0], (*path, 0))


def _each_broken(document: Any, path: tuple[Any, ...]) -> Iterator[Any]:
    for key in (*_at(document, path), None):
        broken = copy.deepcopy(document)
        if key is None:
            _at(broken, path)["surprise"] = 1
        else:
            del _at(broken, path)[key]
        yield broken


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _replace(*path: Any, by: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        _at(document, path[:-1])[path[-1]] = by

    return change


def _rename(*path: Any, to: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        place = _at(document, path[:-1])
        place[to] = place.pop(path[-1])

    return change


def _finding(key: str, by: Any) -> Callable[[Any], None]:
    return _replace("detectors", 0, "findings", 0, key, by=by)


OPAL_GROUP, OPAL_SOURCE = OPAL.split("/")
CONFLICT = {"path": "notes.txt", "why": ""}
REFERENCE = {"sha256": "0" * 64, "size": 1, "xxh128": "0" * 32}
BROKEN = [
    ("record", "a time of no zone", _replace("when", by="2026-11-22T03:12:45.123456")),
    ("record", "a thirteenth month", _replace("when", by="2026-13-22T03:12:45.123456Z")),
    ("record", "a record of number 0", _replace("number", by=0)),
    ("record", "a number that is text", _replace("number", by="1")),
    ("record", "a short digest", _replace("manifest", "xxh128", by="ab")),
    ("record", "an upper-case digest", _replace("manifest", "sha256", by="A" * 64)),
    ("record", "a digest with its algorithm", _replace("manifest", "xxh128", by=f"xxh128:{0:025}")),
    ("record", "no manifest but not deleted", _replace("manifest", by=None)),
    ("record", "a parent that is no record", _replace("parents", by=["xpp/main"])),
    ("record", "a ref out of its place", _replace("ref", by="../main")),
    ("record", "a ref of one component", _replace("ref", by="xpp")),
    ("record", "a ref that looks like a record", _replace("ref", by="xpp/00000001")),
    ("record", "an unknown operation", _replace("operation", by="rebase")),
    ("record", "an unknown kind", _replace("kind", by="note")),
    ("record", "a uid that is text", _replace("who", "uid", by="0")),
    ("refs", "a kind of null", _replace("refs", 0, "kind", by=None)),
    ("refs", "a broken record inside", _replace("refs", 0, "head", "when", by="today")),
    ("log", "a record that is a name", _replace("records", 0, by="xpp/main@1")),
    ("show", "a reversed range", _replace("constants", 0, "runs", by="10-5")),
    ("show", "a range of one run", _replace("constants", 0, "runs", by="137")),
    ("show", "a blob with a shape", _replace("constants", 0, "kind", by="blob")),
    ("show", "an array of objects", _replace("constants", 0, "dtype", by="object")),
    ("show", "an axis of length -1", _replace("constants", 0, "shape", by=[-1])),
    ("show", "a source with a slash", _replace("constants", 0, "source", by="a/b")),
    ("show", "a type that climbs", _replace("constants", 0, "type", by="..")),
    ("show", "a version without a number", _replace("version", by="xpp/main")),
    ("import", "a negative count", _replace("files", by=-1)),
    ("import", "changed is a word", _replace("changed", by="yes")),
    ("import", "a problem that is text", _replace("problems", by=["7-foo.data"])),
    ("promote", "a change of an unknown kind", _replace("differences", "runs", 0, "kind", by="x")),
    ("promote", "changed in a dry run", _replace("dry_run", by=True)),
    ("promote", "moved in spite of a conflict", _replace("conflicts", "files", by=[CONFLICT])),
    ("promote", "changed, but it had all", _replace("how", by="contained")),
    ("promote", "no base", _replace("bases", by=[])),
    ("promote", "a source without a number", _replace("source", by="xpp/main")),
    ("promote", "runs that are one number", _replace("differences", "runs", 0, "runs", by="5")),
    ("materialize", "an unknown layout", _replace("layout", by="zip")),
    ("diff", "a kind of another command", _replace("constants", 0, "kind", by="overridden")),
    ("diff", "one record for two sides", _replace("constants", 0, "records", by=[None])),
    ("diff", "panels that are none", _replace("constants", 0, "panels", by={"count": 1})),
    ("diff", "a constant that is a digest", _replace("constants", 0, "after", by="xxh128:0")),
    ("diff", "a run that is a range", _replace("run", by="5-9")),
    ("materialize", "a difference without a path", _replace("differences", by=[{"what": "x"}])),
    ("materialize", "a path that climbs", _replace("written", by=["a/../../b"])),
    ("materialize", "an absolute path", _replace("removed", by=["/etc/passwd"])),
    ("materialize", "a digest without its algorithm", _replace("manifest", by="0" * 32)),
    ("check", "good in spite of what is wrong", _replace("good", by=True)),
    ("check", "a severity that there is not", _finding("severity", by="fatal")),
    ("check", "a finding of no runs", _finding("runs", by=[])),
    ("check", "a finding that says nothing", _finding("what", by="")),
    ("check", "runs that are one number", _finding("runs", by=["5"])),
    ("check", "a panel below 0", _finding("panels", by=[{"mode": None, "number": -1}])),
    ("verify", "all well in spite of damage", _replace("ok", by=True)),
    ("verify", "damage without any", _replace("damages", by=[])),
    ("verify", "a version that is none", _replace("damages", 0, "versions", by=["main"])),
    ("transfer", "a copy of less than nothing", _replace("bytes", by=-1)),
    ("transfer", "a ref without a record", _replace("refs", 0, "source", by=0)),
    ("mirror", "equal in spite of what is ahead", _replace("equal", by=True)),
    ("repair", "one file that is a text", _replace("repaired", by="objects/x")),
    ("view-receipt", "another format", _replace("format", by=3)),
    ("view-receipt", "a file outside", _rename("files", "notes.txt", to="../notes.txt")),
    ("view-receipt", "made from nothing", _replace("files", "notes.txt", 0, by="")),
    ("view-receipt", "a store's id cut short", _replace("store", by="ab")),
    ("view-receipt", "a time that is text", _replace("files", "notes.txt", 3, by="0")),
    ("view-journal", "a file outside", _replace("done", "files", "../x", by=None)),
    ("view-journal", "a folder that is neither", _replace("done", "folders", "x", by="made")),
    ("set-manifest", "another kind", _replace("kind", by="detector")),
    ("set-manifest", "a format of true", _replace("format", by=True)),
    ("set-manifest", "an empty group", _replace("detectors", OPAL_GROUP, by={})),
    ("set-manifest", "a group that climbs", _rename("detectors", OPAL_GROUP, to="..")),
    ("set-manifest", "a file that climbs", _replace("files", "../x", by=REFERENCE)),
    ("set-manifest", "an absolute file", _replace("files", "/x", by=REFERENCE)),
    ("set-manifest", "a file of two slashes", _replace("files", "a//b", by=REFERENCE)),
    ("set-manifest", "a NUL in a file's name", _replace("files", "a\0b", by=REFERENCE)),
    ("set-manifest", "a blob of text", _replace("files", "notes.txt", by="0" * 32)),
    ("detector-manifest", "a reversed range", _rename("constants", "pedestals", "1-end", to="9-1")),
    ("detector-manifest", "leading zeros", _rename("constants", "pedestals", "1-end", to="01-9")),
    ("detector-manifest", "run 12000", _rename("constants", "pedestals", "1-end", to="0-12000")),
    ("detector-manifest", "a type without ranges", _replace("constants", "pedestals", by={})),
    ("detector-manifest", "a type that is a path", _rename("constants", "pedestals", to="a/b")),
    (
        "detector-manifest",
        "an array and a blob",
        _replace("constants", "pedestals", "1-end", "blob", by=REFERENCE),
    ),
    (
        "detector-manifest",
        "a blob with a source",
        _replace("constants", "pedestals", "1-end", by={"blob": REFERENCE, "source": REFERENCE}),
    ),
    (
        "detector-manifest",
        "a complex array",
        _replace("constants", "pedestals", "1-end", "array", "dtype", by="complex64"),
    ),
]


@pytest.mark.parametrize(
    ("name", "change"),
    [pytest.param(name, change, id=f"{name}: {what}") for name, what, change in BROKEN],
)
def test_a_broken_document_is_refused(
    name: str, change: Callable[[Any], None], documents: dict[str, list[Any]]
) -> None:
    whole = _richest(name, documents)
    broken = copy.deepcopy(whole)
    change(broken)

    assert validator(name).is_valid(whole)
    assert not validator(name).is_valid(broken)


def _richest(name: str, documents: dict[str, list[Any]]) -> Any:
    """The document that has what the mutations change."""
    if name == "record":
        return next(item for item in documents[name] if item["number"] == 1 and item["manifest"])
    if name == "show":
        return documents[name][1]
    if name == "detector-manifest":
        return next(item for item in documents[name] if "1-end" in str(item))
    if name == "mirror":
        return documents[name][-1]
    if name == "verify":
        return documents[name][-1]
    if name == "promote":
        return next(item for item in documents[name] if item["dropped"])
    return max(documents[name], key=lambda item: len(json.dumps(item)))


RUNS = st.one_of(st.integers(0, 120), st.integers(0, 9999))


@given(RUNS, RUNS)
def test_the_schema_knows_a_reversed_range_as_the_model_does(first: int, last: int) -> None:
    is_range = first <= last

    assert definition("run_range").is_valid(f"{first}-{last}") == is_range
    assert not is_range or str(RunRange.parse(f"{first}-{last}")) == f"{first}-{last}"


@pytest.mark.parametrize(
    "text",
    ["", "5", "5-", "-5", "5--1", "05-10", "5-010", "0-10000", "10000-end", "5-END", "5-9\n"],
)
def test_the_schema_refuses_what_no_manifest_calls_a_range(text: str) -> None:
    assert not definition("run_range").is_valid(text)


REF_PARTS = st.sampled_from(
    [
        "xpp",
        "main",
        "users",
        "detectors",
        "wilson",
        "a.lock",
        "00000001",
        "",
        "..",
        "a b",
        "A:b+c-d",
    ]
)


@given(st.lists(REF_PARTS, min_size=1, max_size=5).map("/".join))
def test_the_schema_knows_a_ref_as_the_model_does(name: str) -> None:
    try:
        RefName(name)
        is_name = True
    except ValueError:
        is_name = False

    assert definition("ref").is_valid(name) == is_name
    assert definition("record_name").is_valid(f"{name}@7") == is_name


def test_sizes_of_arrays_follow_from_their_shapes(documents: dict[str, list[Any]]) -> None:
    # A schema cannot multiply; so this is said here.
    arrays = [c for show in documents["show"] for c in show["constants"] if c["kind"] == "array"]

    for item in arrays:
        pixels = 1
        for length in item["shape"]:
            pixels *= length
        assert item["size"] == pixels * int(re.sub("[a-z]", "", item["dtype"])) // 8
