"""Draws a body in its looks: joints in, filled and shaded shapes on the picture out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .body import ANKLES, ELBOWS, HEAD, HIPS, KNEES, NECK, SHOULDERS, SIDES, WRISTS, Body
from .looks import Colour, Looks

_ARC = np.linspace(-0.5 * math.pi, 0.5 * math.pi, 7)
_COS, _SIN = np.cos(_ARC), np.sin(_ARC)
_ROUND = np.stack([np.cos(_ARC * 2), np.sin(_ARC * 2)], 1)


@dataclass(frozen=True, slots=True)
class View:
    """How the scene is seen: the line the feet stand on, the camera's height, and where light comes from."""

    floor: float  # frame heights from the top
    pitch: float  # radians the camera looks down
    light: tuple[float, float]  # towards the light, in the picture's plane

    def project(self, points: np.ndarray) -> np.ndarray:
        y = self.floor - points[..., 1] * math.cos(self.pitch) + points[..., 2] * math.sin(self.pitch)
        return np.stack([points[..., 0], y], -1)

    def nearness(self, points: np.ndarray) -> np.ndarray:
        return points[..., 2] * math.cos(self.pitch) + points[..., 1] * math.sin(self.pitch)


def fill(image: np.ndarray, outline: np.ndarray, affine: np.ndarray, colour: Colour) -> None:
    """Fills a polygon given in scene units; `affine` (2, 3) takes them to pixels."""
    pixels = outline @ affine[:, :2].T + affine[:, 2]
    cv2.fillConvexPoly(image, np.rint(pixels * 256).astype(np.int32), colour, cv2.LINE_AA, 8)


def capsules(p: np.ndarray, q: np.ndarray, rp: np.ndarray, rq: np.ndarray) -> np.ndarray:
    """Outlines (n, 14, 2) of tapered sticks from p to q with round ends."""
    along = q - p
    length = np.hypot(along[:, 0], along[:, 1])
    axis = np.where(length[:, None] > 1e-6, along / np.maximum(length, 1e-6)[:, None], (0.0, 1.0))
    normal = np.stack([-axis[:, 1], axis[:, 0]], 1)
    cap = axis[:, None] * _COS[:, None] + normal[:, None] * _SIN[:, None]
    far = q[:, None] + rq[:, None, None] * cap
    near = p[:, None] - rp[:, None, None] * cap
    return np.concatenate([far, near], 1)


def hull(points: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The outline around circles."""
    cloud = (points[:, None] + radii[:, None, None] * _ROUND).reshape(-1, 2).astype(np.float32)
    return cv2.convexHull(cloud)[:, 0].astype(float)


def _shade(colour: Colour, amount: float) -> Colour:
    r, g, b = colour
    return r * amount, g * amount, b * amount


class Painter:
    """Draws one person; everything that does not depend on the pose is worked out once."""

    def __init__(self, body: Body, looks: Looks, view: View) -> None:
        self._body, self._looks, self._view = body, looks, view
        g, h = body.girth, body.height
        long, bare = looks.legs == "long", looks.skin
        fore_cloth = looks.shirt if looks.sleeves == 2 else bare
        upper_cloth = looks.shirt if looks.sleeves >= 1 else bare
        thigh_cloth = bare if looks.legs == "skirt" else looks.trousers
        shin_cloth = looks.trousers if long else bare
        wide = 0.005 * long
        # From, to, radius at each end, colour; image-left limb first.
        bones = []
        for i in range(2):
            bones += [
                (KNEES[i], ANKLES[i], 0.036 * g, 0.021 * g + wide, shin_cloth),
                (HIPS[i], KNEES[i], 0.05 * g, 0.037 * g, thigh_cloth),
                (SHOULDERS[i], ELBOWS[i], 0.034 * g, 0.026 * g, upper_cloth),
                (ELBOWS[i], WRISTS[i], 0.026 * g, 0.018 * g, fore_cloth),
            ]
        self._from = np.array([bone[0] for bone in bones])
        self._to = np.array([bone[1] for bone in bones])
        self._thick = h * np.array([[bone[2], bone[3]] for bone in bones])
        self._cloth = [bone[4] for bone in bones]
        # Arms are drawn over the trunk unless they are clearly behind it.
        self._bias = h * np.array([0.0, 0.005, 0.03, 0.035] * 2)

    def paint(self, image: np.ndarray, joints: np.ndarray, affine: np.ndarray) -> None:
        body, looks, h = self._body, self._looks, self._body.height
        flat, near = self._view.project(joints), self._view.nearness(joints)
        parts: list[tuple[float, np.ndarray, np.ndarray, Colour]] = []

        p, q = flat[self._from], flat[self._to]
        rp, rq = self._thick[:, 0], self._thick[:, 1]
        outer, inner = self._both(p, q, rp, rq)
        depth = 0.5 * (near[self._from] + near[self._to]) + self._bias
        for i, cloth in enumerate(self._cloth):
            parts.append((depth[i], outer[i], inner[i], cloth))

        parts += self._shoes_and_hands(joints, flat, near)
        trunk = flat[[*SHOULDERS, *HIPS]]
        g = h * body.girth
        trunk_near = 0.5 * (near[NECK] + near[list(HIPS)].mean())
        radii = g * np.array([0.037, 0.037, 0.052, 0.052])
        shirt, shirt_lit = self._hulls(trunk, radii)
        parts.append((trunk_near + 0.001, shirt, shirt_lit, looks.shirt))
        seat = np.concatenate([flat[list(HIPS)], 0.75 * flat[list(HIPS)] + 0.25 * flat[list(KNEES)]])
        reach = 1.0
        if looks.legs == "skirt":
            reach = 1.5
            seat[2:] = 0.35 * flat[list(HIPS)] + 0.65 * flat[list(KNEES)]
        seat_radii = g * np.array([0.054, 0.054, 0.05 * reach, 0.05 * reach])
        seat_near = near[list(HIPS)].mean() + (0.02 * h if looks.legs == "skirt" else 0.0)
        parts.append((max(seat_near, trunk_near) + 0.002, *self._hulls(seat, seat_radii), looks.trousers))
        parts.append((trunk_near, *self._hulls(flat[[NECK, HEAD]], h * np.array([0.026, 0.03])), looks.skin))

        head_near = near[HEAD] + 0.012 * h
        parts.sort(key=lambda part: part[0])
        head_done = False
        if looks.haircut == "long":
            self._long_hair(image, flat, affine)
        for depth_here, edge, face, colour in parts:
            if not head_done and depth_here > max(head_near, trunk_near + 0.002):
                self._head(image, flat, affine)
                head_done = True
            fill(image, edge, affine, _shade(colour, 0.66))
            fill(image, face, affine, colour)
            if looks.stripes and edge is shirt:
                self._stripes(image, flat, affine)
        if not head_done:
            self._head(image, flat, affine)

    def _both(self, p: np.ndarray, q: np.ndarray, rp: np.ndarray, rq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shaded edge of each stick and its lit inside."""
        shift = 0.17 * 0.5 * (rp + rq)[:, None] * np.array(self._view.light)
        return capsules(p, q, rp, rq), capsules(p + shift, q + shift, 0.8 * rp, 0.8 * rq)

    def _hulls(self, points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shift = 0.17 * radii[:, None] * np.array(self._view.light)
        return hull(points, radii), hull(points + shift, 0.84 * radii)

    def _shoes_and_hands(
        self, joints: np.ndarray, flat: np.ndarray, near: np.ndarray
    ) -> list[tuple[float, np.ndarray, np.ndarray, Colour]]:
        body, h = self._body, self._body.height
        ahead = np.array([math.sin(body.yaw), 0.0, math.cos(body.yaw)])
        ends, starts = [], []
        for i, side in enumerate(SIDES):
            shin = joints[ANKLES[i]] - joints[KNEES[i]]
            shin = shin / np.linalg.norm(shin)
            toes = ahead + 0.35 * side * np.array([ahead[2], 0.0, -ahead[0]])
            toes = toes - (toes @ shin) * shin
            starts.append(joints[ANKLES[i]] + 0.008 * h * shin)
            ends.append(joints[ANKLES[i]] + h * (0.014 * shin + 0.075 * toes))
        for i in range(2):
            hand = joints[WRISTS[i]] - joints[ELBOWS[i]]
            starts.append(joints[WRISTS[i]])
            ends.append(joints[WRISTS[i]] + 0.035 * h * hand / np.linalg.norm(hand))
        p, q = self._view.project(np.array(starts)), self._view.project(np.array(ends))
        rp, rq = h * np.array([0.025, 0.025, 0.022, 0.022]), h * np.array([0.022, 0.022, 0.02, 0.02])
        outer, inner = self._both(p, q, rp, rq)
        depth = [near[ANKLES[0]], near[ANKLES[1]], near[WRISTS[0]] + 0.034 * h, near[WRISTS[1]] + 0.034 * h]
        colours = [self._looks.shoes] * 2 + [self._looks.skin] * 2
        return [(float(depth[i]), outer[i], inner[i], colours[i]) for i in range(4)]

    def _stripes(self, image: np.ndarray, flat: np.ndarray, affine: np.ndarray) -> None:
        (left, right), (low_left, low_right) = flat[list(SHOULDERS)], flat[list(HIPS)]
        count, girth = self._looks.stripes, self._body.height * self._body.girth
        for i in range(count):
            part, thick = (i + 0.5) / count, 0.11 / count
            a, b = left + (low_left - left) * part, right + (low_right - right) * part
            side = (b - a) / max(float(np.hypot(*(b - a))), 1e-6) * girth * (0.033 + 0.015 * part)
            a, b = a - side, b + side
            down = (low_left + low_right - left - right) * thick
            fill(image, np.array([a - down, b - down, b + down, a + down]), affine, self._looks.second)

    def _long_hair(self, image: np.ndarray, flat: np.ndarray, affine: np.ndarray) -> None:
        size = self._body.head * self._body.height
        fall = 1.15 * flat[NECK] - 0.15 * flat[HEAD]
        shape = hull(np.stack([flat[HEAD], fall]), size * np.array([0.46, 0.44]))
        fill(image, shape, affine, _shade(self._looks.hair, 0.8))

    def _head(self, image: np.ndarray, flat: np.ndarray, affine: np.ndarray) -> None:
        body, looks = self._body, self._looks
        size = body.head * body.height
        up = flat[HEAD] - flat[NECK]
        up = up / max(float(np.hypot(*up)), 1e-6)
        right = np.array([-up[1], up[0]])
        centre, turn = flat[HEAD], math.sin(body.yaw)

        def blob(out: float, high: float, radius: float, tall: float, colour: Colour) -> None:
            middle = centre + size * (out * right + high * up)
            ends = np.stack([middle - size * tall * up, middle + size * tall * up])
            fill(image, hull(ends, np.full(2, size * radius)), affine, colour)

        if looks.haircut == "bun":
            blob(-0.1 * turn, 0.52, 0.17, 0.0, _shade(looks.hair, 0.9))
        if looks.haircut == "bald":
            blob(0, 0, 0.4, 0.1, _shade(looks.skin, 0.7))
        else:
            blob(0, 0.03, 0.42, 0.09, looks.hair)
        blob(0.12 * turn, -0.05, 0.34, 0.1, _shade(looks.skin, 0.88))
        blob(0.12 * turn - 0.02, -0.04, 0.31, 0.1, looks.skin)
        for side in SIDES:
            blob(0.24 * turn + 0.13 * side, 0.02, 0.04, 0.02, (38.0, 30.0, 30.0))
        blob(0.24 * turn, -0.2, 0.03, 0.0, _shade(looks.skin, 0.55))
        if looks.haircut == "hat":
            blob(0, 0.33, 0.31, 0.06, looks.second)
            brim = np.array([[-0.48, 0.18], [0.48, 0.18], [0.46, 0.27], [-0.46, 0.27]])
            fill(image, centre + size * (brim[:, :1] * right + brim[:, 1:] * up), affine, _shade(looks.second, 0.75))
        elif looks.haircut != "bald":
            fringe = np.array([[-0.33, 0.2], [0.2, 0.17], [0.36, 0.12], [0.3, 0.36], [0.0, 0.5], [-0.3, 0.36]])
            fringe[:, 0] += 0.12 * turn
            fill(image, centre + size * (fringe[:, :1] * right + fringe[:, 1:] * up), affine, looks.hair)

    def shadow(self, joints: np.ndarray, affine: np.ndarray, image: np.ndarray) -> None:
        """Darkens the floor under the body."""
        ground = joints.copy()
        ground[:, 1] = 0.0
        shape = hull(self._view.project(ground), np.full(len(ground), 0.05 * self._body.height))
        middle = shape.mean(0)
        shape = middle + (shape - middle) * (1.0, 0.75)
        pixels = shape @ affine[:, :2].T + affine[:, 2]
        x, y, w, h = cv2.boundingRect(pixels.astype(np.float32))
        x0, y0 = max(x - 1, 0), max(y - 1, 0)
        part = image[y0 : y + h + 1, x0 : x + w + 1]
        if part.size == 0:
            return
        dark = part.copy()
        corner = np.rint((pixels - (x0, y0)) * 256).astype(np.int32)
        cv2.fillConvexPoly(dark, corner, (25.0, 22.0, 30.0), cv2.LINE_AA, 8)
        cv2.addWeighted(dark, 0.35, part, 0.65, 0, dst=part)
