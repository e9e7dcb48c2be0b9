"""What a request names beside its times: what it is called, who takes part, where, and what the room must have.

Enters: the text with the phrases about time taken out. Leaves: `Named`. Guaranteed: words as they were said, without a
leading "my" or "the"; a thing to do ("pick up John from the airport") keeps all its words, and no place or person is
taken from it. General words ("event", "schedule") name nothing.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from aios.processors.meetings import grammar as g
from aios.processors.meetings.acts import Act
from aios.processors.meetings.framing import KEPT_PAIRS, framed, trimmed
from aios.processors.meetings.grammar import listed
from aios.processors.meetings.phrases import Phrase
from aios.processors.meetings.said import GAP, Said
from aios.processors.meetings.vocabulary import (
    BOOKED,
    CALENDAR,
    DETERMINERS,
    EVENTS,
    FILLERS,
    GENERAL,
    KINDS,
    NEEDS,
    VERBS,
    singular,
)
from aios.processors.meetings.wish import PEOPLE_MAX, WORDS_CHARS_MAX, Action

_TO_DO = re.compile(
    r"\b(?:remind(?:er)?|alert|notify|tell|forget|remember|warn|ping|nudge|prompt|alarm|notification|text|message|me|sure|notified|reminded|alerted|warned)s?"
    rf"(?: (?:me|us|him|her|my \w+|yourself|for me))?[ {GAP},]*(?:that )?(?:(?:i|we) (?:need|have|ought|am supposed|'ve got|am|got|want) )?to(?: not forget to| remember to)? (?P<do>(?!(?:remind|alert|notify|set a reminder)\b)[a-z].*)"
)
_TO_DO_THAT = re.compile(
    r"\b(?:remind|make sure|sure|forget|remember|notify|alert)\b(?: me)?(?: that)? (?:i|we) (?:must|should|need to|have to|got to|gotta|'ve got to|will|ought to|am supposed to)(?: not forget to)? (?P<do>[a-z].*)"
)
_DOING_IT = re.compile(
    r"\b(?:about|of) (?P<do>(?!(?:meeting|wedding|training|briefing|evening|morning|building)\b)[a-z]{2,}ing (?:in|out|up|off|back|over|the|my|our|their|his|her|a|an|some|to)\b.*)"
)
_TOLD_THAT = re.compile(
    rf"\bremind (?:me|us)[ {GAP}]* that (?P<do>(?!(?:i|we|it|it's|there|my \w+ is|the)\b (?:have|is|are|'ve)|(?:[\w']+ ){{1,4}}(?:is|are) *(?:due *)?(?:{GAP}|$))[a-z].*)"
)
_BEFORE_EVENT = re.compile(
    rf"\bremind (?:me|us) {GAP} *(?:the|my|our) [\w'-]+(?: (?!to\b)[\w'-]+){{0,4}} to (?P<do>[a-z].*)", re.IGNORECASE
)
_CALLED = re.compile(
    r"\b(?:called|named|titled|entitled|labeled|labelled|saying|that says|title|name(?! of\b)|with the (?:title|name))\b[:\s]+(?P<name>[^\x00,.;]+)"
)
_QUOTED = re.compile(r'"([^"]{1,200})"')
_ABBREVIATED = r"(?:(?:drs?|mr|mrs|ms|profs?|st|jr|sr)\.\s?)"
_STOP = rf"(?=\s*(?:{GAP}|$|[!?;:]|,? (?:on|at|in|for|about|to|from|regarding|re|during|into|concerning|that|which|who|so|because|if|is|are|please|and (?:remind|delete|remove|add|put|set|cancel|send|invite|tell|let|make)|then|starting|scheduled|this|next|i|not|sometime|somewhere|over|via|as|every|it|when|where|while|off|up|still|going|happening|planned|coming|was|will|be|ends?|ended|has|have|should|must|needs?|starts?|started|begins?|takes?|lasts?|happens?|again|too|instead|gets?|got|repeats?|repeated|recur(?:ring)?|weekly|monthly|an? (?:recurring|repeating)|moved|cancell?ed|changed|confirmed)\b))"
_WITH = re.compile(
    rf"\b(?:together )?with (?P<people>(?:{_ABBREVIATED}|[^{GAP}!?;:.])+?\.?)(?: from (?:the )?(?!my\b|our\b|{g.CLOCK_SAID})[a-z]+)?{_STOP}|\b(?:along )?with (?P<rest>(?:{_ABBREVIATED}|[^{GAP}!?;:.])+)$",
    re.IGNORECASE,
)
_SOMEBODY = r"(?!(?:the|my|our|an?|any\w*|some\w*|what|when|it|that|this|every\w*|all|on|in|at|for|next)\b)\w"
_MEET = re.compile(
    rf"\b(?:meet|(?<!\ban )(?<!\bthe )invite|inviting|(?<=i'm )meeting|(?<=am i )meeting|(?<=going to be )meeting|(?<=i be )meeting|(?<=we be )meeting|(?<=are we )meeting|(?<=i am )meeting|(?<=we're )meeting|(?<=\bi )see(?= (?:(?-i:[A-Z])|(?:dr|mr|mrs|ms|prof)\b))|(?<=do i )see(?= {_SOMEBODY})|(?<=will i )see(?= {_SOMEBODY})|(?<=time i )see(?= {_SOMEBODY})|(?<=am i )seeing(?= {_SOMEBODY})|join|joining|meeting between)(?: up)?(?: with)? (?P<people>(?:{_ABBREVIATED}|[^{GAP}!?;:.])+?\.?){_STOP}",
    re.IGNORECASE,
)
_MADE_WITH = re.compile(r"(?:,? +(?:and|&|plus|as well as|along with) +|, ?|; ?| with | ?& ?)", re.IGNORECASE)
_PLACE = re.compile(
    rf"(?<!fit)(?<!squeeze)(?<!pencil)\s(?:at|in|@) (?!for\b|what\b)(?:the |my |our )?(?P<place>[^{GAP}!?;]+?)(?=\s*(?:{GAP}|$|[!?;]| (?:for|with|about|to|on(?! (?:\w+ ){{1,2}}(?:street|st|avenue|ave|road|rd|lane|drive|boulevard|floor|campus)\b)|and|is|that|from|starting|which)\b))",
    re.IGNORECASE,
)
_ONLINE = re.compile(
    r"\s(?:on|via|over|through|using) (?P<place>zoom|skype|teams|google meet|webex|the phone|phone|facetime|hangouts|slack)\b",
    re.IGNORECASE,
)
_MOVED_TO = re.compile(
    rf"\sto (?P<place>(?:the |my |our )?(?:[\w']+ )?(?:room|office|hall|caf[eé]|boardroom|library|lobby|studio|kitchen|canteen|building)(?: \w{{1,3}})?)(?=\s*(?:{GAP}|$|[.!?;]))",
    re.IGNORECASE,
)
_ROOM_FOR = re.compile(
    rf"\b(?:the|our) (?P<room>(?!meeting room)(?:[\w']+ ){{1,2}}room|boardroom)\b(?:[ {GAP}]+|, )for (?:the |our |my |an? )?(?P<what>(?!(?:me|us|\d+|\w+ people)\b)(?:(?! with\b)[^{GAP}.,;!?])+)",
    re.IGNORECASE,
)
_NOT_PLACES = frozenset(
    listed(
        "person advance mind case order addition general total least most all once first last it them there me particular question charge"
    )
)
_ANY_KIND = re.compile(
    rf"(?:any|all|some|every|each|which|what|how many) (?:{'|'.join(sorted(KINDS | GENERAL))})s?\b", re.IGNORECASE
)
_PRONOUNS = frozenset(listed("me us myself you with for him her them it that this"))
_EDGE = " ,.;:!?-'\"()&"
_GROUP = re.compile(
    r"\b(?:team|group|department|staff|crew|board|committee|family|office|people|folks|employees|colleagues|everyone|everybody|guys|class|squad|clients|parents|friends|kids|managers|members|others)\b"
)
_MANY = frozenset(listed("events things entries items activities list lists"))
_BREAKS = [pair.split() for pair in KEPT_PAIRS if pair.endswith(" break")]
_MANY_ALONE = _MANY | {"plans"}
_CALENDAR_WITH = re.compile(r"\b(calendar|schedule|agenda|diary) with (?=an? |the |my )", re.IGNORECASE)
_ITS_TIME = re.compile(r"\b(?:when |that )?it'?s (?:the )?time (?:for|of)\b", re.IGNORECASE)
_OTHERS = re.compile(
    r"\bremind (?!me\b|us\b|about\b|of\b|to\b|that\b|for\b|the\b)(?P<people>(?:my )?[\w'.]+(?:(?: and| &)? (?!about|of|to|that|for|and)[\w'.]+)?) (?=(?:\x00 ?)?(?:about|of|to|that)\b)",
    re.IGNORECASE,
)
_OF_WEEK = re.compile(r"\bdays? of the (?:week|month)\b", re.IGNORECASE)
_ADDED = re.compile(
    rf"\W*(?:add|include|remove|drop|take|delete) (?P<people>[^{GAP}]{{1,80}}?)(?= (?:to|from|in) (?:my|the|our|{GAP}))",
    re.IGNORECASE,
)
_OWNERS = re.compile(
    r"\b(doctor|dentist|mom|mum|dad|mother|father|brother|sister|wife|husband|son|daughter|friend|boss|grandma|grandpa|aunt|uncle|cousin)s (?=\w)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """plural: it was more than one ("my meetings"). to_do: a thing to do. rest: what is left and unexplained."""

    title: str = ""
    people: tuple[str, ...] = ()
    place: str = ""
    needs: tuple[str, ...] = ()
    plural: bool = False
    to_do: bool = False
    of_event: bool = False
    """A thing to do by when an event begins that the calendar can be asked for."""
    general: tuple[str, ...] = field(default=())
    """The general words that were said ("event"), which name nothing."""


def named(text: str, act: Act) -> Named:
    """text: without times and politeness."""
    if act.action is Action.REMIND:
        text = _ITS_TIME.sub("for", re.sub(r"(?i)\bwake (?:me|us) up\b", "remind me to wake up", text))
        if others := _OTHERS.search(text):
            rest = named(text[: others.start()] + "remind me " + text[others.end() :], act)
            return replace(rest, people=tuple(dict.fromkeys((*_people(others["people"]), *rest.people))))
        if found := _BEFORE_EVENT.search(text):
            return replace(_thing_to_do(found["do"]), of_event=True)
        for pattern in (_TO_DO_THAT, _TOLD_THAT, _TO_DO, _DOING_IT):
            if found := pattern.search(text.lower() if len(text.lower()) == len(text) else text):
                return _thing_to_do(text[found.start("do") :])
    quoted = _QUOTED.search(text)
    if quoted and (title := _clean(quoted[1])):
        text = text.replace(quoted[0], GAP)
        _, people, place, needs = _taken(text)
        people = people or _taken(f" {quoted[1]}")[1]
        return Named(title=_bounded(title.lower()), people=people, place=place, needs=needs)
    return _thing(text, act)


def blanked(text: str, phrases: list[Phrase]) -> str:
    """The text with GAPs for the phrases about time; its places stay what they are."""
    for phrase in reversed(phrases):
        text = text[: phrase.start] + GAP * (phrase.end - phrase.start) + text[phrase.end :]
    return text


def without(said: Said, act: Act, phrases: list[Phrase]) -> str:
    """What is left of a text without its times and its politeness; a GAP where something was."""
    text = _PURPOSE.sub(f" {GAP} ", blanked(said.text, phrases)[act.start : act.end])
    return re.sub(rf"\s*{GAP}[{GAP}\s]*", f" {GAP} ", text)


def _thing_to_do(text: str) -> Named:
    text = CALENDAR.sub(" ", text)
    text = re.split(r"[.;!?]\s|,? (?:and|then|so|please) (?:please )?(?:set|add|put|remind|send|notify)\b", text)[0]
    text = re.sub(rf"\b(?:on|at|for|by|in|from|until|to|before|after)\s*(?={GAP}|$)", " ", text)
    title = _clean(text.replace(GAP, " "))
    return Named(title=_bounded(title.lower()), to_do=bool(title))


def _in_room(text: str) -> Named | None:
    """The small room for the appraisal: the second is what it is called."""
    found = _ROOM_FOR.search(text)
    if found is None:
        return None
    _, people, _, needs = _taken(text[: found.start()] + text[found.end() :])
    return Named(title=_bounded(_clean(found["what"]).lower()), people=people, place=_clean(found["room"]), needs=needs)


def _somebody(text: str) -> Named | None:
    """Book Ana for Thursday: a meeting with somebody, and no thing of that name."""
    found = BOOKED.match(text)
    if found is None or EVENTS.search(found["who"].lower()):
        return None
    _, others, place, needs = _taken(text[found.end("who") :])
    people = tuple(dict.fromkeys((*_people(found["who"]), *others)))[:PEOPLE_MAX]
    return Named(title="meeting", people=people, place=place, needs=needs)


def _thing(text: str, act: Act) -> Named:
    if act.action is Action.SCHEDULE and (told := _in_room(text) or _somebody(text)):
        return told
    if act.action is Action.SCHEDULE and (found := _MEETS.search(text)):
        _, people, place, _ = _taken(text)
        return Named(title=_bounded(_clean(found["do"]).lower()), people=people, place=place)
    if act.action is Action.REMIND:
        text = _REMIND_ME.sub(f" {GAP} ", text)
    if act.action in (Action.QUERY, Action.CANCEL) and (found := _NOTED.search(CALENDAR.sub(f" {GAP} ", text))):
        if found["link"] == "to":
            return Named(title=_bounded(_clean(found["do"]).lower()), to_do=True, plural=bool(found["many"]))
        text = _NOTED.sub(rf"{GAP} \g<do>", text)
    if to_do := _doing(CALENDAR.sub(f" {GAP} ", text), act):
        return to_do
    text, people, place, needs = _taken(
        CALENDAR.sub(f" {GAP} ", _OF_WEEK.sub("day", _CALENDAR_WITH.sub(r"\1 for ", text))),
        added=act.action is Action.CHANGE,
    )
    if act.action is Action.QUERY:
        text = _TO_FILL.sub(rf"\1 {GAP} ", text)
    if act.action is Action.SCHEDULE and (title := _generic(text) or _meant(text)):
        return Named(title=_bounded(title), people=people, place=place, needs=needs)
    if (called := _CALLED.search(text.lower())) and (title := _clean(called["name"])):
        return Named(title=_bounded(title), people=people, place=place, needs=needs)
    about = ""
    if act.action is not Action.REMIND and (found := _ABOUT.search(text)):
        about, text = _clean(found["about"]).lower(), text[: found.start()]
    pieces_of = [_words(piece) for piece in text.replace(",", f" {GAP} , {GAP} ").replace(".", " ").split(GAP)]
    pieces = [
        framed(words, act.action, head=len(words) == 1 or not (n and _expects(pieces_of[n - 1])))
        for n, words in enumerate(pieces_of)
    ]
    general: list[str] = []
    titles = []
    plural = False
    for piece in pieces:
        words, common = piece
        title, many = _headed(words, common)
        plural, general = plural or many, general + common
        if title:
            titles.append(title)
    title = _chosen(titles, about) or (_event_last(pieces_of) if act.action is not Action.QUERY else "")
    return Named(title=_bounded(title), people=people, place=place, needs=needs, plural=plural, general=tuple(general))


_ABOUT = re.compile(
    rf"{GAP} *(?:about|regarding|concerning|to discuss|to talk about) (?P<about>[^{GAP}.,;!?]+)", re.IGNORECASE
)
_PURPOSE = re.compile(
    r"\b(?:so (?:that|we|i)|because|since (?:i|we)|as (?:i|we) (?:am|are|have|will))\b.*$", re.IGNORECASE
)
_DOING = re.compile(
    r"(?:pick|call|buy|drop|visit|pay|finish|send|clean|walk|feed|water|wash|submit|return|bring|prepare|watch|renew|mow|cook|bake|mail|ship|order|email|text|fix|iron|collect|fetch|celebrate|hand in|turn in|sign|file|fill|print|babysit|repair|replace|vacuum|mop|fold|pack|register|attend|visit|deliver|drop off|pick up|sort|study|revise|practi[sc]e|paint|charge|refill|proofread|upload|grade|mark up)(?:ing)?"
    r" (?:up|out|off|in|the|my|an?|some|for|to|his|her|our|mom|dad|grandma|grandpa|essay|homework|report)\b"
)


def _expects(words: list[str]) -> bool:
    """Whether a piece before a time ends in a verb or a determiner: "cancel (tomorrow's) book club"."""
    return bool(words) and words[-1] in VERBS | DETERMINERS


def _doing(text: str, act: Act) -> Named | None:
    """A thing to do that is put in or looked up: it keeps all its words."""
    for piece in text.replace(",", f" {GAP} ").split(GAP):
        words, general = framed(_words(piece), act.action)
        title = " ".join(words)
        if _DOING.match(title):
            return Named(title=_bounded(title), to_do=True, general=tuple(general))
    return None


def _generic(text: str) -> str:
    """An event that is called what it is: "a test event"."""
    found = _GENERIC.search(text)
    return _clean(found[0]).lower() if found else ""


def _meant(text: str) -> str:
    """What somebody wants, has or is going to do, with its verb."""
    found = _MEANT.search(text)
    if found is None:
        return ""
    pieces = [piece for piece in found["do"].split(GAP) if piece.strip()]
    words = trimmed(_words(pieces[0]))
    if len(words) == 1 and len(pieces) > 1 and pieces[1].strip().startswith(("the ", "a ", "my ")):
        words += trimmed(_words(pieces[1]))
    return _clean(" ".join(words))


_TO_DO_VERBS = r"(?:see|attend|visit|watch|play|go|take|pick|drop|eat|work|study|run|swim|buy|pay|get|finish|call|clean|travel|fly|drive|leave|return|renew|submit|celebrate|volunteer|babysit|practice|train|perform|help|bring|feed|walk|paint|shop|hike|ski|dance|sing|bake|cook|move)"
_NO_THING = r"(?:the|an?|my|our|your|his|her|their|this|that|be|been|have|do|schedule|book|add|set|setup|put|make|create|plan|arrange|organi[sz]e|meet|hold|host|remember|remind|block|reserve|find|know|ask|mark|note|start|invite|cancel|record|log|enter|insert|save|fit|squeeze|secure|sit|speak|talk|discuss|use|pencil|something|you)"
_MEANT = re.compile(
    rf"\b(?:(?:(?:i|we)(?: would|'d| do| will| am| are|'m|'re|'ll| also| just| really)* (?:want|need|wish|plan|planning|hope|hoping|intend|have|like|love|supposed|ought) to|(?:i|we) must) (?!{_NO_THING}\b)"
    rf"|(?:i|we)(?: am|'m| are|'re) going to (?={_TO_DO_VERBS}\b)|(?:i|we)(?: will|'ll| shall) (?={_TO_DO_VERBS}\b))(?:go to (?={_TO_DO_VERBS}\b))?(?P<do>[a-z].*)",
    re.IGNORECASE,
)
_MEETS = re.compile(
    rf"\b(?:note|write(?: down)?|mark(?: down)?|put(?: down)?|record|jot(?: down)?|log|enter|add|save|schedule)(?: it)?(?: {GAP})?(?: in| down)? ?(?: {GAP})? ?that (?:i|we)(?: am|'m| are|'re| will|'ll| have| need| want| going| supposed)*(?: to)? (?P<do>meet (?:up )?(?:with )?[^{GAP}.,;!?]+)",
    re.IGNORECASE,
)
_REMIND_ME = re.compile(
    r"(?<=[^\W\d]{2}),? (?:(?:so|and|please|can you|could you|then) )*(?:remind|alert|notify) me(?: (?:of|about) (?:it|that|this))?\b",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"\b(?:generic|general|sample|test|dummy|placeholder|default|basic) (?:calendar )?(?:event|entry|item|appointment|meeting|reminder)\b(?! (?:called|named|titled|for|about|with))",
    re.IGNORECASE,
)
_NOTED = re.compile(
    rf"\b(?:reminder|alarm|alert|notification)(?P<many>s)?(?: (?:set|created|scheduled|made|placed|there|set up))* (?P<link>to|for|about|of)(?: the| my| an?)? (?P<do>(?!(?:me|us|my|the)\b)[a-z][^{GAP}.,;!?]+)",
    re.IGNORECASE,
)
_TO_FILL = re.compile(
    rf"(\b(?:free|available|availability|open|openings?|slots?|gaps?|space|(?<!the )time|room)\b(?: {GAP})?) (?:to (?!do\b|me\b)[a-z]|for (?:an? |some |another |lunch|dinner|breakfast))[^{GAP}]*",
    re.IGNORECASE,
)


def _event_last(pieces: list[list[str]]) -> str:
    """A name that is a verb too: "a monthly review"."""
    return next((words[-1] for words in pieces if words and words[-1] in VERBS and EVENTS.fullmatch(words[-1])), "")


def _chosen(titles: list[str], about: str) -> str:
    """The name that says more: of "meeting ... baseball practice" the second; what it is about belongs to it."""
    if not titles:
        return about
    first, *rest = titles
    if about:
        return f"{first} about {about}" if about not in first else first
    return rest[0] if rest and first in KINDS else first


def _taken(text: str, *, added: bool = False) -> tuple[str, tuple[str, ...], str, tuple[str, ...]]:
    """The text without people, place and needs, and those."""
    needs: list[str] = []

    def need(found: re.Match[str]) -> str:
        needs.append(singular(found["need"].lower()))
        return " "

    text = NEEDS.sub(need, text)
    people: list[str] = []
    if added and (found := _ADDED.match(text)):
        people.extend(_people(found["people"]))
        text = re.sub(r"^ in ", " to ", text[found.end("people") :])

    def person(found: re.Match[str]) -> str:
        people.extend(_people(found.groupdict().get("people") or found.groupdict().get("rest") or ""))
        return f" {GAP} "

    text = _WITH.sub(person, text)
    text = _MEET.sub(
        lambda found: f" meeting{person(found)}" if found[0].lower().startswith("meet") else person(found),
        text,
    )
    place = ""
    for pattern in (_MOVED_TO, _ONLINE, _PLACE) if added else (_ONLINE, _PLACE):
        found = pattern.search(text)
        if found and not place and _clean(found["place"]).lower() not in _NOT_PLACES:
            words = _clean(found["place"])
            if words and words.lower() not in GENERAL and not _ANY_KIND.match(words):
                place = words
                text = text[: found.start()] + f" {GAP} " + text[found.end() :]
    return (
        text,
        tuple(dict.fromkeys(people))[:PEOPLE_MAX],
        place[:WORDS_CHARS_MAX],
        tuple(dict.fromkeys(needs))[:PEOPLE_MAX],
    )


def _people(words: str) -> list[str]:
    found = []
    for piece in _MADE_WITH.split(words):
        name = _clean(piece, keep_stop=True)
        if name and name.lower() not in _PRONOUNS:
            found.append(name[:WORDS_CHARS_MAX])
    return found


def _words(piece: str) -> list[str]:
    return [word.lower() for word in (one.strip(_EDGE) for one in piece.split()) if word]


def _headed(words: list[str], general: list[str]) -> tuple[str, bool]:
    """The name in a piece, and whether it is many."""
    words = [word for word in words if word not in FILLERS and (word not in GENERAL or words[-2:] in _BREAKS)]
    many = any(word.endswith("s") and not word.endswith(("ss", "'s", "as", "is", "us")) for word in words[-1:]) or any(
        word in (_MANY if words else _MANY_ALONE) for word in general
    )
    words = [singular(word) if singular(word) in KINDS or word == "rooms" else word for word in words]
    return " ".join(words), many


def _clean(words: str, *, keep_stop: bool = False) -> str:
    words = " ".join(words.replace(GAP, " ").split()).strip(_EDGE.replace(".", "") if keep_stop else _EDGE)
    return re.sub(r"^(?:my|the|a|an|our) ", "", words, flags=re.IGNORECASE) if not keep_stop else words


def _bounded(title: str) -> str:
    title = re.sub(r"\b(?:dr|drs|dr's|doc|doc's)\.? (?=appointment|visit)", "doctor's ", title)
    return _OWNERS.sub(r"\1's ", title)[:WORDS_CHARS_MAX].strip()


def is_group(name: str) -> bool:
    return _GROUP.search(name.lower()) is not None
