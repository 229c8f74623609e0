"""The description of the JSON API is of what is there, and every answer is as it says.

Schemathesis makes up what the description allows and what it forbids. Names that it makes up are of
nothing, so each operation is asked with all names of the store as well.
"""

from __future__ import annotations

import itertools
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
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


def _names(url: str, operation: Operation, store: Store) -> dict[str, list[Any]]:
    """What the store has, by parameter."""
    manifest = str(store[REF].digest)
    versions = [REF, f"{REF}@1", f"{REF}@approved", f"{EXPERIMENT}/first", manifest, manifest[:15]]
    array, blob = digest_of(url), xxh128(GEOMETRY.encode())
    return {
        "after": versions[:3],
        "before": versions[1:],
        "dark": ["true", "false"],
        "deleted": ["true", "false"],
        "detector": ["jung", "jungfrau"],
        "digest": [str(blob)] if operation.name == "blob" else [array, f"xxh128:{array}"],
        "experiment": [EXPERIMENT],
        "flawed": ["true", "false"],
        "history": [7],
        "limit": [1, 9],
        "number": [0, 5],
        "pattern": ["*", "*/main"],
        "planned": ["true", "false"],
        "reason": ["power-cycled"],
        "ref": [REF],
        "run": [7],
        "runs": ["0-end", "7-7"],
        "type": ["pedestals", "geometry"],
        "version": versions,
    }


def _asked(url: str, operation: Operation, store: Store) -> Iterator[dict[str, Any]]:
    """All that is required in all combinations, and with each of them each of the others alone."""
    names = _names(url, operation, store)
    required = [each.name for each in operation.parameters if each.required]
    others = [each.name for each in operation.parameters if not each.required]
    for values in itertools.product(*(names[name] for name in required)):
        asked = dict(zip(required, values, strict=True))
        yield asked
        yield from ({**asked, name: value} for name in others for value in names[name])


def _statuses(described: Any, operation: Operation, mode: GenerationMode) -> Counter:
    """How often each status was answered, all answers being as described."""
    found: Counter = Counter()
    cases = described[f"{PREFIX}{operation.path}"]["GET"].as_strategy(generation_mode=mode)

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
        case.validate_response(response, checks=ALL_CHECKS)

    always()
    return found


each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)


@each_operation
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_asked_by_names_of_the_store_is_answered_as_described(
    operation: Operation, method: str, described: Any, url: str, store: Store
) -> None:
    found: Counter = Counter()
    of_method = described[f"{PREFIX}{operation.path}"][method]
    headers: list[dict[str, str]] = [{}, {"If-None-Match": "*"}]
    if operation.has_ranges:
        headers += [{"Range": "bytes=2-9"}, {"Range": "bytes=-5"}, {"Range": "bytes=99999999-"}]

    for asked in _asked(url, operation, store):
        path = {name: value for name, value in asked.items() if name in operation.in_path}
        query = {name: value for name, value in asked.items() if name not in operation.in_path}
        for each in headers:
            case = of_method.Case(path_parameters=path, query=query, headers=each)
            response = case.call()
            found[response.status_code] += 1
            case.validate_response(response, checks=ALL_CHECKS)

    has_parts = operation.has_ranges and method == "GET"
    assert found.keys() == {200, 304, *({206, 416} if has_parts else ())}


@each_operation
def test_what_the_description_allows_is_never_called_wrong(
    operation: Operation, described: Any
) -> None:
    got = _statuses(described, operation, GenerationMode.POSITIVE)

    assert sum(got.values()) >= EXAMPLES or not operation.parameters
    assert got.keys() <= {200, 206, 304, 404}


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.parameters], ids=lambda each: each.name
)
def test_what_the_description_forbids_is_refused(operation: Operation, described: Any) -> None:
    got = _statuses(described, operation, GenerationMode.NEGATIVE)

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
