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

from aios.processors.meetings.said import GAP
from aios.processors.meetings.wish import Action

_ASSISTANT = r"(?:olly|pda|alexa|siri|cortana|google|hey|hi|hello|ok|okay|yo|dear|assistant|computer|jarvis|bixby|robot|bot|sir|madam|so|um|uh|well|oh|now|also|then|but|and|actually|good (?:morning|afternoon|evening|day))"
_POLITE = (
    rf"{_ASSISTANT}\b",
    r"please\b", r"kindly\b", r"just\b", r"quickly\b", r"go ahead and\b", r"be sure to\b", r"make sure (?:that )?(?:you |to )?(?=\w+ (?:me|my|all|the)\b)(?!i\b)",
    r"(?:can|could|would|will|might) (?:you|u|we|ya)(?: be able to| please| kindly| just| mind| help me(?: to)?)*\b(?! (?:have|be|see|do you)\b)",
    r"(?:i|we)(?: would|'d| do| really| just)* (?:like|want|need|wish|prefer|love) (?:for )?(?:you|u) to\b",
    r"(?:i|we)(?: would|'d| really| just| do)* (?:like|want|need|wish|prefer|love) to(?! (?:have|be|go|meet|attend|take|do)\b)",
    r"(?:can|could|may|might|shall|should) (?:i|we) (?:please )?(?=(?:see|get|know|hear|view|look|check|schedule|book|add|set|make|create|cancel|delete|remove|move|reschedule|change|ask)\b)",
    r"(?:i|we) (?:wish|want|need|would like|'d like)(?= (?:this|that|all|my|the) .* (?:to be )?(?:removed|deleted|cancelled|canceled|erased|cleared)\b)",
    r"(?:do me a favou?r and|help me(?: to)?|try to|you (?:should|must|need to|have to|can)|let's try to|would it be possible to|is it possible (?:for you )?to|i need your help to|i need help to|do you mind|mind)\b",
    r"(?:let me|allow me to)(?= (?:see|check|view|hear|look)\b)",
)  # fmt: skip
_POLITE_START = re.compile(r"(?:\W*(?:" + "|".join(_POLITE) + r"))+[\s,.!:;-]*")
_POLITE_END = re.compile(
    r"[\s,.!?;:-]*(?:\b(?:please|thanks|thank you|thankyou|olly|pda|alexa|siri|google|ok|okay|right|for me|will you|would you|can you|could you)\b[\s,.!?;:-]*)*$"
)
_CLAUSE = re.compile(
    r"(?:^[\s\x1f,]*|\x1f[\s,]+|[,.;:!?]\s+|\s(?:and|then|so|but|n|&)\s+)(?:(?:please|then|also|just|kindly|you|can you|could you|i want you to|will you|would you)\s+)*"
)

_LEADING = f" ,.!:;-{GAP}"
QUESTION = re.compile(
    r"(?:what|whats|what's|what're|when|when's|whens|which|who|who's|whose|whom|where|where's|how|how's|why|is|are|was|were|am|do|does|did|have (?:i|we|you|there)|has|had|"
    r"will (?!you)|shall|should|would (?:i|there|it)|can i\b|could i\b|any(?:thing|one)?\b|time time|isn't|aren't|don't (?!let|forget|remind|you forget)|doesn't|didn't|got any|are we|what all)\b"
)
PAST = re.compile(
    r"(?:did|was|were|had|have (?:i|we) (?:had|met|been|done)|how (?:many|often|much)(?: \w+){0,4} (?:did|were|was|had)|(?:what|who|when|where|which)(?: \w+){0,3} (?:did|was|were|had))\b"
)

_REMIND = (
    r"(?:remind(?:er|ing)?|alert|notify|notif(?:y|ication)|warn|ping|nudge|buzz|alarm|wake)\b|(?:don't|do not|dont|never) (?:let me|allow me to|forget)\b"
    r"|make (?:me )?(?:sure (?:that )?i|remember|aware)\b|(?:help me )?remember\b|(?:tell|text|email|message|call|prompt) me (?:to|\d+|an? \w+ before|before|when it(?:'s| is) time|when i have to)\b"
    r"|let me know (?:when it(?:'s| is) time|\d+|an? (?:hour|day|week)|before|when i (?:need|have|should)|to)\b|keep me (?:posted|reminded)\b|i (?:need|want|would like|'d like) to be (?:reminded|notified|alerted)\b"
    r"|(?:need|want|would like) (?:a |an )?(?:reminder|alarm|alert|notification)|give me (?:a |an )?(?:\S+ ){0,3}?(?:reminder|alarm|alert|notification|heads[ -]up|notice|warning)"
)
_NOTE_KIND = r"(?:reminders?|notifications?|alerts?|alarms?|notice|heads[ -]up|warning)\b"
_PUT = (
    r"add|set(?: ?up)?|schedule|put|create|make|book|plan|arrange|organi[sz]e|mark|enter|insert|note|flag|save|block|pencil|log|record|include|register|place|"
    r"reserve|write|input|fix|jot|take(?: a)? note|new|invite|hold|keep|fill|post|store|start|send|establish|get me|find me|find|get|calendar|list|activate|turn on|enable|upload|attach|type|make a note|fit|squeeze|slot"
)
_PUT_NOT_TAKE = r"(?:take|turn|get|find|list|send|start|keep|hold|get me|find me|plan|schedule|calendar|post|fill|new)"
_CANCEL = (
    r"cancel(?:l?ed|ling)?|delete|deleting|remove|erase|clear|clean|empty|drop|destroy|wipe|purge|scrap|discard|trash|unschedule|take (?:\S+ ){0,8}?(?:off|out|away)\b|take off|get rid|rm|"
    r"call off|nix|eliminate|dismiss|kill|strike|cross|blank|throw|undo|disregard|void|abort|rid|un-?book|uninvite|deschedule|forget about|reset|format|free up|nuke|revoke|withdraw|turn off|disable|stop|end|skip|omit|make (?:my )?(?:\w+ )?(?:calendar|schedule|day|week) (?:empty|clear|clean|free|blank)"
)
_CHANGE = r"move|reschedule|change|postpone|push|shift|update|edit|extend|shorten|rename|bring forward|delay|modify|adjust|swap|switch|alter|repeat|re-?arrange|correct|prepone|defer|transfer|relocate|rebook|reset the time|duplicate|copy"
_LOOK = (
    r"show|list|tell|give|display|open|check|view|read|see|look|find|pull|bring|let (?:me|us) know|get|what|go|access|review|search|inform|describe|explain|fetch|print|say|remind me what|verify|confirm|see if|know|hear|scan|"
    r"browse|locate|launch|start|run|present|share|report|summari[sz]e|update me|brief|enumerate|count|retrieve|provide|name|query|examine|ask|search for|recall|recite|go through|run through|detail"
)
_STATE = (
    r"(?:i|we)(?:'ve| have)(?: got)?(?: a| an| my| to)?\b|i(?:'m| am) (?:having|going|meeting|attending|seeing|flying|hosting|planning)\b|we(?:'re| are) (?:having|going|meeting|flying)\b|(?:i|we)(?:'ll| will) (?:be |go |have |meet |attend )|"
    r"there(?:'s| is| will be)\b|(?:let's|lets|let us|shall we) (?:meet|have|do|go|get|grab|talk|schedule|plan|set|catch)\b|(?:i|we)(?: would|'d)? (?:need|want|like|wish)(?: to (?:have|meet|attend|go|take|do|be))?\b|(?:meet|have|hold) (?!i\b)|"
    r"(?:my|our) \w+ is (?:on|at)\b|how about\b|what about\b|why don't (?:we|i)\b"
)
_TAKE_OUT = re.compile(
    r"\b(?:(?:to be |be |get |is to be )?(?:removed|deleted|erased|cleared|wiped|taken (?:off|out)|dropped)\b|(?:i'm|i am|we're|we are) (?:no longer|not) (?:\w+ing|going to|able to|doing|available|attend)|"
    r"(?:i|we) (?:can't|cannot|can not|won't|will not) (?:make|attend|go|be|come|do)|(?:don't|do not) (?:want|need) .{1,60}(?:any ?more|any longer|on my (?:calendar|schedule))|no longer (?:need|want|going)|get rid of|to be cancelled|to be canceled|i (?:want|need) to cancel)"
)
_STATED_ANYWHERE = r"(?:i|we)(?:'ll| will| am going to|'re going to| are going to) (?:go|have|be|meet|attend|visit|see)\b|(?:i|we) have (?:an?|my|to)\b"
_ASKED_LAST = re.compile(r"(?:\bright|\bcorrect|\bisn't (?:it|that)|\bdon't i|\baren't i|\bdo i(?: have)?)\s*\?\s*$")
_ANYWHERE = ((Action.REMIND, r"\b(?:remind|reminder|notify|alert)\b"), (Action.CANCEL, r"\b(?:delete|remove|cancel|erase)\b"), (Action.CHANGE, r"\b(?:reschedule|postpone)\b"))  # fmt: skip


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
    if QUESTION.match(body) and not re.match(r"(?:how|what) about\b|why don't (?:we|i)\b|shall we\b|is to be\b", body):
        return Act(Action.QUERY, start, end, question=True, past=bool(PAST.match(body)))
    return _commanded(body, start, end)


def _commanded(body: str, start: int, end: int) -> Act:
    heads: list[tuple[int, str]] = []
    for place in _clauses(body):
        if (not heads or body[:place].rstrip(" ,")[-1:] != GAP) and (action := _head(body[place:])):
            heads.append((place, action))
    strong = [action for _, action in heads if action not in ("look", "state")]
    if strong:
        return Act(Action(strong[0]), start, end)
    if _TAKE_OUT.search(body) or (
        heads and heads[0][1] == "look" and re.search(r"\b(?:delete|remove|erase|cancel)\b", body)
    ):
        return Act(Action.CANCEL, start, end)
    kinds = [action for _, action in heads]
    for action, pattern in _ANYWHERE:
        if (not kinds and re.search(pattern, body)) or ("state" in kinds and re.search(pattern, body)):
            return Act(action, start, end)
    if "look" in kinds:
        return Act(Action.QUERY, start, end)
    if "state" in kinds or (not kinds and re.search(rf"\b(?:{_STATED_ANYWHERE})", body)):
        return Act(Action.SCHEDULE, start, end, stated=True)
    return Act(None, start, end, bare=True)


def _clauses(body: str) -> list[int]:
    return [match.end() for match in _CLAUSE.finditer(body)]


def _matches(pattern: str, text: str) -> bool:
    return re.match(rf"(?:{pattern})(?![\w'])", text) is not None


_NOUNS_AFTER = re.compile(
    r"(?:schedule|plan|plans|calendar|list|note|record|meeting)(?:'s)?(?: (?:for|of|on|in|from|to)\b|\s*$|s\b)"
)
_ENDS_NP = r"(?:(?!\b(?:for|about|to|that|of|before|on|at|in|when|regarding|by|from|with|and)\b)[^,.;])"


def _head(clause: str) -> str | None:
    """What the verb at the head of a clause wants: an action's name, "look", "state", or None."""
    clause = re.sub(r"^(?:please|now|also|just|again|kindly|i will|i'll|to)\s+", "", clause)
    if _matches(_CANCEL, clause) or re.match(
        r"(?:don't|do not|dont|never|stop|quit|no longer) (?:remind|alert|notify|wake)", clause
    ):
        return Action.CANCEL
    if re.match(r"(?:repeating|recurring) (?:event|meeting|reminder|appointment)s? (?!for\b)\w", clause):
        return Action.SCHEDULE
    if re.match(_REMIND, clause):
        return Action.REMIND
    if _matches(_CHANGE, clause) or re.match(r"(?:set|make) .{1,80}\b(?:to )?(?:repeat|recur)(?:ing)?\b\W*$", clause):
        if re.match(rf"(?:set|change|update|repeat) (?:an? |the |my )?{_NOTE_KIND}", clause) and clause.startswith(
            "set"
        ):
            return Action.REMIND
        return Action.CHANGE
    if re.match(
        r"(?:make|create|give me|get me|get|send me|write|prepare|compile) (?:me )?(?:a |the )?(?:list|summary|overview)\b",
        clause,
    ):
        return "look"
    if re.match(r"invite\b.{1,80}\b(?:to|for) (?:my|the|our|this|that)\b", clause):
        return Action.CHANGE
    if _matches(_PUT, clause) and re.match(rf"(?:{_PUT})\b{_ENDS_NP}{{0,60}}?\b{_NOTE_KIND}", clause):
        return Action.REMIND if not re.match(r"(?:list|find|get|open)\b", clause) else "look"
    if _NOUNS_AFTER.match(clause):
        return None
    if re.match(
        r"(?:find|get|give)(?: me)? (?:an? |some |us )?(?:time|slot|\d+ (?:min|hour)|hour|half|room|opening|(?:one|two|three|thirty|forty|fifteen|twenty)[ -](?:hour|min))",
        clause,
    ):
        return Action.SCHEDULE
    if _matches(_PUT, clause) and not _matches(r"list|find|get|get me|find me|send|start", clause):
        return Action.SCHEDULE
    if _matches(_LOOK, clause):
        return "look"
    if re.match(_STATE, clause):
        return "state"
    return None
