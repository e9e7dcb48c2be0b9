"""A request written as a form, said in a sentence: "When: 3 April. Where: room 12. Who: Ines, Bob".

Enters: a tidy text. Leaves: the same in one sentence that puts it in the calendar, or the text as it was. Guaranteed:
only a text with two labels or more, one of them a time, is a form; a last label alone is
joined to its sentence; no word of what stands behind a label is lost.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

_LABELS = {
    "title": r"what|title|subject|event|meeting|appointment|summary|name|topic|re",
    "when": r"when|date|day|time|start|starts|from",
    "end": r"end|ends|until",
    "where": r"where|location|place|venue|room",
    "who": r"who|with|attendees?|participants?|invitees?|guests?|people",
    "length": r"duration|length|how long",
}
_LABEL = re.compile(
    r"(?:^|(?<=[\s,.;|/-]))(?:" + "|".join(rf"(?P<{name}>{said})" for name, said in _LABELS.items()) + r")\s*[:=]\s*",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"[.;,?!]\s+(?:participants?|attendees?|invitees?|guests?|invited|people)(?:\s*[:=]| are| will be)\s*(?P<who>[^.;:]{2,120})[.\s]*$",
    re.IGNORECASE,
)
_TOPIC = re.compile(
    r"[.;,?!]\s+(?:the )?(?:topic|subject|agenda|theme|purpose)(?:\s*[:=]| is| will be|(?= \w))\s*(?P<topic>[^.;:]{2,120})[.\s]*$",
    re.IGNORECASE,
)
LABELS_MIN = 2


def plain_fields(text: str) -> str:
    """The form as a sentence."""
    text = _TOPIC.sub(r" about \g<topic>", _WITH.sub(r" with \g<who>", text))
    found = list(_LABEL.finditer(text))
    names = [one.lastgroup or "" for one in found]
    if (
        len(found) < LABELS_MIN
        or "when" not in names
        or ("title" not in names and not text[: found[0].start()].strip())
    ):
        return text
    ends = [one.start() for one in found[1:]] + [len(text)]
    told: dict[str, list[str]] = {}
    for one, name, end in zip(found, names, ends, strict=True):
        told.setdefault(name, []).append(text[one.end() : end].strip(" ,.;|/-\n"))
    title = " ".join(told.get("title", [])).replace('"', "")
    lead = f'schedule "{title}"' if title else text[: found[0].start()].strip(" ,.;|/-")
    pieces = [lead, " ".join(told["when"])]
    pieces += [f"until {one}" for one in told.get("end", [])]
    pieces += [f"for {one}" for one in told.get("length", [])]
    pieces += [f"at {one}" for one in told.get("where", [])]
    pieces += [f"with {', '.join(told['who'])}"] if "who" in told else []
    return " ".join(piece for piece in pieces if piece)
