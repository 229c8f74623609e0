"""Values that are valid by construction, and one encoding for each."""

from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import calstore
from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.canonical import decode, encode
from calstore.model.digest import Digest, Reference, reference_to
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.records import Parent, Record, Stamp, Who
from calstore.model.runs import END, RunRange

LIMIT = 2**20

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.from_regex(r"[A-Za-z0-9:._+-]{1,20}", fullmatch=True).filter(
    lambda name: name not in (".", "..")
)
references = st.binary(max_size=40).map(reference_to)
array_references = st.tuples(references, st.lists(st.integers(0, 9), max_size=4)).map(
    lambda drawn: ArrayReference(
        Reference(drawn[0].digest, drawn[0].sha256, int(np.prod(drawn[1], dtype=int)) * 4),
        "float32",
        tuple(drawn[1]),
    )
)
run_ranges = st.tuples(st.integers(0, 9999), st.integers(0, 9999), st.booleans()).map(
    lambda drawn: RunRange(min(drawn[:2]), END if drawn[2] else max(drawn[:2]))
)


@st.composite
def constants_by_range(draw):
    by_range = {}
    for runs in draw(st.sets(run_ranges, min_size=1, max_size=4)):
        name = draw(st.sampled_from([None, f"{runs}.npy", f"0{runs}.data"]))
        if draw(st.booleans()):
            by_range[runs] = Constant(draw(references), name)
        else:
            source = draw(st.none() | references)
            by_range[runs] = Constant(draw(array_references), name, source)
    return by_range


detector_manifests = st.dictionaries(names, constants_by_range(), max_size=4).map(DetectorManifest)
set_manifests = st.builds(
    SetManifest,
    st.dictionaries(st.tuples(names, names), references, max_size=4),
    st.dictionaries(names, references, max_size=4),
)
stamps = st.builds(
    Stamp,
    st.builds(Who, texts, st.integers(0, 2**32), texts, st.none() | texts),
    st.just("2026-11-22T03:12:45.123456Z"),
    texts,
    st.binary(min_size=8, max_size=8),
)


def shuffled(value):
    """The same value with the keys of its maps the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_every_value_has_one_encoding_and_it_decodes_to_the_value(value):
    data = encode(value)

    assert decode(data, limit=LIMIT) == value
    assert encode(shuffled(value)) == data


@given(st.binary(max_size=60))
def test_bytes_that_decode_are_the_encoding_of_what_they_say(data):
    try:
        value = decode(data, limit=LIMIT)
    except Invalid:
        return

    assert encode(value) == data


def decoded_plainly(data):
    """What `decode` promises, without its speed: encode what was read, and compare."""
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, msgpack.UnpackException, TypeError) as error:
        raise Invalid(str(error)) from error
    if encode(value) != data:
        raise Invalid("not canonical")
    return value


# Anything that msgpack can say, canonical or not: keys of any order and type, NaN, extensions,
# more levels than are allowed.
loose = st.recursive(
    leaves | st.floats() | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=2) | st.binary(max_size=2), inner, max_size=3),
    ),
    max_leaves=12,
)


@st.composite
def loose_bytes(draw):
    value = draw(loose)
    for _ in range(draw(st.sampled_from([0, 0, 0, 13, 14, 15, 16, 17]))):
        value = [value] if draw(st.booleans()) else {"k": value}
    try:
        data = bytearray(msgpack.packb(value, use_single_float=draw(st.booleans())))
    except OverflowError:  # a double that no single holds
        data = bytearray(msgpack.packb(value))
    if data and draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@settings(max_examples=500)
@given(loose_bytes())
@example(msgpack.packb(msgpack.Timestamp(1, 0)))
@example(b"\x91" * 16 + b"\x90")
@example(b"\x91" * 17 + b"\x90")
def test_bytes_are_taken_if_and_only_if_encoding_what_they_say_gives_them(data):
    try:
        plain = decoded_plainly(data)
    except Invalid:
        with pytest.raises(Invalid):
            decode(data, limit=LIMIT)
    else:
        assert decode(data, limit=LIMIT) == plain


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb({"b": 1, "a": 2}),
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xcd\x00\x01",
        b"\xd9\x01a",
        msgpack.packb(1.5, use_single_float=True),
        msgpack.packb(float("nan")),
        msgpack.packb(msgpack.ExtType(1, b"x")),
        msgpack.packb({1: 2}),
        b"\xa1\xff",
        msgpack.packb(1) + b"\x00",
        b"\x91" * 200 + b"\x00",
        b"\x91" * 100_000 + b"\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ],
    ids=lambda data: data[:6].hex(),
)
def test_msgpack_in_any_other_form_is_refused(data):
    with pytest.raises(Invalid):
        decode(data, limit=LIMIT)


def test_too_many_bytes_are_refused_before_any_is_decoded():
    with pytest.raises(Invalid, match="11 bytes of msgpack; at most 10 are read"):
        decode(b"\xc0" * 11, limit=10)


@given(detector_manifests)
def test_a_detector_manifest_survives_its_encoding(manifest):
    assert DetectorManifest.decoded(manifest.encoded()) == manifest


@given(set_manifests)
def test_a_set_manifest_survives_its_encoding(manifest):
    assert SetManifest.decoded(manifest.encoded()) == manifest


@given(stamps, st.integers(2, 10**7), references)
def test_a_record_survives_its_encoding_in_its_own_place_alone(stamp, number, manifest):
    parent = Parent("refs/a/b", number - 1, manifest.digest, manifest.sha256)
    record = Record("refs/a/b", number, "set", "what", stamp, "calstore 1", (parent,), manifest)
    data = record.encoded()

    assert Record.decoded(data, log="refs/a/b", number=number) == record
    with pytest.raises(Invalid, match="in another one's place"):
        Record.decoded(data, log="refs/a/c", number=number)
    with pytest.raises(Invalid, match="in another one's place"):
        Record.decoded(data, log="refs/a/b", number=number + 1)


def test_a_manifest_with_a_key_from_the_future_is_refused():
    value = decode(SetManifest().encoded(), limit=LIMIT)

    with pytest.raises(Invalid, match="with signature: written by a newer calstore"):
        SetManifest.decoded(encode({**value, "signature": b""}))


def test_a_reference_whose_size_is_not_that_of_its_shape_is_refused():
    with pytest.raises(Invalid, match="has 4000000000000 bytes, but its reference says 8"):
        ArrayReference(Reference(Digest(bytes(16)), bytes(32), 8), "float32", (10**6, 10**6))


@pytest.mark.parametrize("name", ["0-end.data", "5-20.txt", "5-20", "../5-20.data", "five.data"])
def test_a_file_name_that_would_give_a_constant_to_other_runs_is_refused(name):
    constant = Constant(reference_to(b""), None)

    with pytest.raises(Invalid):
        DetectorManifest({"pedestals": {RunRange(5, 20): replace(constant, name=name)}})


def test_errors_are_grouped_by_what_the_caller_does_next():
    assert issubclass(NotFound, KeyError)
    assert issubclass(Invalid, ValueError)
    assert {error.__base__ for error in (Conflict, Corrupt)} == {CalstoreError}
    assert str(NotFound("no such thing")) == "no such thing"


def test_the_public_names_are_these_and_each_can_be_had():
    assert all(getattr(calstore, name) is not None for name in calstore.__all__)
    assert calstore.__all__ == sorted(calstore.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        calstore.nothing  # noqa: B018
