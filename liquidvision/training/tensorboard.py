"""Writes each epoch's figures as TensorBoard scalars, for `train --tensorboard`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liquidvision.errors import DependencyError, SinkError

if TYPE_CHECKING:
    from liquidvision.training.trainer import EpochRow


class TensorBoardLog:
    """Writes the columns of metrics.csv for TensorBoard, into the same folder.

    Raises:
        DependencyError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DependencyError(
                "--tensorboard needs the package tensorboard: pip install 'liquidvision[tensorboard]'"
            ) from error
        self._folder, self._open = folder, partial(SummaryWriter, folder)
        self._writer: Any = None  # opened at the first epoch: a SummaryWriter creates its file at once

    def write(self, row: "EpochRow") -> None:
        """Write an epoch's figures.

        Raises:
            SinkError: the file cannot be written.
        """
        try:
            if self._writer is None:
                # Hide what an earlier training in this folder wrote for this and later epochs.
                self._writer = self._open(purge_step=row.epoch)
            for name, value in asdict(row).items():
                if name not in ("epoch", "best", "behind") and value is not None:
                    self._writer.add_scalar(name, value, row.epoch)
            self._writer.flush()
        except OSError as error:
            raise SinkError(f"cannot write TensorBoard's file in {self._folder}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file, if one was opened."""
        if self._writer is not None:
            self._writer.close()
