"""The six sets that were available of Table 3 of the LTC paper (arXiv 2006.04439): files, features, splits, measures.

Splits, features, losses and measures of the protocol "paper" are those of the authors' public code (github.com,
raminmh/liquid_time_constant_networks, experiments_with_ltcs), its seeds of the permutations included. What that code
does and the paper does not say stands in `Task.protocols`.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from liquidvision.errors import UsageError
from tools.tables.data import Series, blocks, cut, inside, permuted, series

SEED, OCCUPANCY_SEED = 23489, 893429  # of the authors' permutations
MNIST_SEED = 0  # of ours: the file is sorted by class
RECORDINGS = ("a3", "b1", "b3", "c1", "c3", "a2", "a1")  # of the gestures, in the order that the permutation expects


@dataclass(frozen=True)
class Task:
    """One row of Table 3.

    Attributes:
        load: (the set's folder, protocol) to its rows and splits.
        outputs: width of the readout.
        metric: "accuracy" (of steps), "f1" (of class 1 over all steps) or "mse".
        protocols: names, and what each of them does.
        published: mean and deviation by model, n = 5, in the unit of `scale` times the metric.
        epochs, schedule: our defaults; the paper trains 200 epochs at a constant rate.
        liquid_rate: the authors' learning rate for LTC; .001 for all others.
        last: whether a window is answered once, after its last step.
        weights: of the loss, by class.
        scale: what the metric is multiplied by when shown.
    """

    load: Callable[[Path, str], Series]
    outputs: int
    metric: str
    protocols: dict[str, str]
    published: dict[str, tuple[float, float]]
    epochs: int = 200
    schedule: str = "constant"
    liquid_rate: float = 0.01
    last: bool = False
    weights: tuple[float, ...] | None = None

    @property
    def scale(self) -> float:
        return 100.0 if self.metric == "accuracy" else 1.0

    @property
    def lower_is_better(self) -> bool:
        return self.metric == "mse"


def occupancy(folder: Path, protocol: str) -> Series:
    """Is the office occupied: 5 measurements a minute, windows of 16; training, and two later tests apart in time."""
    tables = []
    for name in ("datatraining.txt", "datatest.txt", "datatest2.txt"):
        with (folder / name).open(newline="") as file:
            tables.append(np.array([[float(v) for v in line[-6:]] for line in list(csv.reader(file))[1:]]))
    first, second, third = (len(table) for table in tables)
    rows = np.concatenate(tables)
    if protocol == "paper":
        train, valid, _ = permuted(cut(range(first - 16), 16), OCCUPANCY_SEED, test=0)
        known = first
    else:
        known = first - first // 10
        train, valid = inside([range(known)], 16, 1), inside([range(known, first)], 16, 1)
    starts = [*range(first, first + second - 16, 8), *range(first + second, first + second + third - 16, 8)]
    x = (rows[:, :-1] - rows[:known, :-1].mean(0)) / rows[:known, :-1].std(0)
    return series(x, rows[:, -1].astype(np.int64), (train, valid, cut(starts, 16)))


def gesture(folder: Path, protocol: str) -> Series:
    """Which of 5 phases a gesture is in: 32 speeds and accelerations, windows of 32; 3 people, 7 recordings."""
    tables, answers, runs, at = [], [], {}, 0
    for name in RECORDINGS:
        lines = (folder / f"{name}_va3.csv").read_text().splitlines()  # a1 ends its lines with CR alone
        cells = [line.split(",") for line in lines[1:] if line]
        tables.append(np.array([line[:-1] for line in cells], np.float32))
        answers.append(np.array(["DPSHR".index(line[-1].strip()) for line in cells]))
        runs[name] = range(at, at + len(cells))
        at += len(cells)
    x, y = np.concatenate(tables), np.concatenate(answers)

    def whole(run: range) -> list[int]:
        return [run.start + 32 * i for i in range(len(run) // 32)]

    def halves(run: range) -> list[int]:
        starts = whole(run)
        return sorted(starts + [start + 16 for start in starts[:-1]])

    if protocol == "paper":
        windows = cut((s for run in runs.values() for s in halves(run)), 32)
        seen = x[windows.ravel()]
        parts = permuted(windows, SEED)
    else:
        held = {"valid": "b3", "test": "c3"}
        known = [run for name, run in runs.items() if name not in held.values()]
        parts = (
            cut((s for run in known for s in halves(run)), 32),
            cut(whole(runs[held["valid"]]), 32),
            cut(whole(runs[held["test"]]), 32),
        )
        seen = x[np.concatenate([np.arange(run.start, run.stop) for run in known])]
    return series((x - seen.mean(0)) / seen.std(0), y, parts)


def ozone(folder: Path, protocol: str) -> Series:
    """Is it a day of much ozone: 72 measurements a day, 6 % of days, windows of 32 days; missing values are 0."""
    lines = [line.split(",") for line in (folder / "eighthr.data").read_text().splitlines()]
    lines = [line for line in lines if len(line) == 74]
    x = np.array([[0.0 if v == "?" else float(v) for v in line[1:-1]] for line in lines])
    y = np.array([int(float(line[-1])) for line in lines])
    parts, known = _splits(len(x), "transposed" if protocol == "paper" else protocol, block=64)
    x = (x - x[known].mean()) / x[known].std()  # one mean and one deviation for all 72 features
    return series(x, y, parts)


def traffic(folder: Path, protocol: str) -> Series:
    """How many cars pass in the hour: weather and the time of day, windows of 32 rows; about one row an hour."""
    with (folder / "Metro_Interstate_Traffic_Volume.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    times = [datetime.strptime(line["date_time"], "%Y-%m-%d %H:%M:%S") for line in lines]
    columns = [np.array([float(line[k]) for line in lines]) for k in ("temp", "rain_1h", "snow_1h", "clouds_all")]
    volume = np.array([float(line["traffic_volume"]) for line in lines])
    parts, known = _splits(len(lines), protocol, block=512)
    columns[0] -= columns[0][known].mean()
    weekday = np.array([float(time.weekday()) for time in times])
    hour = np.sin(np.array([time.hour for time in times]) * np.pi / 24)
    holiday = np.zeros(len(lines))  # the authors compare with None, which a column of text never holds
    x = np.stack([holiday, *columns, weekday, hour], 1)
    return series(x, (volume - volume[known].mean()) / volume[known].std(), parts)


def cheetah(folder: Path, protocol: str) -> Series:
    """What a simulated cheetah's 17 observations will be one step on: windows of 32; a file is a run of its own."""
    files = sorted(folder.glob("*.npy"))[:25]
    if len(files) < 25:
        raise UsageError(f"{folder} holds {len(files)} .npy files; expected 25 or more")
    x, y, starts, at = [], [], [], 0
    for file in files:
        trace = np.load(file, allow_pickle=False).astype(np.float32)
        x.append(trace[:-1])
        y.append(trace[1:])
        starts.append(range(at, at + len(trace) - 33, 10))
        at += len(trace) - 1
    parts = (cut((s for run in starts[part] for s in run), 32) for part in (slice(15, 25), slice(5), slice(5, 15)))
    return series(np.concatenate(x), np.concatenate(y), parts)


def mnist(folder: Path, protocol: str) -> Series:
    """Which digit it is: the 28 rows of a picture, one after the other; answered after the last."""
    with np.load(folder / "mnist.npz", allow_pickle=False) as file:
        x = np.concatenate([file["x_train"], file["x_test"]]).reshape(-1, 28) / np.float32(255)
        known, later = file["y_train"], file["y_test"]
    pictures = cut(range(0, len(x), 28), 28)
    order = np.random.RandomState(MNIST_SEED).permutation(len(known))
    split = int(0.9 * len(known))
    parts = pictures[order[:split]], pictures[order[split:]], pictures[len(known) :]
    return series(x, np.concatenate([known, later]).repeat(28).astype(np.int64), parts)


def _splits(rows: int, protocol: str, block: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Windows of 32 rows by part, and the rows that means and deviations may be taken from."""
    if protocol != "leak-free":
        windows = cut(range(0, rows - 32, 4), 32)
        return permuted(windows.T if protocol == "transposed" else windows, SEED), np.arange(rows)
    runs = blocks(rows, block, SEED)
    parts = tuple(inside(runs[part], 32, 4 if part == "train" else 32) for part in ("train", "valid", "test"))
    return parts, np.concatenate([np.arange(run.start, run.stop) for run in runs["train"]])


def published(*columns: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """A row of Table 3, its columns in the paper's order."""
    return dict(zip(("lstm", "ct-rnn", "node", "ct-gru", "ltc"), columns, strict=True))


LEAKY = "overlapping windows dealt at random, so that most rows of validation and test are training rows too"
TRANSPOSED = (
    "axes of time and batch exchanged: 32 long sequences, the i-th of every window's row i, 25 of them for training "
    "(one batch an epoch), 3 for validation, 4 for the test; rows of validation and test are training rows too"
)
TASKS = {
    "gesture": Task(
        gesture, 5, "accuracy",
        {
            "paper": f"half-{LEAKY}; means and deviations of all windows",
            "leak-free": "validation: recording b3, test: c3 (people and stories each known, not together)",
        },
        published((64.57, 0.59), (59.01, 1.22), (46.97, 3.03), (68.31, 1.78), (69.55, 1.13)),
    ),
    "occupancy": Task(
        occupancy, 2, "accuracy",
        {
            "paper": "validation dealt at random from windows one row apart, so that its rows are training rows too; "
            "the test is two files of their own",
            "leak-free": "validation: the last tenth of the training file; the same test",
        },
        published((93.18, 1.66), (94.54, 0.54), (90.15, 1.71), (91.44, 1.67), (94.63, 0.17)),
        liquid_rate=0.005,
    ),
    "mnist": Task(
        mnist, 10, "accuracy",
        {"paper": "validation: a tenth of the 60,000; the test is the usual 10,000; no row is in two parts"},
        published((98.41, 0.12), (96.73, 0.19), (97.61, 0.14), (98.27, 0.14), (97.57, 0.18)),
        epochs=25, schedule="cosine", liquid_rate=0.005, last=True,
    ),
    "traffic": Task(
        traffic, 1, "mse",
        {
            "paper": f"{LEAKY}; the authors' code since August 2021, later than the table",
            "transposed": f"the authors' code before August 2021: {TRANSPOSED}",
            "leak-free": "blocks of 512 rows dealt at random to training, validation (10 %) and test (15 %)",
        },
        published((0.169, 0.004), (0.224, 0.008), (1.512, 0.179), (0.389, 0.076), (0.099, 0.0095)),
    ),
    "ozone": Task(
        ozone, 2, "f1",
        {
            "paper": TRANSPOSED,
            "windows": f"axes put right; {LEAKY}",
            "leak-free": "blocks of 64 days dealt at random to training, validation (10 %) and test (15 %)",
        },
        published((0.284, 0.025), (0.236, 0.011), (0.168, 0.006), (0.26, 0.024), (0.302, 0.0155)),
        weights=(0.1, 1.6),
    ),
    "cheetah": Task(
        cheetah, 17, "mse",
        {"paper": "validation: files 1 to 5, test: 6 to 15, training: 16 to 25; no row is in two parts"},
        published((2.5, 0.14), (2.838, 0.112), (3.805, 0.313), (3.014, 0.134), (2.308, 0.015)),
    ),
}  # fmt: skip
