"""The command line: exit codes, one line per failure, and where outputs go."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ran, Run, one_line
from typer.main import get_command

from liquidvision import Prediction, RecordSink, open_video
from liquidvision.cli.main import app, main
from liquidvision.inference.pipeline import FILE_BATCH
from liquidvision.workflows import doctor, io_paths
from liquidvision.workflows.doctor import OPTIONAL_PACKAGES, PACKAGES, MachineReport

MakeVideo = Callable[..., Path]
DEVELOPMENT = ("test", "dev", "docs")  # extras that no command needs


@pytest.fixture
def clip(make_video: MakeVideo) -> Path:
    return make_video("clip.mp4")


def frames_of(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video)


def test_done(run: Run, clip: Path, model_folder: Path) -> None:
    """A clip is annotated into runs/infer, the next one into runs/infer-2; the exit code is 0."""
    ran = run("infer", clip, "-m", model_folder)
    assert (ran.code, ran.err) == (0, "")
    assert "20 frames" in ran.out and "runs/infer/clip.mp4" in ran.out
    assert frames_of(Path("runs/infer/clip.mp4")) == 20
    assert run("infer", clip, "-m", model_folder).code == 0
    assert run("infer", clip, "-m", model_folder, "--exist-ok", "--max-frames", 5).code == 0
    assert sorted(str(path) for path in Path("runs").rglob("[!.]*.*")) == [
        "runs/infer-2/clip.mp4",
        "runs/infer/clip.mp4",
    ]
    assert frames_of(Path("runs/infer/clip.mp4")) == 5


def test_failed(run: Run, clip: Path, model_folder: Path, tmp_path: Path) -> None:
    """A missing or broken input fails with exit code 1 and one line that names it."""
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    state = tmp_path / "state"
    state.write_bytes(b"no state")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, expected in (
        (["none.mp4", "-m", model_folder], "none.mp4"),
        ([text, "-m", model_folder], "text.mp4"),
        ([empty, "-m", model_folder], "empty"),
        (["*.mkv", "-m", model_folder], "*.mkv"),
        ([clip, "-m", empty], "config.json"),
        ([clip, "-m", "nonesuch"], "nonesuch"),
        ([clip, "-m", model_folder, "--state-in", state], "state"),
        ([clip, "-m", model_folder, "--state-out", text / "state"], "text.mp4"),
        ([clip, "-m", model_folder, "--no-save", "--state-out", empty], "empty"),
        ([clip, "-m", model_folder, "-o", text / "out.mp4"], "text.mp4"),
        ([clip, "-m", model_folder, "--start", 99], "no frame"),
    ):
        ran = run("infer", *arguments)
        assert ran.code == 1 and expected in one_line(ran), (arguments, ran)
        assert "unexpected" not in ran.err
        assert not [path for path in Path().rglob("*") if path.is_file()], arguments


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--nonesuch"], "--nonesuch"),
        (["--start", "soon"], "--start"),
        (["--overlay", "label,hat"], "hat"),
        (["--codec", "mpeg9"], "mpeg9"),
        (["-o", "out.webm"], "h264"),
        (["-o", "out.mp4", "--writer", "ffmpeg"], "ffmpeg"),
        (["-o", "out.mkv", "--writer", "opencv"], "opencv"),
        (["--start", "2", "--end", "1"], "end"),
        (["--vid-stride", "0"], "stride"),
        (["--batch", "0"], "batch"),
        (["--max-frames", "0"], "max"),
        (["--top-k", "0"], "top_k"),
        (["--conf", "2"], "conf"),
        (["--gap-policy", "forget"], "forget"),
        (["--max-gap", "0"], "max_gap"),
        (["--reader", "vlc"], "vlc"),
        (["--device", "abacus"], "abacus"),
        (["--save-json", "out.xml"], ".xml"),
    ],
)
def test_usage(run: Run, clip: Path, model_folder: Path, options: list[str], expected: str) -> None:
    """An impossible option fails with exit code 2 and one line that names it, and nothing is written."""
    ran = run("infer", clip, "-m", model_folder, *options)
    assert ran.code == 2 and expected.lower() in one_line(ran).lower(), ran
    assert not [path for path in Path().rglob("*") if path.is_file()]


def test_unknown_command(run: Run) -> None:
    """An unknown command is reported in one line."""
    ran = run("inferr")
    assert ran.code == 2 and "inferr" in one_line(ran)


def test_existing_outputs_are_kept(run: Run, clip: Path, model_folder: Path) -> None:
    """An output that already exists is refused with exit code 2, and replaced with --exist-ok."""
    for name, option in (("out.mp4", "-o"), ("out.jsonl", "--save-json"), ("out.csv", "--save-csv")):
        Path(name).write_text("mine")
        command = ["infer", clip, "-m", model_folder, option, name, *(["--no-save"] if option != "-o" else [])]
        ran = run(*command)
        assert ran.code == 2 and "--exist-ok" in one_line(ran)
        assert Path(name).read_text() == "mine"
        assert run(*command, "--exist-ok").code == 0
        assert Path(name).read_bytes() != b"mine"


def test_the_source_is_never_replaced(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """No output may be one of the sources, also with --exist-ok."""
    first = make_video("a.mp4")
    other = first.with_name("other")
    other.mkdir()
    second = other / "a.mp4"
    second.write_bytes(first.read_bytes())
    before = first.read_bytes()
    for sources, out in (([first], first), ([first], first.parent), ([second, first], first.parent)):
        ran = run("infer", *sources, "-m", model_folder, "-o", out, "--exist-ok")
        assert ran.code == 2 and "source" in one_line(ran)
        assert first.read_bytes() == second.read_bytes() == before


def test_some_failed(run: Run, clip: Path, model_folder: Path, tmp_path: Path) -> None:
    """When some inputs fail, the others are written and the exit code is 3; when all fail, it is 1."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    ran = run("infer", broken, clip, "-m", model_folder, "-o", "out")
    assert ran.code == 3 and "broken.mp4" in one_line(ran)
    assert [path.name for path in Path("out").glob("[!.]*")] == ["clip.mp4"]
    assert frames_of(Path("out/clip.mp4")) == 20
    ran = run("infer", broken, "none.mp4", "-m", model_folder)
    assert ran.code == 1 and ran.err.count("\n") == 2 and "Traceback" not in ran.err


def test_debug(run: Run, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--debug lets the exception through, with its traceback."""
    monkeypatch.setattr(sys, "argv", ["liquidvision", "infer", "none.mp4", "-m", str(model_folder), "--debug"])
    with pytest.raises(OSError, match=r"none\.mp4"):
        main()


def test_an_unexpected_error(run: Run, clip: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is one line, too, and says how to see more."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("liquidvision.models.model.Model.from_pretrained", fail)
    ran = run("infer", clip, "-m", model_folder)
    assert ran.code == 1 and "RuntimeError" in one_line(ran) and "--debug" in ran.err


def test_interrupted_at_the_start(run: Run, clip: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the model is loaded exits with 130 and without a traceback."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("liquidvision.models.model.Model.from_pretrained", interrupt)
    ran = run("infer", clip, "-m", model_folder)
    assert ran.code == 130 and "Traceback" not in ran.err


def test_many_inputs(run: Run, make_video: MakeVideo, model_folder: Path, tmp_path: Path) -> None:
    """A folder, a pattern and a list stand for the videos they name, without duplicates."""
    paths = [make_video(f"{name}.mp4", pts=range(0, 3 * 512, 512)) for name in "abc"]
    folder = tmp_path / "clips"
    folder.mkdir()
    for path in paths:
        path.rename(folder / path.name)
    (folder / "notes.md").write_text("no video")
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two of them\n{folder}/c.mp4\n\n{folder}/a.mp4\n{folder}/c.mp4\n", encoding="utf-8")
    for number, (source, names) in enumerate(
        ((folder, "abc"), (f"{folder}/[ab].mp4", "ab"), (listed, "ac"), (f"{tmp_path}/cl*/**/b*", "b"))
    ):
        assert run("infer", source, "-m", model_folder, "-o", f"out{number}").code == 0
        assert sorted(path.name for path in Path(f"out{number}").glob("[!.]*")) == [f"{name}.mp4" for name in names]
    assert io_paths.expand_sources([str(listed)]) == [f"{folder}/c.mp4", f"{folder}/a.mp4"]


def test_invalid_lists(run: Run, tmp_path: Path, model_folder: Path) -> None:
    """A list that is not text fails, and one that names a list, such as itself, is refused; each in one line."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9.mp4\n")
    (tmp_path / "self.txt").write_text("self.txt\n")
    assert "latin.txt" in one_line(ran := run("infer", tmp_path / "latin.txt", "-m", model_folder)) and ran.code == 1
    assert "self.txt" in one_line(ran := run("infer", tmp_path / "self.txt", "-m", model_folder)) and ran.code == 2


def test_one_file_for_many(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """One output file, or one state, for several sources is refused."""
    sources = [make_video("a.mp4"), make_video("b.mp4")]
    for options in (["-o", "out.mp4"], ["--save-json", "out.jsonl"], ["--state-out", "state"]):
        ran = run("infer", *sources, "-m", model_folder, *options)
        assert ran.code == 2 and "2 sources" in one_line(ran)


def test_sources_of_one_stem(run: Run, make_video: MakeVideo, model_folder: Path, tmp_path: Path) -> None:
    """Sources of the same name do not overwrite each other's outputs, also when one is named like a numbered one."""
    sources = []
    for number, (folder, name) in enumerate((("x", "a"), ("y", "a"), ("z", "a-2"), ("w", "a"))):
        (tmp_path / folder).mkdir()
        path = make_video("a.mp4", pts=range(0, (number + 2) * 512, 512))
        sources.append(path.rename(tmp_path / folder / f"{name}.mp4"))
    ran = run("infer", *sources, "-m", model_folder, "-o", "out", "--save-csv", "out")
    assert ran.code == 0
    assert sorted(frames_of(path) for path in Path("out").glob("*.mp4")) == [2, 3, 4, 5]
    assert {p.stem for p in Path("out").glob("*.mp4")} == {p.stem for p in Path("out").glob("*.csv")}


def test_names_of_outputs() -> None:
    """An output is named after its source; that of a stream after host and path, never with its password."""
    assert io_paths.output_stem("/videos/Tag 1.mp4") == "Tag 1"
    assert io_paths.output_stem("0") == "camera0"
    assert io_paths.output_stem("rtsp://user:pa55@cam.example:554/live/1?token=pa55") == "cam.example_554_live_1"


def test_records(run: Run, clip: Path, model_folder: Path) -> None:
    """Records go to a file or into a folder, and contain what was asked for."""
    ran = run(
        *("infer", clip, "-m", model_folder, "--no-save", "--save-json", "deep/er/r.jsonl", "--save-csv", "csv"),
        *("--per-frame", "--time-constants", "--hidden-state", "--top-k", 2, "--vid-stride", 2),
    )
    assert ran.code == 0
    assert not Path("runs").exists()
    lines = [json.loads(line) for line in Path("deep/er/r.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(0, 20, 2))
    assert [line["time"] for line in lines] == pytest.approx([0.08 * i for i in range(10)])
    assert {len(line["top"]) for line in lines} == {len(line["frame_top"]) for line in lines} == {2}
    assert {len(line["time_constants"]) for line in lines} == {len(line["hidden_state"]) for line in lines} == {6}
    rows = Path("csv/clip.csv").read_text().splitlines()
    assert len(rows) == 11 and rows[0].startswith("index,time,dt,label_1,score_1,label_2,score_2,frame_label_1")


def test_state_continues_in_the_next_run(run: Run, clip: Path, model_folder: Path) -> None:
    """With --state-out and --state-in, the second run continues the memory of the first."""

    def scores(*options: str | float) -> list[float]:
        name = f"r{len(list(Path().iterdir()))}.jsonl"
        command = ["infer", clip, "-m", model_folder, "--no-save", "--top-k", 3, "--time-constants"]
        assert run(*command, "--save-json", name, *options).code == 0
        return [tau for line in Path(name).read_text().splitlines() for tau in json.loads(line)["time_constants"]]

    whole = scores()
    first = scores("--end", 0.4, "--state-out", "memory/state")
    second = scores("--start", 0.4, "--state-in", "memory/state", "--state-out", "memory/state")
    assert first + second == pytest.approx(whole, abs=2e-4)
    assert len(second) == 60 and scores("--start", 0.4) != pytest.approx(second, abs=2e-4)


def test_quiet_and_verbose(run: Run, clip: Path, model_folder: Path) -> None:
    """-q prints nothing; -v prints every change of the label, including the first label."""
    quiet = run("infer", clip, "-m", model_folder, "--no-save", "-q")
    assert quiet == (0, "", "")
    verbose = run("infer", clip, "-m", model_folder, "--no-save", "-v")
    plain = run("infer", clip, "-m", model_folder, "--no-save")
    assert "  0.000 s  " in verbose.out and "0.000 s" not in plain.out
    assert plain.out.count("\n") >= 3


def test_info(run: Run, make_video: MakeVideo) -> None:
    """info describes a file in words or in JSON; a missing file fails in one line, and the others are described."""
    clip = make_video("clip.mp4", sound=True)
    words = run("info", clip)
    assert words.code == 0 and "64x48" in words.out and "h264" in words.out and "aac" in words.out
    assert "25.000 frames/s" in words.out and "20 frames" in words.out
    about = json.loads(run("info", clip, "--json").out)
    assert (about["width"], about["height"], about["rate"], about["has_audio"]) == (64, 48, 25.0, True)
    assert about["duration"] == pytest.approx(0.8)
    some = run("info", "none.mp4", clip)
    assert some.code == 3 and "none.mp4" in one_line(some) and "64x48" in some.out
    missing = run("info", "none.mp4")
    assert missing.code == 1 and "none.mp4" in one_line(missing)


def test_models_and_doctor(run: Run, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """models lists the bundled models; doctor finds no problem here, and reports a missing model."""
    monkeypatch.setattr("liquidvision.models.folder.bundled_models", lambda: {"tiny": model_folder})
    models = run("models")
    assert models.code == 0 and "tiny" in models.out and "red, green, blue" in models.out
    ran = run("doctor")
    assert ran.code == 0 and "no problem found" in ran.out and "libx264" in ran.out
    monkeypatch.setattr("liquidvision.models.folder.bundled_models", dict)
    ran = run("doctor")
    assert ran.code == 1 and "model" in ran.err and "Traceback" not in ran.err


def test_doctor_names_every_dependency(run: Run) -> None:
    """doctor reports every package that liquidvision depends on, and those that single features need."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(PACKAGES) == {re.split("[<>=]", one)[0] for one in project["dependencies"]}
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in DEVELOPMENT}
    assert {re.split("[<>=]", one)[0] for needs in extras.values() for one in needs} == set(OPTIONAL_PACKAGES)
    assert {extra for _, extra in OPTIONAL_PACKAGES.values()} == set(extras)
    out = run("doctor").out
    assert all(f"  {package} " in out for package in (*PACKAGES, *OPTIONAL_PACKAGES))


def test_doctor_reports_the_state_of_numba(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor says what runs the liquid cells; a missing or broken numba is a problem, one switched off is not."""
    assert "kernels compiled by numba" in run("doctor").out
    monkeypatch.setattr("liquidvision.liquid.dispatch.compiled_kernels", lambda: None)
    broken = run("doctor")
    assert broken.code == 1 and "numba does not work here" in broken.err
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    off = run("doctor")
    assert off.code == 0 and "plain torch, slower (NUMBA_DISABLE_JIT is set)" in off.out
    monkeypatch.delenv("NUMBA_DISABLE_JIT")
    monkeypatch.setattr(doctor, "installed_version", lambda package: None if package == "numba" else "1.0")
    missing = run("doctor")
    assert missing.code == 1 and "numba is not installed: pip install numba" in missing.err
    assert "plain torch, slower (numba is not installed)" in missing.out


def test_doctor_survives_a_package_that_cannot_be_imported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that cannot be loaded is one problem, and the other checks go on."""

    def fail(report: MachineReport) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "check_opencv", fail)
    ran = run("doctor")
    assert ran.code == 1 and "libGL.so.1" in ran.err and "apt-get install" in ran.err and "libx264" in ran.out


@pytest.mark.parametrize("arguments", [["--help"], ["infer", "--help"], ["--version"], ["info", "--help"]])
def test_help_is_quick(arguments: list[str]) -> None:
    """Help and version import neither torch nor cv2 nor av."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('HEAVY', sorted({'torch', 'cv2', 'av', 'torchvision'} & set(sys.modules))))\n"
        "from liquidvision.cli.main import main\n"
        f"sys.argv = ['liquidvision', *{arguments!r}]\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and "HEAVY []" in ran.stdout
    assert "liquidvision" in ran.stdout


COMMANDS = get_command(app).commands


def test_commands_are_grouped_and_registered_once() -> None:
    """The help shows each command once, in its group."""
    groups: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        groups.setdefault(command.rich_help_panel, []).append(name)
    assert groups == {
        "Use": ["infer", "webcam", "explain", "summarize"],
        "Train": ["check", "convert", "extract", "train", "eval"],
        "Inspect": ["info", "models", "bench", "doctor"],
    }
    names = [info.name for info in app.registered_commands]
    assert len(names) == len(set(names))


def test_the_same_option_reads_the_same_everywhere() -> None:
    """An option that several commands have has one name, one help text and one placeholder."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for command in COMMANDS.values():
        for parameter in command.params:
            if not parameter.hidden and parameter.param_type_name == "option":
                shown = (*parameter.opts, parameter.help, parameter.metavar)
                found.setdefault(max(parameter.opts, key=len), set()).add(shown)
    own = {"--out", "--resume", "--save-json", "--source"}  # what they name differs by command
    own |= {"--rate", "--two-pass"}  # of a source, and of clips; of a run, and of a training
    own |= {"--model", "--backbone", "--compare", "--views", "--seeds", "--folds"}
    differing = {name: texts for name, texts in found.items() if len(texts) > 1 and name not in own}
    assert not differing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(
    run: Run, clip: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM finish the current frames and every file; later sources are not started."""
    write = RecordSink.write

    def interrupted(sink: RecordSink, prediction: Prediction) -> None:
        write(sink, prediction)
        if prediction.index == 6:
            signal.raise_signal(number)

    monkeypatch.setattr(RecordSink, "write", interrupted)
    second = clip.with_name("second.mp4")
    second.write_bytes(clip.read_bytes())
    ran = run("infer", clip, second, "-m", model_folder, "-o", "out", "--save-json", "out")
    assert (ran.code, ran.err) == (130, "") and "interrupted" in ran.out
    # Of several sources, an incomplete file gets no final name, so that --resume runs it again.
    assert sorted(path.name for path in Path("out").iterdir()) == ["clip.part.jsonl", "clip.part.mp4"]
    assert (
        frames_of(Path("out/clip.part.mp4")) == FILE_BATCH == len(Path("out/clip.part.jsonl").read_text().splitlines())
    )


def test_resume(run: Run, make_video: MakeVideo, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption, --resume skips complete sources, and runs those that are incomplete or lack a file."""
    sources = [make_video(f"{name}.mp4", pts=range(0, 5 * 512, 512)) for name in "abc"]
    command = ("infer", *sources, "-m", model_folder, "-o", "out", "--save-json", "out")
    write = RecordSink.write

    def interrupted(sink: RecordSink, prediction: Prediction) -> None:
        write(sink, prediction)
        if sink.path.name == "b.jsonl" and prediction.index == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(RecordSink, "write", interrupted)
        ran = run(*command)
        assert ran.code == 130 and "→ out/b.mp4" not in ran.out
    out = Path("out")
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("[!.]*")}
    assert sorted(done) == ["a.jsonl", "a.mp4", "b.part.jsonl", "b.part.mp4"]
    ran = run(*command, "--resume")
    assert ran.code == 0 and "1 of 3" in ran.err
    assert [frames_of(out / f"{name}.mp4") for name in "abc"] == [5, 5, 5]
    assert all((out / name).stat().st_mtime_ns == time for name, time in done.items())
    (out / "c.jsonl").unlink()
    assert "2 of 3" in run(*command, "--resume").err
    assert (out / "c.jsonl").exists()
    ran = run(*command, "--resume")
    assert ran.code == 0 and "3 of 3" in ran.err and not ran.out
    ran = run("infer", *sources, "-m", model_folder, "--no-save", "--resume")
    assert ran.code == 2 and "--resume" in one_line(ran)


def test_interrupted_from_outside(make_video: MakeVideo, model_folder: Path, tmp_path: Path) -> None:
    """SIGINT finishes the files: they have their final names, play, and contain the same frames; exit code 130."""
    clip = make_video("long.mp4", pts=range(0, 1500 * 512, 512))
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "liquidvision", "infer", clip, "-m", model_folder, "-o", out, "--save-json", lines]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        part = tmp_path / "out.part.jsonl"
        until = time.monotonic() + 40
        while not (part.exists() and part.stat().st_size) and child.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        printed, err = child.communicate(timeout=40)
    assert child.returncode == 130, err
    assert err == "" and "interrupted" in printed
    frames = frames_of(out)
    assert 0 < frames < 1500 and frames == len(lines.read_text().splitlines())
    assert not list(tmp_path.glob("*.part*"))


def test_a_subprocess_that_fails(tmp_path: Path) -> None:
    """A failing process exits with 1 and prints one line, on the error stream only; with --debug, a traceback."""
    command = [sys.executable, "-m", "liquidvision", "info", "none/*.mp4"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "none/*.mp4" in one_line(Ran(ran.returncode, ran.stdout, ran.stderr))
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert debug.returncode == 1 and "Traceback" in debug.stderr


def test_state_out_replaces_nothing_but_a_state(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """A state never replaces another kind of file, such as the source."""
    clip = make_video("clip.mp4")
    before = clip.read_bytes()
    ran = run("infer", clip, "-m", model_folder, "--no-save", "--state-out", clip)
    assert ran.code == 2 and "clip.mp4" in one_line(ran)
    assert clip.read_bytes() == before


def test_impossible_counts_leave_no_file(run: Run, make_video: MakeVideo, model_folder: Path, tmp_path: Path) -> None:
    """A batch size or a number of frames below 1 is refused before any output is opened."""
    records = tmp_path / "new" / "x.jsonl"
    for option in ("--batch", "--max-frames"):
        ran = run("infer", make_video(), "-m", model_folder, "--no-save", option, "0", "--save-json", records)
        assert ran.code == 2 and option in one_line(ran)
    assert not records.parent.exists()


def test_the_garbage_collector_ignores_the_objects_of_torch() -> None:
    """After a command has imported torch, the garbage collector skips its objects and collects all others."""
    code = (
        "import gc; from liquidvision.cli.startup import import_torch; import_torch(); import sys; "
        "print('torchvision' in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000); "
        "frozen = gc.get_freeze_count(); import_torch(); print(gc.get_freeze_count() == frozen)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.split() == ["True"] * 4
