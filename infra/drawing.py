"""A workflow as a picture: SVG, one box a step, one line a way on. Pure.

Enters: a workflow. Leaves: the text of an SVG file that stands alone (no script, no font from elsewhere). Guaranteed:
every step and every way on is in it; the same workflow gives the same bytes; steps stand in rows by how far they are
from the start, and a way that leads back (a circle through a wait) is drawn at the side.
Rejected: graphviz (a program that users would have to install); a picture that has to be laid out by a browser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from aios.infra.ways import Way, does, ways
from aios.processors.language.workflow import Workflow

BOX_W, BOX_H = 200, 52
GAP_X, GAP_Y = 48, 74
MARGIN = 40
HEAD = 46
CHARS = 27  # of a line in a box
COLOURS = {
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
    rows = _rows(workflow)
    widest = max(len(row) for row in rows)
    width = 2 * MARGIN + widest * BOX_W + (widest - 1) * GAP_X + 2 * MARGIN
    height = HEAD + 2 * MARGIN + len(rows) * BOX_H + (len(rows) - 1) * GAP_Y
    places = {
        name: (_left(len(row), column, width), HEAD + MARGIN + number * (BOX_H + GAP_Y))
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
        f'<text x="{MARGIN}" y="46" fill="#475569">{escape(_cut(workflow.about, 110))}</text>',
        *(line for name in places for line in _ways_of(workflow, name, places)),
        *(line for name, place in places.items() for line in _box(workflow, name, place)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rows(workflow: Workflow) -> list[list[str]]:
    """Steps by the longest way from the start, ways back left out; within a row in the order of the file."""
    depth = {workflow.start: 0}
    back = _ways_back(workflow)
    waiting = [workflow.start]
    while waiting:
        name = waiting.pop(0)
        for target in _targets(workflow, name):
            if (name, target) not in back and depth[name] + 1 > depth.get(target, -1):
                depth[target] = depth[name] + 1
                waiting.append(target)
    unreached = [name for name in workflow.steps if name not in depth]
    depth |= dict.fromkeys(unreached, 1)  # led to from elsewhere: where a budget was denied
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in workflow.steps:
        rows[depth[name]].append(name)
    return [row for row in rows if row]


def _ways_back(workflow: Workflow) -> set[tuple[str, str]]:
    """Ways to a step that one is still in, found depth first."""
    found: set[tuple[str, str]] = set()
    done: set[str] = set()
    path: list[tuple[str, Iterator[str]]] = [(workflow.start, iter(_targets(workflow, workflow.start)))]
    open_ = {workflow.start}
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
            path.append((target, iter(_targets(workflow, target))))
    return found


def _targets(workflow: Workflow, name: str) -> list[str]:
    found = [way.to for way in ways(workflow.steps[name].kind)]
    return list(dict.fromkeys(target for target in found if target in workflow.steps))


def _left(count: int, column: int, width: int) -> int:
    return (width - count * BOX_W - (count - 1) * GAP_X) // 2 + column * (BOX_W + GAP_X)


def _box(workflow: Workflow, name: str, place: Place) -> Iterator[str]:
    kind = workflow.steps[name].kind
    word = type(kind).__name__.lower()
    x, y = place
    yield (
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="8" fill="{COLOURS[word]}" stroke="#64748b"'
        f"{'' if name != workflow.start else ' stroke-width=' + chr(34) + '2.5' + chr(34)}/>"
    )
    yield f'<text x="{x + BOX_W // 2}" y="{y + 21}" text-anchor="middle" font-weight="bold">{escape(name)}</text>'
    yield (
        f'<text x="{x + BOX_W // 2}" y="{y + 39}" text-anchor="middle" fill="#334155">'
        f"{escape(_cut(does(kind), CHARS))}</text>"
    )


def _ways_of(workflow: Workflow, name: str, places: Mapping[str, Place]) -> Iterator[str]:
    by_target: dict[str, list[Way]] = {}
    for way in ways(workflow.steps[name].kind):
        if way.to in places:
            by_target.setdefault(way.to, []).append(way)
    for number, (target, found) in enumerate(by_target.items()):
        yield _line(places[name], places[target], number, len(by_target), "; ".join(way.when for way in found))


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
