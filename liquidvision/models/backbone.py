"""The backbone: a frozen torchvision classifier that turns pictures into embeddings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from liquidvision.errors import UsageError
from liquidvision.liquid.traces import Layout
from liquidvision.models.device import choose_device
from liquidvision.models.preprocessing import Preprocessing, image_size
from liquidvision.models.runtime import openvino
from liquidvision.models.runtime.cuda_graphs import CUDAGraphs
from liquidvision.models.runtime.openvino import OpenVINO
from liquidvision.models.zoo import IMAGENET_CLASSES, build_classifier, default_nodes, node_shapes
from liquidvision.video.pixels import Pixels

# How config.json says that the motion crop is on.
MOTION_CROP_KEY, MOTION_CROP_VALUE = "look", "moving"


class Backbone(nn.Module):
    """A torchvision classification model without its classifier: frozen, in eval mode, for ever.

    An embedding lays side by side the means over the picture of the last feature map (global
    pooling) and, for each node of `nodes`, its map averaged on a grid, channel by channel.

    Args:
        name: any classification model of `torchvision.models.list_models()`.
        nodes: node name to side of its grid; None chooses: the last map globally (side 1), and an
            intermediate one on a 3 x 3 grid, by the family of models.
        weights: "DEFAULT" (torchvision's own, downloaded at first use), the path of a state dict of
            the whole model (.safetensors, or .pth that holds tensors alone), or None for random
            ones, to be loaded afterwards.
        preprocessing: None takes that of the weights, or ImageNet's at 224 pixels.
        motion_crop: embed a square around what moves in a stream instead of the whole frame, see `MotionCrop`.
        classes: how many classes its classifier tells apart, where `weights` do not say.

    Raises:
        UsageError: no such model or node.
        WeightsError: weights that cannot be found, downloaded or loaded.
    """

    def __init__(
        self,
        name: str,
        *,
        nodes: Mapping[str, int] | None = None,
        weights: str | Path | None = "DEFAULT",
        preprocessing: Preprocessing | None = None,
        motion_crop: bool = False,
        classes: int = IMAGENET_CLASSES,
    ) -> None:
        super().__init__()
        model, preset = build_classifier(name, weights, classes)
        self.name = name
        self.motion_crop = motion_crop
        self.preprocessing = preprocessing or preset
        self.nodes = dict(nodes) if nodes is not None else default_nodes(name, model)
        try:
            self.extractor = create_feature_extractor(model.eval(), list(self.nodes))
        except ValueError as error:
            raise UsageError(f"{name} has no such node: {', '.join(self.nodes)}") from error
        self.requires_grad_(False)
        shapes = node_shapes(self.extractor, self.preprocessing.size)
        for node, side in self.nodes.items():
            if len(shapes[node]) != 4 and side != 1:
                raise UsageError(f"node {node} of {name} has shape {shapes[node]}; a grid needs (n, c, h, w)")
        self.channels = {node: shapes[node][1] for node in self.nodes}
        self.extractor.to(memory_format=torch.channels_last)  # up to twice as quick on CPUs
        super().train(False)
        self.runtime: OpenVINO | CUDAGraphs | None = None
        self.in_half = False

    def place(self, wanted: str, *, half: bool = False) -> "Backbone":
        """Move to a device by its name: auto, cpu, cuda, mps, or openvino, which runs the network on the CPU.

        `auto` takes a GPU; else OpenVINO where it is installed. With `half` the network computes in bfloat16, of
        which a number takes half the room: quicker where the hardware knows it, and exact to 2 or 3 digits.

        Raises:
            UsageError: a device that is unknown or not there.
            DependencyError: OpenVINO is asked for and not installed.
        """
        device = choose_device("cpu" if wanted == openvino.OPENVINO else wanted)
        by_itself = wanted == "auto" and device.type == "cpu" and openvino.openvino_installed()
        if by_itself or wanted == openvino.OPENVINO:
            self.runtime = OpenVINO(half=half)
        else:
            self.runtime = CUDAGraphs() if device.type == "cuda" else None
        self.in_half = half
        return self.to(device)

    def extra_repr(self) -> str:  # by which runtime tells apart networks of the same weights and other nodes
        return f"{self.name}, nodes={self.nodes}"

    def to_json(self) -> dict[str, Any]:
        """What config.json says of it; weights and device are told elsewhere."""
        spec = {"name": self.name, "nodes": self.nodes, "preprocessing": self.preprocessing.to_json()}
        # Written only where it is on, so that older files, and the fingerprints made from them, stay the same.
        return {**spec, MOTION_CROP_KEY: MOTION_CROP_VALUE} if self.motion_crop else spec

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return sum(self.channels[node] * side * side for node, side in self.nodes.items())

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Where each node lies in an embedding, in the order of `nodes`."""
        return tuple(Layout(self.channels[node], side * side) for node, side in self.nodes.items())

    @property
    def grids(self) -> int:
        """How many of its maps are kept on a grid."""
        return sum(side > 1 for side in self.nodes.values())

    @property
    def device(self) -> torch.device:
        return next(self.extractor.parameters()).device

    def train(self, mode: bool = True) -> "Backbone":
        """A backbone stays in eval mode: its batch statistics are part of its weights."""
        return self

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray | Pixels]) -> Tensor:
        """Embeddings (n, dim) float32 of n pictures for themselves, as `prepare` takes them; sizes may differ."""
        return self.forward(torch.cat([self.prepare(image).to(self.device) for image in images]))

    def prepare(self, image: np.ndarray | Pixels) -> Tensor:
        """The network's input (1, 3, *size) of a picture, a frame's `pixels` or RGB (h, w, 3) uint8.

        Of a picture by itself, what moves is taken to be its middle; a stream has a `MotionCrop`.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        if not self.motion_crop:
            return self.whole(image)
        return self.preprocessing.cut(image, self.preprocessing.middle(image_size(image)))

    def whole(self, image: np.ndarray | Pixels) -> Tensor:
        """(1, 3, *size) of a whole picture.

        Decoded video goes straight to the input's size, not by way of its RGB, whose rounding is gone with it:
        embeddings of a frame's `pixels` and of its `image` differ by about as much as that rounding changes.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        if isinstance(image, Pixels):
            straight = self.preprocessing.straight(image)
            if straight is not None:
                return straight
            image = image.rgb()
        writable = np.require(image, requirements=["C", "W"])  # torch warns of arrays that are read-only
        pixels = torch.from_numpy(writable).to(self.device).permute(2, 0, 1)[None]
        return self.preprocessing(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embeddings (n, dim), on its own device, of standardised input (n, 3, *size)."""
        pixels = pixels.to(self.device)
        looked_into = torch.jit.is_tracing() or torch.compiler.is_compiling()
        if self.runtime is not None and not looked_into and self.runtime.takes(pixels):
            return self.runtime(self, pixels)
        return self.plain(pixels)

    def plain(self, pixels: Tensor) -> Tensor:
        """What `forward` gives, by torch itself."""
        if self.extractor.training:  # a deep copy of a traced network comes out in training mode
            self.extractor.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_half and not torch.jit.is_tracing()):
            maps = self.extractor(pixels.contiguous(memory_format=torch.channels_last))
        parts = []
        for node, side in self.nodes.items():
            value = maps[node].float()
            if value.ndim == 4:
                value = nn.functional.adaptive_avg_pool2d(value, side)
            parts.append(value.flatten(1))
        return torch.cat(parts, 1)
