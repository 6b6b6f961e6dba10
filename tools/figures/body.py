"""The skeleton: a body's proportions, and where its joints are in any stance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .actions import Stance

# The joints handed out, in this order; "image left" limbs first.
HEAD, NECK = 0, 1
SHOULDERS, ELBOWS, WRISTS = (2, 5), (3, 6), (4, 7)
HIPS, KNEES, ANKLES = (8, 11), (9, 12), (10, 13)
JOINTS = 14
SIDES = (-1, 1)


@dataclass(frozen=True, slots=True)
class Body:
    """Lengths as parts of the whole height, and the manners of one person."""

    height: float  # in frame heights
    leg: float  # hip to sole
    head: float  # height of the head
    shoulders: float  # half the breadth
    hips: float  # half the breadth
    arm: float  # shoulder to wrist
    girth: float  # thickness of trunk and limbs, 1 is usual
    yaw: float  # radians the figure is turned from the camera
    raise_upper: float  # where a raised upper arm points, radians from straight down
    raise_fore: float
    stride: float  # length of two steps
    sway: float  # radians of idle movement
    phase: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, split: str) -> Body:
        train = split == "train"
        slim = rng.uniform() < 0.5
        if train:
            height, leg, head = rng.uniform(0.46, 0.84), rng.uniform(0.455, 0.495), rng.uniform(0.145, 0.18)
            girth = rng.uniform(0.8, 0.97) if slim else rng.uniform(1.08, 1.3)
            yaw = rng.uniform(0.12, 0.6) * rng.choice([-1, 1])
        else:
            height, leg, head = rng.uniform(0.5, 0.8), rng.uniform(0.495, 0.525), rng.uniform(0.135, 0.155)
            girth = rng.uniform(0.97, 1.08) if slim else rng.uniform(1.3, 1.42)
            yaw = rng.uniform(0.05, 0.5) * rng.choice([-1, 1])
        return cls(
            height=float(height),
            leg=float(leg),
            head=float(head),
            shoulders=float(rng.uniform(0.095, 0.125)),
            hips=float(rng.uniform(0.05, 0.068)),
            arm=float(rng.uniform(0.3, 0.35)),
            girth=float(girth),
            yaw=float(yaw),
            raise_upper=float(rng.uniform(1.75, 2.7)),
            raise_fore=float(rng.uniform(2.85, 3.2)),
            stride=float(rng.uniform(0.5, 0.68)),
            sway=float(rng.uniform(0.004, 0.018)),
            phase=float(rng.uniform(0, 6.28)),
        )

    @property
    def shin(self) -> float:
        return 0.5 * (self.leg - 0.035)

    thigh = shin

    @property
    def torso(self) -> float:
        return 1.0 - self.leg - self.head - 0.035


def _limb(side: int, outward: float, forward: float) -> tuple[float, float, float]:
    """A bone's direction: hanging down, swung outward in the picture's plane, then forward to the camera."""
    c = math.cos(outward)
    return side * math.sin(outward), -c * math.cos(forward), c * math.sin(forward)


def _mix(a: tuple[float, ...], b: tuple[float, ...], part: float) -> tuple[float, ...]:
    return tuple(p + (q - p) * part for p, q in zip(a, b, strict=True))


def _arm_angles(body: Body, stance: Stance, side: int, step: float) -> tuple[float, ...]:
    """Outward and forward angles of the upper arm, then of the forearm."""
    swing = 0.38 * stance.gait * step * side
    hanging = (0.14, swing, 0.07, 0.2 + swing)
    on_lap = (0.2, 0.35, -0.12, 1.25)
    angles = _mix(hanging, on_lap, stance.sit)
    flung = (1.15, 0.2, 1.5, 0.5)
    lower = side == stance.toward
    lying = (2.95, 0.1, 3.05, 0.1) if lower else (0.3, 0.75, 0.1, 1.5)
    angles = _mix(angles, flung, min(1.0, 2 * stance.lie))
    angles = _mix(angles, lying, max(0.0, 2 * stance.lie - 1))
    if stance.arm > 0 and side == stance.side:
        raised = (body.raise_upper, -0.12, body.raise_fore - 0.55 * stance.swing, -0.1)
        angles = _mix(angles, raised, stance.arm)
    return angles


def joints_of(body: Body, stance: Stance, time: float, aspect: float) -> np.ndarray:
    """The joints, (14, 3): x to the right from the scene's left edge, y up from the floor, z to the camera."""
    sit, lie = stance.sit, stance.lie
    # The walking cycle depends on the place, not on time: walking back runs the same poses in reverse.
    cycle = 2 * math.pi * stance.x / (body.stride * body.height)
    idle = body.sway * math.sin(2.1 * time + body.phase)
    buckle = math.sin(math.pi * lie)

    leg_dirs = []
    for side in SIDES:
        turn = cycle if side < 0 else cycle + math.pi
        scissor = stance.gait * 0.3 * math.sin(turn)
        lift = stance.gait * max(0.0, math.cos(turn))
        # Lying on one side, both legs follow the floor although the trunk leans on its broader shoulder.
        outward = 0.05 + 0.07 * sit + side * scissor + lie * (-0.19 if side == stance.toward else 0.1)
        forward = 1.38 * sit + 0.55 * lift + 0.95 * buckle + 0.35 * lie
        knee = forward - (1.5 * sit + 1.15 * lift + 1.9 * buckle + 0.8 * lie)
        leg_dirs += [_limb(side, outward, forward), _limb(side, outward, knee)]
    lean = 0.62 * math.sin(math.pi * sit) + 0.06 * sit + 0.4 * buckle
    arm_dirs = []
    for side in SIDES:
        upper_out, upper_fore, fore_out, fore_fore = _arm_angles(body, stance, side, math.sin(cycle))
        arm_dirs += [_limb(side, upper_out + idle, upper_fore), _limb(side, fore_out + 2 * idle, fore_fore)]

    roll = -stance.toward * 1.43 * lie**1.2 + idle * (1 - lie)
    yaw = body.yaw * (1 - 0.75 * lie)
    pelvis_turn = _yaw(yaw) @ _roll(roll)
    torso_turn = pelvis_turn @ _lean(lean)

    lengths = np.array([body.thigh, body.shin] * 2)[:, None]
    legs = (np.array(leg_dirs) * lengths) @ pelvis_turn.T
    half = 0.5 * body.arm
    arms = (np.array(arm_dirs) * half) @ torso_turn.T
    hip = pelvis_turn @ (body.hips, 0.0, 0.0)
    shoulder = torso_turn @ (body.shoulders, 0.0, 0.0)
    spine = torso_turn @ (0.0, body.torso, 0.0)
    nod = torso_turn @ _lean(-0.5 * lean) @ (0.0, 0.035 + 0.5 * body.head, 0.01)

    out = np.zeros((JOINTS, 3))
    out[NECK] = spine
    out[HEAD] = spine + nod
    for i, side in enumerate(SIDES):
        out[SHOULDERS[i]] = 0.96 * spine + side * shoulder
        out[ELBOWS[i]] = out[SHOULDERS[i]] + arms[2 * i]
        out[WRISTS[i]] = out[ELBOWS[i]] + arms[2 * i + 1]
        out[HIPS[i]] = side * hip
        out[KNEES[i]] = out[HIPS[i]] + legs[2 * i]
        out[ANKLES[i]] = out[KNEES[i]] + legs[2 * i + 1]
    # Whatever is lowest rests on the floor; feet stay put while the seat moves back.
    out[:, 1] += 0.035 - out[:, 1].min()
    back = body.thigh * math.sin(1.38 * sit) - body.shin * math.sin(0.12 * sit)
    out[:, 0] -= back * math.sin(yaw)
    out[:, 2] -= back * math.cos(yaw)
    out *= body.height
    out[:, 0] += stance.x + _slide(body, stance, aspect)
    return out


def _slide(body: Body, stance: Stance, aspect: float) -> float:
    """How far a fall carries the hips; it ends with the whole body inside the picture."""
    if stance.lie == 0:
        return 0.0
    margin = min(0.62 * body.height, 0.5 * aspect)
    target = min(max(stance.x + 0.2 * stance.toward * body.height, margin), aspect - margin)
    return (target - stance.x) * math.sin(0.5 * math.pi * stance.lie)


def _yaw(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _roll(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _lean(angle: float) -> np.ndarray:
    """A bow towards the camera."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
