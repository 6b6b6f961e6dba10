"""The student, MobileNetV3-small, with the linear heads and losses that tie it to the teacher's targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_small

from .targets import CLASSES, GRID, MEAN, STD, TEACHER_EMBEDDING, TEACHER_MAP

STUDENT_EMBEDDING, STUDENT_MAP, STUDENT_MAP_LAYER = 576, 48, 8
JOINTS, JOINT_GRID = 14, 5
TEMPERATURE = 2.0
WEIGHTS = {"mse": 1.0, "cosine": 1.0, "logits": 0.5, "grid": 0.7, "joints": 0.7}


@dataclass
class Targets:
    """The teacher's targets of one batch; the last len(joints) pictures are rendered ones."""

    embedding: Tensor
    logits: Tensor
    grid: Tensor
    joints: Tensor | None = None


class Student(nn.Module):
    """The network that is kept, and the heads that only training needs."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mobilenet_v3_small(weights=None, num_classes=CLASSES, dropout=0.0)
        self.to_embedding = nn.Linear(STUDENT_EMBEDDING, TEACHER_EMBEDDING)
        self.to_grid = nn.Conv2d(STUDENT_MAP, TEACHER_MAP, 1)
        self.to_joints = nn.Linear(STUDENT_MAP * JOINT_GRID**2, 2 * JOINTS)
        # What the teacher's targets are standardised by; set once from the targets themselves.
        self.register_buffer("embedding_mean", torch.zeros(TEACHER_EMBEDDING))
        self.register_buffer("embedding_std", torch.ones(TEACHER_EMBEDDING))
        self.register_buffer("grid_mean", torch.zeros(1, TEACHER_MAP, 1, 1))
        self.register_buffer("grid_std", torch.ones(1, TEACHER_MAP, 1, 1))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def standardise_by(self, embedding: Tensor, grid: Tensor) -> None:
        """Take the means and deviations of the teacher's targets from a sample of them."""
        self.embedding_mean.copy_(embedding.mean(0))
        self.embedding_std.copy_(embedding.std(0) + 1e-3)
        self.grid_mean.copy_(grid.mean((0, 2, 3)).view(1, -1, 1, 1))
        self.grid_std.copy_(grid.std((0, 2, 3)).view(1, -1, 1, 1) + 1e-3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pooled embedding, logits and stride-16 map of images (batch, 3, height, width) in 0..1."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        middle = x
        for index, layer in enumerate(self.network.features):
            x = layer(x)
            if index == STUDENT_MAP_LAYER:
                middle = x
        embedding = x.mean((2, 3))
        return embedding, self.network.classifier(embedding), middle

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Each loss of a batch, unweighted; every one is near 1 for a student that knows nothing, but the logits'."""
        embedding, logits, middle = self(images)
        wanted = (targets.embedding - self.embedding_mean) / self.embedding_std
        guess = self.to_embedding(embedding)
        wanted_grid = (targets.grid - self.grid_mean) / self.grid_std
        guess_grid = self.to_grid(functional.adaptive_avg_pool2d(middle, GRID))
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
            "grid": functional.mse_loss(guess_grid, wanted_grid),
        }
        if targets.joints is not None:
            rendered = functional.adaptive_avg_pool2d(middle[-len(targets.joints) :], JOINT_GRID)
            guess_joints = self.to_joints(rendered.flatten(1)).view_as(targets.joints)
            # In units of a fifth of the picture, about how much joints vary; off-centre ones count from the middle.
            losses["joints"] = functional.smooth_l1_loss(guess_joints, (targets.joints - 0.5) / 0.2)
        return losses


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The weighted sum of a batch's losses."""
    return torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
