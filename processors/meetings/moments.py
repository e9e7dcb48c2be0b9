"""All that a request says about time, found in the text and put together: which days, which hours, how long, how often.

Enters: the text, and what it is read against. Leaves: the phrases with their places (so that what is left is names and
things), and `When`. Guaranteed: the longest phrase at a place wins, from left to right; two days or two times that do not
fit together are a doubt, never a choice; nothing between quotation marks is a time.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from dataclasses import replace
from datetime import time, timedelta

from aios.processors.meetings import clock, days, recurring, spans
from aios.processors.meetings.phrases import Clock, Days, Grain, Meaning, Phrase, Series, Setting, Unsaid, Zone
from aios.processors.meetings.said import Said
from aios.processors.meetings.wish import Missing
from aios.processors.meetings.zone_names import ABBREVIATED, AMBIGUOUS, zone_of

RULES = (*recurring.RULES, *days.RULES, *clock.RULES)
PHRASES_MAX = 40
_WORD_START = re.compile(r"(?<![\w'])(?<!-on-)\w|@(?=\s?\d)")
_QUOTED = re.compile(r'"[^"]*"')
_ZONE = re.compile(r"(?:on |in |of )?(?P<whose>their|his|her|my|our|your)(?: local| own)? time(?: ?zone)?\b")
_PLACE_TIME = re.compile(r"(?:in |on )?(?P<place>[^\W\d_]+(?: [^\W\d_]+){0,2}?) time(?: ?zone)?\b")
_CITY_GROUP = re.compile(
    r"\b([^\W\d_]+(?: [^\W\d_]+)?) (?:team|office|crew|branch|group|people|folks|colleagues|lot)\b"
)
_SHORT_ZONE = re.compile(
    rf"\(?(?P<zone>{'|'.join([*ABBREVIATED, *AMBIGUOUS])})\b\)?(?! team| office| session| scan| class| appointment| training| exam| visit)"
)
_STRANGE_ZONE = re.compile(
    r"\(?(?!(?:PT|CT|ET|WEST)\b)[A-Z]{2,4}T\b\)?(?=\s*(?:$|[.,;!?]| (?:on|tomorrow|today|next|this|with|for)\b))"
)

_BETWEEN = re.compile(r"\s*(?:to|until|till|til|through|thru|-|up to)\s*(?:the )?")
_AND_ALONE = re.compile(r"\s*(?:and|&)\s*(?:on )?(?:the )?")
_AND = re.compile(r"\s*(?:and|&|to|-)\s*(?:the )?")
_OPERATORS = {
    "not before": r"(?:not|no|never|but not) (?:before|earlier than|sooner than|earlier)",
    "not after": r"(?:not|no|never) (?:after|later than|later)|at (?:the )?latest(?: by)?|latest by",
    "except": r"(?:but )?(?:not(?: on| in| at)?|any (?:day|time) (?:but|except)(?: for| on)?|except(?: for| on)?|excluding|avoiding|avoid|but no|other than|apart from)(?: an?| the)?",
    "after": r"(?:any ?time |some ?time )?(?:after|later than|past)",
    "before": r"(?:any ?time |some ?time )?(?:before|earlier than|prior to|ahead of|preceding)",
    "by": r"by|no later than|due by",
    "until": r"until|till|til|up to|through|thru",
    "from": r"from|starting(?: from| on| at| with)?|beginning(?: on| at| from)?|since|as of|effective|onwards from",
    "between": r"(?:any ?time |some ?time )?between",
    "at": r"at|@|due(?: on| at)?|around|about|approximately|approx|roughly|near|say",
    "for": r"for",
    "to": r"to",
}
_OPERATOR = re.compile(
    r"(?:^|(?<=[\s(,]))(?:" + "|".join(rf"(?P<o{n}>{p})" for n, p in enumerate(_OPERATORS.values())) + r")\s*$"
)
_NAMES = tuple(_OPERATORS)
_GLUE = re.compile(
    r"(?:^|(?<=[\s(,]))(?:on|in|of|during|over|within|the|coming|as|sometime|some ?time|any ?time|dated|scheduled for|set for)\s*$"
)
_BUT = re.compile(r"\s*,?\s*but(?: not)?(?: on)?\s*")
_SUPPORT = frozenset({"at", "after", "before", "by", "until", "from", "between", "not before", "not after"})


def find(said: Said, at: Setting) -> list[Phrase]:
    """The phrases about time, in order, with the words that belong to them ("at", "from", "not before")."""
    atoms = _joined(said.low, _atoms(said, at), at)
    return list(_supported(said.low, [_led(said.low, atoms, n) for n in range(len(atoms))], at))


def _atoms(said: Said, at: Setting) -> list[Phrase]:
    found: list[Phrase] = []
    shut = [match.span() for match in _QUOTED.finditer(said.low)]
    place = 0
    while len(found) < PHRASES_MAX:
        start = _WORD_START.search(said.low, place)
        if start is None:
            break
        inside = next((end for begin, end in shut if begin <= start.start() < end), None)
        best = None if inside else _longest(said, start.start(), at, found)
        if best:
            found.append(best)
        place = inside or (best.end if best else _word_end(said.low, start.start()))
    return found


def _word_end(low: str, place: int) -> int:
    place += 1
    while place < len(low) and (low[place].isalnum() or low[place] in "_'"):
        place += 1
    return place


def _longest(said: Said, place: int, at: Setting, before: list[Phrase]) -> Phrase | None:
    best = _zone(said, place, before)
    for pattern, meaning in RULES:
        match = pattern.match(said.low, place)
        if match is None or match.end() <= (best.end if best else place):
            continue
        try:
            meant = meaning(match, at)
        except (ValueError, OverflowError):  # a day outside the calendar: asked for
            meant = Unsaid(Missing.DATE)
        if meant is not None:
            best = Phrase(place, match.end(), meant if isinstance(meant, tuple) else (meant,))
    return best


def _zone(said: Said, place: int, before: list[Phrase]) -> Phrase | None:
    """Whose clock; a zone that nobody knows, after a time, is asked for."""
    beside = bool(before) and before[-1].of(Clock) and not said.low[before[-1].end : place].strip(" ,(")
    if found := _ZONE.match(said.low, place):
        return Phrase(place, found.end(), (Zone(found["whose"], likely=_likely(said.low)),))
    if beside and (found := _SHORT_ZONE.match(said.low, place)) and not said.low[found.end() :].startswith(" time"):
        known = zone_of(found["zone"])
        return Phrase(place, found.end(), (Zone(known) if known else Unsaid(Missing.TIME),))
    if beside and (found := _STRANGE_ZONE.match(said.text, place)):
        return Phrase(place, found.end(), (Unsaid(Missing.TIME),))
    if found := _PLACE_TIME.match(said.low, place):
        known = zone_of(found["place"])
        if known:
            return Phrase(place, found.end(), (Zone(known),))
        if beside and (found["place"] in AMBIGUOUS or said.text[found.start("place")].isupper()):
            return Phrase(place, found.end(), (Unsaid(Missing.TIME),))
    return None


def _likely(low: str) -> str:
    """The zone of the one group that is named after its city; empty: none, or two."""
    zones = {zone_of(word) or zone_of(word.split()[-1]) for word in _CITY_GROUP.findall(low)} - {None}
    return next(iter(zones)) or "" if len(zones) == 1 else ""


def _joined(low: str, atoms: list[Phrase], at: Setting) -> list[Phrase]:
    """From A to B: one window."""
    out: list[Phrase] = []
    for atom in atoms:
        window = _window(low, out[-1], atom, at) if out else None
        if window:
            out[-1] = window
        else:
            out.append(atom)
    return out


def _window(low: str, one: Phrase, other: Phrase, at: Setting) -> Phrase | None:
    gap, lead = low[one.end : other.start], low[: one.start]
    moved = at.action is not None and at.action.value == "change"
    between = bool(re.search(r"\bbetween (?:the )?$", lead))
    if not between and not moved and _AND_ALONE.fullmatch(gap):
        return _next_to(one, other)
    if not (_AND.fullmatch(gap) if between else _BETWEEN.fullmatch(gap)) or (moved and "to" in gap and not between):
        return None
    if len(one.meanings) > 1 or len(other.meanings) > 1:
        return None
    meaning = _range(one.meanings[0], other.meanings[0])
    return Phrase(one.start, other.end, (meaning,), one.operator) if meaning else None


def _next_to(one: Phrase, other: Phrase) -> Phrase | None:
    """Tomorrow and Thursday: two days that follow each other are a window."""
    first, last = one.meanings[0], other.meanings[0]
    if not (isinstance(first, Days) and isinstance(last, Days) and len(one.meanings) == len(other.meanings) == 1):
        return None
    if first.first != first.last or last.first != last.last or last.first - first.first != timedelta(days=1):
        return None
    return Phrase(one.start, other.end, (Days(first=first.first, last=last.last, grain=Grain.SPAN),), one.operator)


def _range(one: Meaning, other: Meaning) -> Meaning | None:
    if isinstance(one, Clock) and isinstance(other, Clock) and one.start and other.start and not (one.end or other.end):
        return clock_range(one, other)
    if isinstance(one, Days) and isinstance(other, Clock) and other.weak and other.start and one.grain is Grain.DAY:
        hour = other.start.hour  # "March 3 to 5": a bare hour is no hour after a day
        number = hour - 12 if hour > 12 else hour
        if one.first.day < number <= 31:
            return Days(first=one.first, last=one.first.replace(day=number), grain=Grain.SPAN)
        return Unsaid(Missing.DATE)
    if isinstance(one, Days) and isinstance(other, Days) and other.last is not None:
        last = other.last
        if last < one.first and other.loose is not None:
            last = spans.after(one.first, other.loose)
        if last < one.first and (one.first.month, one.first.day) > (last.month, last.day):
            last = spans.plus(last, 1, "year") if one.first.year - last.year <= 1 else last
        if last >= one.first:
            loose = one.loose if other.loose is not None else None
            return Days(first=one.first, last=last, grain=Grain.SPAN, loose=loose)
        return Unsaid(Missing.DATE)
    return None


def clock_range(one: Clock, other: Clock) -> Clock:
    """9 to 5; 3 to 5pm; 11 to 1pm: a bare hour takes the half of the day that makes the window run forward."""
    start, end = one.start, other.start
    if start is None or end is None:
        raise ValueError("a range is of two times")
    if one.bare and not other.bare:
        near = [
            start.replace(hour=hour)
            for hour in (start.hour % 12, start.hour % 12 + 12)
            if start.replace(hour=hour) < end
        ]
        start = max(near, default=start)
    elif other.bare and end <= start:
        end = end.replace(hour=(end.hour + 12) % 24)
    elif other.bare and not one.bare:
        near = [
            end.replace(hour=hour) for hour in (end.hour % 12, end.hour % 12 + 12) if end.replace(hour=hour) > start
        ]
        end = min(near, default=end)
    return Clock(start=start, end=end, bare=one.bare and other.bare, bare_end=other.bare, weak=one.weak and other.weak)


def _led(low: str, atoms: list[Phrase], n: int) -> Phrase:
    """The phrase with the words before it that belong to it."""
    phrase = atoms[n]
    floor = atoms[n - 1].end if n else 0
    start, operator = phrase.start, phrase.operator
    while True:
        lead = low[floor:start]
        if found := _OPERATOR.search(lead):
            name = next(name for k, name in enumerate(_NAMES) if found[f"o{k}"])
            stronger = operator in ("", "at", "for", "to") or name in ("not before", "not after", "except")
            operator = name if stronger else operator
        elif n and atoms[n - 1].of(Series) and (found := _BUT.fullmatch(lead)):
            operator = "except"  # every day but Sunday
        elif not (found := _GLUE.search(lead)):
            return replace(phrase, start=start, operator=operator)
        start = floor + found.start()


def _supported(low: str, phrases: list[Phrase], at: Setting) -> list[Phrase]:
    """Without numbers that nothing makes an hour."""
    kept: list[Phrase] = []
    for n, phrase in enumerate(phrases):
        one = phrase.meanings[0]
        if isinstance(one, Clock) and one.weak and not _is_hour(low, phrases, n, at):
            continue
        if isinstance(one, Zone) and one.name not in ("their", "his", "her") and not any(p.of(Clock) for p in phrases):
            continue
        kept.append(phrase)
    return kept


def _is_hour(low: str, phrases: list[Phrase], n: int, at: Setting) -> bool:
    phrase = phrases[n]
    if phrase.operator == "for" and any(one.operator == "at" and one.of(Clock) for one in phrases):
        return False  # for two, at eight
    if re.match(r" \w+ (?:street|st|road|rd|avenue|ave|lane|drive|blvd|boulevard)\b", low[phrase.end :]):
        return False
    if not phrase.operator and _NUMBERED.search(low[: phrase.start]):
        return False
    if phrase.operator in _SUPPORT:
        return True
    if phrase.operator == "for" and _WITH_SOMEBODY.search(low[: phrase.start]):
        return True
    if phrase.operator in ("for", "to") and (at.reminded or (at.action is not None and at.action.value == "change")):
        return True
    near = [phrases[k] for k in (n - 1, n + 1) if 0 <= k < len(phrases)]
    for other in near:
        low_end, high_start = sorted((phrase, other), key=lambda one: one.start)
        if low[low_end.end : high_start.start].strip(" ,") == "" and (
            other.of(Days) or other.of(Clock) or other.of(Zone) or other.of(Series)
        ):
            return True
    return False


_NUMBERED = re.compile(
    r"\b(?:room|floor|building|gate|terminal|platform|number|no\.?|chapter|part|version|phase|level|grade|suite|flight|bus|route|unit|step|week|day|season|episode|section|lane|hall|studio|court|pitch|table|bay|desk|theatre|theater|lab|classroom|ward|entrance|hangar|booth|ring|field|pier|dock|exit|apartment|flat|house|box|block|zone|group|class|team|year|grade|line|stop|page|item|point|version)s? ?#?$"
)
_WITH_SOMEBODY = re.compile(r"\b(?:meeting|call|appointment|lunch|coffee|session) with (?:\w+ ){1,3}$")


def shift_half(moment: time, part: str) -> time:
    """A bare hour in the half of the day that a word beside it tells."""
    hour = clock.hour_of(moment.hour % 12 or 12, "", part)
    return moment.replace(hour=hour) if hour is not None else moment
