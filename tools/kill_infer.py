"""Kill `liquidvision infer` while it works, and check what it leaves.

python tools/kill_infer.py --kills 100

Each run is a child forked from a process that has the model loaded; it writes a video and records
and is killed (SIGKILL) at a random moment after the video's first byte. It is held to the clip's
own speed (--pace 1), as a live source is, so that a second of media is a second of the clock.

The promise: a kill loses no more than what was written in the last two seconds, or than the last two
seconds of the video where it runs faster or slower than the clock. The child says through a pipe when
each frame has been written; behind (s) is how long ago, at the kill, the first frame was written that
cannot be read. The video is read to its end, and so is its sound where it has some; no file may have
its final name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a process with threads cannot be forked

import av

from liquidvision import Model
from liquidvision.cli.infer_output import InferOutput
from tools import forked
from tools.tiny import warm_up

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"
PROMISE = 2.0  # seconds
# The clip's sound is AAC, which WebM does not hold.
WAYS = (
    *((".mp4", "h264"), (".mkv", "h264"), (".mov", "h264"), (".webm", "vp9"), (".mp4", "h265"), (".mkv", "h265")),
    *((".mp4", "vp9"), (".mp4", "av1"), (".webm", "av1")),
)
STAMP = struct.Struct("dd")  # when a frame had been written, on the clock and on the source's


class Left(NamedTuple):
    """What a kill left.

    Attributes:
        written: frames that were handed to the files.
        first_byte: seconds from the first frame written to the file's first byte.
        video, sound, records: seconds behind, as the program's first lines say; sound in media time
            behind the last frame written, None where there is none.
        faults: what breaks the promise.
    """

    written: int
    first_byte: float
    video: float
    sound: float | None
    records: float
    faults: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pace", type=float, default=1.0, help="times the clip's own speed; 0 for as fast as it goes")
    parser.add_argument("--latest", type=float, default=8.0, help="seconds after the first byte to kill at the latest")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = Model.from_pretrained("actions", device="cpu")
    warm_up(model)
    forked.prepare()
    faults = kill_all(model, SAMPLE, options.kills, options.pace, options.latest, options.seed)
    sys.exit(1 if faults else 0)


def kill_all(model: Model, clip: Path, kills: int, pace: float, latest: float, seed: int) -> list[str]:
    """Kill runs, each way of writing in turn; print a table and return the faults."""
    dice, left = random.Random(seed), dict[tuple[str, str], list[Left]]()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(kills):
            way = WAYS[number % len(WAYS)]
            after = dice.uniform(0, latest)
            found = kill_one(model, clip, *way, pace, after, Path(folder) / str(number))
            left.setdefault(way, []).append(found)
            for fault in found.faults:
                print(f"kill {number}, {way[1]} in {way[0]}, {after:.2f} s after the first byte: {fault}", flush=True)
    print("| | kills | first byte after (s) | video behind (s) | sound behind (s) | records behind (s) | faults |")
    print("|---|---|---|---|---|---|---|")
    for (suffix, codec), found in left.items():
        sounds = [one.sound for one in found if one.sound is not None]
        print(
            f"| {codec} in {suffix} | {len(found)} | {max(one.first_byte for one in found):.2f} "
            f"| {max(one.video for one in found):.2f} | {f'{max(sounds):.2f}' if sounds else '–'} "
            f"| {max(one.records for one in found):.2f} | {sum(len(one.faults) for one in found)} |"
        )
    return [fault for found in left.values() for one in found for fault in one.faults]


def kill_one(model: Model, clip: Path, suffix: str, codec: str, pace: float, after: float, folder: Path) -> Left:
    """Start a run, kill it `after` seconds after its video's first byte, and check what it left in `folder`."""
    folder.mkdir()
    video, records = folder / f"v{suffix}", folder / "r.jsonl"
    reading, writing = os.pipe()
    child = forked.start(
        lambda: run(model, clip, video, records, codec, pace, writing), folder / "stdout", folder / "stderr"
    )
    os.close(writing)
    part = folder / f"v.part{suffix}"
    while not (part.is_file() and part.stat().st_size):
        if forked.ended(child):
            raise RuntimeError(f"the run ended before the kill: {(folder / 'stderr').read_text()}")
        time.sleep(0.005)
    first_byte = time.monotonic()
    time.sleep(after)
    killed = time.monotonic()
    os.kill(child, signal.SIGKILL)
    ran_out = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL
    stamps = list(read_stamps(reading))
    if ran_out:
        raise RuntimeError("the run ended before the kill; take a longer clip, or an earlier kill")
    return judge(video, records, stamps, first_byte, killed)


def run(model: Model, clip: Path, video: Path, records: Path, codec: str, pace: float, writing: int) -> int:
    """In the child: run the command at a given pace; it reports each written frame through a pipe."""
    Model.from_pretrained = classmethod(lambda *_, **__: model)  # type: ignore[method-assign, assignment]
    usual, started = InferOutput.progress, time.monotonic()

    @contextmanager
    def progress(self: InferOutput, *arguments: object) -> Iterator[object]:
        with usual(self, *arguments) as on_frame:  # type: ignore[arg-type]

            def told(prediction) -> None:
                on_frame(prediction)
                os.write(writing, STAMP.pack(time.monotonic(), prediction.time))
                if pace:
                    time.sleep(max(0.0, started + prediction.time / pace - time.monotonic()))

            yield told

    InferOutput.progress = progress  # type: ignore[method-assign, assignment]
    return forked.command("infer", clip, "-m", "actions", "-o", video, "--save-json", records, "--codec", codec)


def read_stamps(reading: int) -> Iterator[tuple[float, float]]:
    """Return the child's stamps; a pipe holds more than those of one run."""
    with open(reading, "rb") as pipe:
        while len(stamp := pipe.read(STAMP.size)) == STAMP.size:
            yield STAMP.unpack(stamp)


def judge(video: Path, records: Path, stamps: list[tuple[float, float]], first_byte: float, killed: float) -> Left:
    """Check what is left against what is promised."""
    faults = [f"{path.name} has its final name" for path in (video, records) if path.exists()]
    part, lines = video.with_stem("v.part"), records.with_stem("r.part").read_text(encoding="utf-8").splitlines()
    try:
        frames, sound = read(part)
        state = ""
    except (av.error.FFmpegError, IndexError) as error:  # so too where nothing but a header is there yet
        frames, sound = [], None
        state = f" ({type(error).__name__}: {error})"
    # The last line may be cut off in the middle.
    whole = [line for line in lines if complete(line)]
    if len(whole) < len(lines) - 1:
        faults.append(f"{len(lines) - len(whole)} lines of the records are broken")
    # Matroska begins with its earliest packet, which may be sound before 0: times count from the first frame.
    there = {round(1000 * (time - frames[0])) for time in frames}
    told = [round(1000 * (time - stamps[0][1])) for _, time in stamps]
    strange = {time for time in there if not {time - 1, time, time + 1} & set(told)}
    if strange:
        faults.append(f"{len(strange)} frames are at times that no frame had")
    # Where the file ends, a frame may be there without those before it that were to be coded after it.
    missing = (i for i, time in enumerate(told) if not {time - 1, time, time + 1} & there)
    behind = {
        "video": since(stamps, next(missing, len(stamps)), killed),
        "records": since(stamps, len(whole), killed),
    }
    faults += [f"{what}: {seconds:.2f} s behind{state}" for what, seconds in behind.items() if seconds > PROMISE]
    behind_sound = None if sound is None else max(0.0, stamps[-1][1] - sound)
    if behind_sound is not None and behind_sound > PROMISE:
        faults.append(f"sound: {behind_sound:.2f} s behind")
    return Left(len(stamps), first_byte - stamps[0][0], behind["video"], behind_sound, behind["records"], faults)


def since(stamps: list[tuple[float, float]], readable: int, killed: float) -> float:
    """How much was lost, on the clock or in media, whichever is less; 0 where every frame can be read."""
    if readable >= len(stamps):
        return 0.0
    return min(killed - stamps[readable][0], stamps[-1][1] - stamps[readable][1])


def complete(line: str) -> bool:
    """Whether a line is a whole record."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def read(path: Path) -> tuple[list[float], float | None]:
    """The times of a video's pictures, and where its sound ends, all of it decoded."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1  # this process is going to be forked again
        frames = [float(frame.time) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, None
        last = 0.0
        for sound in container.decode(audio=0):
            last = float(sound.time) + sound.samples / sound.sample_rate
        return frames, last


if __name__ == "__main__":
    main()
