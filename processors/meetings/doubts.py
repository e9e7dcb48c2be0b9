"""Can it be acted upon? What a person would ask before, in the order of wish.Missing, and in words.

Enters: what was read (act, when, names). Leaves: a Wish, or an AskBack. Guaranteed: the rules of "Resolvable" in
infra/demo/data/calendar_truth.md, one function an action; an AskBack carries what was understood, so that one answer
completes it.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from aios.processors.meetings.acts import Act
from aios.processors.meetings.names import Named, is_group
from aios.processors.meetings.phrases import Clock, Days, Lasts, Phrase, Setting
from aios.processors.meetings.vague import TEMPLATE, template, vague
from aios.processors.meetings.vocabulary import EVENTS, FOREIGN, FOREIGN_ACTS, GENERAL, KINDS, UNNAMED
from aios.processors.meetings.when import When
from aios.processors.meetings.wish import Action, AskBack, Bound, Missing, Priority, Scope, Wish

QUESTIONS = {
    Missing.NOT_CALENDAR: "That does not seem to be about your calendar. What shall I do in the calendar?",
    Missing.MEANING: "What shall I do: put something in the calendar, remind, look up, change or cancel?",
    Missing.EVENT: "Which of the events in your calendar is meant?",
    Missing.TITLE: "What is it called?",
    Missing.DATE: "Which day?",
    Missing.TIME: "At what time, and on whose clock?",
    Missing.PERSON: "Who is meant?",
}
_ALL = re.compile(
    r"\b(?:all|every|everything|any|anything|entire|whole|both|each|how many|what(?:ever)? i|complete|completely)\b|^\W*(?:please )?list\b"
)
_NEXT = re.compile(
    r"\b(?:next|soonest|nearest)\b|\bupcoming (?=(?:event|meeting|appointment|task|reminder|thing)\b)|\bfirst (?:event|meeting|appointment|thing)\b"
)
_UNSAID_EVENT = re.compile(
    r"\b(?:the|this|that|these|those|an?|it'?s?) (?:\w+ ){0,1}?(?:event|calendar event|entry|item|thing|activity|program)\b|\b(?:this|that|these|those)\b(?! (?:calendar|is\b|in my|to my|on my))|\bsome\b|\bnot so important\b|\bnot important\b|\bunimportant\b"
)
_THE_EVENT = re.compile(r"\b(?:the|this|that|these|those) (?:calendar )?(?:event|entry|item|thing|activity|program)\b")
_ANY_THERE = re.compile(r"\b(?:is|are|was|were|will) there\b|\bthere(?:'s| is| are| any)\b")
_BUT = re.compile(
    r"\b(?:some|one of|a few|a couple of|several|most of|either|next (?:two|three|four|five|few|couple|\d)|except|excluding|besides|other than|apart from)\b"
)
_CHOSEN = re.compile(
    r"\b(?:some|few|one of|several|not (?:so |very |that )?important|unimportant|unnecessary|conflict\w*|which are|that are|old|unneeded|unwanted|useless|what i|the ones?|second|third|past|previous|(?:that|which|who) (?:aren't|are not|isn't|is not|don't|do not)|(?:that|which|what|events|meetings|appointments|things|entries|items|reminders) (?:i|we) (?:don't|do not|no longer|dislike|hate|can't|cannot|won't|am not|didn't)|expired|finished|completed|passed|duplicate|other|recent)\b"
)
_BARE_IT = re.compile(r"\b(?:it|that|this|them|those|these)\b")
_OWN = re.compile(r"\b(?:my|i|i'm|i've|me|we|our|us|calendar|schedule|agenda|diary|planner|am i)\b")
_EMPTIED = re.compile(
    r"\b(?:calendars?|schedules?|agenda|diary|planner|day|week|month|events|plans|things|entries|items|reminders?)\b"
)
_PUBLIC = re.compile(
    r"\b(?:near(?:by| me| here| my)|around (?:here|town|me|the city)|in (?:my|the|this) (?:area|city|town|neighbou?rhood|region)|in town|local|going (?:on|around) in|happening (?:around|in)|taking place in|tickets for)\b"
)
_WHEN_ASKED = re.compile(
    r"\b(?:when|what time|what day|what date|which day|time time|where|who|is|are|was|were|did|do|does|have|how long|how many|until|till)\b"
)
_VERB_INSIDE = re.compile(r"\b(?:i|you|did|does|do|is|are|was|were|will|would|can|could|should|if|because)\b")
_GREAT = re.compile(r"\b(?:urgent|urgently|high[- ]priority|top priority|critical|emergency)\b")
_SMALL = re.compile(r"\b(?:low[- ]priority|not urgent|no rush)\b")
_NO_EVENT = re.compile(rf"{FOREIGN.pattern}|\b(?:calendar|schedule|agenda|free|busy|available|i|you|we|it|not|no)\b")
_VERB_AND_THING = re.compile(r"\W*\w+ (?:the|my|our|that|this|his|her|their)\b")
TITLE_WORDS_MAX = 14
TOLD_WORDS_MAX = 5
TOLD_DAYS_MAX = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that was read of one request. left: in lower case, without times and politeness. low: the whole."""

    low: str
    left: str
    act: Act
    when: When
    names: Named
    phrases: tuple[Phrase, ...]
    at: Setting


def ask(missing: Missing, understood: Wish | None = None) -> AskBack:
    return AskBack(missing=missing, question=QUESTIONS[missing], understood=understood)


def judge(reading: Reading) -> Wish | AskBack:
    """Wish, or what is missing first."""
    wish = _wish(reading)
    if wish is None:
        return ask(Missing.NOT_CALENDAR if _foreign(reading) else Missing.MEANING)
    missing = _missing(reading, wish)
    if missing is None:
        return wish
    return ask(missing, None if missing is Missing.NOT_CALENDAR else wish)


def _wish(reading: Reading) -> Wish | None:
    """What was understood; None where no action is known, or where it contradicts itself."""
    action, names, when = reading.act.action, reading.names, reading.when
    if action is None:
        return None
    title, place, people = names.title, names.place, names.people
    if action is Action.QUERY:
        people = tuple(who for who in people if who.lower() not in UNNAMED | GENERAL)  # "am I meeting anyone"
    if action is Action.QUERY and place and not title and not names.general:
        title, place = place.lower(), ""  # "what time do I have to be at the airport"
    if (
        action is Action.SCHEDULE
        and not title
        and (names.people or when.minutes)
        and not set(names.general) - {"schedule", "plan"}
    ):
        title = "meeting"
    try:
        return Wish(
            action=action,
            title=title,
            participants=people,
            place=place,
            date_from=when.first,
            date_to=when.last,
            time_from=when.start,
            time_to=when.end,
            duration_min=when.minutes,
            repeats=when.repeats,
            scope=_scope(action, reading),
            zone=when.zone,
            bounds=_bounds(reading),
            prefer=when.prefer,
            priority=Priority.HIGH
            if _GREAT.search(reading.low)
            else Priority.LOW
            if _SMALL.search(reading.low)
            else Priority.NORMAL,
            needs=names.needs,
        )
    except ValidationError:
        return None


def _bounds(reading: Reading) -> tuple[Bound, ...]:
    """Theirs is the group's clock if a group takes part, else everybody's."""
    found: list[Bound] = []
    groups = [name for name in reading.names.people if is_group(name)]
    for limit in reading.when.limits:
        whose = (groups[-1:] or list(reading.names.people)) if limit.whose in ("their", "his", "her") else [limit.whose]
        found += [Bound(whose=one, not_before=limit.not_before, not_after=limit.not_after) for one in whose]
    return tuple(found[:20])


def _scope(action: Action, reading: Reading) -> Scope | None:
    if action not in (Action.QUERY, Action.CANCEL):
        return None
    left, names = reading.left, reading.names
    if _NEXT.search(left):
        return Scope.NEXT
    if _ALL.search(left) or names.plural or (reading.act.bare and "calendar" in left):
        return Scope.ALL
    if action is Action.QUERY:
        if re.search(r"^\W*where\b.*\bbe\b", left) and reading.when.timed:
            return Scope.ONE
        definite = bool(_UNSAID_EVENT.search(left)) and reading.act.question
        return Scope.ONE if names.title or (definite and names.general) else Scope.ALL
    clock = reading.when.timed and reading.when.end is None
    one = (
        names.title
        or clock
        or any(word in ("event", "thing", "entry", "item", "activity", "plan", "something") for word in names.general)
    )
    if one or _BARE_IT.search(left):
        return Scope.ONE
    return Scope.ALL if not names.people else Scope.ONE


def guess(names: Named, when: When, left: str) -> Action | None:
    """Without a verb: a general or plural thing is looked up, a person with a time or a length is met."""
    if _VERB_AND_THING.match(left) and not names.to_do and not when.repeats:
        return None  # something is to be done with it, in a verb that is not known
    if (names.title and (names.people or when.repeats) and when.dated) or (
        when.minutes and (names.people or names.title)
    ):
        return Action.SCHEDULE
    if (names.title or names.people) and when.dated and when.timed and not names.plural:
        return Action.SCHEDULE
    if (names.title and _NEXT.search(left)) or re.match(
        r"\s*(?:the )?(?:date|time|day|place|location|details?) (?:of|for)\b", left
    ):
        return Action.QUERY
    if "event" in names.general and when.timed and not names.title:
        return Action.SCHEDULE
    if _told(names, when, left):
        return Action.SCHEDULE
    if re.search(r"\b(?:free|busy|available)\b", left):
        return Action.QUERY
    known = not names.title or names.title in KINDS or EVENTS.search(names.title)
    if known and (names.plural or names.general or re.search(r"\b(?:calendar|schedule|agenda)\b", left)):
        return Action.QUERY
    return None


def _told(names: Named, when: When, left: str) -> bool:
    """A thing with its day and nothing else: "picnic, 4 June"; never a whole month, nor many, nor what is no event."""
    if not names.title or names.title in KINDS or names.plural or names.general or when.first is None:
        return False
    if _VERB_AND_THING.match(left) and not names.to_do:
        return False
    near = when.last is not None and (when.last - when.first).days <= TOLD_DAYS_MAX
    return near and len(names.title.split()) <= TOLD_WORDS_MAX and not _NO_EVENT.search(left)


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
    timed = wish.time_from is not None or wish.time_to is not None
    if (
        found is None
        and timed
        and not wish.date_from
        and not reading.when.of_event
        and wish.action in (Action.QUERY, Action.CANCEL)
    ):
        found = Missing.DATE  # past for today, and no other day was said
    if found is None and not reading.names.to_do and _CONDITION.search(wish.title):
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
    if re.search(
        r"\b(?:how (?:do|can|could|would|should) (?:i|you|we|one)|how i (?:can|could|do|should)|how to|(?:process|steps|way) (?:to|of)|why)\b",
        low,
    ):
        return Missing.MEANING
    return None


def _cancelled(reading: Reading, wish: Wish) -> Missing | None:
    left = reading.left
    if re.search(r"\b(?:number|no\.?|#) ?(?:\d+|\w+)\s*$", left):
        return Missing.EVENT
    if reading.when.unsaid and not wish.date_from and wish.scope is Scope.ONE:
        return reading.when.unsaid
    if (_CHOSEN.search(left) and not wish.date_from) or _BUT.search(left) or _made_then(reading, wish):
        return Missing.EVENT
    if wish.scope is Scope.NEXT:
        return None
    if wish.scope is Scope.ALL:
        told = _ALL.search(left) or _EMPTIED.search(reading.low) or wish.date_from or wish.title
        return None if told else Missing.EVENT
    if wish.date_from or wish.time_from or wish.participants:
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
    if wish.title in KINDS and not names.people:
        return None if _NEXT.search(left) else Missing.EVENT
    return None if EVENTS.search(wish.title) or names.people else Missing.DATE


_BY_SO_MUCH = re.compile(r"\b(?:by|back|earlier|later|sooner|forwards?|ahead)\b")


def _changed(reading: Reading, wish: Wish) -> Missing | None:
    timed = [phrase for phrase in reading.phrases if phrase.of(Days) or phrase.of(Clock)]
    old = [phrase for phrase in timed if phrase.operator not in ("to", "for", "until")]
    named = wish.title and wish.title not in KINDS and not TEMPLATE.search(reading.low)
    repeat = re.search(r"\brepeat", reading.left) is not None
    if re.match(r"\W*(?:invite|add|include|remove|drop|take|delete)\b", reading.left) and wish.participants:
        return None if named or timed or _NEXT.search(reading.left) else Missing.EVENT
    if not (
        (named and (not repeat or wish.repeats))
        or wish.participants
        or (old and (len(timed) > 1 or wish.repeats))
        or (_NEXT.search(reading.left) and wish.title)
    ):
        return Missing.EVENT
    becomes = [phrase for phrase in timed if phrase.operator in ("to", "for", "until")]
    lengths = [phrase for phrase in reading.phrases if phrase.of(Lasts)]
    if lengths and _BY_SO_MUCH.search(reading.left):
        return Missing.TIME  # half an hour later than what? a wish has the new time
    lasts = any(phrase.operator == "to" for phrase in lengths)
    return None if becomes or wish.repeats or wish.place or lasts else Missing.DATE
