"""Can it be acted upon? What a person would ask before, in the order of wish.Missing, and in words.

Enters: what was read (act, when, names). Leaves: a Wish, or an AskBack. Guaranteed: the rules of "Resolvable" in
infra/demo/data/calendar_truth.md, one function an action; an AskBack carries what was understood, so that one answer
completes it.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings import grammar as g
from aios.processors.meetings.forbidding import forbids
from aios.processors.meetings.phrases import Clock, Days, Lasts
from aios.processors.meetings.reading import ALL, NEXT, Reading, wished
from aios.processors.meetings.vague import TEMPLATE, template, vague
from aios.processors.meetings.vocabulary import EVENTS, FOREIGN, FOREIGN_ACTS, KINDS, UNNAMED
from aios.processors.meetings.wish import Action, AskBack, Missing, Scope, Wish

QUESTIONS = {
    Missing.NOT_CALENDAR: "That does not seem to be about your calendar. What shall I do in the calendar?",
    Missing.MEANING: "What shall I do: put something in the calendar, remind, look up, change or cancel?",
    Missing.EVENT: "Which of the events in your calendar is meant?",
    Missing.TITLE: "What is it called?",
    Missing.DATE: "Which day?",
    Missing.TIME: "At what time, and on whose clock?",
    Missing.PERSON: "Who is meant?",
}
_THE_EVENT = re.compile(r"\b(?:the|this|that|these|those) (?:calendar )?(?:event|entry|item|thing|activity|program)\b")
_ANY_THERE = re.compile(r"\b(?:is|are|was|were|will) there\b|\bthere(?:'s| is| are| any)\b")
_BUT = re.compile(
    r"\b(?:some|one of|a few|a couple of|several|most of|either|next (?:two|three|four|five|few|couple|\d)|except|excluding|besides|other than|apart from)\b"
)
_CHOSEN = re.compile(
    r"\b(?:some|few|one of|several|first one|last one|not (?:so |very |that )?important|unimportant|unnecessary|conflict\w*|which are|that are|old|unneeded|unwanted|useless|what i|the ones?|second|third|past|previous|(?:that|which|who) (?:aren't|are not|isn't|is not|don't|do not)|(?:that|which|what|events|meetings|appointments|things|entries|items|reminders) (?:i|we) (?:don't|do not|no longer|dislike|hate|can't|cannot|won't|am not|didn't)|expired|finished|completed|passed|duplicate|other|recent)\b"
)
_OWN = re.compile(r"\b(?:my|i|i'm|i've|me|we|our|us|calendar|schedule|agenda|diary|planner|am i)\b")
_EMPTIED = re.compile(
    r"\b(?:calendars?|schedules?|agenda|diary|planner|day|week|month|events|plans|things|entries|items|reminders?)\b"
)
_AREA = r"(?:my|the|this) (?:area|city|town|neighbou?rhood|region)"
_PUBLIC = re.compile(
    rf"\b(?:near(?:by| me| here| my)|around (?:here|town|me|the city)|in {_AREA}|in town|downtown|local|going (?:on|around) in(?! (?:{g.MONTH_FULL}|next|this|the (?:morning|afternoon|evening|next|coming))\b)|happening (?:around|in)(?: {_AREA}\b)?|taking place in|tickets for)\b"
)
_WHEN_ASKED = re.compile(
    r"\b(?:when|what time|what day|what date|which day|time time|where|who|is|are|was|were|did|do|does|have|how long|how many|until|till)\b"
)
_VERB_INSIDE = re.compile(r"\b(?:i|you|did|does|do|is|are|was|were|will|would|can|could|should|if|because)\b")
TITLE_WORDS_MAX = 14


def ask(missing: Missing, understood: Wish | None = None) -> AskBack:
    return AskBack(missing=missing, question=QUESTIONS[missing], understood=understood)


def judge(reading: Reading) -> Wish | AskBack:
    """Wish, or what is missing first. What is forbidden is not understood as wanted, so that no answer completes it."""
    if forbids(reading.low, reading.act.action):
        return ask(Missing.MEANING)
    wish = wished(reading)
    if wish is None:
        return ask(Missing.NOT_CALENDAR if _foreign(reading) else Missing.MEANING)
    missing = _missing(reading, wish)
    if missing is None:
        return wish
    return ask(missing, None if missing is Missing.NOT_CALENDAR else wish)


def _foreign(reading: Reading) -> bool:
    return bool(FOREIGN.search(reading.low)) and not re.search(
        r"\b(?:calendar|schedule|agenda|appointments?|meetings?|remind\w*)\b", reading.low
    )


def _missing(reading: Reading, wish: Wish) -> Missing | None:
    rules = {
        Action.QUERY: _asked,
        Action.CANCEL: _cancelled,
        Action.SCHEDULE: _scheduled,
        Action.REMIND: _reminded,
        Action.CHANGE: _changed,
    }
    if (
        wish.action is not Action.REMIND
        and FOREIGN_ACTS.search(reading.low)
        and not re.search(r"\b(?:calendar|meeting|appointment|lesson|class|concert)\b", reading.low)
    ):
        return Missing.NOT_CALENDAR
    found = vague(reading.left, wish.action) or rules[wish.action](reading, wish)
    if found is None and len(wish.title.split()) > TITLE_WORDS_MAX:
        found = Missing.MEANING
    if found is None and wish.action in (Action.REMIND, Action.SCHEDULE) and _ANOTHER.search(reading.low):
        found = Missing.MEANING  # two wishes in one
    if found is None and wish.action is Action.SCHEDULE and re.search(r"(?<!\bto )\bwake (?:me|us)\b", reading.low):
        found = Missing.MEANING  # put in, and woken for
    if found is None and wish.action is not Action.QUERY and any(" or " in who.lower() for who in wish.participants):
        found = Missing.PERSON  # one of them, and which?
    timed = wish.time_from is not None or wish.time_to is not None
    if (
        found is None
        and timed
        and not wish.date_from
        and not reading.when.of_event
        and wish.action in (Action.QUERY, Action.CANCEL)
    ):
        found = Missing.DATE  # past for today, and no other day was said
    if found is None and not reading.names.to_do and '"' not in reading.low and _CONDITION.search(wish.title):
        found = Missing.EVENT if wish.action in (Action.CANCEL, Action.CHANGE) else Missing.MEANING
    return found or reading.when.unsaid or _cut(reading) or template(reading.low) or _whose(reading, wish)


_ANOTHER = re.compile(r"\band (?:another|one for|one at|a second one|the next)\b")
_CONDITION = re.compile(
    r"\b(?:that|which|who|if|whether|whose|than|not|no|without|unless|whenever|while|until|but|i|you|something|any|many|much|what|whatever|whichever|how|why|where|when|aware|please|can|could|would|should|does|did|is|are|was|were|has|had)\b"
)
_NOBODY = re.compile(r"(?:this|that|the|an?|some|certain|these|those) (?:person|people|guy|man|woman|one)s?")
_DANGLING = re.compile(
    r"\b(?:(?P<who>with)|(?P<when>on|for|at|in|from|by|until|before|after)|(?P<what>about|of|to|the|an?|my|that|and|called|named))[ .,!?]*$"
)


def _cut(reading: Reading) -> Missing | None:
    """A command that ends where something was to follow."""
    found = _DANGLING.search(reading.left)
    if found and reading.names.title.endswith(f" {found[0].strip(' ,.!?')}"):
        return None  # a check in
    if not found or re.search(r"\b(?:what|when|who|where|which)\b", reading.low) or reading.act.question:
        nobody = reading.act.action is not Action.QUERY
        return (
            Missing.PERSON
            if nobody and any(who.lower() in UNNAMED or _NOBODY.fullmatch(who.lower()) for who in reading.names.people)
            else None
        )
    if found["who"]:
        return Missing.PERSON
    return Missing.DATE if found["when"] else Missing.TITLE


def _whose(reading: Reading, wish: Wish) -> Missing | None:
    return Missing.PERSON if reading.when.limits and not wish.bounds else None


def _asked(reading: Reading, wish: Wish) -> Missing | None:
    left, low = reading.left, reading.low
    general_public = reading.names.general and (_PUBLIC.search(low) or wish.place)
    if (_PUBLIC.search(low) or general_public) and not re.search(
        r"\b(?:my|i|calendar|schedule)\b", _PUBLIC.sub(" ", low)
    ):
        return Missing.NOT_CALENDAR
    if _foreign(reading):
        return Missing.NOT_CALENDAR
    if _THE_EVENT.search(left) and reading.names.general and not wish.date_from and wish.scope is not Scope.NEXT:
        return Missing.EVENT
    if not wish.title and not wish.participants:
        if re.search(
            r"\b(?:it|that|this|then|there)\b(?! (?:is|are|any|anything|calendar|week))", _ANY_THERE.sub(" ", left)
        ) and not _OWN.search(left):
            return Missing.EVENT
        if (
            not wish.date_from
            and not _OWN.search(left)
            and not reading.names.general
            and wish.scope is not Scope.NEXT
            and not re.search(r"\b(?:upcoming|coming up|planned|scheduled|happening|going on|on for)\b", left)
        ):
            return Missing.MEANING
    known = wish.participants or wish.title in KINDS or EVENTS.search(wish.title)
    if wish.title and (
        _VERB_INSIDE.search(wish.title)
        or (not _OWN.search(low) and not wish.date_from and not known and not _WHEN_ASKED.search(low))
    ):
        return Missing.MEANING
    if not reading.names.to_do and re.search(
        r"\b(?:how (?:do|can|could|would|should) (?:i|you|we|one)|how i (?:can|could|do|should)|how to|(?:process|steps|way) (?:to|of)|why)\b",
        low,
    ):
        return Missing.MEANING
    return None


def _cancelled(reading: Reading, wish: Wish) -> Missing | None:
    left = reading.left
    if _NUMBER.fullmatch(wish.title):
        return Missing.EVENT  # my 9 and my 10
    if _CLEANED.match(left) and wish.title and not (wish.title in KINDS or EVENTS.search(wish.title)):
        return Missing.MEANING  # the gutters?
    if not reading.names.to_do and re.search(r" from (?:the|my|our|this|that)\b", wish.title):
        return Missing.EVENT  # somebody from the guest list
    if re.search(r"\b(?:number|no\.?|#) ?(?:\d+|\w+)\s*$", left):
        return Missing.EVENT
    if reading.when.unsaid and not wish.date_from and wish.scope is Scope.ONE:
        return reading.when.unsaid
    if not (wish.title or wish.date_from or wish.participants) and _ALL_THIS.search(left):
        return Missing.EVENT
    if (_CHOSEN.search(left) and not wish.date_from) or _BUT.search(left) or _made_then(reading, wish):
        return Missing.EVENT
    if wish.scope is Scope.NEXT:
        return None
    if wish.scope is Scope.ALL:
        told = ALL.search(left) or _EMPTIED.search(reading.low) or wish.date_from or wish.title
        return None if told else Missing.EVENT
    if wish.date_from or wish.time_from or wish.participants or wish.place:
        thing = re.search(r"\b(?:doing|do) thing\b", left)
        return Missing.EVENT if thing else None
    return (
        Missing.EVENT
        if not wish.title or wish.title in KINDS or re.search(r"\b(?:this|that|these|those)\b", left)
        else None
    )


def _made_then(reading: Reading, wish: Wish) -> bool:
    """The appointment I made yesterday: the day is that of the making."""
    made = re.search(r"\b(?:made|created|added|entered|booked|scheduled)\W*\x00", reading.left)
    return bool(made and wish.date_to and wish.date_to < reading.at.today)


def _scheduled(reading: Reading, wish: Wish) -> Missing | None:
    if reading.act.stated and re.search(r"\balready\b|\byou (?:will|have)\b", reading.low):
        return Missing.MEANING
    if not wish.title:
        return Missing.TITLE
    if _NUMBER.fullmatch(wish.title):
        return Missing.TIME  # a time or a date that was not read as one
    if _MANY.search(reading.low) or _STANDS_THERE.search(reading.low):
        return Missing.MEANING  # one at a time
    if _SEATS.search(reading.low) and not wish.participants:
        return Missing.PERSON
    if _HANGS.search(reading.left) and not wish.time_from and not reading.names.to_do:
        return Missing.TIME if wish.date_from else Missing.DATE
    return None if wish.date_from or wish.repeats else Missing.DATE


def _reminded(reading: Reading, wish: Wish) -> Missing | None:
    left, names = reading.left, reading.names
    if re.search(r"\b(?:important|special) (?:date|event|thing|day)s?\b", left) and not wish.date_from:
        return Missing.EVENT
    dated = bool(wish.date_from)
    if not dated and re.search(
        r"\b(?:when|once|after|if|as soon as|whenever|until) (?:i|we|he|she|it|they|you|my \w+)\b(?!'s)(?! (?:have to|need to|should))(?! (?:meeting|appointment|event))",
        left,
    ):
        return Missing.EVENT if wish.title in KINDS else Missing.DATE
    if wish.title and names.to_do:
        return None if dated or names.of_event else Missing.DATE
    if dated:
        topic = (
            wish.title
            or names.people
            or re.search(
                r"(?:\b(?:the|my|our|of|about)|\x00) *(?:\w+ )?(?:events?|plans?|schedule|agenda|things|program)\b",
                left,
            )
        )
        return None if topic or wish.time_from else Missing.TITLE
    if reading.when.unsaid:
        return reading.when.unsaid
    if not wish.title and not names.people:
        if (
            names.general
            and re.search(r"\b(?:the|this|that|my|an?) (?:\w+ )?(?:event|schedule|plan|program)s?\b|\bevents\b", left)
            and not re.search(r"\bevent reminder", left)
        ):
            return Missing.EVENT
        return Missing.MEANING if "calendar" in left and "calendar and" not in left else Missing.TITLE
    if wish.title in KINDS and (not names.people or _SOMEBODY_ELSE.search(left)):
        return None if NEXT.search(left) else Missing.EVENT
    return None if EVENTS.search(wish.title) or names.people else Missing.DATE


_SOMEBODY_ELSE = re.compile(r"\bremind (?!(?:me|us|about|of|to|for|that|the|my|our)\b)\w")
_ALL_THIS = re.compile(r"\b(?:all|any|both|every one)(?: of)? (?:this|that|these|those|them|it)\b")
_CLEANED = re.compile(r"\W*(?:clean|empty|wipe|purge|dump)\b")
_NUMBER = re.compile(r"[\d .:/-]+")
_MANY = re.compile(
    r"\b(?:[2-9]|two|three|four|five|several|multiple|a couple of|a few) (?:(?!week|day|month|people)[\w-]+ ){0,4}?(?:meetings|calls|appointments|sessions|events|interviews|bookings|one-on-ones)\b"
)
_STANDS_THERE = re.compile(
    r"\b(?:move|reschedule|postpone|shift|push back|bring forward) (?:my|our|the|this|that) (?:[\w'-]+ ){0,2}?(?:meeting|call|appointment|lunch|dinner|session|review|one-on-one|interview)\b"
)
_SEATS = re.compile(
    r"\broom\b[^.;]{0,40}?\bfor (?:\d+|two|three|four|five|six|seven|eight|nine|ten|twelve) (?:people|persons|of us|guests|attendees)\b"
)
_HANGS = re.compile(r"\b(?:after|before|following|during) (?:the|my|our|his|her|their|that) [a-z]")
"""On another thing, of which nobody here knows when it is."""
_NEW_END = re.compile(r"\b(?:extend|lengthen|prolong|shorten)\b")
_MANY_THINGS = re.compile(
    r"\b(?:move|reschedule|postpone|push|shift|change|bring)\b[^.;]{0,20}?\b(?:everything|all|both|every|each)\b"
)
_BY_SO_MUCH = re.compile(r"\b(?:by|back|earlier|later|sooner|forwards?|ahead)\b")


def _changed(reading: Reading, wish: Wish) -> Missing | None:
    timed = [phrase for phrase in reading.phrases if phrase.of(Days) or phrase.of(Clock)]
    new = ("to",) if any(phrase.operator == "to" for phrase in timed) else ("for", "until")
    old = [phrase for phrase in timed if phrase.operator not in new]
    named = wish.title and wish.title not in KINDS and not TEMPLATE.search(reading.low)
    repeat = re.search(r"\brepeat", reading.left) is not None
    if re.match(r"\W*(?:invite|add|include|remove|drop|take|delete)\b", reading.left) and wish.participants:
        return None if named or timed or NEXT.search(reading.left) else Missing.EVENT
    if not (
        (named and (not repeat or wish.repeats))
        or wish.participants
        or (old and (len(timed) > 1 or wish.repeats))
        or (NEXT.search(reading.left) and wish.title)
    ):
        return Missing.EVENT
    if _MANY_THINGS.search(reading.left):
        return Missing.EVENT  # one at a time
    becomes = [phrase for phrase in timed if phrase.operator in ("to", "for", "until")]
    lengths = [phrase for phrase in reading.phrases if phrase.of(Lasts)]
    if lengths and _BY_SO_MUCH.search(reading.left):
        return Missing.TIME  # half an hour later than what? a wish has the new time
    if _NEW_END.search(reading.left) and wish.time_to and not wish.time_from:
        return Missing.TIME  # how long is it then? a wish has no new end
    lasts = any(phrase.operator == "to" for phrase in lengths)
    if _HANGS.search(reading.left) and not wish.time_from:
        return Missing.TIME
    return None if becomes or wish.repeats or wish.place or lasts else Missing.DATE
