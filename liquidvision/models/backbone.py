"""The backbone: a frozen torchvision classifier that turns frames into embeddings."""

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
    """A torchvision classification model that returns feature maps instead of classes; frozen, always in eval mode.

    An embedding concatenates, for each node of `nodes`, its feature map averaged over the cells of a grid, channel by
    channel. A grid of side 1 is global average pooling.

    Example:
        >>> backbone = Backbone("resnet18", weights="resnet18.safetensors")
        >>> backbone.embed([image]).shape  # image: (height, width, 3) uint8, RGB
        torch.Size([1, 2816])

    Args:
        name: a classification model of `torchvision.models.list_models()`.
        nodes: maps node names to the sides of their grids. None selects the last feature map on a grid of side 1,
            and an intermediate one on a 3 x 3 grid, depending on the family of models.
        weights: "DEFAULT" (torchvision's own, downloaded at first use), the path of a state dict of the whole model
            (.safetensors, or a .pth file that holds only tensors), or None for random weights that are loaded later.
        preprocessing: None takes that of the weights, or ImageNet's at 224 pixels.
        motion_crop: embed a square around what moves in a stream instead of the whole frame, see `MotionCrop`.
        classes: the number of classes of the classifier; ignored if `weights` states it.

    Attributes:
        channels: maps node names to their numbers of channels.
        runtime: what runs the network instead of plain torch: OpenVINO, CUDA graphs, or None.

    Raises:
        UsageError: an unknown model or node, or a grid on a node without a feature map.
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
        """Move to a device, in place, and return the backbone.

        Args:
            wanted: auto, cpu, cuda, mps, or openvino, which runs the network on the CPU. auto takes a GPU if there is
                one, else OpenVINO if it is installed.
            half: compute in bfloat16: half the memory traffic, faster on hardware that supports it, and accurate to 2
                or 3 digits.

        Raises:
            UsageError: the device is unknown or not available.
            DependencyError: openvino is asked for and not installed.
        """
        device = choose_device("cpu" if wanted == openvino.OPENVINO else wanted)
        prefer_openvino = wanted == "auto" and device.type == "cpu" and openvino.openvino_installed()
        if prefer_openvino or wanted == openvino.OPENVINO:
            self.runtime = OpenVINO(half=half)
        else:
            self.runtime = CUDAGraphs() if device.type == "cuda" else None
        self.in_half = half
        return self.to(device)

    def extra_repr(self) -> str:  # part of the key by which converted networks are cached
        return f"{self.name}, nodes={self.nodes}"

    def to_json(self) -> dict[str, Any]:
        """Return the backbone's part of config.json, without weights and device."""
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
        """How many feature maps are kept on a grid larger than 1 x 1."""
        return sum(side > 1 for side in self.nodes.values())

    @property
    def device(self) -> torch.device:
        return next(self.extractor.parameters()).device

    def train(self, mode: bool = True) -> "Backbone":
        """Return the backbone unchanged: it stays in eval mode, since its batch statistics are part of its weights."""
        return self

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray | Pixels]) -> Tensor:
        """Return embeddings (n, dim) float32 of n independent images, see `prepare`; their sizes may differ."""
        return self.forward(torch.cat([self.prepare(image).to(self.device) for image in images]))

    def prepare(self, image: np.ndarray | Pixels) -> Tensor:
        """Return the network's input (1, 3, *size) for one image, a frame's `pixels` or RGB (h, w, 3) uint8.

        With a motion crop, a single image is cropped to its centre; use a `MotionCrop` for the frames of a stream.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        if not self.motion_crop:
            return self.prepare_whole(image)
        return self.preprocessing.crop(image, self.preprocessing.center_square(image_size(image)))

    def prepare_whole(self, image: np.ndarray | Pixels) -> Tensor:
        """Return the network's input (1, 3, *size) for a whole image, without a motion crop.

        Decoded video is resized from its planes directly, without rounding to 8-bit RGB on the way. So the embeddings
        of a frame's `pixels` and of its `image` differ by about that rounding.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        if isinstance(image, Pixels):
            resized = self.preprocessing.resize_planes(image)
            if resized is not None:
                return resized
            image = image.rgb()
        writable = np.require(image, requirements=["C", "W"])  # torch warns about read-only arrays
        pixels = torch.from_numpy(writable).to(self.device).permute(2, 0, 1)[None]
        return self.preprocessing(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings (n, dim), on the backbone's device, of normalised input (n, 3, *size)."""
        pixels = pixels.to(self.device)
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
        if self.runtime is not None and not traced and self.runtime.takes(pixels):
            return self.runtime(self, pixels)
        return self.run_torch(pixels)

    def run_torch(self, pixels: Tensor) -> Tensor:
        """Return what `forward` returns, computed by plain torch."""
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
