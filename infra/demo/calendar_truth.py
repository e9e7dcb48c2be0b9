"""How well words about a calendar are understood, held against what a person understood by them.

Enters: infra/demo/data/calendar_requests.csv and calendar_truth.csv (what each column means: calendar_truth.md),
calendar_more.csv, calendar_blind.csv, calendar_fresh.csv, calendar_unread.csv, calendar_later.csv, or the labels of
another reader. Leaves: an `Agreement`: shares over the requests that a person could act upon and over those that need
a question, by field, every row that differs, and apart from them how many would be carried out otherwise than meant.
Guaranteed: the halves are fixed, by a hash of the row's id or in the row: rules are written while looking at one, the
other says what they are worth. Rejected: agreement of titles by letter: the same content words are the same title, in
any order, one slip of spelling apart.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from aios.processors.meetings.said import one_apart
from aios.processors.meetings.wish import Wish
from aios.processors.meetings.words import read

ZONE = "Europe/Berlin"
NOW = datetime(2026, 3, 24, 10, tzinfo=ZoneInfo(ZONE))
SEED = "words"
COUNTED = ("action", "title", "participants", "date_from", "date_to", "time_from", "time_to", "duration_min", "repeats")
"""The fields that must agree for a request to count as understood; place and scope are reported beside them."""
FIELDS = (*COUNTED[:3], "place", *COUNTED[3:], "scope")
SETTLED = ("action", "participants", *COUNTED[3:], "zone")
"""What an act does to a calendar: one of these otherwise than meant, and it is done wrongly; a title is a name."""
PUT_IN = ("schedule", "remind")
SLIP_LETTERS_MIN = 6  # of a word that may be one letter off
_STOP = frozenset(
    ("the", "a", "an", "my", "our", "of", "for", "to", "at", "in", "on", "with", "and", "about", "is", "be", "that")
)
FRESH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
Row = Mapping[str, str]


class Half(StrEnum):
    """dev: looked at while rules are written. report: at first not, then opened. all: both.

    more-dev, more: the same of calendar_more.csv, in another voice.
    blind, blind-clinc: of calendar_blind.csv, sentences of our own and of CLINC150 that no rule was written with.
    first-own, first-clinc, second-own, second-clinc, third-own: the same of calendar_fresh.csv.
    fourth-own to seventh-own: of the same file, in the manner of calendar_requests.csv.
    unread-voice, unread-office: the same of calendar_unread.csv: what was dictated, and what was typed at work.
    later: of calendar_later.csv, written after those two were mended: campus, family, trades, answering machine.
    last: of the same file, written after `later` was mended: volunteers, musicians, sport, working far apart.
    """

    DEV = "dev"
    REPORT = "report"
    ALL = "all"
    MORE_DEV = "more-dev"
    MORE = "more"
    BLIND = "blind"
    BLIND_CLINC = "blind-clinc"
    FIRST_OWN = "first-own"
    FIRST_CLINC = "first-clinc"
    SECOND_OWN = "second-own"
    SECOND_CLINC = "second-clinc"
    THIRD_OWN = "third-own"
    FOURTH_OWN = "fourth-own"
    FIFTH_OWN = "fifth-own"
    SIXTH_OWN = "sixth-own"
    SEVENTH_OWN = "seventh-own"
    UNREAD_VOICE = "unread-voice"
    UNREAD_OFFICE = "unread-office"
    LATER = "later"
    LAST = "last"


APART = {
    Half.MORE_DEV: ("calendar_more.csv", "dev"),
    Half.MORE: ("calendar_more.csv", "report"),
    Half.BLIND: ("calendar_blind.csv", "own"),
    Half.BLIND_CLINC: ("calendar_blind.csv", "clinc"),
    **{half: ("calendar_fresh.csv", half.value) for half in Half if half.value.startswith(FRESH)},
    Half.UNREAD_VOICE: ("calendar_unread.csv", "unread-voice"),
    Half.UNREAD_OFFICE: ("calendar_unread.csv", "unread-office"),
    Half.LATER: ("calendar_later.csv", "later"),
    Half.LAST: ("calendar_later.csv", "last"),
}
"""By half: the file whose rows say themselves which half they are of, and what they say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """kind: `wrong` (acted upon, otherwise than meant), `asked` (asked back without need), `guessed` (not asked).

    harmful: something would have been put in, moved or taken out otherwise than meant.
    """

    id: str
    kind: str
    harmful: bool
    text: str
    differs: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """right and asked_back are counts; fields: of the resolvable, how many agree in each."""

    half: str
    resolvable: int
    right: int
    unresolvable: int
    asked_back: int
    asked_for_the_same: int
    fields: Mapping[str, int]
    misses: tuple[Miss, ...] = field(default=())

    def plain(self) -> dict[str, object]:
        return {
            "half": self.half,
            "resolvable": self.resolvable,
            "fully_right": self.right,
            "fully_right_share": _share(self.right, self.resolvable),
            "unresolvable": self.unresolvable,
            "asked_back": self.asked_back,
            "asked_back_share": _share(self.asked_back, self.unresolvable),
            "asked_for_the_same": self.asked_for_the_same,
            "done_wrongly": sum(miss.harmful for miss in self.misses),
            "fields": self.shares(),
            "misses": Counter(miss.kind for miss in self.misses),
        }

    def shares(self) -> dict[str, float]:
        """Of the resolvable, by field."""
        return {name: _share(count, self.resolvable) for name, count in self.fields.items()}


def half_of(row_id: str) -> Half:
    return Half.REPORT if sha256(f"{SEED}:{row_id}".encode()).digest()[0] % 2 else Half.DEV


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a file of infra/demo/data."""
    with Path(str(files("aios.infra.demo").joinpath("data", name))).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def evaluate(half: Half) -> Agreement:
    """words.read on every request of a half."""
    if half in APART:
        name, said = APART[half]
        truth = [row for row in rows(name) if row["half"] == said]
        texts = {row["id"]: row["text"] for row in truth}
    else:
        truth = [row for row in rows("calendar_truth.csv") if half is Half.ALL or half_of(row["id"]) is half]
        texts = {row["id"]: row["text"] for row in rows("calendar_requests.csv")}
    return compare(truth, {row["id"]: understood(texts[row["id"]]) for row in truth}, texts, half=half.value)


def understood(text: str) -> dict[str, str]:
    """What words.read makes of a text, in the columns of calendar_truth.csv."""
    answer = read(text, NOW, ZONE)
    wish = answer if isinstance(answer, Wish) else answer.understood
    row = dict.fromkeys((*FIELDS, "zone"), "") if wish is None else _labelled(wish)
    asked = "" if isinstance(answer, Wish) else answer.missing.value
    return {"resolvable": "no" if asked else "yes", "missing": asked, **row}


def _labelled(wish: Wish) -> dict[str, str]:
    plain = wish.model_dump(mode="json")
    row = {name: "" if plain[name] is None else str(plain[name]) for name in (*FIELDS, "zone")}
    row["participants"] = ";".join(wish.participants)
    for name in ("time_from", "time_to"):
        row[name] = row[name][:5]
    return row


def compare(truth: Iterable[Row], answers: Mapping[str, Row], texts: Mapping[str, str], *, half: str) -> Agreement:
    """Every row of the truth against the answer of the same id."""
    resolvable = right = unresolvable = asked_back = same = 0
    fields: Counter[str] = Counter(dict.fromkeys(FIELDS, 0))
    misses: list[Miss] = []
    for row in truth:
        answer, text = answers[row["id"]], texts[row["id"]]
        asked = answer["resolvable"] == "no"
        if row["resolvable"] == "no":
            unresolvable += 1
            asked_back += asked
            same += asked and answer["missing"] == row["missing"]
            if not asked:
                misses.append(_miss(row, "guessed", answer, text, ("missing",)))
            continue
        resolvable += 1
        differing = [name for name in (*FIELDS, "zone") if name in row and not agree(name, answer[name], row[name])]
        if asked:
            misses.append(_miss(row, "asked", answer, text, ("missing",)))
            continue
        fields.update(name for name in FIELDS if name not in differing)
        if not any(name in differing for name in (*COUNTED, "zone")):
            right += 1
            continue
        misses.append(_miss(row, "wrong", answer, text, differing))
    return Agreement(
        half=half,
        resolvable=resolvable,
        right=right,
        unresolvable=unresolvable,
        asked_back=asked_back,
        asked_for_the_same=same,
        fields=dict(fields),
        misses=tuple(misses),
    )


def _miss(row: Row, kind: str, answer: Row, text: str, differing: Iterable[str]) -> Miss:
    differs = {name: (answer[name], row[name]) for name in differing}
    return Miss(id=row["id"], kind=kind, harmful=_harmful(kind, answer, differs), text=text, differs=differs)


def _harmful(kind: str, answer: Row, differs: Iterable[str]) -> bool:
    """Done, and wrongly: a look does nothing; what is taken out or moved is found by its title, too."""
    if kind == "asked" or answer["action"] == "query":
        return False
    settled = SETTLED if answer["action"] in PUT_IN else (*SETTLED, "title")
    return kind == "guessed" or any(name in settled for name in differs)


def agree(name: str, one: str, other: str) -> bool:
    """Whether two labels of a field mean the same."""
    if name == "title":
        return _same_words(_content(one), _content(other))
    if name == "participants":
        return {_bare(who) for who in one.split(";")} == {_bare(who) for who in other.split(";")}
    if name == "repeats":
        return set(one.split(";")) == set(other.split(";"))
    if name == "zone":
        return (one or ZONE) == (other or ZONE)
    if name == "place":
        return _bare(one) == _bare(other)
    return one == other


def _content(title: str) -> list[str]:
    words = re.findall(r"\w+", title.lower().replace("'s", "").replace("'", ""))
    return sorted({word for word in words if word not in _STOP})


def _same_words(one: list[str], other: list[str]) -> bool:
    return len(one) == len(other) and all(
        left == right or (min(len(left), len(right)) >= SLIP_LETTERS_MIN and one_apart(left, right))
        for left, right in zip(one, other, strict=True)
    )


def _bare(name: str) -> str:
    return re.sub(r"^(?:the|my|a|an|our) ", "", name.strip().lower()).strip(" .")


def _share(count: int, of: int) -> float:
    return round(count / of, 4) if of else 1.0
