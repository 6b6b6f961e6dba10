"""The timed script of actions: what the figure does, when, and the stance it is in at any instant."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

ACTIONS: tuple[str, ...] = (
    "sits down",
    "stands up",
    "raises an arm",
    "lowers an arm",
    "walks left",
    "walks right",
    "waves",
    "falls",
    "holds still",
)

# Shortest and longest time of each action, in seconds.
_SECONDS = {
    "sits down": (0.6, 1.6),
    "stands up": (0.6, 1.6),
    "raises an arm": (0.4, 1.2),
    "lowers an arm": (0.4, 1.2),
    "walks left": (1.0, 3.0),
    "walks right": (1.0, 3.0),
    "waves": (1.0, 3.0),
    "falls": (0.5, 1.0),
    "holds still": (0.4, 2.5),
}

# What may follow in each state, with weights that give every label a fair share of the time.
_NEXT = {
    "standing": {
        "sits down": 1.1,
        "raises an arm": 1.3,
        "walks": 1.5,
        "falls": 1.35,
        "holds still": 1.0,
    },
    "sitting": {"stands up": 1.0, "raises an arm": 0.35, "holds still": 0.8},
    "arm up": {"waves": 0.45, "lowers an arm": 1.0, "holds still": 0.6},
    "lying": {"stands up": 1.0, "holds still": 0.8},
}

_LEGAL = {
    "sits down": ("standing",),
    "stands up": ("sitting", "lying"),
    "raises an arm": ("standing", "sitting"),
    "lowers an arm": ("arm up",),
    "walks left": ("standing",),
    "walks right": ("standing",),
    "waves": ("arm up",),
    "falls": ("standing",),
    "holds still": ("standing", "sitting", "arm up", "lying"),
}


@dataclass(frozen=True, slots=True)
class Stance:
    """Everything that the pose depends on; each amount runs from 0 to 1."""

    x: float  # where the feet are, in frame heights from the left edge
    sit: float = 0.0
    arm: float = 0.0
    lie: float = 0.0
    side: int = 1  # the arm in use: -1 at the picture's left, 1 at its right
    swing: float = 0.0  # the raised forearm's lean, -1 to 1
    toward: int = 1  # where the head goes in a fall
    gait: float = 0.0  # how far the legs follow the walking cycle

    @property
    def state(self) -> str:
        if self.lie > 0.5:
            return "lying"
        if self.arm > 0.5:
            return "arm up"
        return "sitting" if self.sit > 0.5 else "standing"


@dataclass(frozen=True, slots=True)
class Step:
    """One action: the stances it leads from and to, and the manner of it."""

    action: str
    start: float
    end: float
    before: Stance
    after: Stance
    sharpness: float = 0.0  # 0 is a gentle ease, 1 an abrupt one
    waves: float = 0.0  # whole swings of the arm
    reach: float = 0.0  # how far the arm swings

    def stance_at(self, time: float) -> Stance:
        part = min(max((time - self.start) / (self.end - self.start), 0.0), 1.0)
        a, b = self.before, self.after
        if self.action == "holds still":
            return a
        if self.action == "waves":
            fade = min(1.0, 4 * part, 4 * (1 - part))
            swing = a.swing + self.reach * fade * math.sin(2 * math.pi * self.waves * part)
            return replace(a, swing=max(-1.2, min(1.2, swing)))
        if self.action in ("walks left", "walks right"):
            done = _walked(part)
            gait = _ease(min(1.0, part * 5, (1 - part) * 5), 0.0)
            return replace(b, x=a.x + (b.x - a.x) * done, gait=gait)
        done = part ** (1.5 + 0.7 * self.sharpness) if self.action == "falls" else _ease(part, self.sharpness)
        return replace(
            b,
            sit=a.sit + (b.sit - a.sit) * done,
            arm=a.arm + (b.arm - a.arm) * done,
            lie=a.lie + (b.lie - a.lie) * done,
        )


def _ease(part: float, sharpness: float) -> float:
    """Slow start and slow end; symmetric in time, so that a motion and its reverse share their poses."""
    gentle = part * part * (3 - 2 * part)
    return gentle + sharpness * (gentle * gentle * (3 - 2 * gentle) - gentle)


def _walked(part: float) -> float:
    """The part of the way gone: an even pace between a short start and a short stop."""
    ramp = 0.18
    if part < ramp:
        way = part * part / (2 * ramp)
    elif part > 1 - ramp:
        way = 1 - ramp - (1 - part) ** 2 / (2 * ramp)
    else:
        way = part - ramp / 2
    return way / (1 - ramp)


class Script:
    """An endless random sequence of actions, or a planned one; known as far as it has been asked for."""

    def __init__(
        self,
        rng: np.random.Generator,
        room: tuple[float, float],
        height: float,
        plan: Sequence[tuple[str, float]] | None = None,
    ) -> None:
        self._rng = rng
        self._room = room
        self._height = height
        self._steps: list[Step] = []
        self._starts: list[float] = []
        self._planned = plan is not None
        if plan is None:
            state = str(rng.choice(["standing", "sitting", "arm up", "lying"], p=[0.5, 0.2, 0.2, 0.1]))
            self._now = self._first(state, float(rng.uniform(*room)))
            # The clip begins somewhere inside its first action, as a cut from a longer recording does.
            self._clock = -float(rng.uniform(0.0, 1.0))
        else:
            self._clock = 0.0
            self._now = self._opening(plan)
            for action, seconds in plan:
                self._append(action, float(seconds))

    def at(self, time: float) -> tuple[Stance, int]:
        """The stance and the label (index into ACTIONS) at an instant."""
        while self._clock <= time:
            if self._planned:
                self._append("holds still", time - self._clock + 10.0)
            else:
                self._draw_next()
        step = self._steps[max(bisect_right(self._starts, time) - 1, 0)]
        return step.stance_at(time), ACTIONS.index(step.action)

    def _first(self, state: str, x: float) -> Stance:
        rng = self._rng
        stance = Stance(x=x, side=int(rng.choice([-1, 1])), toward=self._fall_side(x))
        changes = {
            "sitting": {"sit": 1.0},
            "lying": {"lie": 1.0},
            "arm up": {"arm": 1.0, "swing": float(rng.uniform(-0.6, 0.6))},
        }
        return replace(stance, **changes.get(state, {}))

    def _opening(self, plan: Sequence[tuple[str, float]]) -> Stance:
        """The stance a plan must begin in: the one its first real action needs, with room for its first walk."""
        for action, seconds in plan:
            if action not in ACTIONS:
                raise ValueError(f"unknown action {action!r}; the actions are: {', '.join(ACTIONS)}")
            if not seconds > 0:
                raise ValueError(f"{action!r} must last longer than 0 s, not {seconds}")
        moves = [action for action, _ in plan if action != "holds still"]
        state = _LEGAL[moves[0]][0] if moves else "standing"
        low, high = self._room
        walk = next((action for action in moves if action.startswith("walks")), "")
        place = {"walks left": 0.9, "walks right": 0.1}.get(walk, 0.5)
        return self._first(state, low + (high - low) * place)

    def _fall_side(self, x: float) -> int:
        low, high = self._room
        lean = (x - low) / max(high - low, 1e-6)
        return -1 if self._rng.uniform() < lean else 1

    def _draw_next(self) -> None:
        options = dict(_NEXT[self._now.state])
        if self._steps and self._steps[-1].action == "holds still":
            del options["holds still"]
        names = list(options)
        weights = np.array([options[name] for name in names])
        action = str(self._rng.choice(names, p=weights / weights.sum()))
        if action == "walks":
            action = self._walk_side()
        low, high = _SECONDS[action]
        self._append(action, float(self._rng.uniform(low, high)))

    def _walk_side(self) -> str:
        low, high = self._room
        left, right = self._now.x - low, high - self._now.x
        enough = 0.25 * (high - low)
        if left < enough:
            return "walks right"
        if right < enough:
            return "walks left"
        return str(self._rng.choice(["walks left", "walks right"]))

    def _append(self, action: str, seconds: float) -> None:
        now, rng = self._now, self._rng
        if now.state not in _LEGAL[action]:
            raise ValueError(
                f"{action!r} cannot follow at {self._clock:.2f} s: the figure is {now.state}, "
                f"and must be {' or '.join(_LEGAL[action])}"
            )
        after, waves, reach = now, 0.0, 0.0
        if action == "sits down":
            after = replace(now, sit=1.0)
        elif action == "stands up":
            after = replace(now, sit=0.0, lie=0.0)
        elif action == "raises an arm":
            now = replace(now, side=int(rng.choice([-1, 1])), swing=float(rng.uniform(-0.7, 0.7)))
            after = replace(now, arm=float(rng.uniform(0.85, 1.0)))
        elif action == "lowers an arm":
            after = replace(now, arm=0.0)
        elif action == "falls":
            now = replace(now, toward=self._fall_side(now.x))
            after = replace(now, lie=1.0)
        elif action == "waves":
            waves, reach = max(2, round(seconds * rng.uniform(1.3, 2.4))), float(rng.uniform(0.6, 1.0))
        elif action.startswith("walks"):
            low, high = self._room
            way = seconds * self._height * float(rng.uniform(0.3, 0.75))
            x = now.x - way if action == "walks left" else now.x + way
            after = replace(now, x=min(max(x, low), high))
        step = Step(action, self._clock, self._clock + seconds, now, after, float(rng.uniform(0, 1)), waves, reach)
        self._steps.append(step)
        self._starts.append(step.start)
        self._clock = step.end
        self._now = after
