"""What the arithmetic of meetings found, as answers of the system `calendars`.

Enters: values of processors/meetings. Leaves: responses of calendar_parts.py. Guaranteed: pure; seconds become
milliseconds here and nowhere else; lists are cut to their bounds and say how much was left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from aios.processors.connectors.calendar_parts import (
    MATCHES_MAX,
    OPTIONS_MAX,
    Found,
    Match,
    Matched,
    Option,
    Told,
    Understood,
)
from aios.processors.meetings import agenda, calendars, series, why
from aios.processors.meetings.calendars import Engagement
from aios.processors.meetings.finding import Finding
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.notes import Entry
from aios.processors.meetings.party import Person, Room
from aios.processors.meetings.scoring import FULL
from aios.processors.meetings.slots import Slot
from aios.processors.meetings.terms import Terms
from aios.processors.meetings.wish import Action, AskBack, Wish

CHOICES_MAX = 10  # shown to who is asked which one
APART_S = 1_800  # between two options, so that they are not five starts of one hour


def understood(said: Wish | AskBack) -> Understood:
    """A request, read."""
    if isinstance(said, AskBack):
        known = said.understood
        return Understood(
            status="ask",
            action="" if known is None else known.action,
            missing=said.missing,
            question=said.question,
            about=said.about,
            understood=known,
        )
    return Understood(status="wish", action=said.action, wish=said, understood=said)


def asked(said: AskBack) -> Found:
    """A wish that cannot be looked for yet."""
    return Found(status="ask", question=said.question, missing=said.missing, about=said.about)


def noted(wish: Wish, entry: Entry, organiser: Person, clock: ZoneInfo) -> Found:
    """What needs no search: one option, in the organiser's own calendar."""
    span = entry.start, entry.end
    summary = agenda.all_day(*span, clock) if entry.is_all_day else why.when(span, clock)
    option = Option(
        starts_at=entry.start * 1000, ends_at=entry.end * 1000, is_all_day=entry.is_all_day, summary=summary
    )
    return Found(
        status="found",
        title=wish.title,
        repeats=series.until(wish.repeats, wish.date_from, wish.date_to),
        zone=clock.key,
        people=(organiser.id,),
        options=(option,),
        why=(
            Told(person=organiser.id, zone=clock.key, sentences=(f"{summary}.", "It is in your own calendar alone.")),
        ),
        priority=wish.priority,
        is_reminder=wish.action is Action.REMIND,
    )


def found(wish: Wish, finding: Finding, rooms: Mapping[str, Room]) -> Found:
    """Slots, or why there are none and what comes nearest."""
    terms = finding.terms
    best = finding.search if finding.nearest is None else finding.nearest
    options = _apart(best.slots)
    told = why.told(terms, finding.search)
    nearest = "" if finding.nearest is None else _nearest(terms, options)
    return Found(
        status="found" if finding.search.slots else "none",
        question=f"{_because(told)} {nearest}".strip() if finding.nearest is not None else "",
        title=wish.title,
        repeats=terms.asked.repeats,
        zone=terms.clock.key,
        people=tuple(person.id for person in terms.people),
        options=tuple(_option(slot, terms, rooms) for slot in options),
        why=tuple(Told(person=one.person, zone=one.zone, sentences=one.sentences) for one in told),
        priority=wish.priority,
    )


def words(found: Found, number: int, owner: Person | Room) -> tuple[str, ...]:
    """What is told in somebody's copy of a booking. number: of the option that is booked; `why` is of the first."""
    told = next((told.sentences for told in found.why if told.person == owner.id), ())
    if not number or not told:
        return told
    option = found.options[number]
    costs = ", ".join(option.reasons) or "nothing speaks against it"
    return (
        f"{why.when((option.starts_at // 1000, option.ends_at // 1000), owner.zone)}.",
        f"It scores {option.score} of {FULL}: {costs}.",
        "What scored better was taken a moment before.",
    )


def matched(entries: Sequence[Engagement], wish: Wish, clock: ZoneInfo) -> Matched:
    """What a query, a cancellation or a change speaks of."""
    shown = entries[:MATCHES_MAX]
    return Matched(
        status="none" if not entries else "one" if len(entries) == 1 else "several",
        events=tuple(
            Match(
                uid=one.uid,
                title=one.title,
                starts_at=one.start * 1000,
                ends_at=one.end * 1000,
                is_all_day=one.is_all_day,
                at=one.begins * 1000,
                summary=agenda.line(one, clock),
            )
            for one in shown
        ),
        text=agenda.text(entries, clock),
        more=len(entries) - len(shown),
        scope=wish.scope or "",
        question=_which(entries, clock) if len(entries) > 1 else "",
    )


def _which(entries: Sequence[Engagement], clock: ZoneInfo) -> str:
    shown = agenda.text(entries[:CHOICES_MAX], clock)
    if len(entries) > MATCHES_MAX:
        return f"These are {len(entries)}, more than I take at once; of which days? The first ones:\n{shown}"
    return f"Which of these is it?\n{shown}"


def cancelled(events: Sequence[Match]) -> str:
    """What is gone."""
    return "\n".join(["Cancelled:", *(event.summary or event.title for event in events)])


def engagements(
    party: Person | Room, objects: Mapping[str, str], span: Stretch, with_free: bool
) -> tuple[Engagement, ...]:
    """By the name of the object, what stands in a calendar. Raises Unreadable."""
    address = party.address if isinstance(party, Person) else ""
    read: list[Engagement] = []
    for name, text in objects.items():
        found = calendars.engagements([text], span, party.zone, address, with_free=with_free)
        # By the name of its object on the server, by which it is taken away, in place of its uid.
        read += (replace(one, uid=name) for one in found)
    return tuple(sorted(read, key=lambda one: (one.start, one.end, one.uid)))


def _option(slot: Slot, terms: Terms, rooms: Mapping[str, Room]) -> Option:
    return Option(
        starts_at=slot.start * 1000,
        ends_at=slot.end * 1000,
        rooms=slot.rooms,
        score=slot.score,
        reasons=tuple(why.points(slot.deductions, terms.people)),
        summary=why.summary(terms, slot, [rooms[one] for one in slot.rooms]),
    )


def _apart(slots: Sequence[Slot]) -> list[Slot]:
    """The best ones, APART_S from each other at least; then whatever is left, in order."""
    chosen: list[Slot] = []
    for slot in slots:
        if len(chosen) < OPTIONS_MAX and all(abs(slot.start - one.start) >= APART_S for one in chosen):
            chosen.append(slot)
    return chosen


def _because(told: Sequence[why.Told]) -> str:
    return " ".join(told[0].sentences)


def _nearest(terms: Terms, options: Sequence[Slot]) -> str:
    if not options:
        return "Nothing near is possible either."
    near = "; ".join(why.when((slot.start, slot.end), terms.clock) for slot in options[:3])
    return f"Nearest: {near}. When shall it be?"
