"""Frames through psana: what was written comes out, in order, or a clear error does.

Files of LCLS-II are real, by psana's own writer. psana of LCLS-I is not to be had here: a stand-in
with the part of its public interface that the bridge uses shows what the bridge makes of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commandline import REAL_TREE, run

import calstore
from calstore.errors import Invalid, NotFound
from calstore.frames import psana
from calstore.frames.psana import PsanaFrames, is_complete, open_psana
from calstore.frames.source import WHOLE, Contents, Part, Step
from calstore.model.inputs import Selection
from calstore.repository.results import derivation_of, input_of

PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")
with_psana = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)
XTC2 = REAL_TREE.parent / "xtc2"
EXPERIMENT = "tstx00125"
MODES = ("FH", "FM", "FL", "AHL-H", "AML-M")
ONE_PROCESS = {
    "PS_PARALLEL": "none",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def frames(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(3000, 5, shape).round().astype(np.uint16)


def opened(*files: Path, **how: object) -> PsanaFrames:
    environment = how.pop("environment", os.environ)
    found = {"files": files, "python": PSANA, "path": os.environ["PATH"], **how}
    return open_psana(environment=environment, **found)


def read(
    source: PsanaFrames, part: Part = WHOLE, **selections: Selection
) -> dict[tuple[str, int, str], dict[int, np.ndarray]]:
    """All frames by detector, step and mode, and by number; they come in order."""
    found: dict[tuple[str, int, str], dict[int, np.ndarray]] = {}
    with source.blocks(selections, part) as blocks:
        for block in blocks:
            of_step = found.setdefault((block.detector, block.step, block.mode), {})
            assert list(block.numbers) == sorted(block.numbers)
            assert all(number > max(of_step, default=-1) for number in block.numbers)
            of_step.update(zip(block.numbers, block.frames.copy(), strict=True))
    return found


def same(found: dict[int, np.ndarray], expected: np.ndarray) -> bool:
    """Whether these are the frames, all of them and in this order."""
    numbers = list(range(len(expected)))
    return list(found) == numbers and all(np.array_equal(found[n], expected[n]) for n in numbers)


@pytest.fixture(scope="module")
def folder(memory_path: Path) -> Path:
    """Runs 3 to 9, as .npy and as the xtc2 that psana's writer makes of them."""
    assert PSANA is not None
    _save(memory_path)
    plans = [json.dumps(plan) for plan in _plans(memory_path)]
    script = Path(__file__).with_name("xtc2_files.py")
    environment = {**os.environ, **ONE_PROCESS}
    subprocess.run([PSANA, script, *plans], env=environment, check=True, capture_output=True)
    return memory_path


@pytest.fixture(scope="module")
def run3(folder: Path) -> PsanaFrames:
    """Two cameras with event codes: 140 at each event, 41 at every third."""
    return opened(folder / "r3.xtc2")


@pytest.fixture(scope="module")
def run4(folder: Path) -> PsanaFrames:
    """Five steps of an epix10ka, 104 events each."""
    return opened(folder / "r4.xtc2")


def _save(folder: Path) -> None:
    np.save(folder / "epix.npy", frames(1, 120, 64, 96))
    np.save(folder / "opal.npy", frames(2, 120, 32, 48))
    for step in range(3):
        np.save(folder / f"G{step}.npy", frames(10 + step, 8, 1, 512, 1024))
    for step, mode in enumerate(MODES):
        np.save(folder / f"{mode}.npy", frames(20 + step, 104, 1, 352, 384))
    np.save(folder / "none.npy", frames(1, 1, 64, 96)[:0])


def _plans(folder: Path) -> list[dict[str, object]]:
    epix = {"kind": "epix100", "serials": ["1-2-3"]}
    opal = {"kind": "opal", "serials": ["77"]}
    jungfrau = {"kind": "jungfrau", "serials": ["8-1-1"]}
    epix10ka = {"kind": "epix10ka", "serials": ["5-1"]}
    both = {"epix100": str(folder / "epix.npy"), "atmopal": str(folder / "opal.npy")}

    def plan(number: int, detectors: object, steps: object, **others: object) -> dict[str, object]:
        out = str(folder / f"r{number}.xtc2")
        common = {"out": out, "experiment": EXPERIMENT, "run": number}
        return {**common, "detectors": detectors, "steps": steps, **others}

    def scan(name: str, modes: tuple[str, ...], **told: object) -> list[dict[str, object]]:
        return [
            {
                "frames": {name: str(folder / f"{mode}.npy")},
                "doc": {"detname": f"{name}_0", "scantype": "pedestal", "step": step, **told},
            }
            for step, mode in enumerate(modes)
        ]

    def configured(steps: list[dict[str, object]], modes: tuple[str, ...]) -> object:
        return [{**step, "config": mode} for step, mode in zip(steps, modes, strict=True)]

    gains = ("G0", "G1", "G2")
    turned = [
        {**step, "doc": {**step["doc"], "gainMode": 2 - number}}
        for number, step in enumerate(scan("jungfrau", gains))
    ]
    codes = [[140] if event % 3 else [140, 41] for event in range(120)]
    missing = {"epix100": epix, "atmopal": {**opal, "missing": [0, 50]}}
    streams = [[str(folder / "r6-s0.xtc2"), ["epix100"]], [str(folder / "r6-s1.xtc2"), ["atmopal"]]]
    swapped = ("FM", "FH", "FL", "AHL-H", "AML-M")
    return [
        plan(3, missing, [{"frames": both, "codes": codes}]),
        plan(4, {"epix10ka_0": epix10ka}, configured(scan("epix10ka_0", MODES), MODES)),
        plan(5, {"jungfrau": jungfrau}, turned),
        plan(6, {"epix100": epix, "atmopal": opal}, [{"frames": both}], streams=streams),
        plan(7, {"jungfrau": jungfrau}, scan("jungfrau", gains)),
        plan(8, {"epix10ka_0": epix10ka}, configured(scan("epix10ka_0", MODES), swapped)),
        plan(9, {"epix100": epix}, [{"frames": {"epix100": str(folder / "none.npy")}}]),
    ]


@with_psana
def test_the_contents_are_those_of_the_data(run3: PsanaFrames) -> None:
    found = run3.contents()

    opal, epix = found.detectors
    assert (found.experiment, found.run) == (EXPERIMENT, 3)
    assert (epix.name, epix.kind, epix.serials) == ("epix100", "epix100", ("1-2-3",))
    assert (epix.shape, epix.dtype, epix.steps) == ((64, 96), "uint16", (Step(0, 120),))
    assert (opal.name, opal.kind, opal.shape) == ("atmopal", "opal", (32, 48))


@with_psana
def test_two_detectors_come_in_one_pass_and_events_without_a_frame_are_none(
    folder: Path, run3: PsanaFrames
) -> None:
    found = read(run3, epix100=Selection(), atmopal=Selection())

    there = [event for event in range(120) if event not in (0, 50)]
    assert same(found["epix100", 0, ""], np.load(folder / "epix.npy"))
    assert same(found["atmopal", 0, ""], np.load(folder / "opal.npy")[there])


@with_psana
@pytest.mark.parametrize(
    ("selection", "events"),
    [
        (Selection(skip=5, most=40), range(5, 45)),
        (Selection(codes=(41,)), range(0, 120, 3)),
        (Selection(codes=(41,), skip=2, most=3), range(6, 15, 3)),
        (Selection(codes=(-41,)), [event for event in range(120) if event % 3]),
        (Selection(codes=(-140, 41)), range(0, 120, 3)),
        (Selection(codes=(99,)), []),
    ],
    ids=["skip and most", "code", "all three", "not the code", "either", "no such code"],
)
def test_a_selection_gives_its_events(
    folder: Path, run3: PsanaFrames, selection: Selection, events: list[int]
) -> None:
    found = read(run3, epix100=selection)

    assert same(found.get(("epix100", 0, ""), {}), np.load(folder / "epix.npy")[list(events)])


@with_psana
def test_a_part_is_given_its_share_and_the_head(folder: Path, run3: PsanaFrames) -> None:
    expected = np.load(folder / "epix.npy")
    parts = [Part(rank, 2, head=10) for rank in range(2)]

    found = [read(run3, part, epix100=Selection())["epix100", 0, ""] for part in parts]

    for part, each in zip(parts, found, strict=True):
        assert list(each) == [number for number in range(120) if part.needs(number)]
        assert all(np.array_equal(each[number], expected[number]) for number in each)


@with_psana
def test_each_step_of_a_jungfrau_has_the_gain_that_the_scan_tells(folder: Path) -> None:
    told, counted = opened(folder / "r5.xtc2"), opened(folder / "r7.xtc2")

    found = read(told, jungfrau=Selection())

    steps = [step.mode for step in told.contents().detectors[0].steps]
    assert steps == ["G2", "G1", "G0"]
    assert [step.mode for step in counted.contents().detectors[0].steps] == ["G0", "G1", "G2"]
    assert all(
        same(found["jungfrau", step, f"G{2 - step}"], np.load(folder / f"G{step}.npy"))
        for step in range(3)
    )


@with_psana
def test_each_step_of_an_epix10ka_has_the_mode_that_it_was_configured_for(
    folder: Path, run4: PsanaFrames
) -> None:
    found = read(run4, epix10ka_0=Selection(skip=100))

    assert [step.mode for step in run4.contents().detectors[0].steps] == list(MODES)
    for step, mode in enumerate(MODES):
        expected = np.load(folder / f"{mode}.npy")[100:, 0]
        assert same(found["epix10ka_0", step, mode], expected)


@with_psana
def test_a_configuration_that_is_not_what_the_scan_says_is_refused(folder: Path) -> None:
    source = opened(folder / "r8.xtc2")

    with pytest.raises(Invalid, match="configured for FM where the scan says that step 0 is FH"):
        read(source, epix10ka_0=Selection())


@with_psana
def test_the_streams_of_a_run_are_one_source(folder: Path) -> None:
    source = opened(folder / "r6-s0.xtc2", folder / "r6-s1.xtc2")

    found = read(source, epix100=Selection(), atmopal=Selection())

    assert same(found["epix100", 0, ""], np.load(folder / "epix.npy"))
    assert same(found["atmopal", 0, ""], np.load(folder / "opal.npy"))
    assert [Path(each.path).name for each in source.evidence()] == ["r6-s0.xtc2", "r6-s1.xtc2"]


@with_psana
def test_files_of_different_runs_are_not_one_source(folder: Path) -> None:
    with pytest.raises(Invalid, match="files of different runs"):
        opened(folder / "r5.xtc2", folder / "r7.xtc2")


@with_psana
def test_a_run_is_found_by_its_experiment_number_and_directory(folder: Path) -> None:
    assert PSANA is not None
    name = f"{EXPERIMENT}-r0003-s000-c000"
    (folder / "xtc/smalldata").mkdir(parents=True, exist_ok=True)
    data = folder / f"xtc/{name}.xtc2"
    data.write_bytes((folder / "r3.xtc2").read_bytes())
    code = "import psana, pathlib; print(pathlib.Path(psana.__file__).parents[1])"
    site = subprocess.run(
        [PSANA, "-c", code],
        env={**os.environ, **ONE_PROCESS},
        capture_output=True,
        text=True,
        check=True,
    )
    writer = Path(site.stdout.split()[-1]) / "bin/smdwriter"
    small = folder / f"xtc/smalldata/{name}.smd.xtc2"
    subprocess.run([writer, "-f", data, "-o", small], check=True, capture_output=True)

    source = opened(experiment=EXPERIMENT, run=3, directory=folder / "xtc")

    assert same(read(source, epix100=Selection())["epix100", 0, ""], np.load(folder / "epix.npy"))
    assert [each.path for each in source.evidence()] == [str(data)]
    with pytest.raises(NotFound, match="run 99"):
        opened(experiment=EXPERIMENT, run=99, directory=folder / "xtc")


@with_psana
@pytest.mark.skipif(not XTC2.is_dir(), reason="no real xtc2 files here")
@pytest.mark.parametrize(
    ("name", "detector", "mode", "shape"),
    [
        ("test_epix_calib.xtc2", "epixquad", "FL", (4, 352, 384)),
        ("test_jungfrau05M_calib.xtc2", "jungfrau", "", (1, 512, 1024)),
    ],
)
def test_real_files_are_read(name: str, detector: str, mode: str, shape: tuple[int, ...]) -> None:
    source = opened(XTC2 / name)

    found = read(source, **{detector: Selection()})

    assert [each.name for each in source.contents().detectors] == [detector]
    assert list(found) == [(detector, 0, mode)]
    assert [frame.shape for frame in found[detector, 0, mode].values()] == [shape, shape]


@with_psana
def test_a_run_without_events_says_so(folder: Path) -> None:
    with pytest.raises(Invalid, match="no events"):
        opened(folder / "r9.xtc2")


@with_psana
def test_a_file_that_is_cut_short_is_refused_with_the_place(folder: Path) -> None:
    whole = (folder / "r3.xtc2").read_bytes()
    cut = folder / "cut.xtc2"
    cut.write_bytes(whole[:500_001])

    assert (is_complete(folder / "r3.xtc2"), is_complete(cut)) == (True, False)
    with pytest.raises(Invalid, match=r"cut.xtc2 is cut short at byte \d+ of 500001"):
        opened(cut)


@with_psana
def test_a_file_that_shrinks_between_the_contents_and_the_frames_is_noticed(folder: Path) -> None:
    file = folder / "shrinks.xtc2"
    file.write_bytes((folder / "r3.xtc2").read_bytes())
    source = opened(file)
    os.truncate(file, 500_001)

    with pytest.raises(Invalid, match="cut short"):
        read(source, epix100=Selection())


@with_psana
def test_what_is_not_there_is_named(folder: Path, run3: PsanaFrames) -> None:
    (folder / "text.xtc2").write_text("no data, but long enough for one header of a datagram")

    with pytest.raises(NotFound, match=r"no file .*absent\.xtc2"):
        opened(folder / "absent.xtc2")
    with pytest.raises(Invalid, match=r"text.xtc2 is no xtc2 file"):
        opened(folder / "text.xtc2")
    with pytest.raises(NotFound, match="no detector 'camera' in the data: atmopal, epix100"):
        read(run3, camera=Selection())


@with_psana
@pytest.mark.skipif(not XTC2.is_dir(), reason="no real xtc2 files here")
def test_event_codes_of_data_without_them_are_refused() -> None:
    source = opened(XTC2 / "test_jungfrau05M_calib.xtc2")

    with pytest.raises(Invalid, match="no event codes"):
        read(source, jungfrau=Selection(codes=(40,)))


def _children() -> set[str]:
    """The processes that this one started and that are still there, zombies too."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@with_psana
def test_leaving_early_leaves_no_process_and_no_descriptor(run4: PsanaFrames) -> None:
    before = _children(), len(list(Path("/proc/self/fd").iterdir()))

    with run4.blocks({"epix10ka_0": Selection()}) as blocks:
        next(blocks)
        during = _children()

    assert len(during) == len(before[0]) + 1
    assert (_children(), len(list(Path("/proc/self/fd").iterdir()))) == before


@with_psana
def test_psana_killed_in_the_middle_is_an_error_and_not_the_end(run4: PsanaFrames) -> None:
    before = _children()

    with run4.blocks({"epix10ka_0": Selection()}) as blocks:
        next(blocks)
        (child,) = _children() - before
        os.kill(int(child), signal.SIGKILL)
        with pytest.raises(Invalid, match="ended by SIGKILL before all was read"):
            list(blocks)

    assert _children() == before


@with_psana
def test_psana_ends_with_the_process_that_asked(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from calstore.frames.psana import open_psana\n"
        "from calstore.model.inputs import Selection\n"
        "source = open_psana(files=[Path(sys.argv[1])], python=sys.argv[2], path='',\n"
        "                    environment=os.environ)\n"
        "with source.blocks({'epix10ka_0': Selection()}) as blocks:\n"
        "    next(blocks)\n"
        "    children = Path(f'/proc/self/task/{os.getpid()}/children').read_text()\n"
        "    print(children, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    words = [sys.executable, "-c", code, folder / "r4.xtc2", PSANA]

    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    child = Path("/proc") / done.stdout.strip()
    assert (done.returncode, child.name.isdecimal()) == (-signal.SIGKILL, True)
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().split(")")[1].split()[0]:
            break
        signal.sigtimedwait([], 0.1)
    else:
        pytest.fail(f"process {child.name} is still there")


@with_psana
def test_the_same_frames_give_the_same_digests_from_npy_and_xtc2(
    folder: Path, tmp_path: Path
) -> None:
    words = ("--recipe", "robust", "--detector", "epix100")
    run("init", folder=tmp_path)

    of_npy = run(
        *("dark", EXPERIMENT, 3, "--from", folder / "epix.npy", "--ref", f"{EXPERIMENT}/npy"),
        *("--serial", "1-2-3", "--kind", "epix100", *words),
        folder=tmp_path,
    )
    of_xtc2 = run("dark", EXPERIMENT, 3, "--from", folder / "r3.xtc2", *words, folder=tmp_path)

    assert (of_npy.code, of_xtc2.code) == (0, 0), of_npy.err + of_xtc2.err
    store = calstore.open(tmp_path / ".calstore")
    one, other = (store[f"{EXPERIMENT}/{ref}"]["epix100"].at(run=3) for ref in ("npy", "main"))
    for name in ("pedestals", "pixel_rms", "pixel_status", "pixel_max", "pixel_min"):
        assert one[name].digest == other[name].digest
    read_of = [
        input_of(
            store,
            derivation_of(store, each["pedestals"].constant.derivation).inputs["frames"].content,
        )
        for each in (one, other)
    ]
    assert read_of[0].frames == read_of[1].frames


@with_psana
def test_a_run_of_a_jungfrau_becomes_constants_that_psana_text_reads_back(
    folder: Path, tmp_path: Path
) -> None:
    run("init", folder=tmp_path)

    made = run("dark", EXPERIMENT, 5, "--from", folder / "r5.xtc2", folder=tmp_path)
    run("materialize", f"{EXPERIMENT}/main", "calib", folder=tmp_path)

    assert made.code == 0, made.err
    assert "G0 8" in made.out
    constants = calstore.open(tmp_path / ".calstore")[f"{EXPERIMENT}/main"]["jungfrau"].at(run=5)
    pedestals = constants["pedestals"].array
    expected = [np.load(folder / f"G{2 - step}.npy").mean(axis=0) for step in range(3)]
    assert pedestals.shape == (3, 1, 512, 1024)
    assert np.abs(pedestals - expected).max() < 8
    (text,) = tmp_path.glob("calib/*/jungfrau/pedestals/5-end.data")
    written = np.loadtxt(text, dtype=np.float32).reshape(pedestals.shape)
    assert np.array_equal(written, pedestals)


@with_psana
def test_a_run_of_an_epix10ka_becomes_constants_of_five_modes(folder: Path, tmp_path: Path) -> None:
    run("init", folder=tmp_path)
    words = ("dark", EXPERIMENT, 4, "--from", folder / "r4.xtc2", "--without", "AHL-L,AML-L")

    made = run(*words, folder=tmp_path)

    assert made.code == 0, made.err
    assert all(f"{mode} 4" in made.out for mode in MODES)
    detector = calstore.open(tmp_path / ".calstore")[f"{EXPERIMENT}/main"]["epix10ka_0"]
    assert detector.at(run=4)["pedestals"].array.shape == (7, 1, 352, 384)


@with_psana
def test_the_wrong_run_and_the_wrong_experiment_are_refused(folder: Path, tmp_path: Path) -> None:
    run("init", folder=tmp_path)

    number = run("dark", EXPERIMENT, 4, "--from", folder / "r3.xtc2", folder=tmp_path)
    experiment = run("dark", "xppn4116", 3, "--from", folder / "r3.xtc2", folder=tmp_path)
    mode = run("dark", EXPERIMENT, 5, "--from", f"G1={folder}/r5.xtc2", folder=tmp_path)

    assert (number.code, experiment.code, mode.code) == (5, 5, 5)
    assert "hold run 3, not run 4" in number.err
    assert f"is of {EXPERIMENT}, not of xppn4116" in experiment.err
    assert "cannot all be G1" in mode.err


def test_a_python_without_psana_is_named_and_so_is_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.xtc2").write_bytes(b"")

    with pytest.raises(NotFound, match=r"has no psana; .*--psana-python"):
        open_psana(files=[tmp_path / "a.xtc2"], python=sys.executable, environment=os.environ)
    with pytest.raises(NotFound, match=r"neither this python .*--psana-python"):
        open_psana(files=[tmp_path / "a.xtc2"], path=str(tmp_path), environment=os.environ)
    with pytest.raises(NotFound, match="there is no python nowhere"):
        open_psana(files=[tmp_path / "a.xtc2"], python="nowhere", path="")


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(psana, "PROTOCOL", 99)

    with pytest.raises(Invalid, match="protocol 2, not 99"):
        open_psana(files=[tmp_path / "a.xtc2"], python=sys.executable, environment=os.environ)


LCLS1 = """
import numpy as np

class Name:
    def __init__(self, name): self.name = name

class Panel:
    def __init__(self, pixels, trbits): self.pixels, self.trbits = pixels, trbits
    def asicPixelConfigArray(self): return np.full((8, 8), self.pixels, np.uint16)
    def asics(self, number):
        panel = self
        return type("Asic", (), {"trbit": lambda self: panel.trbits[number]})()
    def version(self): return 10
    def carrierId0(self): return 7
    def carrierId1(self): return 8

class Jungfrau:
    class ConfigV1: pass
    class ConfigV3: pass

class Epix:
    class Config100aV2: pass
    class Config10kaV1: pass

class Source:
    def __init__(self, name): self.name = name

NOW = {"step": 0}

class Store:
    def get(self, kind, source):
        if kind is Jungfrau.ConfigV3 and "Jungfrau" in source.name:
            modes = ("Normal", "ForcedGain1", "FixedGain2")
            return type("C", (), {"gainMode": lambda self: Name(modes[NOW["step"]])})()
        if kind is Epix.Config10kaV1 and "Epix10ka" in source.name:
            return Panel(*((12, (1, 1, 1, 1)), (12, (0,) * 4), (8, (0,) * 4))[NOW["step"]])
        return None

class Env:
    def experiment(self): return "xppn4116"
    def configStore(self): return Store()

class Event:
    def __init__(self, number): self.number = number

class StepOf:
    def __init__(self, number): self.number = number
    def events(self):
        NOW["step"] = self.number
        return (Event(self.number * 100 + n) for n in range(40))

class Run:
    def run(self): return 12
    def steps(self): return (StepOf(number) for number in range(3))

class DataSource:
    def __init__(self, *names):
        print("psana speaks on stdout of", names)
        self.names = names
    def env(self): return Env()
    def runs(self): return iter([Run()])

def DetNames():
    return [(each, "alias", "") for each in
            ("XppGon.0:Jungfrau.0", "XppGon.0:Epix10ka.1", "NoDetector.0:Evr.0", "GasDet")]

class Camera:
    def __init__(self, name): self.name = name
    def raw(self, event):
        if event.number % 100 == 3: return None
        return np.full((2, 8, 8), event.number, np.uint16)
    def image(self, event): return None

class Evr:
    def eventCodes(self, event): return [40] if event.number % 2 else [40, 41]

def Detector(name):
    return Evr() if "Evr" in name else Camera(name) if ":" in name else object()
"""


@pytest.fixture
def lcls1(tmp_path: Path) -> Iterator[PsanaFrames]:
    """A run of LCLS-I with three steps of 40 events, the fourth without frames."""
    (tmp_path / "psana").mkdir()
    (tmp_path / "psana/__init__.py").write_text(LCLS1)
    (tmp_path / "e1-r0012-s00-c00.xtc").write_bytes(b"data")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return open_psana(
        experiment="xppn4116",
        run=12,
        directory=tmp_path,
        python=sys.executable,
        environment=environment,
    )


def test_a_run_of_lcls1_is_read_by_the_public_interface(lcls1: PsanaFrames) -> None:
    found = read(lcls1, **{"XppGon.0:Jungfrau.0": Selection(skip=2, most=3, codes=(41,))})

    contents: Contents = lcls1.contents()
    epix, jungfrau = contents.detectors
    assert (contents.experiment, contents.run) == ("xppn4116", 12)
    assert (jungfrau.name, jungfrau.kind) == ("XppGon.0:Jungfrau.0", "Jungfrau")
    assert [step.mode for step in jungfrau.steps] == ["G0", "G1", "G2"]
    assert [step.mode for step in epix.steps] == ["FH", "FM", "FL"]
    assert epix.serials == ("0000000010-0000000007-0000000008" + "-0000000000" * 4,)
    values = {
        step: [int(each[0, 0, 0]) for each in of.values()] for (_, step, _), of in found.items()
    }
    assert values == {0: [4, 6, 8], 1: [104, 106, 108], 2: [204, 206, 208]}
    assert [Path(each.path).name for each in lcls1.evidence()] == ["e1-r0012-s00-c00.xtc"]


@with_psana
def test_a_dark_of_some_event_codes_is_made_and_reproduced_from_those(
    folder: Path, tmp_path: Path
) -> None:
    assert run("init", folder=tmp_path).code == 0
    words = ("dark", EXPERIMENT, 3, "--from", folder / "r3.xtc2", "--detector", "epix100")

    made = run(*words, "--codes", "-41", folder=tmp_path)
    again = run("reproduce", f"{EXPERIMENT}/main", folder=tmp_path)
    wrong = run(*words, "--codes", "dark", folder=tmp_path)

    assert made.code == 0, made.err
    assert "frames 80" in made.out  # code 41 is at every third of 120
    assert (again.code, again.out[:4]) == (0, "same")
    assert wrong.code == 5
