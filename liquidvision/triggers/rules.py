"""The grammar of rules: text in, a tree out. Errors name the column.

    rule       = [NAME ":"] any
    any        = all {"or" all}
    all        = single {"and" single}
    single     = "not" single | first {"for" TIME | "within" TIME}
    first      = "(" any ")" | LABEL | LABEL COMPARISON NUMBER
               | "count" "(" LABEL ")" "in" TIME COMPARISON NUMBER | "no" "frames" "for" TIME

A label is words, or any text in quotes. A time is a number with s, ms, min or h.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import NamedTuple

from liquidvision.errors import UsageError

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}
UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
KEYWORDS = frozenset({"and", "or", "not", "for", "within", "in", "count", "no", "frames"})
TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<sign>>=|<=|[><():%])"""
    r"""|(?P<word>[^\W\d][\w-]*)|(?P<wrong>\S))"""
)


@dataclass(frozen=True, slots=True)
class Compare:
    """The score of a label, compared with a number."""

    label: str
    comparison: str
    value: float


@dataclass(frozen=True, slots=True)
class Holds:
    """A label holds: its score reached `enter`, and has not fallen below `leave` since, see `IntervalSettings`."""

    label: str


@dataclass(frozen=True, slots=True)
class CountIn:
    """The number of intervals of a label that began within the last seconds, compared with a number."""

    label: str
    seconds: float
    comparison: str
    value: float


@dataclass(frozen=True, slots=True)
class NoFrames:
    """No frame came for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HoldsFor:
    """A condition has held without a break for some seconds."""

    condition: "Condition"
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldWithin:
    """A condition held at some time within the last seconds."""

    condition: "Condition"
    seconds: float


@dataclass(frozen=True, slots=True)
class Not:
    """A condition does not hold."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class AllOf:
    """All conditions hold."""

    conditions: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one condition holds."""

    conditions: "tuple[Condition, ...]"


Condition = Compare | Holds | CountIn | NoFrames | HoldsFor | HeldWithin | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Rule:
    """When an event is fired.

    Attributes:
        text: the condition as it was written.
        name: its name; the text where it has none.
        condition: the condition as a tree.
        labels: the labels that it names, in their order, and the column of each in what was written, from 1.
        written: all that was written, with the name.
    """

    text: str
    name: str
    condition: Condition
    labels: Mapping[str, int]
    written: str

    def check_labels(self, known: Collection[str]) -> None:
        """Raise UsageError for the first label that is not known; the message names its column and similar labels."""
        for label, column in self.labels.items():
            if label not in known:
                near = difflib.get_close_matches(label, known, 3, 0.5) or list(known)[:8]
                raise rule_error(self.written, column, f"there is no label {label!r}", f"one of {', '.join(near)}")


class Token(NamedTuple):
    """A part of a rule.

    Attributes:
        kind: word, quoted, number, sign or end.
        text: the part; what is in the quotes.
        column: where it begins, from 1.
        end: where it ends, from 0.
    """

    kind: str
    text: str
    column: int
    end: int


def parse_rule(text: str) -> Rule:
    """Return the rule that a text describes.

    Raises:
        UsageError: the text is no rule; the message names the column and what was expected there.
    """
    return _Parser(text).rule()


def rule_error(text: str, column: int, wrong: str, expected: str) -> UsageError:
    """Return the error for a rule."""
    return UsageError(f"the rule {text!r}, column {column}: {wrong}; expected {expected}")


def split_tokens(text: str) -> Iterator[Token]:
    """Yield the parts of a rule, and "end" at last.

    Raises:
        UsageError: a character that belongs to none.
    """
    for found in TOKEN.finditer(text):
        kind, part = str(found.lastgroup), found.group(str(found.lastgroup))
        column = found.start(kind) + 1
        if kind == "wrong":
            wrong = "the quote is not closed" if part in "\"'" else f"{part!r} means nothing here"
            raise rule_error(text, column, wrong, "labels, numbers, > >= < <= ( ) and words such as and, or, not, for")
        yield Token(kind, part[1:-1] if kind == "quoted" else part, column, found.end())
    yield Token("end", "", len(text.rstrip()) + 1, len(text))


class _Parser:
    """Parses one rule, by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens, self._at = text, list(split_tokens(text)), 0
        self._labels: dict[str, int] = {}

    def rule(self) -> Rule:
        name, start = "", 0
        colons = [i for i, token in enumerate(self._tokens) if token.text == ":" and token.kind == "sign"]
        if colons:
            name, start = self._text[: self._tokens[colons[0]].column - 1].strip(), self._tokens[colons[0]].end
            self._at = colons[0] + 1
            if not name:
                raise rule_error(self._text, 1, "the name is empty", "a name before the colon")
        condition = self._any()
        if self._next.kind != "end":
            raise self._error(f"{self._next.text!r} does not fit", "and, or, for, within, or the end")
        own = self._text[start:].strip()
        return Rule(own, name or own, condition, self._labels, self._text)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _error(self, wrong: str, expected: str) -> UsageError:
        wrong = "it ends here" if self._next.kind == "end" else wrong
        return rule_error(self._text, self._next.column, wrong, expected)

    def _take(self, *texts: str) -> bool:
        """Skip words or signs if they come next."""
        coming = self._tokens[self._at : self._at + len(texts)]
        found = [token.text for token in coming if token.kind in ("word", "sign")] == list(texts)
        self._at += len(texts) if found else 0
        return found

    def _require(self, text: str) -> None:
        if not self._take(text):
            raise self._error(f"{self._next.text!r} does not fit", text)

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _single(self) -> Condition:
        if self._take("not"):
            return Not(self._single())
        condition = self._first()
        while True:
            if self._take("for"):
                condition = HoldsFor(condition, self._time())
            elif self._take("within"):
                condition = HeldWithin(condition, self._time())
            else:
                return condition

    def _first(self) -> Condition:
        if self._take("("):
            condition = self._any()
            self._require(")")
            return condition
        if self._take("no", "frames"):
            self._require("for")
            return NoFrames(self._time())
        if self._take("count", "("):
            label = self._label()
            self._require(")")
            self._require("in")
            seconds = self._time()
            comparison = self._comparison()
            if comparison is None:
                raise self._error(f"{self._next.text!r} is no comparison", "a comparison, such as >= 3")
            return CountIn(label, seconds, comparison, self._number())
        label = self._label()
        comparison = self._comparison()
        return Holds(label) if comparison is None else Compare(label, comparison, self._score())

    def _label(self) -> str:
        token = self._next
        if token.kind == "quoted":
            self._at += 1
            label = token.text
        else:
            words = []
            while self._next.kind in ("word", "number") and self._next.text not in KEYWORDS:
                words.append(self._next.text)
                self._at += 1
            if not words or token.kind == "number":
                self._at = self._tokens.index(token)
                raise self._error(f"{token.text!r} is no label", "a label, in quotes if it contains other signs")
            label = self._text[token.column - 1 : self._tokens[self._at - 1].end]
        self._labels.setdefault(label, token.column)
        return label

    def _comparison(self) -> str | None:
        if self._next.kind == "sign" and self._next.text in COMPARISONS:
            self._at += 1
            return self._tokens[self._at - 1].text
        return None

    def _number(self) -> float:
        if self._next.kind != "number":
            raise self._error(f"{self._next.text!r} is no number", "a number")
        self._at += 1
        return float(self._tokens[self._at - 1].text)

    def _score(self) -> float:
        token, value = self._next, self._number()
        value = value / 100 if self._take("%") else value
        if value > 1:
            raise rule_error(self._text, token.column, f"{token.text} is no score", "0 to 1, or 0 % to 100 %")
        return value

    def _time(self) -> float:
        token, value = self._next, self._number()
        if self._next.text not in UNITS:
            raise self._error(f"{self._next.text!r} is no unit of time", "s, ms, min or h")
        seconds = value * UNITS[self._next.text]
        self._at += 1
        if not seconds > 0:
            raise rule_error(self._text, token.column, "the time is 0", "more than 0")
        return seconds
