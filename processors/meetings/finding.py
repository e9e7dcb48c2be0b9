"""From a wish to slots, with what comes closest where none is as it was asked for.

Enters: a wish, people and rooms with their engagements, the policy, the moment. Leaves: a Finding. Guaranteed: pure;
where nothing is as it was asked for, the reasons are those of what was asked for, and the nearest are the best
of the same days, else of the days after them, under the same policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from aios.processors.meetings import slots, zones
from aios.processors.meetings.calendars import Engagement
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.policy import DAY_S, Policy
from aios.processors.meetings.slots import RoomNeed, Search
from aios.processors.meetings.terms import Terms


@dataclass(frozen=True, slots=True)
class Finding:
    """search: of what was asked for. nearest: where it has no slot, of what comes closest; else None."""

    terms: Terms
    search: Search
    nearest: Search | None


def span(terms: Terms, policy: Policy) -> Stretch:
    """The time whose engagements must be known, for the nearest too."""
    begin, end = terms.asked.span
    return begin - DAY_S, end + (policy.window_days + 1) * DAY_S


def find(terms: Terms, engagements: Mapping[str, tuple[Engagement, ...]], policy: Policy) -> Finding:
    """engagements: by id of person or room, over span()."""
    people = tuple(replace(one, engagements=engagements.get(one.id, ())) for one in terms.people)
    needs = tuple(
        RoomNeed(site=n.site, rooms=tuple(replace(r, engagements=engagements.get(r.id, ())) for r in n.rooms))
        for n in terms.needs
    )
    known = replace(terms, people=people, needs=needs)
    found = slots.search(known.asked, people, needs, policy, known.clock)
    nearest = None if found.slots else _nearest(known, policy)
    return Finding(known, found, nearest)


def _nearest(terms: Terms, policy: Policy) -> Search:
    """Any time of the same days, else of those after them."""
    first, last = (zones.local(moment, terms.clock).date() for moment in _ends(terms))
    last_of_all = last + timedelta(days=policy.window_days)
    found = Search((), ())
    for begin, end in ((first, last), (last + timedelta(days=1), last_of_all)):
        windows = zones.days(begin, end, terms.clock)
        asked = replace(terms.asked, windows=windows, starts=None)
        found = slots.search(asked, terms.people, terms.needs, policy, terms.clock)
        if found.slots:
            break
    return found


def _ends(terms: Terms) -> Sequence[int]:
    return terms.asked.windows[0][0], terms.asked.windows[-1][1] - 1
