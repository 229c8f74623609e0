"""The table of psana's conventions says what psana's readers do."""

from __future__ import annotations

import math

import pytest

from calstore.model.conventions import (
    ami_group_of,
    calibration_type,
    device_of,
    fixed_shape,
    group,
    group_of,
)


@pytest.mark.parametrize(
    ("source", "expected", "ami"),
    [
        ("XppGon.0:Epix100a.1", "Epix100a::CalibV1", "Epix100a::CalibV1"),
        ("CxiDs1.0:Cspad.0", "CsPad::CalibV1", "CsPad::CalibV1"),
        ("CxiSc1.0:Cspad2x2.3", "CsPad2x2::CalibV1", "CsPad2x2::CalibV1"),
        ("Camp.0:pnCCD.1", "PNCCD::CalibV1", "PNCCD::CalibV1"),
        ("MfxEndstation.0:Epix10k.0", "Epix10ka::CalibV1", "Epix10k::CalibV1"),
        ("MfxEndstation.0:Epix10ka.0", "Epix10ka::CalibV1", "Epix10ka::CalibV1"),
        ("MfxEndstation.0:Epix10ka2M.0", "Epix10ka2M::CalibV1", "Epix10ka2M::CalibV1"),
        ("XcsEndstation.0:Epix10kaQuad.0", "Epix10kaQuad::CalibV1", "Epix10kaQuad::CalibV1"),
        ("AmoEndstation.0:DualAndor.0", "Andor3d::CalibV1", None),
        ("XrayTransportDiagnostic.0:Opal1000.0", "Camera::CalibV1", ""),
        ("TmoEndstation.0:iStar.0", "Camera::CalibV1", "Camera::CalibV1"),
        ("MecTargetChamber.0:Alvium.2", "Camera::CalibV1", "Camera::CalibV1"),
        ("NoDetector.0:Evr.0", "EvrData::CalibV1", None),
        ("XppGon.0:Phasics.1", "UNDEFINED", ""),
        ("XppGon.0:epix100a.1", "UNDEFINED", ""),
        ("Epix100a.1", "UNDEFINED", ""),
        ("", "UNDEFINED", ""),
    ],
)
def test_a_source_leads_to_the_group_that_each_reader_looks_in(
    source: str, expected: str, ami: str | None
) -> None:
    assert (group_of(source), ami_group_of(source)) == (expected, ami)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("CsPad::CalibV1", (32, 185, 388)),
        ("CsPad2x2::CalibV1", (185, 388, 2)),
        ("PNCCD::CalibV1", (4, 512, 512)),
        ("Epix100a::CalibV1", (704, 768)),
        ("Imp::CalibV1", (4, 1023)),
        ("Jungfrau::CalibV1", None),
        ("Epix10ka2M::CalibV1", None),
        ("Camera::CalibV1", None),
        ("NoSuch::CalibV1", None),
    ],
)
def test_only_five_groups_have_a_shape_of_their_own(
    name: str, shape: tuple[int, ...] | None
) -> None:
    assert fixed_shape(name, "pedestals") == shape
    assert fixed_shape(name, "common_mode") is None
    assert fixed_shape(name, "geometry") is None
    assert fixed_shape(name, "nolasing") is None


@pytest.mark.parametrize(
    ("name", "dtype", "integer_text", "default"),
    [
        ("pedestals", "float32", False, 0),
        ("pixel_rms", "float32", False, 1),
        ("pixel_status", "uint16", True, 0),
        ("status_extra", "uint64", True, 0),
        ("status_data", "uint16", True, 0),
        ("pixel_gain", "float32", False, 1),
        ("pixel_offset", "float32", False, 0),
        ("pixel_mask", "uint8", True, 1),
        ("pixel_bkgd", "float32", False, 0),
        ("common_mode", "float64", False, None),
        ("geometry", None, False, None),
    ],
)
def test_each_type_has_the_dtype_and_default_of_psana(
    name: str, dtype: str | None, integer_text: bool, default: int | None
) -> None:
    kind = calibration_type(name)

    assert kind is not None
    assert (kind.dtype, kind.integer_text, kind.default) == (dtype, integer_text, default)
    assert kind.is_array == (dtype is not None)


def test_an_unknown_type_is_not_guessed() -> None:
    assert calibration_type("nolasing") is None
    assert calibration_type("Pedestals") is None


def test_every_group_of_a_device_is_in_the_table_of_groups() -> None:
    names = ("Cspad", "Princeton", "Timepix", "Fli", "Pimax", "Pixis", "Uxi", "Acqiris", "Imp")
    for name in names:
        device = device_of(f"X.0:{name}.0")
        assert device is not None

        row = group(device.group)

        assert row is not None
        assert row.shape is None or math.prod(row.shape) > 0
