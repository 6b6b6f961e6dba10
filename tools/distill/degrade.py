"""The student's views: the teacher's view, changed in ways that should not change what the picture means."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SHIFT, ZOOM = 0.04, 0.08
LUMA = torch.tensor([0.299, 0.587, 0.114])


def uniform(low: float, high: float, shape: tuple[int, ...], chance: torch.Generator) -> Tensor:
    """Evenly distributed random numbers."""
    return torch.rand(shape, generator=chance) * (high - low) + low


def some(count: int, part: float, chance: torch.Generator) -> Tensor:
    """Random row numbers: each of count rows with the given probability."""
    return torch.nonzero(torch.rand(count, generator=chance) < part).flatten()


def warp(
    pixels: Tensor, boxes: Tensor, mirrored: Tensor, size: int, chance: torch.Generator, joints: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Cut each box out of uint8 pictures (batch, side, side, 3), slightly moved, as float images of the wanted size.

    Joints (fractions of the whole picture) are moved along with the picture.
    """
    count = len(pixels)
    extent = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + uniform(-SHIFT, SHIFT, (count, 2), chance) * extent
    extent = extent * uniform(1 - ZOOM, 1 + ZOOM, (count, 2), chance)
    sign = torch.where(mirrored, -1.0, 1.0)
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = extent[:, 0] * sign
    transform[:, 1, 1] = extent[:, 1]
    transform[:, :, 2] = centre * 2 - 1
    images = pixels.permute(0, 3, 1, 2).float().div_(255)
    where = functional.affine_grid(transform, [count, 3, size, size], align_corners=False)
    images = functional.grid_sample(images, where, padding_mode="border", align_corners=False)
    if joints is not None:
        joints = (joints - centre[:, None]) / extent[:, None] * torch.stack([sign, torch.ones(count)], 1)[:, None] + 0.5
    return images, joints


def recolour(images: Tensor, chance: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and colour balance: one random affine map of RGB for each image."""
    count = len(images)
    gain = torch.exp(uniform(-0.35, 0.35, (count, 1), chance)) * uniform(0.9, 1.1, (count, 3), chance)
    contrast = torch.exp(uniform(-0.3, 0.3, (count, 1, 1), chance))
    saturation = uniform(0.4, 1.4, (count, 1, 1), chance)
    matrix = saturation * torch.eye(3) + (1 - saturation) * LUMA.expand(3, 3)
    matrix = contrast * matrix * gain[:, :, None]
    offset = 0.45 * (1 - contrast[:, :, 0]) + uniform(-0.06, 0.06, (count, 1), chance)
    untouched = some(count, 0.15, chance)
    matrix[untouched], offset[untouched] = torch.eye(3), 0.0
    flat = images.flatten(2)
    matrix, offset = matrix.to(images.device), offset[:, :, None].to(images.device)
    return torch.baddbmm(offset, matrix, flat).view_as(images).clamp_(0, 1)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur."""
    reach = torch.arange(-3.0, 4.0)
    kernel = torch.exp(-(reach**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 7).to(images.device)
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel[:, :, None], groups=3), kernel[..., None], groups=3)


def coarsen(images: Tensor, factor: float) -> Tensor:
    """Lose resolution: shrink by the factor and enlarge again."""
    size = images.shape[-1]
    small = functional.interpolate(
        images, size=max(8, round(size * factor)), mode="bilinear", antialias=True, align_corners=False
    )
    return functional.interpolate(small, size=size, mode="bilinear", align_corners=False)


def compress(images: Tensor, quality: int) -> Tensor:
    """Lose detail by JPEG compression."""
    pictures = (images.permute(0, 2, 3, 1) * 255).round_().to(torch.uint8).contiguous().numpy()
    decoded = [
        cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        for picture in pictures
    ]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255


def degrade(images: Tensor, chance: torch.Generator) -> Tensor:
    """Randomly distort and compress images in 0..1."""
    images = distort(images, chance)
    rows, quality = some(len(images), 0.15, chance), torch.rand((), generator=chance)
    if len(rows):
        images[rows] = compress(images[rows], 20 + int(60 * quality))
    return images


def distort(images: Tensor, chance: torch.Generator) -> Tensor:
    """Randomly recolour, blur, coarsen and add noise to images in 0..1, on the images' device.

    What is done to which image is drawn on the CPU, so that a GPU is never waited for.
    """
    count = len(images)
    images = recolour(images, chance)
    sigma, factor = (float(value) for value in torch.rand(2, generator=chance))
    for rows, change in (
        (some(count, 0.15, chance), lambda x: blur(x, 0.4 + 1.1 * sigma)),
        (some(count, 0.15, chance), lambda x: coarsen(x, 0.35 + 0.55 * factor)),
        (some(count, 0.2, chance), lambda x: add_noise(x, chance)),
    ):
        if len(rows):
            rows = rows.to(images.device)
            images[rows] = change(images[rows])
    return images


def add_noise(images: Tensor, chance: torch.Generator) -> Tensor:
    """Add Gaussian noise of a random strength to each image."""
    strength = uniform(0.0, 0.06, (len(images), 1, 1, 1), chance).to(images.device)
    grain = torch.Generator(images.device).manual_seed(int(torch.randint(2**31, (), generator=chance)))
    noise = torch.randn(images.shape, generator=grain, device=images.device)
    return (images + strength * noise).clamp_(0, 1)
