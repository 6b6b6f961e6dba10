"""Draw on decoded planes: only boxes that are drawn on are converted to RGB; the rest stays bit for bit the same."""

from collections.abc import Iterable
from functools import cache

import cv2
import numpy as np

from liquidvision.rendering.primitives import Box
from liquidvision.video.color import BT601, LUMA_WEIGHTS, yuv_to_rgb_matrix
from liquidvision.video.pixels import WHOLE_PICTURE, Pixels, Planes


class DrawnPixels(Pixels):
    """Pixels with planes of their own, as a canvas returns them."""

    def __init__(self, planes: Planes) -> None:
        self._planes = planes
        self.size = planes.y.shape[0], planes.y.shape[1]

    def rgb(self) -> np.ndarray:
        height, width = self.size
        image = np.empty((height, width, 3), np.uint8)
        planes_to_canvas(self._planes, Box(0, 0, width, height), image)
        return image

    def resized(self, height: int, width: int, part: tuple[slice, slice] = WHOLE_PICTURE) -> np.ndarray | None:
        return None

    def planes(self) -> Planes:
        return self._planes


class Canvas:
    """An RGB buffer on which the pictures of one stream are drawn, one after the other."""

    def __init__(self) -> None:
        self.image = np.empty((0, 0, 3), np.uint8)

    def load(self, planes: Planes, boxes: Iterable[Box]) -> np.ndarray:
        """Return the RGB buffer (h, w, 3) uint8: the picture inside the boxes, undefined elsewhere."""
        shape = (*planes.y.shape, 3)
        if self.image.shape != shape:
            self.image = np.empty(shape, np.uint8)
        for box in boxes:
            planes_to_canvas(planes, box, self.image)
        return self.image

    def merge(self, planes: Planes, boxes: Iterable[Box]) -> DrawnPixels:
        """Return a copy of the picture whose boxes have the content of the buffer."""
        y, u, v = planes.y.copy(), planes.u.copy(), planes.v.copy()
        drawn = Planes(y, u, v, *planes.color_tags)
        to_yuv = conversion_matrices(planes.matrix, planes.full_range)[1]
        for box in boxes:
            x0, y0, x1, y1 = align_to_chroma(box)
            part = self.image[y0:y1, x0:x1]
            y[y0:y1, x0:x1] = cv2.transform(part, to_yuv[:1])
            half = cv2.resize(part, ((x1 - x0) // 2, (y1 - y0) // 2), interpolation=cv2.INTER_AREA)
            chroma = cv2.transform(half, to_yuv)  # all three rows, since OpenCV is optimised for 3 by 3 only
            for plane, number in ((u, 1), (v, 2)):
                plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = chroma[..., number]
        return DrawnPixels(drawn)


def planes_to_canvas(planes: Planes, box: Box, image: np.ndarray) -> None:
    """Convert a box of the planes to RGB, and write it into the same box of an image of the same size."""
    x0, y0, x1, y1 = align_to_chroma(box)
    size = x1 - x0, y1 - y0
    luma = planes.y[y0:y1, x0:x1]
    chroma = (plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] for plane in (planes.u, planes.v))
    whole = cv2.merge([luma, *(cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST) for plane in chroma)])
    image[y0:y1, x0:x1] = cv2.transform(whole, conversion_matrices(planes.matrix, planes.full_range)[0])


def align_to_chroma(box: Box) -> Box:
    """Return the smallest box around `box` with even edges, which consists of whole chroma pixels (4:2:0)."""
    return Box(box.x0 // 2 * 2, box.y0 // 2 * 2, -(-box.x1 // 2) * 2, -(-box.y1 // 2) * 2)


@cache
def conversion_matrices(matrix: int, full_range: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return two (3, 4) float32 matrices: 8-bit Y'CbCr to 8-bit R'G'B', and back."""
    to_rgb = yuv_to_rgb_matrix(LUMA_WEIGHTS.get(matrix, LUMA_WEIGHTS[BT601]), 8, full_range)
    to_yuv = np.linalg.inv(to_rgb[:, :3])
    return to_rgb.astype(np.float32), np.hstack([to_yuv, -to_yuv @ to_rgb[:, 3:]]).astype(np.float32)
