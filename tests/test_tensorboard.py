"""`train --tensorboard`: the columns of metrics.csv as TensorBoard's scalars."""

import csv
import sys
from pathlib import Path

import pytest
from commands import one_line
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from liquidvision.errors import SinkError
from liquidvision.training.tensorboard import TensorBoardLog
from liquidvision.training.trainer import EpochRow

COLUMNS = ("learning_rate", "loss", "validation_loss", "validation_accuracy", "validation_frame_accuracy")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: (step, value) by tag."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_epoch_is_written(run, clips, model_folder, tmp_path, monkeypatch):
    """TensorBoard shows the figures of metrics.csv; of a folder used twice, only those of the last training."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--exist-ok", "--tensorboard")
    begin += ("--folds", "0")
    for epochs in (3, 2):
        ran = run(*begin, "--epochs", epochs)
        assert ran.code == 0, ran.err
    rows = list(csv.DictReader((tmp_path / "mine" / "metrics.csv").read_text().splitlines()))
    shown = scalars(tmp_path / "mine")
    assert set(shown) == set(COLUMNS)
    for name in COLUMNS:
        assert shown[name] == [(int(row["epoch"]), pytest.approx(float(row[name]))) for row in rows], name


def test_missing_figures_are_not_written(tmp_path):
    """Without validation there are only the loss and the learning rate."""
    writer = TensorBoardLog(tmp_path)
    writer.write(EpochRow(1, 0.5, 2.0))
    writer.close()
    assert scalars(tmp_path) == {"learning_rate": [(1, 0.5)], "loss": [(1, 2.0)]}


def test_an_unwritable_folder_is_an_error(tmp_path):
    """If the file cannot be created, the error says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write TensorBoard's file"):
        TensorBoardLog(tmp_path / "file").write(EpochRow(1, 0.5, 2.0))


def test_without_tensorboard_its_pip_command_is_printed(run, clips, tmp_path, monkeypatch):
    """If tensorboard is missing, one line says how to install it, before anything is read."""
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    ran = run("train", clips, "-o", tmp_path / "mine", "--tensorboard")
    assert ran.code == 1 and "pip install 'liquidvision[tensorboard]'" in one_line(ran)
    assert not (tmp_path / "mine").exists()
