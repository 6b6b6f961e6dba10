"""The program behind the paper's table: splits that hold what they promise, measures, resuming, files as they are."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from liquidvision.errors import UsageError
from tools import paper_tables
from tools.paper_tables import load
from tools.tables.data import PARTS, Series, blocks, cut, inside, permuted, series, standardised
from tools.tables.fit import Recipe, compute_loss, fit, measure, targets
from tools.tables.models import CELLS, Liquid, network, parameters
from tools.tables.report import KEY, append, finished, table
from tools.tables.sets import RECORDINGS, TASKS

ROWS = {"gesture": 7 * 130, "occupancy": 300 + 100 + 90, "ozone": 2000, "traffic": 10240, "cheetah": 25 * 79}
LEAK_FREE = [(name, p) for name, task in TASKS.items() for p in task.protocols if p == "leak-free"]
LEAK_FREE += [("cheetah", "paper"), ("mnist", "paper")]
LEAKY = [(name, p) for name, task in TASKS.items() for p in task.protocols if (name, p) not in LEAK_FREE]


def sizes(data: Series) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(getattr(data, part).shape) for part in PARTS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files in the layout of each set; where a feature can hold it, the first is the row's number."""
    folder = tmp_path_factory.mktemp("timeseries")
    random = np.random.RandomState(0)
    for name in TASKS:
        (folder / name).mkdir()
    header = ",".join(str(i + 1) for i in range(32)) + ",Phase"
    for name in RECORDINGS:
        lines = [header] + [
            ",".join(f"{v:.5f}" for v in random.randn(32)) + "," + "DPSHR"[i // 7 % 5] for i in range(130)
        ]
        end = "\r" if name == "a1" else "\n"
        (folder / "gesture" / f"{name}_va3.csv").write_bytes((end.join(lines) + end).encode())
    at = 0
    for name, count in (("datatraining", 300), ("datatest", 100), ("datatest2", 90)):
        with (folder / "occupancy" / f"{name}.txt").open("w", newline="") as file:
            lines = csv.writer(file, quoting=csv.QUOTE_ALL)
            lines.writerow(["date", "Temperature", "Humidity", "Light", "CO2", "HumidityRatio", "Occupancy"])
            for i in range(count):
                lines.writerow([i + 1, "2015-02-04 17:51:00", at + i, *random.randn(4).round(3), i // 20 % 2])
        at += count
    with (folder / "ozone" / "eighthr.data").open("w") as file:
        for i in range(ROWS["ozone"]):
            missing = "?" if i == 5 else f"{i}"
            file.write(f"1/1/1998,{missing}," + ",".join(["1.5"] * 71) + f",{float(i % 10 == 0):.0f}.\n")
        file.write("cut,short\n")
    with (folder / "traffic" / "Metro_Interstate_Traffic_Volume.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        measured = ["holiday", "temp", "rain_1h", "snow_1h", "clouds_all"]
        lines.writerow([*measured, "weather_main", "weather_description", "date_time", "traffic_volume"])
        for i in range(ROWS["traffic"]):
            lines.writerow(
                ["None", 280 + i % 9, 0, 0, 40, "Clouds", "x", f"2012-10-0{1 + i // 24 % 9} {i % 24:02}:00:00", i]
            )
    for i in range(26):
        rows = np.arange(80.0)[:, None] + 1000 * i
        np.save(folder / "cheetah" / f"trace_{i:04}.npy", np.repeat(rows, 17, 1))
    images = random.randint(0, 256, (60, 28, 28)).astype(np.uint8)
    np.savez(
        folder / "mnist" / "mnist.npz",
        x_train=images, y_train=np.arange(60) // 6, x_test=images[:20], y_test=np.arange(20) // 2,
    )  # fmt: skip
    return folder


def test_paper_splits_have_their_sizes(tiny):
    """Windows by part are counted as the authors' code counts them, rounded down."""
    expected = {
        # 130 rows: 4 windows and 3 halves between them, in each of 7 recordings
        ("gesture", "paper"): ((38, 32), (4, 32), (7, 32)),
        ("occupancy", "paper"): ((284 - 28, 16), (28, 16), (11 + 10, 16)),
        ("ozone", "paper"): ((25, 492), (3, 492), (4, 492)),
        ("ozone", "windows"): ((492 - 49 - 73, 32), (49, 32), (73, 32)),
        ("traffic", "paper"): ((2552 - 255 - 382, 32), (255, 32), (382, 32)),
        ("traffic", "transposed"): ((25, 2552), (3, 2552), (4, 2552)),
        ("cheetah", "paper"): ((50, 32), (25, 32), (50, 32)),
        ("mnist", "paper"): ((54, 28), (6, 28), (20, 28)),
    }
    for (name, protocol), shapes in expected.items():
        assert sizes(load(name, protocol, "raw", tiny)) == shapes, (name, protocol)


@pytest.mark.parametrize(("name", "protocol"), LEAK_FREE)
def test_leak_free_parts_share_no_row(tiny, name, protocol):
    """No row of one part is in another, and every part has windows."""
    data = load(name, protocol, "raw", tiny)
    for one, other in (("valid", "train"), ("test", "train"), ("test", "valid")):
        assert data.shared(one, other) == 0
    assert all(len(getattr(data, part)) > 0 for part in PARTS)


@pytest.mark.parametrize(("name", "protocol"), LEAKY)
def test_the_papers_leaks_are_counted(tiny, name, protocol):
    """Where windows overlap and are assigned at random, rows of validation are training rows too."""
    assert load(name, protocol, "raw", tiny).shared("valid", "train") > 0


def test_lengths_and_lines_of_files(tiny):
    """All rows are read: those that end in CR, quoted ones, and none that is cut short; "?" counts as 0."""
    for name, rows in ROWS.items():
        assert len(load(name, "paper", "raw", tiny).x) == rows, name
    x = load("ozone", "paper", "raw", tiny).x[:, 0]
    raw = np.full((ROWS["ozone"], 72), 1.5)
    raw[:, 0] = np.where(np.arange(len(raw)) == 5, 0, np.arange(len(raw)))
    assert x.numpy() == pytest.approx((raw[:, 0] - raw.mean()) / raw.std(), abs=1e-5)


def test_a_window_is_consecutive_rows_and_their_answers(tiny):
    """Rows of a window follow each other, and a cheetah's answer is its next row, never another file's."""
    data = load("cheetah", "paper", "raw", tiny)
    for part in PARTS:
        windows = getattr(data, part)
        assert (data.x[windows].diff(dim=1) == 1).all()
        assert torch.equal(data.y[windows], data.x[windows] + 1)
    digits = load("mnist", "paper", "raw", tiny)
    assert targets(TASKS["mnist"], digits, digits.test).tolist() == [i // 2 for i in range(20)]
    assert digits.x.max() <= 1


def test_blocks_hold_each_row_once():
    """Runs of the parts cover all rows, and windows stay within a run."""
    runs = blocks(1000, 64, seed=1)
    rows = [row for part in PARTS for run in runs[part] for row in run]
    assert sorted(rows) == list(range(1000))
    assert [sum(map(len, runs[part])) >= 64 for part in PARTS] == [True, True, True]
    assert inside([range(10, 20), range(30, 33)], 4, 3).tolist() == [
        [10, 11, 12, 13],
        [13, 14, 15, 16],
        [16, 17, 18, 19],
    ]


def test_dealing_is_numpys_old_permutation():
    """Validation takes the first of the permutation, the test the next, as the authors' code does."""
    windows = cut(range(20), 2)
    train, valid, test = permuted(windows, 7)
    order = np.random.RandomState(7).permutation(20)
    assert np.concatenate([valid, test, train])[:, 0].tolist() == order.tolist()
    assert (len(valid), len(test)) == (2, 3)


def test_standardised_by_training_rows_alone():
    """Features have mean 0 and deviation 1 over the training rows; one that never changes becomes 0."""
    x = np.stack([np.arange(10.0), np.full(10, 3.0)], 1)
    data = standardised(series(x, np.zeros(10, int), (cut([0, 2], 4), cut([6], 2), cut([8], 2))))
    assert data.x[:6, 0].mean() == pytest.approx(0, abs=1e-6)
    assert data.x[:6, 0].std(correction=0) == pytest.approx(1)
    assert (data.x[:, 1] == 0).all()


def test_measures_by_hand():
    """F1, accuracy and squared errors, counted by hand over all steps at once."""
    y = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1]])
    said = torch.nn.functional.one_hot(torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0]])).float()
    assert measure("f1", said, y) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert measure("accuracy", said, y) == pytest.approx(5 / 8)
    assert measure("f1", said.flip(-1) * 0, y) == 0
    assert measure("mse", torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]])) == pytest.approx(2.5)


def test_the_ozone_loss_weighs_classes():
    """Each day's cross entropy counts 1.6 or .1, and the sum is divided by the number of days."""
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    expected = np.log(2) * (1.6 + 0.1 + 0.1) / 3
    assert compute_loss(TASKS["ozone"], logits, torch.tensor([[1, 0, 0]])).item() == pytest.approx(expected)
    assert compute_loss(TASKS["gesture"], logits, torch.tensor([[1, 0, 0]])).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("model", [name for name in CELLS if name != "ltc"])
def test_models_are_about_as_large(model):
    """Every model has within 3 % of the parameters of LTC."""
    target = parameters(network("ltc", 7, 3))
    assert parameters(network(model, 7, 3)) == pytest.approx(target, rel=0.03)


def test_the_best_epoch_is_chosen_by_validation():
    """The test figure is of the epoch with the best validation, and the same seed gives the same figures."""
    x = np.random.RandomState(0).randn(200, 2)
    data = series(x, (x[:, 0] > 0).astype(int), (cut(range(0, 120, 3), 4), cut(range(124, 150, 4), 4), cut([160], 40)))
    told: list[str] = []

    def once() -> dict[str, float]:
        torch.manual_seed(0)
        net = network("ltc", 2, 5, liquid=Liquid(units=4, unfolds=2))
        return fit(net, TASKS["gesture"], data, Recipe(6, 0.02, "cosine"), told.append)

    first, second = once(), once()
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in second.items() if k != "seconds"}
    curve = [float(line.split("valid ")[1].split(",")[0]) for line in told[:6]]
    assert first["best_epoch"] == curve.index(max(curve)) + 1
    assert first["valid"] == pytest.approx(max(curve), abs=1e-4)
    assert first["valid"] > 0.6


def test_finished_runs_are_not_run_again(tiny, tmp_path, monkeypatch, capsys):
    """A second call trains nothing but what is new, and its table has all rows that were asked for."""
    given = ["gesture", "--data", str(tiny), "--work", str(tmp_path), "--epochs", "1", "--models", "lstm", "memoryless"]
    paper_tables.main([*given, "--seeds", "1"])
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)[KEY]["model"] for line in lines] == ["lstm", "memoryless"]
    trained = []
    real = paper_tables.run
    monkeypatch.setattr(
        paper_tables, "run", lambda s, *a, **k: trained.append((s["model"], s["seed"])) or real(s, *a, **k)
    )
    capsys.readouterr()
    paper_tables.main([*given, "--seeds", "2"])
    assert trained == [("lstm", 1), ("memoryless", 1)]
    shown = capsys.readouterr().out
    assert "| LSTM | " in shown and "| 2 |" in shown and "64.57 ± 0.59" in shown
    paper_tables.main([*given, "--seeds", "1", "--protocol", "leak-free"])
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 6


def test_a_torn_line_costs_one_run(tmp_path):
    """A record truncated by a crash is skipped, and the next record starts on a new line."""
    path = tmp_path / "results.jsonl"
    append(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"b"')
    append(path, {"c": 3})
    assert finished(path) == [{"a": 1}, {"c": 3}]
    assert finished(tmp_path / "none.jsonl") == []


def test_the_table_has_mean_and_deviation():
    """Seeds of one setting share a row; a run that diverged is reported."""
    settings = {
        "set": "occupancy", "protocol": "paper", "inputs": "raw", "model": "lstm", "epochs": 3, "rate": 0.1,
        "schedule": "constant",
    }  # fmt: skip
    figures = {"parameters": 1234, "best_epoch": 2, "valid": 0.5}
    records = [{KEY: {**settings, "seed": i}, **figures, "test": t} for i, t in enumerate((0.9, 0.94))]
    row = table([*records, {KEY: {**settings, "seed": 2}, "parameters": 1234}]).splitlines()[2]
    assert "| 1,234 | 2 of 3, the rest diverged | 50.00 ± 0.00 | 92.00 ± 2.83 | 93.18 ± 1.66 | 2 to 2 |" in row


def test_what_is_not_there_is_said_in_one_line(tiny, tmp_path):
    """A missing folder or file, and a protocol that a set lacks, are reported with what to do."""
    with pytest.raises(SystemExit, match=r"^paper_tables: no folder .*gesture; .* --data$"):
        paper_tables.main(["gesture", "--data", str(tmp_path), "--work", str(tmp_path)])
    with pytest.raises(UsageError, match=r"mnist has no protocol 'leak-free'; expected one of paper"):
        load("mnist", "leak-free", "raw", tiny)
    (tmp_path / "ozone").mkdir()
    with pytest.raises(UsageError, match=r"eighthr.data; ozone needs it"):
        load("ozone", "paper", "raw", tmp_path)


@pytest.mark.parametrize(
    ("name", "protocol", "shapes"),
    [
        ("gesture", "paper", ((455, 32), (60, 32), (90, 32))),
        ("occupancy", "paper", ((7315, 16), (812, 16), (1549, 16))),
        ("ozone", "paper", ((25, 626), (3, 626), (4, 626))),
        ("traffic", "paper", ((9033, 32), (1204, 32), (1806, 32))),
        ("cheetah", "paper", ((970, 32), (485, 32), (970, 32))),
        ("mnist", "paper", ((54000, 28), (6000, 28), (10000, 28))),
    ],
)
def test_the_real_sets_have_the_papers_sizes(data, name, protocol, shapes):
    """The real files give as many windows as the authors' code cuts from them, without a number that is not finite."""
    if not (data / "timeseries" / name).is_dir():
        pytest.skip(f"timeseries/{name} is not in the shared data folder")
    found = load(name, protocol, "raw", data / "timeseries")
    assert sizes(found) == shapes
    assert torch.isfinite(found.x).all()
    for part in PARTS:
        assert int(getattr(found, part).min()) >= 0 and int(getattr(found, part).max()) < len(found.x)
