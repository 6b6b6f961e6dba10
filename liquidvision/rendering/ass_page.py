"""The overlay as Advanced SubStation Alpha (ASS) subtitles: shapes and texts at fixed places.

Format: http://www.tcax.org/docs/ass-specs.htm; drawings and clips as libass renders them,
https://github.com/libass/libass/wiki
"""

from collections.abc import Iterator
from contextlib import contextmanager

from liquidvision.rendering.primitives import Box, Color, VectorPage

FONT = "Arial"  # players replace it by the system's own sans serif where it is missing
# Of fonts with Arial's metrics: the height of a line, and the part of it below the baseline, in ems.
LINE_PER_EM, DESCENT_PER_EM = 1.117, 0.212
CURVE = 0.5523  # control points of a quarter circle, as a share of its radius


class AssPage(VectorPage):
    """The shapes and texts of one picture, each as the text of an ASS event.

    Args:
        height, width: of the picture, in pixels.

    Attributes:
        items: the events' texts, in the order in which they are drawn.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width, 3
        self.items: list[str] = []
        self._clip: tuple[Box, int] | None = None

    def text(self, text: str, x: int, baseline: int, size: int, color: Color, *, bold: bool) -> None:
        bottom = baseline + round(DESCENT_PER_EM * size)
        font = f"\\fs{round(size * LINE_PER_EM)}\\b{int(bold)}"
        style = f"\\an1\\pos({x},{bottom}){font}\\1c{ass_color(color)}"
        # Braces begin style overrides and a backslash an escape, so letters that look alike stand for them.
        safe = text.replace("\\", "⧵").replace("{", "❴").replace("}", "❵")
        self.items.append(f"{{{style}}}{safe}")

    def box(self, box: Box, color: Color, opacity: float) -> None:
        if box.x1 <= box.x0 or box.y1 <= box.y0:
            return
        if self._clip is None:
            self._shape(rectangle(box), color, opacity)
            return
        outer, radius = self._clip
        inner = Box(max(box.x0, outer.x0), max(box.y0, outer.y0), min(box.x1, outer.x1), min(box.y1, outer.y1))
        if inner.x1 <= inner.x0 or inner.y1 <= inner.y0:
            return
        corners = (
            radius
            if (x, y) in ((outer.x0, outer.y0), (outer.x1, outer.y0), (outer.x1, outer.y1), (outer.x0, outer.y1))
            else 0
            for x, y in ((inner.x0, inner.y0), (inner.x1, inner.y0), (inner.x1, inner.y1), (inner.x0, inner.y1))
        )
        limit = min(inner.width, inner.height)
        self._shape(rounded_rectangle(inner, [min(corner, limit) for corner in corners]), color, opacity)

    def dot(self, x: int, y: int, radius: int, color: Color) -> None:
        box = Box(x - radius, y - radius, x + radius, y + radius)
        self._shape(rounded_rectangle(box, [radius] * 4), color, 1.0)

    @contextmanager
    def rounded(self, box: Box, radius: int) -> Iterator[None]:
        before, self._clip = self._clip, (box, radius)
        yield
        self._clip = before

    def _shape(self, drawing: str, color: Color, opacity: float) -> None:
        """Add a drawing; it joins the one before, if that has the same style."""
        alpha = f"\\1a&H{round(255 * (1 - opacity)):02X}&" if opacity < 1 else ""
        style = f"{{\\an7\\pos(0,0)\\1c{ass_color(color)}{alpha}\\p1}}"
        if opacity == 1 and self.items and self.items[-1].startswith(style):
            self.items[-1] += f" {drawing}"
        else:
            self.items.append(style + drawing)


def ass_color(color: Color) -> str:
    """Return an RGB colour as ASS writes it: blue first."""
    red, green, blue = color
    return f"&H{blue:02X}{green:02X}{red:02X}&"


def corners_of(box: Box) -> tuple[tuple[int, int], ...]:
    """Return the corners of a box, clockwise from the top left."""
    return (box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)


def rectangle(box: Box) -> str:
    """Return a box as a drawing."""
    return f"m {box.x0} {box.y0} l {box.x1} {box.y0} {box.x1} {box.y1} {box.x0} {box.y1}"


def rounded_rectangle(box: Box, radii: list[int]) -> str:
    """Return a box whose corners have these radii, clockwise from the top left, as a drawing."""
    x0, y0, x1, y1 = box
    # Each corner: where its curve begins, the corner itself, where it ends.
    a, b, c, d = radii
    corners = (
        ((x0, y0 + a), (x0, y0), (x0 + a, y0)),
        ((x1 - b, y0), (x1, y0), (x1, y0 + b)),
        ((x1, y1 - c), (x1, y1), (x1 - c, y1)),
        ((x0 + d, y1), (x0, y1), (x0, y1 - d)),
    )
    parts = []
    for number, (begin, corner, end) in enumerate(corners):
        parts.append(f"{'m' if number == 0 else 'l'} {begin[0]} {begin[1]}")
        if begin != end:
            (ax, ay), (bx, by) = (toward(point, corner) for point in (begin, end))
            parts.append(f"b {ax:g} {ay:g} {bx:g} {by:g} {end[0]} {end[1]}")
    return " ".join(parts)


def toward(point: tuple[int, int], corner: tuple[int, int]) -> tuple[float, float]:
    """Return the control point of a quarter circle that begins or ends at `point`."""
    return tuple(round(p + (c - p) * CURVE, 1) for p, c in zip(point, corner, strict=True))  # type: ignore[return-value]


def ass_header(height: int, width: int) -> str:
    """Return the head of an ASS file: the size of the picture, and the style of all events."""
    return (
        "[Script Info]\nScriptType: v4.00+\nWrapStyle: 2\nScaledBorderAndShadow: yes\nYCbCr Matrix: None\n"
        f"PlayResX: {width}\nPlayResY: {height}\n\n"
        "[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, "
        "Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, "
        "MarginL, MarginR, MarginV, Encoding\n"
        f"Style: Default,{FONT},20,&H00FFFFFF,&H00FFFFFF,&H00000000,&H00000000,"
        "0,0,0,0,100,100,0,0,1,0,0,7,0,0,0,1\n\n"
        "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )
