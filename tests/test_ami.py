"""LCLS-I AMI: what it reads, what it drops in silence, and views in which it drops nothing."""

from __future__ import annotations

import ctypes
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from commandline import REAL_TREE, Outcome, npy_bytes, snapshot, write_tree
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from calstore.formats import psana_text_writer
from calstore.formats.ami_text import ami_refusal, geometry_refusal
from calstore.model.ami import LIVE_RUN, ami_reads, ami_shape_problem

Calstore = Callable[..., Outcome]

OPAL = "XppEndstation.0:Opal1000.1"
EPIX10K = "XppEndstation.0:Epix10k.0"
EPIX10KA = "XcsEndstation.0:Epix10ka.0"
EPIX10KA2M = "MfxEndstation.0:Epix10ka2M.0"
JUNGFRAU = "XppEndstation.0:Jungfrau.0"
CSPAD = "CxiDs1.0:Cspad.0"
ISTAR = "XcsEndstation.0:iStar.1"

GROUPS = {
    OPAL: "Camera::CalibV1",
    EPIX10K: "Epix10ka::CalibV1",
    EPIX10KA: "Epix10ka::CalibV1",
    EPIX10KA2M: "Epix10ka2M::CalibV1",
    JUNGFRAU: "Jungfrau::CalibV1",
    CSPAD: "CsPad::CalibV1",
    ISTAR: "Camera::CalibV1",
}

GEOMETRY = b"# TITLE a camera\nIP 0 CAMERA 0  0 0 -100000  0 0 0  0.0 0.1 0.0\n\n"


# AMI, literally: lcls-daq/ami event/Calib.cc (CalibIO, offl_path), event/GainSwitchCalib.cc.

_LIBC = ctypes.CDLL(None)
_LIBC.strtod.restype = ctypes.c_double
_LIBC.strtoul.restype = ctypes.c_ulong


class _Line:
    """CalibIO between two calls of next_line()."""

    def __init__(self, line: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(line)
        self._at = ctypes.addressof(self._buffer)
        self.failed = False

    def getdb(self) -> float:
        return float(self._got(_LIBC.strtod))

    def getul(self) -> int:
        return int(self._got(_LIBC.strtoul, 0)) & 0xFFFFFFFF

    def _got(self, function: Callable[..., float], *base: int) -> float:
        end = ctypes.c_void_p()
        value = function(ctypes.c_void_p(self._at), ctypes.byref(end), *base)
        self.failed = end.value == self._at
        assert end.value is not None
        self._at = end.value
        return value


def next_lines(data: bytes) -> Iterator[bytes]:
    """What next_line() stops at."""
    for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", data):
        if not line.startswith((b"#", b"\n")):
            yield line


def read_by_ami(data: bytes, type_name: str, shape: tuple[int, ...]) -> list[list[float]] | None:
    """The lines of numbers; None where AMI clears the array and goes on with its default."""
    lines, columns = math.prod(shape[:-1]), shape[-1]
    is_status = type_name == "pixel_status"
    file = next_lines(data)
    rows = []
    for _ in range(lines):
        line = next(file, None)
        if line is None:
            return None
        numbers = _Line(line)
        get = numbers.getul if is_status else numbers.getdb
        row = []
        for _ in range(columns):
            row.append(get())
            if numbers.failed:
                return None
        get()
        if not numbers.failed:
            return None
        rows.append(row)
    return rows if next(file, None) is None else None


def spelled(data: bytes, columns: int) -> list[list[int]] | None:
    """The decimal integers that a person reads in the text; None where there are others."""
    rows = []
    for line in next_lines(data):
        words = line.partition(b"\0")[0].split()[:columns]
        if not all(re.fullmatch(rb"[+-]?[0-9]{1,100}", word) for word in words):
            return None
        rows.append([int(word) for word in words])
    return rows


def is_taken(data: bytes, type_name: str, shape: tuple[int, ...]) -> bool:
    """Whether AMI takes the file, and a status as it is written."""
    rows = read_by_ami(data, type_name, shape)
    if rows is None or type_name != "pixel_status":
        return rows is not None
    if rows != spelled(data, shape[-1]):
        return False
    if len(shape) < 3 or shape[0] != 7:
        return True
    array = np.array(rows, dtype=np.uint32).reshape(7, -1)
    summed = array.sum(axis=0, dtype=np.uint32)  # load_array_sum, in 32 bits
    return bool((summed == array.sum(axis=0, dtype=np.uint64)).all())


def found_by_ami(calib: Path, ami_group: str, source: str, type_name: str) -> bytes | None:
    """The file that live AMI opens, below the path that it makes; links are followed."""
    best: tuple[tuple[int, int], Path] | None = None
    for path in (calib / ami_group / source / type_name).glob("*.data"):
        first, dash, last = path.stem.partition("-")
        if not dash or not first.isdecimal() or not (last == "end" or last.isdecimal()):
            continue
        end = 2**32 - 1 if last == "end" else int(last)
        if int(first) <= LIVE_RUN <= end:
            best = max(best or ((-1, 0), path), ((int(first), -end), path))
    return None if best is None else best[1].read_bytes()


WORDS = st.sampled_from(
    b"0 1 2500 -3.25 1e-5 7. .5 +4 65535 0.0 010 08 0x10 -1 4294967295 4294967296 2147483648 "
    b"18446744073709551616 00 nan inf -INFINITY nan(1) 0x1p3 0x 1e 1-2 1.5.5 3abc # 1,2 , "
    b"\xc2\xa0 \xef\xbb\xbf1 1\0 \0 007 -0 --1".split(b" ")
)
GOOD = st.sampled_from([b"0", b"1", b"12", b"300", b"65535"])
BETWEEN = st.sampled_from([b" ", b"  ", b"\t", b"\v", b",", b" \r "])
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b" \n", b" # x\n", b"\r", b"\n\n", b"\n#1 2\n"])
SHAPES = st.sampled_from([(2, 3), (3, 1), (1, 2), (7, 1, 2), (2, 2, 2), (4,), (7, 2, 1, 1)])
TYPES = st.sampled_from(["pedestals", "pixel_status"])


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, tuple[int, ...]]:
    """Almost right files: of few odd words, ends of lines, and lines too many or too few."""
    shape = draw(SHAPES)
    lines, columns = math.prod(shape[:-1]), shape[-1]
    words = draw(st.sampled_from([GOOD, GOOD | WORDS, WORDS]))
    text = draw(st.sampled_from([b"", b"# DTYPE uint16\n\n", b" # x\n", b"\r\n", b"\xef\xbb\xbf"]))
    for _ in range(lines + draw(st.sampled_from([0, 0, 0, 0, -1, 1]))):
        count = columns + draw(st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1]))
        row = [draw(words) for _ in range(count)]
        text += draw(st.sampled_from([b"", b"", b" "]))
        text += draw(BETWEEN).join(row) + draw(ENDS)
    return draw(st.sampled_from([text, text.removesuffix(b"\n"), text + b" \n"])), shape


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, tuple[int, ...]]:
    """A rendered file in which some letters were changed, put in or taken out."""
    shape = draw(SHAPES)
    array = np.arange(math.prod(shape), dtype=np.uint16).reshape(shape)
    text = bytearray(psana_text_writer.write(array, type_name="pixel_status", comments=["a"]))
    letters = st.sampled_from(b"0123456789+-.eExXnaif #,\n\r\t\0\v\xff")
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(max(0, len(text) - 4 * array.size), len(text) - 1))
        text[at : at + draw(st.integers(0, 1))] = bytes([draw(letters)])
    return bytes(text), shape


@given(files() | damaged(), TYPES)
@example((b"1 2 3\n010 4 5\n", (2, 3)), "pixel_status")
@example((b"2147483648\n" * 2 + b"0\n" * 5, (7, 1, 1)), "pixel_status")
@example((b"1 2 3\0 4\n5 6 7 # 8\n", (2, 3)), "pixel_status")
def test_a_text_is_refused_just_where_ami_would_not_take_it(
    file: tuple[bytes, tuple[int, ...]], type_name: str
) -> None:
    data, shape = file

    refusal = ami_refusal(data, type_name, shape)

    assert (refusal is None) == is_taken(data, type_name, shape), refusal


@pytest.mark.parametrize(
    ("text", "type_name", "refusal"),
    [
        (b"1 2\n3 4\n", "pedestals", None),
        (b"# x\n\n1 2\n# y\n3 4", "pedestals", None),
        (b"1\t2\r\n3 4\r\n", "pedestals", None),
        (b"nan inf\n0x1p3 -1e5\n", "pedestals", None),
        (b"1 2 3\n3 4\n", "pedestals", "line 1 holds more than 2 numbers"),
        (b"1 2\n\n3\n", "pedestals", "line 3 holds 1 numbers, not 2"),
        (b"1 2\n", "pedestals", "it has 1 lines of numbers, not 2"),
        (b"1 2\n3 4\n5 6\n", "pedestals", "it has 3 lines of numbers, not 2"),
        (b" # x\n1 2\n3 4\n", "pedestals", "line 1 has a blank before '#'"),
        (b"1 2\n  \n3 4\n", "pedestals", "line 2 is of blanks only"),
        (
            b"# CRLF behind a comment is fine\r\n\r\n1 2\r\n3 4\r\n",
            "pedestals",
            "line 2 is of blank",
        ),
        (b"\xef\xbb\xbf1 2\n3 4\n", "pedestals", "line 1 begins with a byte order mark"),
        (b"1, 2\n3, 4\n", "pedestals", "line 1 holds commas"),
        (b"", "pedestals", "it holds no number"),
        (b"# only\n# comments\n\n", "pixel_status", "it holds no number"),
        (b"0 1\n2 65535\n", "pixel_status", None),
        (b"0.0 1\n2 3\n", "pixel_status", "line 1 has '0.0', and AMI wants bare decimal integers"),
        (b"010 1\n2 3\n", "pixel_status", "line 1 has '010', which AMI takes for 8"),
        (b"0x10 1\n2 3\n", "pixel_status", "line 1 has '0x10', and AMI wants bare decimal"),
        (b"08 1\n2 3\n", "pixel_status", "line 1 has '08', and AMI wants bare decimal"),
        (b"-1 1\n2 3\n", "pixel_status", "line 1 has '-1', which AMI takes for 4294967295"),
        (b"4294967296 1\n2 3\n", "pixel_status", "line 1 has '4294967296', which AMI takes for 0"),
    ],
)
def test_the_reason_names_the_line_and_what_is_wrong_with_it(
    text: bytes, type_name: str, refusal: str | None
) -> None:
    found = ami_refusal(text, type_name, (2, 2))

    assert found == refusal if refusal is None else found is not None and refusal in found
    assert is_taken(text, type_name, (2, 2)) == (refusal is None)


def test_words_of_seven_modes_that_add_up_beyond_32_bits_are_refused() -> None:
    words = [b"2147483648", b"2147483648", b"0", b"0", b"0", b"0", b"0"]
    text = b"".join(b"1 %s\n" % word for word in words)

    refusal = ami_refusal(text, "pixel_status", (7, 1, 2))

    assert refusal == "the words of one pixel add up to 4294967296, beyond 32 bits"
    assert ami_refusal(text, "pixel_status", (7, 2)) is None


@given(
    arrays_of.arrays(
        np.float32,
        arrays_of.array_shapes(min_dims=2, max_dims=4, max_side=4),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_ami_reads_every_bit_of_floats_that_calstore_writes(array: np.ndarray) -> None:
    text = psana_text_writer.write(array, type_name="pedestals", comments=["CALSTORE x", "", "#"])

    rows = read_by_ami(text, "pedestals", array.shape)

    assert ami_refusal(text, "pedestals", array.shape) is None
    assert np.array(rows, np.float32).reshape(array.shape).tobytes() == array.tobytes()


@given(arrays_of.arrays(np.uint16, st.sampled_from([(2, 3), (7, 2, 2), (7, 1, 2, 3), (32, 1, 2)])))
def test_ami_reads_every_status_word_that_calstore_writes(array: np.ndarray) -> None:
    text = psana_text_writer.write(array, type_name="pixel_status")

    rows = read_by_ami(text, "pixel_status", array.shape)

    assert ami_refusal(text, "pixel_status", array.shape) is None
    assert np.array(rows, np.uint16).reshape(array.shape).tobytes() == array.tobytes()
    assert is_taken(text, "pixel_status", array.shape)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (GEOMETRY, None),
        (b"\r\n" + GEOMETRY, None),
        (GEOMETRY + b"IP 0 CAMERA 1 0 0\n", "line 4 has 6 fields, not 13"),
        (b"IP a CAMERA 0  0 0 0  0 0 0  0 0 0\n", "line 1 has no number where one belongs"),
        (b"IP 0 CAMERA 0  0 0 0  0 0 x  0 0 0\n", "line 1 has no number where one belongs"),
    ],
)
def test_a_geometry_has_thirteen_fields_in_a_line(text: bytes, refusal: str | None) -> None:
    assert geometry_refusal(text) == refusal


@pytest.mark.parametrize(
    ("source", "types"),
    [
        (JUNGFRAU, {"pedestals", "pixel_gain", "pixel_offset", "geometry"}),  # never a status
        (EPIX10KA2M, {"pedestals", "pixel_status", "pixel_gain", "geometry"}),
        ("X.0:Epix10kaQuad.0", {"pedestals", "pixel_status", "pixel_gain", "geometry"}),
        (EPIX10KA, {"pedestals", "pixel_status", "pixel_gain"}),
        ("XppGon.0:Epix100a.1", {"pedestals", "pixel_status", "pixel_gain"}),
        (CSPAD, {"pedestals", "pixel_status", "pixel_rms", "geometry"}),
        ("X.0:Cspad2x2.3", {"pedestals", "pixel_status", "pixel_rms", "geometry"}),
        ("X.0:pnCCD.0", {"pedestals", "pixel_gain"}),
        ("X.0:Fccd960.0", {"pedestals", "gain"}),
        ("X.0:Uxi.1", {"pedestals"}),
        (OPAL, {"pedestals"}),
        (ISTAR, {"pedestals"}),
        ("X.0:Princeton.0", set()),
        ("X.0:Andor.0", set()),
        ("X.0:Nothing.0", set()),
    ],
)
def test_what_ami_reads_of_a_device(source: str, types: set[str]) -> None:
    assert set(ami_reads(source)) == types


@pytest.mark.parametrize(
    ("source", "type_name", "shape", "fits"),
    [
        (JUNGFRAU, "pedestals", (3, 8, 512, 1024), True),
        (JUNGFRAU, "pixel_offset", (3, 1, 512, 1024), True),
        (JUNGFRAU, "pedestals", (12288, 1024), True),  # the same lines
        (JUNGFRAU, "pedestals", (8, 3, 512, 1024), False),
        (JUNGFRAU, "pedestals", (8, 512, 1024), False),
        (JUNGFRAU, "pixel_status", (8, 512, 1024), True),  # never read
        (EPIX10KA2M, "pedestals", (7, 16, 352, 384), True),
        (EPIX10KA2M, "pedestals", (16, 352, 384), False),
        (EPIX10KA2M, "pixel_status", (16, 352, 384), True),
        (EPIX10KA, "pedestals", (7, 1, 352, 384), True),
        (EPIX10KA, "pedestals", (7, 352, 384), True),
        (EPIX10KA, "pedestals", (352, 384), True),  # one mode is copied to all
        (EPIX10KA, "pixel_gain", (352, 384), False),
        ("X.0:Epix100a.0", "pixel_gain", (704, 768), True),
        ("X.0:Epix100a.0", "pixel_gain", (768, 704), False),
        (CSPAD, "pixel_rms", (32, 185, 388), True),
        (CSPAD, "pedestals", (32, 388, 185), False),
        ("X.0:Cspad2x2.0", "pedestals", (185, 388, 2), True),
        ("X.0:Cspad2x2.0", "pedestals", (2, 185, 388), False),
        ("X.0:Uxi.0", "pedestals", (4, 10, 12), True),
        ("X.0:Fccd960.0", "gain", (960, 960), True),
        ("X.0:Fccd960.0", "pedestals", (480, 960), False),
        (OPAL, "pedestals", (1024, 1024), True),
        (OPAL, "pedestals", (1024,), False),
        (OPAL, "pedestals", (2, 1024, 1024), False),
        ("X.0:Princeton.0", "pedestals", (1,), True),
    ],
)
def test_the_shapes_that_ami_takes(
    source: str, type_name: str, shape: tuple[int, ...], fits: bool
) -> None:
    assert (ami_shape_problem(source, type_name, shape) is None) == fits


# Views, made by the command line.


def text_of(array: np.ndarray, type_name: str = "pedestals") -> bytes:
    return psana_text_writer.write(array, type_name=type_name)


def camera(shift: float = 0.0) -> np.ndarray:
    return np.arange(48, dtype=np.float32).reshape(6, 8) + np.float32(0.25 + shift)


def floats(array: np.ndarray) -> bytes:
    """A table as some tools write a status: psana's Python reader takes it, AMI does not."""
    rows = array.reshape(-1, array.shape[-1])
    head = [b"# DTYPE float32", b"# NDIM %d" % array.ndim]
    head += [b"# DIM:%d %d" % axis for axis in enumerate(array.shape)]
    lines = (b" ".join(b"%.1f" % word for word in row) for row in rows.tolist())
    return b"\n".join([*head, b"", *lines, b""])


def tree(files: Mapping[tuple[str, str], bytes]) -> dict[str, bytes]:
    """Paths of files, from a source and the rest of the path."""
    return {f"{GROUPS[source]}/{source}/{rest}": data for (source, rest), data in files.items()}


@pytest.fixture
def imported(calstore: Calstore, tmp_path: Path) -> Callable[[Mapping[str, bytes]], None]:
    """Make xpp/main from files."""

    def make(files: Mapping[str, bytes]) -> None:
        folder = tmp_path / "imported"
        shutil.rmtree(folder, ignore_errors=True)
        outcome = calstore("import", write_tree(folder, files), "xpp/main")
        assert outcome.code == 0, outcome.err

    return make


Imported = Callable[[Mapping[str, bytes]], None]


def for_ami(calstore: Calstore, *words: object, code: int = 0) -> Outcome:
    outcome = calstore("materialize", "xpp/main", "calib", "--for", "ami", *words)
    assert outcome.code == code, outcome.err
    return outcome


def test_an_opal_is_found_without_its_group(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    files = tree({(OPAL, "pedestals/3-end.data"): text_of(camera())})
    imported(files)

    outcome = for_ami(calstore)

    calib = tmp_path / "calib"
    assert (calib / OPAL).readlink() == Path(GROUPS[OPAL]) / OPAL
    assert found_by_ami(calib, "", OPAL, "pedestals") == text_of(camera())
    assert (outcome.err, calstore("status", "calib").code) == ("", 0)


def test_an_epix10k_is_found_in_both_groups(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(tree({(EPIX10K, "pedestals/3-end.data"): text_of(camera())}))

    outcome = for_ami(calstore)

    calib = tmp_path / "calib"
    for group in ("Epix10k::CalibV1", "Epix10ka::CalibV1"):
        assert found_by_ami(calib, group, EPIX10K, "pedestals") == text_of(camera()), group
    assert f"{EPIX10K} has no pixel_status, pixel_gain: AMI goes on with" in outcome.err


def test_a_version_with_both_groups_of_an_epix10k_needs_no_link_and_both_are_checked(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    theirs = f"Epix10k::CalibV1/{EPIX10K}/pedestals/3-end.data"
    imported(
        {**tree({(EPIX10K, "pedestals/3-end.data"): text_of(camera())}), theirs: text_of(camera(1))}
    )

    for_ami(calstore)

    calib = tmp_path / "calib"
    assert not [path for path in calib.rglob("*") if path.is_symlink()]
    assert found_by_ami(calib, "Epix10k::CalibV1", EPIX10K, "pedestals") == text_of(camera(1))
    imported({theirs.replace("3-end", "3-9"): text_of(camera())})
    assert "no range goes to the end" in for_ami(calstore, code=5).err


def test_what_ami_would_drop_is_rendered_anew_and_everything_else_is_verbatim(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    status = np.zeros((352, 384), np.uint16)
    status[5, :4] = (1, 2, 64, 65535)
    files = tree(
        {
            (EPIX10KA, "pedestals/1-end.data"): text_of(np.zeros((352, 384), np.float32)),
            (EPIX10KA, "pixel_gain/1-end.data"): text_of(np.ones((7, 352, 384), np.float32)),
            (EPIX10KA, "pixel_status/1-end.data"): floats(status),
            (EPIX10KA, "status_data/1-end.data"): floats(status),  # which AMI never reads
        }
    )
    imported(files)

    for_ami(calstore)

    calib = tmp_path / "calib"
    changed = f"{GROUPS[EPIX10KA]}/{EPIX10KA}/pixel_status/1-end.data"
    for path, data in files.items():
        assert ((calib / path).read_bytes() == data) == (path != changed), path
    text = found_by_ami(calib, GROUPS[EPIX10KA], EPIX10KA, "pixel_status")
    assert text is not None
    assert np.array_equal(read_by_ami(text, "pixel_status", status.shape), status)
    assert calstore("materialize", "xpp/main", "calib", "--for", "ami", "--verify").code == 0


def test_a_jungfrau_has_its_offset_checked_and_never_its_status(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    zeros = np.zeros((3, 1, 512, 1024), np.float32)
    files = tree(
        {
            (JUNGFRAU, "pedestals/1-end.data"): text_of(zeros),
            (JUNGFRAU, "pixel_gain/1-end.data"): text_of(zeros + 1, "pixel_gain"),
            (JUNGFRAU, "pixel_status/1-7.data"): b"# DTYPE float32\n0.0 1.0\n",
            (JUNGFRAU, "geometry/0-end.data"): GEOMETRY,
        }
    )
    imported(files)

    for_ami(calstore)

    calib = tmp_path / "calib"
    for path, data in files.items():
        assert (calib / path).read_bytes() == data
    imported({**files, **tree({(JUNGFRAU, "pixel_offset/1-end.data"): text_of(zeros[:, 0, :9])})})
    refused = for_ami(calstore, code=5).err
    assert f"{JUNGFRAU} pixel_offset 1-end: the shape is (3, 9, 1024); AMI takes" in refused


def test_an_epix10ka2m_is_text_that_ami_takes_whether_imported_or_from_an_array(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    status = np.zeros((16, 352, 384), np.uint16)  # without modes, which AMI takes too
    status[15, 351] = 4
    imported(
        tree(
            {
                (EPIX10KA2M, "geometry/0-end.data"): GEOMETRY,
                (EPIX10KA2M, "pixel_status/3-end.data"): text_of(status, "pixel_status"),
            }
        )
    )
    pedestals = np.full((7, 16, 352, 384), 1.5, np.float32)
    (tmp_path / "new.npy").write_bytes(npy_bytes(pedestals))
    words = ("set", "xpp/main", "Epix10ka2M", "pedestals", "9-end", "new.npy")
    assert calstore(*words).code == 0

    for_ami(calstore)

    calib = tmp_path / "calib"
    text = found_by_ami(calib, GROUPS[EPIX10KA2M], EPIX10KA2M, "pixel_status")
    assert text is not None
    rows = read_by_ami(text, "pixel_status", status.shape)
    assert np.array_equal(np.array(rows, np.uint16).reshape(status.shape), status)
    text = found_by_ami(calib, GROUPS[EPIX10KA2M], EPIX10KA2M, "pedestals")
    assert text is not None
    assert ami_refusal(text, "pedestals", pedestals.shape) is None


def test_a_cspad_is_checked_although_ami_does_not_check_it(
    calstore: Calstore, imported: Imported
) -> None:
    values = np.zeros((32, 185, 388), np.float32)
    status = np.zeros((32, 185, 388), np.uint16)
    good = tree(
        {
            (CSPAD, "pedestals/1-end.data"): text_of(values),
            (CSPAD, "pixel_rms/1-end.data"): text_of(values, "pixel_rms"),
            (CSPAD, "pixel_status/1-end.data"): text_of(status, "pixel_status"),
        }
    )
    imported(good)
    for_ami(calstore)
    values[7, 3, 2] = 40_000  # AMI keeps pedestals of a Cspad as int16

    imported(
        {
            **good,
            **tree(
                {
                    (CSPAD, "pedestals/1-end.data"): text_of(values),
                    (CSPAD, "pixel_rms/1-end.data"): b"",
                    (CSPAD, "geometry/0-end.data"): b"IP 0 CSPAD:V1 0 1 2 3\n",
                }
            ),
        }
    )

    refused = for_ami(calstore, code=5).err
    assert "(3 reason(s))" in refused
    assert "values from 0.0 to 40000.0, of which AMI makes other ones" in refused
    assert f"{CSPAD} pixel_rms 1-end: it is kept as an opaque file" in refused
    assert f"{CSPAD} geometry 0-end: line 1 has 7 fields, not 13" in refused


def test_every_reason_is_listed_with_what_to_do_and_nothing_is_written(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(
        tree(
            {
                (OPAL, "pedestals/3-9.data"): text_of(camera()),
                (ISTAR, "pedestals/1-end.data"): b"1 2 3 4\n",
                (EPIX10K, "pixel_status/1-end.data"): b"# DTYPE int64\n65536 0\n1.0 0\n",
            }
        )
    )

    refused = for_ami(calstore, code=5).err

    assert not (tmp_path / "calib").exists()
    lines = refused.splitlines()
    assert "xpp/main@1 cannot be for AMI" in lines[0]
    assert "(3 reason(s))" in lines[0]
    assert sorted(lines[1:]) == [
        f"  {ISTAR} pedestals 1-end: the shape is (4,); AMI takes (rows, columns) and would use "
        f"its default; give them others with: calstore set xpp/main {GROUPS[ISTAR]}/{ISTAR} "
        "pedestals 1-end FILE",
        f"  {EPIX10K} pixel_status 1-end: it is kept as an opaque file, because psana could not "
        "read it; give them others with: calstore set xpp/main "
        f"{GROUPS[EPIX10K]}/{EPIX10K} pixel_status 1-end FILE",
        f"  {OPAL} pedestals: no range goes to the end, so live AMI finds none; give one with: "
        f"calstore set xpp/main {GROUPS[OPAL]}/{OPAL} pedestals 3-end FILE",
    ]


def test_the_command_that_a_reason_names_mends_it(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(tree({(OPAL, "pedestals/3-9.data"): text_of(camera())}))
    (tmp_path / "FILE").write_bytes(text_of(camera(7)))
    refused = for_ami(calstore, code=5).err
    found = re.search(r"calstore (set .*)", refused)
    assert found is not None

    assert calstore(*found[1].split()).code == 0

    for_ami(calstore)
    text = found_by_ami(tmp_path / "calib", "", OPAL, "pedestals")
    assert text == text_of(camera(7))


def test_a_status_that_psana_wraps_is_not_mended_in_silence(
    calstore: Calstore, imported: Imported
) -> None:
    status = b"# DTYPE float64\n# NDIM 2\n# DIM:0 2\n# DIM:1 2\n65536.0 0.0\n1.0 2.0\n"
    imported(tree({(EPIX10K, "pixel_status/1-end.data"): status}))

    refused = for_ami(calstore, code=5).err

    assert "line 5 has '65536.0', and AMI wants bare decimal integers, and psana" in refused


def test_a_view_of_one_run_says_to_leave_the_run_out(
    calstore: Calstore, imported: Imported
) -> None:
    imported(
        tree(
            {
                (OPAL, "pedestals/3-9.data"): text_of(camera()),
                (OPAL, "pedestals/1-end.data"): text_of(camera(2)),
            }
        )
    )

    refused = for_ami(calstore, "--run", "5", code=5).err

    assert "live AMI finds none; leave out --run 5" in refused
    assert for_ami(calstore, "--run", "12").code == 0


def test_a_second_run_does_nothing_and_without_ami_the_links_go(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(
        tree(
            {
                (OPAL, "pedestals/3-end.data"): text_of(camera()),
                (EPIX10K, "pixel_status/3-end.data"): floats(np.ones((6, 8))),
            }
        )
    )
    calib = tmp_path / "calib"
    assert calstore("materialize", "xpp/main", calib).code == 0
    plain = snapshot(calib)
    for_ami(calstore)
    made = snapshot(calib)

    again = for_ami(calstore)
    unchanged = snapshot(calib)
    assert calstore("materialize", "xpp/main", calib).code == 0

    after = snapshot(calib)
    assert " 0 files written, 0 removed," in again.out
    assert unchanged == made
    assert {path for path in made.keys() - after.keys() if "HISTORY" not in path} == {
        OPAL,
        f"Epix10k::CalibV1/{EPIX10K}",
        "Epix10k::CalibV1",
    }
    for path in plain.keys() - {".calstore-view.json"}:
        assert after[path] == plain[path], path


def test_what_stands_where_a_link_belongs_is_not_touched(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(tree({(OPAL, "pedestals/3-end.data"): text_of(camera())}))
    calib = tmp_path / "calib"
    write_tree(calib, {f"{OPAL}/pedestals/1-end.data": b"by hand\n"})
    before = snapshot(calib)

    assert "is in the way of a link" in for_ami(calstore, code=4).err
    assert snapshot(calib) == before
    shutil.rmtree(calib / OPAL)
    (calib / OPAL).symlink_to("elsewhere")

    assert "is somebody's link to elsewhere" in for_ami(calstore, code=4).err
    assert (calib / OPAL).readlink() == Path("elsewhere")
    for_ami(calstore, "--discard")
    assert found_by_ami(calib, "", OPAL, "pedestals") == text_of(camera())


def test_a_link_that_somebody_lets_lead_elsewhere_is_a_difference_and_stays(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(tree({(OPAL, "pedestals/3-end.data"): text_of(camera())}))
    for_ami(calstore)
    link = tmp_path / "calib" / OPAL
    link.unlink()
    link.symlink_to("elsewhere")

    assert f"modified  {OPAL}" in calstore("status", "calib").out
    assert "somebody's link" in for_ami(calstore, code=4).err
    assert calstore("materialize", "xpp/main", "calib").code == 0

    assert link.readlink() == Path("elsewhere")


def test_a_part_of_a_view_for_ami_is_for_ami_too(calstore: Calstore, imported: Imported) -> None:
    imported(tree({(OPAL, "pedestals/3-end.data"): text_of(camera())}))
    for_ami(calstore)
    only = ("materialize", "xpp/main", "calib", "--only", OPAL, "pedestals")

    refused = calstore(*only)
    done = calstore(*only, "--for", "ami")

    assert (refused.code, done.code) == (5, 0)
    assert "was made with --for ami" in refused.err


def test_an_import_of_a_view_for_ami_takes_no_link_for_more_constants(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(
        tree(
            {
                (OPAL, "pedestals/3-end.data"): text_of(camera()),
                (EPIX10K, "pedestals/3-end.data"): text_of(camera()),
            }
        )
    )
    for_ami(calstore)
    before = calstore("log", "xpp/main").out

    outcome = calstore("import", "calib", "xpp/main")

    assert "unchanged" in outcome.out
    assert calstore("log", "xpp/main").out == before
    edited = tmp_path / "calib" / GROUPS[EPIX10K] / EPIX10K / "pedestals" / "3-end.data"
    edited.write_bytes(text_of(camera(9)))
    assert calstore("import", "calib", "xpp/main").code == 0
    assert len(calstore("show", "xpp/main").out.splitlines()) == 3


def test_generations_have_the_links_too(
    calstore: Calstore, imported: Imported, tmp_path: Path
) -> None:
    imported(tree({(OPAL, "pedestals/3-end.data"): text_of(camera())}))

    for_ami(calstore, "--generations", "2")

    calib = tmp_path / "calib"
    assert found_by_ami(calib, "", OPAL, "pedestals") == text_of(camera())
    for folder in (path for path in tmp_path.rglob("*") if path.is_dir()):
        folder.chmod(0o755)  # so that the folder can be taken away


@pytest.mark.skipif(
    not REAL_TREE.is_dir(), reason="the real calibration files are not beside this checkout"
)
def test_the_real_tree_is_for_ami_and_what_it_lacks_is_said(
    calstore: Calstore, tmp_path: Path
) -> None:
    epix = "Epix100a::CalibV1/XppGon.0:Epix100a.1/pixel_status/0-end.data"
    assert calstore("import", REAL_TREE, "xpp/main").code == 0

    outcome = for_ami(calstore, "--verify")

    data = (tmp_path / "calib" / epix).read_bytes()
    assert data == (REAL_TREE / epix).read_bytes()
    assert is_taken(data, "pixel_status", (704, 768))
    assert "XppGon.0:Epix100a.1 has no pedestals, pixel_gain: AMI goes on" in outcome.err
