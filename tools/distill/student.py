"""The student, which begins as its teacher, with the losses that tie it to the teacher's targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v2

from .targets import GRID, MEAN, STD, TEACHER_EMBEDDING, TEACHER_MAP, TEACHER_MAP_LAYER

JOINTS, JOINT_GRID = 14, 5
TEMPERATURE = 2.0
FROZEN = 7  # blocks
WEIGHTS = {"mse": 1.0, "cosine": 1.0, "logits": 0.5, "grid": 0.7, "labels": 0.3, "joints": 0.7}


@dataclass
class Targets:
    """The teacher's targets of one batch, and labels (-1: unknown); the last len(joints) pictures are rendered ones."""

    embedding: Tensor
    logits: Tensor
    grid: Tensor
    labels: Tensor
    joints: Tensor | None = None


class Student(nn.Module):
    """MobileNetV2 as the teacher's file holds it, to be taught what the teacher would say of better pictures.

    Its BatchNorms keep the teacher's statistics: their scales and shifts learn, no batch moves them. Its first blocks
    stay as they are: they see edges and textures, which is what they saw before, and cost most of a step.

    Args:
        weights: state dict of torchvision's mobilenet_v2; None: random.
        labelled: the classes that labels are known of; which of these it is, is learnt too.
    """

    def __init__(self, weights: Path | None = None, labelled: Sequence[int] = ()) -> None:
        super().__init__()
        self.network = mobilenet_v2(weights=None, dropout=0.0)
        if weights is not None:
            self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.features[:FROZEN].requires_grad_(False)
        self.register_buffer("labelled", torch.tensor(sorted(labelled), dtype=torch.int64))
        self.to_joints = nn.Linear(TEACHER_MAP * JOINT_GRID**2, 2 * JOINTS)
        # What the teacher's targets are standardised by; set once from the targets themselves.
        self.register_buffer("embedding_mean", torch.zeros(TEACHER_EMBEDDING))
        self.register_buffer("embedding_std", torch.ones(TEACHER_EMBEDDING))
        self.register_buffer("grid_std", torch.ones(1, TEACHER_MAP, 1, 1))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> Student:
        """As for any module, but that BatchNorms stay as they are."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def standardise_by(self, embedding: Tensor, grid: Tensor) -> None:
        """Take the means and deviations of the teacher's targets from a sample of them."""
        self.embedding_mean.copy_(embedding.mean(0))
        self.embedding_std.copy_(embedding.std(0) + 1e-3)
        self.grid_std.copy_(grid.std((0, 2, 3)).view(1, -1, 1, 1) + 1e-3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pooled embedding, logits and stride-16 map of images (batch, 3, height, width) in 0..1."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        middle = x
        for index, layer in enumerate(self.network.features):
            x = layer(x)
            if index == TEACHER_MAP_LAYER:
                middle = x
        embedding = x.mean((2, 3))
        return embedding, self.network.classifier(embedding), middle

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Each loss of a batch, unweighted."""
        embedding, logits, middle = (part.float() for part in self(images))  # losses in full precision
        wanted = (targets.embedding - self.embedding_mean) / self.embedding_std
        guess = (embedding - self.embedding_mean) / self.embedding_std
        guess_grid = functional.adaptive_avg_pool2d(middle, GRID)
        losses = {
            "mse": functional.mse_loss(guess, wanted),
            "cosine": 1 - functional.cosine_similarity(guess, wanted).mean(),
            "logits": TEMPERATURE**2
            * functional.kl_div(
                functional.log_softmax(logits / TEMPERATURE, 1),
                functional.log_softmax(targets.logits / TEMPERATURE, 1),
                reduction="batchmean",
                log_target=True,
            ),
            "grid": functional.mse_loss(guess_grid / self.grid_std, targets.grid / self.grid_std),
        }
        known = targets.labels >= 0
        if known.any():
            losses["labels"] = functional.cross_entropy(
                logits[known][:, self.labelled], torch.searchsorted(self.labelled, targets.labels[known])
            )
        if targets.joints is not None:
            rendered = functional.adaptive_avg_pool2d(middle[-len(targets.joints) :], JOINT_GRID)
            guess_joints = self.to_joints(rendered.flatten(1)).view_as(targets.joints)
            # In units of a fifth of the picture, about how much joints vary; off-centre ones count from the middle.
            losses["joints"] = functional.smooth_l1_loss(guess_joints, (targets.joints - 0.5) / 0.2)
        return losses


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The weighted sum of a batch's losses."""
    return torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
