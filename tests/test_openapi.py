"""The description of the JSON API is of what is there, and every answer is as it says.

Schemathesis asks what the description allows and what it forbids. Names that it makes up are of
nothing, so each operation is asked with names of the store as well, and must then have answered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from api_client import EXPERIMENT, GEOMETRY, REF, ask, digest_of, make_store, serving
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from starlette.routing import Route

from calstore.errors import Invalid
from calstore.model.digest import xxh128
from calstore.repository.store import Store, ref_name
from calstore.repository.version import locate
from calstore.serve.api import Api
from calstore.serve.operations import OPERATIONS, PREFIX, Operation

EXAMPLES = 20
load_all_checks()
ALL_CHECKS = [CHECKS.get_one(name) for name in CHECKS.get_all_names()]
ACCEPTANCE = CHECKS.get_one("positive_data_acceptance")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with serving(store) as found:
        yield found


@pytest.fixture(scope="module")
def document(url: str) -> Any:
    return ask(url, "openapi.json").json


@pytest.fixture(scope="module")
def described(url: str, document: Any) -> Any:
    return _asking(url, document)


@pytest.fixture(scope="module")
def known(url: str, document: Any, store: Store) -> Any:
    """The same description, in which parameters are names of what the store has."""
    manifest = str(store[REF].digest)
    versions = [REF, f"{REF}@1", f"{REF}@approved", f"{EXPERIMENT}/first", manifest, manifest[:15]]
    names: dict[str, list[Any]] = {
        "Range": ["bytes=0-9", "bytes=-5", "bytes=99999999-", "bytes=7-"],
        "after": versions,
        "before": versions,
        "detector": ["jung", "jungfrau"],
        "experiment": [EXPERIMENT],
        "history": [7],
        "limit": [1, 9],
        "number": [0, 5],
        "pattern": ["*", "*/main"],
        "reason": ["power-cycled"],
        "ref": [REF],
        "run": [7],
        "runs": ["0-end", "7-7"],
        "type": ["pedestals", "geometry"],
        "version": versions,
    }
    array, blob = digest_of(url), xxh128(GEOMETRY.encode())
    changed = json.loads(json.dumps(document))
    for path, item in changed["paths"].items():
        of_path = {
            **names,
            "digest": [str(blob)] if "blobs" in path else [array, f"xxh128:{array}"],
        }
        for parameter in item["parameters"]:
            if parameter["name"] in of_path:
                parameter["schema"] = {"enum": of_path[parameter["name"]]}
    changed["components"]["parameters"]["Range"]["schema"] = {"enum": names["Range"]}
    return _asking(url, changed)


def _asking(url: str, document: Any) -> Any:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


def _statuses(described: Any, operation: Operation, method: str, mode: GenerationMode) -> Counter:
    """How often each status was answered, all answers being as described."""
    found: Counter = Counter()
    cases = described[f"{PREFIX}{operation.path}"][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def always(case: Any) -> None:
        response = case.call()
        found[response.status_code] += 1
        # That a range begins behind the end is nothing that a schema could say.
        left_out = [ACCEPTANCE] if response.status_code == 416 else []
        case.validate_response(response, checks=ALL_CHECKS, excluded_checks=left_out)

    always()
    return found


each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)


@each_operation
def test_what_is_asked_by_names_of_the_store_is_answered_as_described(
    operation: Operation, known: Any
) -> None:
    got = _statuses(known, operation, "GET", GenerationMode.POSITIVE)
    heads = _statuses(known, operation, "HEAD", GenerationMode.POSITIVE)

    assert got[200] > 0
    assert heads[200] > 0
    assert not operation.has_ranges or got[206] > 0


@each_operation
def test_what_the_description_allows_is_never_called_wrong(
    operation: Operation, described: Any
) -> None:
    got = _statuses(described, operation, "GET", GenerationMode.POSITIVE)

    assert got.keys() <= {200, 206, 304, 404}


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.parameters], ids=lambda each: each.name
)
def test_what_the_description_forbids_is_refused(operation: Operation, described: Any) -> None:
    got = _statuses(described, operation, "GET", GenerationMode.NEGATIVE)

    assert got[400] > 0


def test_the_description_is_valid_and_of_all_routes(document: Any, store: Store) -> None:
    places = {route.path for route in Api(store).routes() if isinstance(route, Route)}

    schemathesis.openapi.from_dict(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    assert document["openapi"].startswith("3.1")
    assert places - document["paths"].keys() == {PREFIX, f"{PREFIX}/{{rest:path}}"}
    assert len(document["paths"]) == len(OPERATIONS)
    for item in document["paths"].values():
        assert all(each["schema"] and each["description"] for each in item["parameters"])
        for method in ("get", "head"):
            assert {"200", "304", "400", "401", "404", "409", "500"} <= item[method][
                "responses"
            ].keys()


def test_the_description_stands_alone(document: Any) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (each for key, each in value.items() if key == "$ref")
        if isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                yield from references(each)

    found = set(references(document))

    assert len(found) > 10
    assert "$id" not in json.dumps(document)
    for reference in found:
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_schemas_are_those_of_the_commands(document: Any) -> None:
    folder = Path(__file__).resolve().parents[1] / "schemas"
    told = {each.schema for each in OPERATIONS if each.schema is not None}

    for name in told:
        schema = json.loads((folder / f"{name}.json").read_text())
        embedded = document["components"]["schemas"][name]
        assert embedded["required"] == schema["required"]
        assert embedded["properties"].keys() == schema["properties"].keys()
    assert len(told) == 8


VERSIONS = [
    *("a/b", "a/b@1", "a/b@approved", "a/users/b/c@approved", "detectors/a/b@approved"),
    *("xxh128:012345", f"xxh128:{'0' * 32}", "a", "a/b/c", "a/b@", "a/b@0", "a/b@good"),
    *("xxh128:01234", f"xxh128:{'0' * 33}", "xxh128:ABCDEF", "0" * 32, "a/users@1", "../b"),
    *("a/00000001", "a/b.lock", "a/b.lock@approved", "a/b@approved\n", "users/a@approved", ""),
]


@pytest.mark.parametrize("text", VERSIONS)
def test_the_description_knows_a_version_as_the_store_does(
    text: str, document: Any, store: Store
) -> None:
    whole = {"components": document["components"]}
    schema = {"$ref": "#/components/schemas/definitions/$defs/asked_version", **whole}

    try:
        locate(store, text)
        is_form = True
    except Invalid:
        is_form = False
    except LookupError:
        is_form = True

    assert jsonschema.Draft202012Validator(schema).is_valid(text) == is_form


@pytest.mark.parametrize("text", ["a", "xpp", "users", "detectors", "00000001", "a.lock", "a/b"])
def test_the_description_knows_an_experiment_as_refs_do(text: str, document: Any) -> None:
    pattern = document["components"]["schemas"]["definitions"]["$defs"]["experiment"]
    try:
        is_name = "/" not in text and bool(ref_name(f"{text}/main"))
    except Invalid:
        is_name = False

    assert jsonschema.Draft202012Validator(pattern).is_valid(text) == is_name
