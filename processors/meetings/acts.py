"""What is wanted: put in, remind, ask, take out, or change.

Enters: the text. Leaves: `Act`: the action, whether it is a question, and the text without politeness. Guaranteed: the
verb at the head of a clause decides, and the first clause that commands; what is only looked at on the way ("open my
calendar and erase ...") does not. Nothing recognised is None, which is asked about.
Rejected: a trained classifier: 291 examples are too few to be exact, and its mistakes could not be explained.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from dataclasses import dataclass

from aios.processors.meetings.heads import LOOK, STATE, head
from aios.processors.meetings.said import GAP
from aios.processors.meetings.wish import Action

_ASSISTANT = r"(?:olly|pda|alexa|siri|cortana|google|hey|hi|hello|ok|okay|yo|dear|assistant|computer|jarvis|bixby|robot|bot|sir|madam|so|um|uh|well|oh|now|also|then|but|and|actually|good (?:morning|afternoon|evening|day))"
_POLITE = (
    r"(?:i|we)(?:'ve| have)? (?:gotta|must|got to|should|ought to|will|'ll)(?= (?:see|get|know|hear|view|check|schedule|book|add|set|create|cancel|delete|remove|clear|move|reschedule)\b)",
    rf"{_ASSISTANT}\b",
    r"please\b", r"kindly\b", r"only\b", r"just\b", r"quickly\b", r"go ahead and\b", r"be sure to\b", r"make sure (?:that )?(?:you |to )?(?=\w+ (?:me|my|all|the)\b)(?!i\b)",
    r"(?:can|could|would|will|might) (?:you|u|we|ya)(?: be able to| please| kindly| just| mind| help me(?: to)?)*\b(?! (?:have|be|see|do you)\b)",
    r"(?:i|we)(?: would|'d| do| really| just)* (?:like|want|need|wish|prefer|love) (?:for )?(?:you|u) to\b",
    r"(?:i|we)(?: would|'d| really| just| do)* (?:like|want|need|wish|prefer|love) to(?= (?:please |also )?(?:see|get|know|hear|view|look|check|schedule|book|add|set|make|create|cancel|delete|remove|erase|clear|move|reschedule|change|ask|plan|put|find|arrange|organi[sz]e|postpone|update|edit|read|list|show|mark|enter|insert|record|note|save|invite|start|repeat)\b)",
    r"(?:can|could|may|might|shall|should) (?:i|we) (?:please )?(?=(?:see|get|know|hear|view|look|check|schedule|book|add|set|make|create|cancel|delete|remove|move|reschedule|change|ask)\b)",
    r"(?:i|we) (?:wish|want|need|would like|'d like)(?= (?:this|that|all|my|the) .* (?:to be )?(?:removed|deleted|cancelled|canceled|erased|cleared)\b)",
    r"(?:do me a favou?r and|(?:are|will) you (?:be )?able to|any chance (?:you|i|we) (?:can|could)|see if (?:you|we|i) can|i(?:'m| am) (?:looking|trying|hoping) to|i was wondering if you (?:can|could)|help me(?: to)?|try to|you (?:should|must|need to|have to|can)|let's try to|would it be possible to|is it possible (?:for you )?to|i need your help to|i need help to|do you mind|mind)\b",
    r"(?:let me|allow me to)(?= (?:see|check|view|hear|look)\b)",
)  # fmt: skip
_POLITE_START = re.compile(r"(?:\W*(?:" + "|".join(_POLITE) + r"))+[\s,.!:;-]*")
_POLITE_END = re.compile(
    r"[\s,.!?;:-]*(?:\b(?:please|thanks|thank you|thankyou|olly|pda|alexa|siri|(?<!with )(?<!at )google|ok|okay|right|for me|will you|would you|can you|could you)\b[\s,.!?;:-]*)*$"
)
_CLAUSE = re.compile(
    r"(?:^[\s\x00,]*|\x00[\s,]+|[,.;:!?]\s+|\s(?:and|then|so|but|n|&)\s+)(?:(?:please|then|also|just|kindly|you|can you|could you|i want you to|will you|would you)\s+)*"
)

_LEADING = f" ,.!:;-{GAP}"
QUESTION = re.compile(
    r"(?:(?:at|on|in|for|with|from|to|by|until|about|during) )?(?:what|whats|what's|what're|when|when's|whens|which|who|who's|whose|whom|where|where's|how|how's|why|is|are|was|were|am (?=i\b|we\b)|do(?! (?:not|remind|please|add|set|let|send|make)\b)|does|did|have (?:i|we|you|there|any|all|my|the)|has|had|"
    r"will (?!you)|shall|should|would (?:i|there|it)|(?:can|could|would) (?!(?:you|u|we|ya|someone|somebody|anyone|the assistant|it|this|that)\b)[\w'. ]{1,30}? (?:do|make|meet|come|join|attend|be)\b|can i\b|could i\b|any(?:thing|one)?\b|time time|isn't|aren't|don't (?!let|forget|remind|you forget)|doesn't|didn't|got any|are we|what all)\b"
)
PAST = re.compile(
    r"(?:did(?! (?:i|we|you) (?:ever |already )?(?:set|add|schedule|put|book|make|create|enter|plan|save|invite)\b)|was|were|had|have (?:i|we) (?:had|met|been|done)|how (?:many|often|much)(?: \w+){0,4} (?:did|were|was|had)|(?:what|who|when|where|which)(?: \w+){0,3} (?:did|was|were|had))\b"
)

_TAKE_OUT = re.compile(
    r"\b(?:(?:to be |be |get |is to be )?(?:removed|deleted|erased|cleared|wiped|taken (?:off|out)|dropped)\b|(?:i'm|i am|we're|we are) (?:no longer|not) (?:\w+ing|going to|able to|doing|available|attend)|"
    r"(?:i|we) (?:can't|cannot|can not|won't|will not) (?:make|attend|go|be (?:at|in|there|able|attending|going|coming|doing|making)|come|do)\b|(?:don't|do not) (?:want|need) .{1,60}(?:any ?more|any longer|on my (?:calendar|schedule))|no longer (?:need|want|going)|get rid of|to be cancelled|to be canceled|(?:is|was|got|has been|been) (?:cancelled|canceled|called off)|i (?:want|need) to cancel)"
)
_STATED_ANYWHERE = r"(?:i|we)(?:'ll| will| am going to|'re going to| are going to) (?:go|have|be|meet|attend|visit|see)\b|(?:i|we) have (?:an?|my|to)\b"
_ASKED_LAST = re.compile(r"(?:\bright|\bcorrect|\bisn't (?:it|that)|\bdon't i|\baren't i|\bdo i(?: have)?)\s*\?\s*$")
_TOLD = re.compile(
    r"(?:my |our |the )?[\w' ]{1,80}? (?:is|are|will be|takes place|happens|starts?|begins?|lands|arrives?|leaves|departs|ends|opens|closes|sits|meets|comes|goes|visits|returns|flies|performs|speaks|runs|falls|graduates|turns|expires|premieres|resumes|reopens|kicks off|finishes|is due|are due)(?: going to be)?(?: on| at| in)? ?\x00"
)
_DETERMINED = re.compile(r"\b(?:an?|the|my|our|this)[\s\x00]+$")
_REPEATED = re.compile(r"\b(?:repeat|make|set) (?:it|that|this)\b")
_ANYWHERE = ((Action.SCHEDULE, r"\b(?:be|get|have it) (?:added|scheduled|put|booked|created|entered|marked)\b"), (Action.REMIND, r"\b(?:remind|reminder|notify|alert)\b"), (Action.CANCEL, r"\b(?:delete|remove|cancel|erase)\b"), (Action.CHANGE, r"\b(?:reschedule|postpone)\b"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Act:
    """action None: none is known. body: from where to where the text says something. stated: told, not asked for."""

    action: Action | None
    start: int
    end: int
    question: bool = False
    past: bool = False
    stated: bool = False
    bare: bool = False
    """No verb at all: only a thing and perhaps a time."""


def act(low: str) -> Act:
    """low: in lower case, GAPs where the phrases about time are."""
    polite = _POLITE_START.match(low)
    start = polite.end() if polite else 0
    start += len(low[start:]) - len(low[start:].lstrip(_LEADING))
    tail = _POLITE_END.search(low, start)
    end = max(start, tail.start() if tail else len(low))
    body = low[start:end]
    if _ASKED_LAST.search(low):
        return Act(Action.QUERY, start, end, question=True)
    told = (
        GAP in low[:start]
        and re.match(r"(?:is|are|was|will be)\b(?! (?:there|any|i|we|you)\b)", body)
        and not low.rstrip().endswith("?")
    )
    if told and not re.search(r"\b(?:remind|alert|notify|cancel|delete|remove)\b", body):
        return Act(Action.SCHEDULE, start, end, stated=True)
    if (
        not told
        and QUESTION.match(body)
        and not re.match(r"(?:how|what) about\b|why don't (?:we|i)\b|shall we\b|is to be\b", body)
    ):
        return Act(Action.QUERY, start, end, question=True, past=bool(PAST.match(body)))
    return _commanded(body, start, end)


def _commanded(body: str, start: int, end: int) -> Act:
    heads: list[tuple[int, str]] = []
    for place in _clauses(body):
        if _DETERMINED.search(body[:place]):
            continue  # a (monthly) review
        if (not heads or body[:place].rstrip(" ,")[-1:] != GAP) and (action := head(body[place:])):
            heads.append((place, action))
    strong = [action for _, action in heads if action not in (LOOK, STATE)]
    if strong == [Action.CHANGE] and _TOLD.match(body) and _REPEATED.search(body):
        return Act(Action.SCHEDULE, start, end, stated=True)
    if strong:
        return Act(Action(strong[0]), start, end)
    if _TAKE_OUT.search(body) or (
        heads and heads[0][1] == LOOK and re.search(r"\b(?:delete|remove|erase|cancel)\b", body)
    ):
        return Act(Action.CANCEL, start, end)
    told = GAP in body and not (heads and heads[0][0] == 0)
    kinds = [action for place, action in heads if not (told and action == LOOK and GAP in body[:place])]
    for action, pattern in _ANYWHERE:
        if (not kinds and re.search(pattern, body)) or (STATE in kinds and re.search(pattern, body)):
            return Act(action, start, end)
    if not kinds and _TOLD.match(body):
        return Act(Action.SCHEDULE, start, end, stated=True)
    if LOOK in kinds:
        return Act(Action.QUERY, start, end)
    if STATE in kinds or (not kinds and re.search(rf"\b(?:{_STATED_ANYWHERE})", body)):
        return Act(Action.SCHEDULE, start, end, stated=True)
    return Act(None, start, end, bare=True)


def _clauses(body: str) -> list[int]:
    return [match.end() for match in _CLAUSE.finditer(body)]
