"""One damaged file through the real `liquidvision infer`, in a forked child, and what was wrong with that."""

import json
import os
import shutil
import threading
from itertools import pairwise
from pathlib import Path

import av

from liquidvision import Model
from tools import forked
from tools.fuzz.mutate import Case

SECONDS = 20.0
MEMORY, FILE_SIZE = 4 * 2**30, 2**29
CODES = (0, 1, 2, 3)
MARK = "liquidvision: "


def try_case(case: Case, name: str, model: Model, folder: Path) -> tuple[int | None, list[str]]:
    """The exit code of a case under a file name, and its faults, none where all is well.

    Everything is written below `folder`, which is emptied before.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    source, out, err = folder / name, folder / "stdout", folder / "stderr"
    source.write_bytes(case.data)
    number = forked.start(lambda: run(case, source, folder, model), out, err)
    code = forked.wait(number, SECONDS)
    if code is None:
        return code, [f"hang: still running after {SECONDS:g} s"]
    if code < 0:
        return code, [f"crash: signal {-code}"]
    faults = [(folder / "faults").read_text()] if (folder / "faults").exists() else []
    return code, faults + faults_of_words(code, err.read_text(errors="replace"), quiet="--quiet" in case.options)


def run(case: Case, source: Path, folder: Path, model: Model) -> int:
    """In the child: run the command, then check what it left."""
    # Loading a model is not under test, and takes longer than everything else.
    Model.from_pretrained = classmethod(lambda *_, **__: model)  # type: ignore[method-assign, assignment]
    forked.limit(MEMORY, FILE_SIZE)
    target = ["-o", folder / "out" / f"v{case.suffix}"] if case.suffix else ["--no-save"]
    os.chdir(folder)
    code = forked.command("infer", source, *target, "--save-json", folder / "out" / "r.jsonl", *case.options)
    faults = faults_of_files(code, folder / "out", case.suffix)
    if threading.active_count() > 1:
        faults.append(f"threads left: {[thread.name for thread in threading.enumerate()]}")
    if faults:
        (folder / "faults").write_text("; ".join(faults))
    return code


def faults_of_files(code: int, folder: Path, suffix: str) -> list[str]:
    """What is wrong with the files under final names, or under temporary ones after a success."""
    names = sorted(path.name for path in folder.iterdir())
    final = sorted([f"v{suffix}", "r.jsonl"] if suffix else ["r.jsonl"])
    if code == 0 and names != final:
        return [f"files: exit code 0 and files {names}"]
    if code != 0 and set(names) & set(final):
        return [f"files: exit code {code} and final names in {names}"]
    if code != 0:
        return []
    records = [json.loads(line) for line in (folder / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    if not records:
        return ["files: no record"]
    if suffix:
        try:
            with av.open(str(folder / f"v{suffix}")) as container:
                frames = sum(1 for _ in container.decode(video=0))
        except (av.error.FFmpegError, IndexError) as error:
            return [f"files: the video does not decode: {type(error).__name__} {error}"]
        times = [record["time"] for record in records]
        # MP4 and MOV cannot hold a step of hours; the picture before it is repeated, see `MAX_STEP_TICKS`.
        repeats = suffix in (".mp4", ".mov") and any(b - a > 3600 for a, b in pairwise(times))
        if frames < len(records) or (frames > len(records) and not repeats):
            return [f"files: {frames} frames, {len(records)} records"]
    return []


def faults_of_words(code: int, err: str, *, quiet: bool) -> list[str]:
    """Return what is wrong with the exit code and the error stream."""
    lines = err.splitlines()
    faults = [f"exit code {code}"] if code not in CODES else []
    if "Traceback" in err:
        faults.append("traceback: " + (lines[-1] if lines else ""))
    faults += [f"words: {line}" for line in lines if not line.startswith(MARK)][:1]
    faults += [f"unexpected: {line}" for line in lines if line.startswith(f"{MARK}unexpected")]
    if code and not lines:
        faults.append("words: failed without a word")
    if quiet and len(lines) != (1 if code else 0):
        faults.append(f"words: {len(lines)} lines with --quiet and exit code {code}: {lines[:3]}")
    return faults
