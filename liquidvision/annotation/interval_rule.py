"""The thresholds that make intervals of scores."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from liquidvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class IntervalSettings:
    """Four numbers that make intervals of the scores of a label. The times are in seconds, not in frames.

    Attributes:
        enter: an interval begins where the score reaches this, 0 to 1.
        leave: it ends where the score falls below this, 0 to `enter`.
        min_duration: shorter intervals are left out.
        merge_gap: an interval that begins this soon after the last one of its label, or sooner, continues it.

    Raises:
        UsageError: a number is out of its range.
    """

    enter: float = 0.6
    leave: float = 0.4
    min_duration: float = 0.5
    merge_gap: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.leave <= self.enter <= 1:
            raise UsageError(f"enter is {self.enter} and leave {self.leave}; expected 0 <= leave <= enter <= 1")
        for name in ("min_duration", "merge_gap"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)}; expected seconds, 0 or more")


SETTING_NAMES = tuple(each.name for each in fields(IntervalSettings))


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """How scores become intervals: settings for all labels, and other ones for some.

    Attributes:
        settings: for the labels that are not in `labels`.
        labels: settings by label.
        background: a label that means that nothing happens; it has no intervals. None: there is none.
    """

    settings: IntervalSettings = field(default_factory=IntervalSettings)
    labels: Mapping[str, IntervalSettings] = field(default_factory=dict)
    background: str | None = None

    def of(self, label: str) -> IntervalSettings:
        """Return the settings of a label."""
        return self.labels.get(label, self.settings)

    def change(self, **texts: str | float | None) -> "IntervalRule":
        """Return the rule with other values.

        Args:
            texts: by the names of `IntervalSettings`: a number for all labels, or a text such as ".7" or
                ".7,fight=.8,fall=.9", with values for some labels. None leaves the values as they are.

        Raises:
            UsageError: a text is not of this form, or a value is out of its range.
        """
        shared: dict[str, float] = {}
        own: dict[str, dict[str, float]] = {}
        for name, text in texts.items():
            for label, value in _parse_values(name, text).items():
                if label is None:
                    shared[name] = value
                else:
                    own.setdefault(label, {})[name] = value
        labels = {label: replace(settings, **shared) for label, settings in self.labels.items()}
        settings = replace(self.settings, **shared)
        labels |= {label: replace(labels.get(label, settings), **values) for label, values in own.items()}
        return replace(self, settings=settings, labels=labels)

    def to_json(self) -> dict[str, Any]:
        """Return what config.json holds."""
        content: dict[str, Any] = asdict(self.settings)
        if self.labels:
            content["labels"] = {label: asdict(settings) for label, settings in self.labels.items()}
        return content if self.background is None else content | {"background": self.background}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "IntervalRule":
        """Return what `to_json` described. A label may have some of the values; the others are those of all labels.

        Raises:
            TypeError, ValueError: the content is of another form, or a value is out of its range.
        """
        known = {"labels", "background", *SETTING_NAMES}
        if unknown := [name for name in content if name not in known]:
            raise ValueError(f"intervals have {unknown[0]!r}; expected {', '.join(sorted(known))}")
        values = {name: float(content[name]) for name in SETTING_NAMES if name in content}
        settings, background = IntervalSettings(**values), content.get("background")
        labels = {
            str(label): replace(settings, **{str(name): float(value) for name, value in own.items()})
            for label, own in dict(content.get("labels", {})).items()
        }
        return cls(settings, labels, None if background is None else str(background))


def _parse_values(name: str, text: str | float | None) -> dict[str | None, float]:
    """Return the values of an option by label; None stands for all labels."""
    if text is None:
        return {}
    values: dict[str | None, float] = {}
    for part in str(text).split(","):
        label, equals, number = part.rpartition("=")
        try:
            values[label.strip() if equals else None] = float(number)
        except ValueError as error:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} is {text!r}; expected a number, or LABEL=NUMBER, comma-separated") from error
    return values
