"""A workflow as a picture: SVG, one box a step, one line a way on. Pure.

Enters: a workflow. Leaves: the text of an SVG file that stands alone (no script, no font from elsewhere). Guaranteed:
every step and every way on is in it, the budget's with them, and what guards a step; what holds for all cases stands at
its head (ways.py); the same workflow gives the same bytes; steps stand in rows by how far they are from the start, and
a way that leads back (a circle through a wait) is drawn at the side.
Rejected: graphviz (a program that users would have to install); a picture that has to be laid out by a browser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from aios.infra.ways import BUDGET, Box, Way, boxes, head
from aios.processors.language.workflow import Workflow

BOX_W, BOX_H = 200, 64
GAP_X, GAP_Y = 48, 74
MARGIN = 40
HEAD, LINE = 46, 15
CHARS, SMALL_CHARS, HEAD_CHARS = 27, 40, 110  # of a line in a box, a small one, one at the head
COLOURS = {
    "budget": "#f1f5f9",
    "infer": "#dbeafe",
    "connect": "#e0f2fe",
    "parallel": "#e0e7ff",
    "map": "#e0e7ff",
    "rule": "#fef9c3",
    "review": "#fee2e2",
    "wait": "#f3e8ff",
    "emit": "#dcfce7",
}

Place = tuple[int, int]


def svg(workflow: Workflow) -> str:
    """The picture."""
    drawn = boxes(workflow)
    rows = _rows(drawn, BUDGET if BUDGET in drawn else workflow.start)
    said = [workflow.about, *head(workflow)]
    top = HEAD + LINE * (len(said) - 1)
    widest = max(len(row) for row in rows)
    width = 2 * MARGIN + widest * BOX_W + (widest - 1) * GAP_X + 2 * MARGIN
    height = top + 2 * MARGIN + len(rows) * BOX_H + (len(rows) - 1) * GAP_Y
    places = {
        name: (_left(len(row), column, width), top + MARGIN + number * (BOX_H + GAP_Y))
        for number, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(workflow.reference)}</title>",
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="28" font-size="16" font-weight="bold">{escape(workflow.reference)}</text>',
        *(
            f'<text x="{MARGIN}" y="{HEAD + LINE * number}" fill="#475569"><title>{escape(each)}</title>'
            f"{escape(_cut(each, HEAD_CHARS))}</text>"
            for number, each in enumerate(said)
        ),
        *(line for name in places for line in _ways_of(drawn[name], places[name], places)),
        *(line for name, place in places.items() for line in _box(name, drawn[name], place, name == rows[0][0])),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rows(drawn: Mapping[str, Box], start: str) -> list[list[str]]:
    """Boxes by the longest way from the start, ways back left out; within a row in the order of the file."""
    depth = {start: 0}
    back = _ways_back(drawn, start)
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        for target in _targets(drawn, name):
            if (name, target) not in back and depth[name] + 1 > depth.get(target, -1):
                depth[target] = depth[name] + 1
                waiting.append(target)
    unreached = [name for name in drawn if name not in depth]
    depth |= dict.fromkeys(unreached, 1)  # led to from elsewhere: where a case must not act alone
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in drawn:
        rows[depth[name]].append(name)
    return [row for row in rows if row]


def _ways_back(drawn: Mapping[str, Box], start: str) -> set[tuple[str, str]]:
    """Ways to a step that one is still in, found depth first."""
    found: set[tuple[str, str]] = set()
    done: set[str] = set()
    path: list[tuple[str, Iterator[str]]] = [(start, iter(_targets(drawn, start)))]
    open_ = {start}
    while path:
        name, ahead = path[-1]
        target = next(ahead, None)
        if target is None:
            path.pop()
            open_.discard(name)
            done.add(name)
        elif target in open_:
            found.add((name, target))
        elif target not in done:
            open_.add(target)
            path.append((target, iter(_targets(drawn, target))))
    return found


def _targets(drawn: Mapping[str, Box], name: str) -> list[str]:
    return list(dict.fromkeys(way.to for way in drawn[name].ways if way.to in drawn))


def _left(count: int, column: int, width: int) -> int:
    return (width - count * BOX_W - (count - 1) * GAP_X) // 2 + column * (BOX_W + GAP_X)


def _box(name: str, box: Box, place: Place, is_first: bool) -> Iterator[str]:
    x, y = place
    yield (
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="8" fill="{COLOURS[box.kind]}" stroke="#64748b"'
        f"{'' if not is_first else ' stroke-width=' + chr(34) + '2.5' + chr(34)}/>"
    )
    yield f'<text x="{x + BOX_W // 2}" y="{y + 21}" text-anchor="middle" font-weight="bold">{escape(name)}</text>'
    yield (
        f'<text x="{x + BOX_W // 2}" y="{y + 39}" text-anchor="middle" fill="#334155">'
        f"{escape(_cut(box.does, CHARS))}</text>"
    )
    if box.guards:
        yield (
            f'<text x="{x + BOX_W // 2}" y="{y + 55}" text-anchor="middle" font-size="9" fill="#475569">'
            f"<title>{escape(box.guards)}</title>{escape(_cut(box.guards, SMALL_CHARS))}</text>"
        )


def _ways_of(box: Box, place: Place, places: Mapping[str, Place]) -> Iterator[str]:
    by_target: dict[str, list[Way]] = {}
    for way in box.ways:
        if way.to in places:
            by_target.setdefault(way.to, []).append(way)
    for number, (target, found) in enumerate(by_target.items()):
        yield _line(place, places[target], number, len(by_target), "; ".join(way.when for way in found))


def _line(start: Place, end: Place, number: int, count: int, says: str) -> str:
    """From the lower edge of one box to the upper edge of the other; back, around the right side."""
    x1, y1 = start[0] + BOX_W * (number + 1) // (count + 1), start[1] + BOX_H
    x2, y2 = end[0] + BOX_W // 2, end[1]
    if y2 <= y1:
        x1, y1 = start[0] + BOX_W, start[1] + BOX_H // 2
        x2, y2 = end[0] + BOX_W, end[1] + BOX_H // 2
        aside = max(x1, x2) + GAP_X
        path = f"M{x1} {y1}C{aside} {y1} {aside} {y2} {x2} {y2}"
    else:
        middle = (y1 + y2) // 2
        path = f"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"
    at = f'x="{x1 + 4}" y="{y1 + 12 + 11 * (number % 3)}"'
    return (
        f'<path d="{path}" fill="none" stroke="#94a3b8" marker-end="url(#to)"><title>{escape(says)}</title></path>'
        f'<text {at} font-size="9" fill="#475569">{escape(_cut(says, 34))}</text>'
    )


def _cut(text: str, chars: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= chars else f"{text[: chars - 1]}…"
