"""A model: a frozen backbone, a head with memory on it, and the names of the classes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.errors import ModelError, UsageError, first_line
from liquidvision.models.backbone import MOTION_CROP_KEY, MOTION_CROP_VALUE, Backbone, Preprocessing
from liquidvision.models.folder import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    find_model,
    read_model_config,
    read_tensors,
    write_model_folder,
)
from liquidvision.models.heads import head_from_config
from liquidvision.models.heads.base import Head
from liquidvision.models.heads.liquid_filter import LiquidFilter, LiquidFilterConfig
from liquidvision.models.heads.liquid_head import LiquidHeadConfig
from liquidvision.models.tasks import MULTICLASS, Task
from liquidvision.models.zoo import IMAGENET_CLASSES, classifier_nodes, imagenet_labels
from liquidvision.video.pixels import Pixels

TORCHVISION_PREFIX = "torchvision:"  # of the name of a torchvision classifier
MIN_MAP_INPUT = 224  # pixels; with smaller inputs, feature maps are too coarse to show motion
BACKWARD_KEY, BACKWARD_PREFIX = "backward_head", "backward_head."  # in config.json; of its tensors
FILTER_SOURCE = "objects"  # the bundled model whose filter serves all torchvision classifiers


class Model:
    """A backbone, a head and labels. A model remembers nothing: a `Session` does, one per stream.

    Example:
        >>> model = Model.from_pretrained("objects")
        >>> session = Session(model)
        >>> session.push(frame).label

    Args:
        backbone: turns frames into embeddings.
        head: turns embeddings into logits, with memory.
        labels: names of the classes, in the order of the logits.
        name: a short name for display.
        first_dt: elapsed time assumed before the first frame of a stream (its Δt), in seconds. The head is trained
            with the same value.
        task: what the logits mean, see `Task`.
        backward_head: a second head that sees a recording from its end, for two passes and look-ahead, see `predict`.
            It has the same kind of embeddings and classes as `head`, and shares its statistics and its readout of
            single frames. None: there is none.
        interval_rule: how its scores become intervals. None: the default settings, see `IntervalSettings`.

    Attributes:
        folder: the folder that it was loaded from, or None.

    Raises:
        UsageError: the parts do not fit together.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        labels: Sequence[str],
        *,
        name: str = "model",
        first_dt: float = 1.0,
        task: Task = MULTICLASS,
        backward_head: Head | None = None,
        interval_rule: IntervalRule | None = None,
    ) -> None:
        if head.input_size != backbone.dim:
            raise UsageError(f"the head takes embeddings of {head.input_size}; the backbone gives {backbone.dim}")
        if head.config.classes != len(labels):
            raise UsageError(f"the head has {head.config.classes} classes; there are {len(labels)} labels")
        if not 0 <= first_dt < float("inf"):
            raise UsageError(f"first_dt is {first_dt}; expected seconds, 0 or more")
        if backward_head is not None:
            sizes = [(side.input_size, side.config.classes) for side in (head, backward_head)]
            if sizes[0] != sizes[1]:
                raise UsageError(f"the backward head has sizes {sizes[1]}; expected those of the head, {sizes[0]}")
            backward_head.eval()
        self.backbone, self.head, self.backward_head = backbone, head.eval(), backward_head
        self.labels, self.name, self.first_dt, self.task = tuple(labels), name, first_dt, task
        self.interval_rule = interval_rule
        self.folder: Path | None = None

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def head_config(self) -> LiquidHeadConfig:
        """The configuration of a head that was trained on embeddings.

        Raises:
            UsageError: the head is a filter over the logits of a classifier.
        """
        if self.head.reads_logits:
            raise UsageError(f"the memory of {self.name} is a filter over its classifier; expected a trained head")
        return cast(LiquidHeadConfig, self.head.config)

    @property
    def required_backward_head(self) -> Head:
        """The backward head.

        Raises:
            UsageError: the model has none.
        """
        if self.backward_head is None:
            raise UsageError(
                f"{self.name} has no backward head, which two passes and look-ahead need; train it with --two-pass"
            )
        return self.backward_head

    def to(self, device: str | torch.device, *, half: bool = False) -> "Model":
        """Move to a device, in place, and return the model; for `device` and `half` see `Backbone.place`."""
        self.backbone.place(str(device), half=half)
        for head in (self.head, self.backward_head):
            if head is not None:
                head.to(self.backbone.device)
        return self

    def backbone_for_heads(self) -> Backbone:
        """Return a backbone that a head can be trained on.

        For a trained head that is the model's own. For a filter over a classifier it is a new one with the same weights
        that returns feature maps instead of logits, and whose input has at least `MIN_MAP_INPUT` pixels on each side.
        """
        if not self.head.reads_logits:
            return self.backbone
        own = self.backbone
        height, width = (max(side, MIN_MAP_INPUT) for side in own.preprocessing.size)
        whole = own.preprocessing.shorter is None
        preprocessing = replace(own.preprocessing, size=(height, width)) if whole else own.preprocessing
        maps = Backbone(own.name, weights=None, preprocessing=preprocessing)
        weights = own.extractor.state_dict()
        maps.extractor.load_state_dict({key: weights[key] for key in maps.extractor.state_dict()})
        maps.runtime = None if own.runtime is None else type(own.runtime)()
        return maps.to(own.device)

    def embed(self, images: Sequence[np.ndarray | Pixels]) -> Tensor:
        """Return embeddings (n, backbone.dim) of n images, frames' `pixels` or RGB (h, w, 3) uint8."""
        return self.backbone.embed(images)

    def config(self) -> dict[str, Any]:
        """Return the content of config.json."""
        return {
            "name": self.name,
            "labels": list(self.labels),
            "first_dt": self.first_dt,
            "backbone": self.backbone.to_json(),
            "head": self.head.config.to_json(),
            **({} if self.backward_head is None else {BACKWARD_KEY: self.backward_head.config.to_json()}),
            **({} if self.interval_rule is None else {"intervals": self.interval_rule.to_json()}),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return all weights; names start with `backbone.`, `head.` or `backward_head.`.

        The backward head's are without those that it shares with the head.
        """
        parts = {"backbone.": self.backbone.extractor.state_dict(), "head.": self.head.state_dict()}
        if self.backward_head is not None:
            parts[BACKWARD_PREFIX] = own_tensors(self.backward_head)
        return {prefix + key: value for prefix, part in parts.items() for key, value in part.items()}

    def fingerprint(self) -> str:
        """Return a hash of configuration and weights, by which a saved session recognises its model.

        Intervals and the backward head are left out: they are no part of its memory.
        """
        config = {key: value for key, value in self.config().items() if key not in ("intervals", BACKWARD_KEY)}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for key, value in sorted(self.tensors().items()):
            if key.startswith(BACKWARD_PREFIX):
                continue
            digest.update(key.encode() + value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:32]

    def save_pretrained(self, folder: str | Path, *, card: str = "") -> None:
        """Write a model folder: config.json, model.safetensors and README.md.

        Args:
            folder: it is created if it does not exist.
            card: the text of README.md; a line with the labels by default.

        Raises:
            SinkError: the folder cannot be written.
        """
        text = card or f"# {self.name}\n\nA liquidvision model. Labels: {', '.join(self.labels)}.\n"
        write_model_folder(Path(folder), self.config(), self.tensors(), text)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str = "auto", half: bool = False) -> "Model":
        """Load a bundled model, a model folder, or a torchvision classifier.

        Args:
            name_or_folder: the name of a bundled model, the path of a model folder, or "torchvision:NAME" for a
                classifier of `torchvision.models` with its own weights, downloaded at first use. It has ImageNet's
                1,000 labels and reuses the memory of `objects`, which works for any label set.
            device: see `Backbone.place`.
            half: see `Backbone.place`.

        Raises:
            ModelError: no such model, or a folder that is truncated, of another version, or with wrong shapes.
            UsageError: a device that is not available, or a name that torchvision does not have.
            WeightsError: torchvision's weights cannot be downloaded.
        """
        if str(name_or_folder).startswith(TORCHVISION_PREFIX):
            return torchvision_model(str(name_or_folder).removeprefix(TORCHVISION_PREFIX)).to(device, half=half)
        folder = find_model(name_or_folder)
        config = read_model_config(folder)
        tensors, _ = read_tensors(folder / WEIGHTS_FILE)
        path = folder / CONFIG_FILE
        try:
            spec, head = config["backbone"], head_from_config(config["head"])
            backbone = Backbone(
                spec["name"],
                nodes={str(node): int(side) for node, side in spec["nodes"].items()},
                weights=None,
                preprocessing=Preprocessing.from_json(spec["preprocessing"]),
                motion_crop=crop_from_config(spec),
                classes=head.config.classes if head.reads_logits else IMAGENET_CLASSES,
            )
            labels, first_dt = [str(label) for label in config["labels"]], float(config["first_dt"])
            rule = IntervalRule.from_json(config["intervals"]) if "intervals" in config else None
            backward = head_from_config(config[BACKWARD_KEY]) if BACKWARD_KEY in config else None
            model = cls(
                backbone,
                head,
                labels,
                name=str(config["name"]),
                first_dt=first_dt,
                backward_head=backward,
                interval_rule=rule,
            )
        except KeyError as error:
            raise ModelError(f"{path} lacks {error}; the folder is damaged or was made by another program") from error
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ModelError(f"{path} does not describe a model: {first_line(error)}") from error
        load_part(folder / WEIGHTS_FILE, tensors, "backbone.", backbone.extractor.state_dict(), backbone.extractor)
        model.load_heads(folder / WEIGHTS_FILE, tensors)
        model.folder = folder
        return model.to(device, half=half)

    def load_heads(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Give the heads other weights, from tensors as `tensors` returns them.

        Raises:
            ModelError: the tensors, of the file `path`, belong to other heads.
        """
        load_part(path, tensors, "head.", self.head.state_dict(), self.head)
        if self.backward_head is not None:
            load_part(path, tensors, BACKWARD_PREFIX, own_tensors(self.backward_head), self.backward_head)
            share_tensors(self.head, self.backward_head)


def load_part(path: Path, tensors: Mapping[str, Tensor], prefix: str, wanted: dict[str, Tensor], part: Any) -> None:
    """Load the tensors with a prefix into a part of a model, which must be those that are wanted."""
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    check_tensor_shapes(path, prefix, wanted, own)
    part.load_state_dict(own, strict=prefix != BACKWARD_PREFIX)


def own_tensors(backward: Head) -> dict[str, Tensor]:
    """Return the weights of a backward head that it does not share with the forward head."""
    shared = set(backward.shared_tensors)
    return {name: value for name, value in backward.state_dict().items() if name not in shared}


def share_tensors(head: Head, backward: Head) -> None:
    """Copy into a backward head the weights that it shares with the forward head."""
    weights = head.state_dict()
    backward.load_state_dict({name: weights[name] for name in backward.shared_tensors if name in weights}, strict=False)


def torchvision_model(name: str) -> Model:
    """Return a torchvision classifier with its ImageNet weights, and the bundled filter as its memory."""
    backbone = Backbone(name, nodes=classifier_nodes(name))
    head = LiquidFilter(LiquidFilterConfig(*backbone.channels.values()))
    tensors, _ = read_tensors(find_model(FILTER_SOURCE) / WEIGHTS_FILE)
    own = {key.removeprefix("head."): value for key, value in tensors.items() if key.startswith("head.")}
    head.load_state_dict(own)
    return Model(backbone, head, imagenet_labels(name), name=name)


def crop_from_config(spec: dict[str, Any]) -> bool:
    """Return whether the backbone of a config.json has a motion crop; ValueError for an unknown value."""
    value = spec.get(MOTION_CROP_KEY, "whole")
    if value not in ("whole", MOTION_CROP_VALUE):
        raise ValueError(f"{MOTION_CROP_KEY} is {value!r}; expected whole or {MOTION_CROP_VALUE}")
    return bool(value == MOTION_CROP_VALUE)


def check_tensor_shapes(path: Path, prefix: str, wanted: dict[str, Tensor], got: dict[str, Tensor]) -> None:
    """Raise ModelError for the first tensor that is missing, unexpected or of a wrong shape."""
    for key in [*wanted, *got]:
        if key not in got:
            raise ModelError(f"{path} lacks {prefix}{key}; the file belongs to another model or is damaged")
        if key not in wanted:
            raise ModelError(f"{path} holds {prefix}{key}, which config.json does not describe")
        if wanted[key].shape != got[key].shape:
            shapes = tuple(got[key].shape), tuple(wanted[key].shape)
            raise ModelError(f"{path}: {prefix}{key} has shape {shapes[0]}; config.json expects {shapes[1]}")
