"""How good screening is: found of those that should be, and sent to a person of those that need not.

Enters: a list, a seed, and how many names of each kind. Leaves: for each way a name gets wrong, how many were found
at the shipped threshold, and which were not; for ordinary people, how many a person would look at. Guaranteed: seeded;
thresholds were chosen on half 0 of the entries and of the ordinary names, the report is of half 1 (perturbed.half);
held-out aliases are taken out of the index that they are searched in, one an entry.

An alias can be found by its name only if it is like another name of its entry. `like` is decided by an independent
measure, rapidfuzz's token_set_ratio, before anything is searched; the others are reported beside them: most are
nicknames (JONAS for Jorge Oswaldo), and are why aliases belong into the index, where all of them are.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from rapidfuzz import fuzz

from aios.processors.screening import curve, perturbed
from aios.processors.screening.births import Born
from aios.processors.screening.curve import Point
from aios.processors.screening.entries import Entry, Kind
from aios.processors.screening.index import Asked, Index
from aios.processors.screening.list_files import Listed
from aios.processors.screening.names import parts
from aios.processors.screening.small_words import light
from aios.processors.screening.thresholds import REVIEW
from aios.streams import collector

LIKE_MIN = 80.0  # of 100, of the held-out alias and another name of its entry
RECALL_MIN, HUMAN_SHARE_MAX, P99_MS_MAX, NAMES_PER_S_MIN = 0.99, 0.05, 5.0, 500.0
TRIES = 6  # entries looked at for each name that is wanted: not every change suits every name
ALIASES = "aliases held out"
LIKE, UNLIKE = "like another name of the entry", "like none (not to be found by a name)"
OTHERS = "ordinary, of other sets"
PEOPLE, RECOMBINED = "ordinary people", "listed given names with other listed surnames"


@dataclass(frozen=True, slots=True)
class Miss:
    """A name that was not found, or somebody whom a person would look at for nothing."""

    written: str
    entry: str
    name: str
    nats: float


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of name. found: of all; for ordinary people, those who are sent to a person."""

    what: str
    kind: str
    all: int
    found: int
    misses: tuple[Miss, ...]

    @property
    def share(self) -> float:
        """Found of all."""
        return self.found / self.all if self.all else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """recall: over the perturbed names of people and organisations; aliases: over those that are like another name.

    lowest: the lowest cut that curve.py allows, on this half.
    """

    rows: tuple[Row, ...]
    recall_people: float
    recall_entities: float
    recall_aliases: float
    human_share: float
    searches: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    curve: tuple[Point, ...]
    lowest: float | None


@dataclass(frozen=True, slots=True)
class Goal:
    """What screening is to reach. at_least: else at most."""

    what: str
    wanted: float
    measured: float
    at_least: bool

    @property
    def kept(self) -> bool:
        """Whether it does."""
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


def goals(report: Report) -> tuple[Goal, ...]:
    """Each with what a report came to."""
    return (
        Goal("found of changed names of people", RECALL_MIN, report.recall_people, at_least=True),
        Goal("found of changed names of organisations", RECALL_MIN, report.recall_entities, at_least=True),
        Goal("found of aliases held out, like another name", RECALL_MIN, report.recall_aliases, at_least=True),
        Goal("ordinary people sent to a person", HUMAN_SHARE_MAX, report.human_share, at_least=False),
        Goal("P99 of a search, ms", P99_MS_MAX, report.p99_ms, at_least=False),
        Goal("names a second and core", NAMES_PER_S_MIN, 1000 / report.mean_ms, at_least=True),
    )


class Clocked:
    """An index whose searches are timed, in processor time of this thread: what else runs does not count."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.ms: list[float] = []
        self.nats_of: dict[str, list[float]] = defaultdict(list)  # by what curve.py calls them

    def nats(self, asked: Asked, number: str = "", *, of: str = "") -> tuple[float, str]:
        """The best hit's nats and name, or those of one entry; 0 where it is no hit.

        of: what it counts for in the curve, which looks below the threshold too.
        """
        started = time.thread_time_ns()
        hits = self._index.search(asked, nats_min=curve.CUTS[0] if of else REVIEW)
        self.ms.append((time.thread_time_ns() - started) / 1e6)
        found = [hit for hit in hits if not number or hit.entry.number == number]
        if of:
            self.nats_of[of].append(found[0].nats if found else 0.0)
        return (found[0].nats, found[0].name) if found and found[0].nats >= REVIEW else (0.0, "")


def evaluate(listed: Listed, *, seed: int, names: int, half: int = 1) -> Report:
    """names: of each kind of change; three times as many ordinary people as all changes of people together."""
    draw = random.Random(seed)  # noqa: S311 - names to try, no secrets
    held = held_out(listed.entries, draw)
    clock = Clocked(Index([kept for kept, _ in held]))
    collector.rest()  # as the connector does: the index is no garbage to look through
    entries = [entry for entry in listed.entries if perturbed.half(entry) == half]
    people = [entry for entry in entries if entry.kind is Kind.INDIVIDUAL]
    companies = [entry for entry in entries if entry.kind is Kind.ENTITY and has_words(entry)]
    rows = [changed(clock, what, "person", people, names=names, draw=draw) for what in perturbed.CHANGES]
    rows += [
        changed(clock, what, "organisation", companies, names=names // 2, draw=draw)
        for what in perturbed.CHANGES
        if what not in ("an initial", "other script")
    ]
    rows += aliases(clock, [(one, alias) for one, alias in held if alias and perturbed.half(one) == half])
    rows += ordinary(clock, people, half, names * len(perturbed.CHANGES), draw)
    rows += others(clock, half, names * len(perturbed.CHANGES))
    ms = sorted(clock.ms)
    points = curve.points(clock.nats_of)
    return Report(
        rows=tuple(rows),
        recall_people=_recall(row for row in rows if row.kind == "person"),
        recall_entities=_recall(row for row in rows if row.kind == "organisation"),
        recall_aliases=_recall(row for row in rows if row.kind == LIKE),
        human_share=_recall(row for row in rows if row.what == PEOPLE),
        searches=len(ms),
        mean_ms=sum(ms) / len(ms),
        p50_ms=ms[len(ms) // 2],
        p99_ms=ms[int(len(ms) * 0.99)],
        curve=points,
        lowest=curve.lowest(points),
    )


def has_words(entry: Entry) -> bool:
    """Whether more than a legal form and numbers is in its name: `FU YUAN YU 8684` with another number is another."""
    words = [part.text for part in parts(entry.names[0]) if not light(part.text)]
    return bool(words) and not any(any(letter.isdigit() for letter in word) for word in words)


def held_out(entries: Sequence[Entry], draw: random.Random) -> list[tuple[Entry, str]]:
    """Every entry without one of its aliases, and that alias; empty for entries that have none."""
    found = []
    for entry in entries:
        alias = draw.choice(entry.names[1:]) if len(entry.names) > 1 else ""
        found.append((replace(entry, names=tuple(name for name in entry.names if name != alias)), alias))
    return found


def changed(clock: Clocked, what: str, kind: str, entries: Sequence[Entry], *, names: int, draw: random.Random) -> Row:
    """Names of `entries`, changed in one way."""
    change = perturbed.CHANGES[what]
    misses: list[Miss] = []
    count = 0
    for entry in draw.sample(entries, min(len(entries), names * TRIES)):
        written = change(entry, entry.names[0], draw)
        if not written or count == names:
            continue
        count += 1
        nats, _ = clock.nats(Asked(written), entry.number, of="people" if kind == "person" else "organisations")
        if not nats:
            misses.append(Miss(written, entry.number, entry.names[0], nats))
    return Row(what, kind, count, count - len(misses), tuple(misses))


def aliases(clock: Clocked, held: Sequence[tuple[Entry, str]]) -> Iterator[Row]:
    """Aliases that the index does not have, apart by whether they are like a name that it has."""
    for kind in (LIKE, UNLIKE):
        mine = [(entry, alias) for entry, alias in held if like(entry, alias) is (kind == LIKE)]
        misses = [
            Miss(alias, entry.number, entry.names[0], 0.0)
            for entry, alias in mine
            if not clock.nats(Asked(alias), entry.number, of="aliases" if kind == LIKE else "")[0]
        ]
        yield Row(ALIASES, kind, len(mine), len(mine) - len(misses), tuple(misses))


def like(entry: Entry, alias: str) -> bool:
    """Whether an alias is like one of the entry's other names, by a measure that is not ours.

    One part in common with a longer name makes token_set_ratio 100, so both must cover half of each other.
    """
    text = alias.lower()
    return any(
        fuzz.token_set_ratio(text, name.lower()) >= LIKE_MIN
        and fuzz.token_sort_ratio(text, name.lower()) >= LIKE_MIN / 1.6
        for name in entry.names
    )


def ordinary(clock: Clocked, people: Sequence[Entry], half: int, names: int, draw: random.Random) -> Iterator[Row]:
    """People who are on no list: how many a person would look at."""
    by_language: dict[str, list[tuple[str, float, str]]] = {}
    for _ in range(names):
        language, written = perturbed.ordinary(half, draw)
        by_language.setdefault(language, []).append((written, *clock.nats(Asked(written), of="mimesis")))
    for language, found in sorted(by_language.items()):
        yield _sent(PEOPLE, language, found)
    others = [perturbed.recombined(people, draw) for _ in range(names // 4)]
    yield _sent(RECOMBINED, "without a birth date", [(one, *clock.nats(Asked(one), of="recombined")) for one in others])
    born = [births_of(draw) for _ in others]
    found = [(one, *clock.nats(Asked(one, on))) for one, on in zip(others, born, strict=True)]
    yield _sent(RECOMBINED, "with a birth date", found)


def others(clock: Clocked, half: int, names: int) -> Iterator[Row]:
    """Ordinary people of other sets, and ordinary companies: at most `names` of each, the same for every seed."""
    for kind, all_ in perturbed.others().items():
        mine = [name for name in all_ if perturbed.half_of(name) == half]
        mine = mine[:: max(len(mine) // names, 1)]
        entry = Kind.ENTITY if kind == curve.COMPANIES else None
        yield _sent(OTHERS, kind, [(name, *clock.nats(Asked(name, kind=entry), of=kind)) for name in mine])


def births_of(draw: random.Random) -> Born:
    """Somebody's, between 18 and 88 years before the list."""
    day = date(1936, 1, 1) + timedelta(days=draw.randrange(70 * 365))
    return Born(day, day)


def _sent(what: str, kind: str, found: Sequence[tuple[str, float, str]]) -> Row:
    sent = tuple(Miss(written, "", name, nats) for written, nats, name in found if nats)
    return Row(what, kind, len(found), len(sent), sent)


def _recall(rows: Iterator[Row]) -> float:
    counted = list(rows)
    whole = sum(row.all for row in counted)
    return sum(row.found for row in counted) / whole if whole else 0.0
