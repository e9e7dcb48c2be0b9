"""Figures as a picture: panels of lines or of bars, one under the other, as SVG text. Pure.

In: titles, units, numbers. Out: one SVG file's text, that any browser and GitHub show. Guaranteed: the same figures
give the same bytes; what is written on it is escaped.
Rejected: matplotlib (60 MB for two kinds of chart).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, MARGIN, LABELS = 860, 24, 250
LINE_HEIGHT, CHART_HEIGHT, BAR = 18, 220, 20
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#7a5195", "#8d99ae")
STYLE = "font-family:sans-serif;font-size:12px;fill:#222"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """series: a value for each of xs, or None where there is none."""

    title: str
    unit: str
    xs: Sequence[int]
    series: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    title: str
    unit: str
    bars: Mapping[str, float]


def svg(panels: Sequence[Lines | Bars], caption: str) -> str:
    """The whole picture. caption: its last line, e.g. what it was measured on."""
    drawn, top = list[str](), MARGIN
    for panel in panels:
        body, height = _lines(panel) if isinstance(panel, Lines) else _bars(panel)
        drawn.append(f'<g transform="translate({MARGIN},{top})">{_text(0, 0, panel.title, bold=True)}{body}</g>')
        top += height + 2 * MARGIN
    drawn.append(_text(MARGIN, top, caption))
    height = top + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'style="{STYLE}"><rect width="100%" height="100%" fill="#fff"/>{"".join(drawn)}</svg>\n'
    )


def _bars(panel: Bars) -> tuple[str, int]:
    most = max(panel.bars.values(), default=0.0) or 1.0
    room = WIDTH - 2 * MARGIN - LABELS - 110
    drawn = []
    for number, (name, value) in enumerate(panel.bars.items()):
        y = 12 + number * (BAR + 6)
        width = max(1.0, room * max(0.0, value) / most)
        colour = COLOURS[number % len(COLOURS)]
        drawn.append(_text(LABELS - 8, y + 14, name, anchor="end"))
        drawn.append(f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
        drawn.append(_text(LABELS + width + 6, y + 14, f"{_short(value)} {panel.unit}"))
    return "".join(drawn), 12 + len(panel.bars) * (BAR + 6)


def _lines(panel: Lines) -> tuple[str, int]:
    """The xs stand at equal distances: they double or quadruple."""
    most = max((value for values in panel.series.values() for value in values if value is not None), default=1.0) or 1.0
    left, room = 60, WIDTH - 2 * MARGIN - 60 - 20
    bottom = 12 + CHART_HEIGHT
    across = [left + room * number / max(1, len(panel.xs) - 1) for number in range(len(panel.xs))]
    drawn = [f'<path d="M{left} 12V{bottom}H{left + room}" stroke="#888" fill="none"/>']
    drawn += [_text(x, bottom + 16, str(label), anchor="middle") for x, label in zip(across, panel.xs, strict=True)]
    for share in (0.5, 1.0):
        y = bottom - CHART_HEIGHT * share * 0.95
        drawn.append(f'<path d="M{left} {y:.1f}H{left + room}" stroke="#ddd"/>')
        drawn.append(_text(left - 6, y + 4, _short(most * share), anchor="end"))
    for number, (name, values) in enumerate(panel.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            (x, bottom - CHART_HEIGHT * 0.95 * value / most)
            for x, value in zip(across, values, strict=True)
            if value is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline points="{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        at = bottom + 16 + LINE_HEIGHT * (number + 1)
        drawn.append(f'<rect x="{left}" y="{at - 9}" width="14" height="9" fill="{colour}"/>')
        drawn.append(_text(left + 20, at, f"{name} ({panel.unit})"))
    return "".join(drawn), bottom + 16 + LINE_HEIGHT * (len(panel.series) + 1)


def _text(x: float, y: float, said: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(said)}</text>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"
