"""Requests whose words say what is wanted of whom, and yet not what is to be done: asked about, whatever else they name.

Enters: the text in lower case, GAPs where its times were, and the action that was read. Leaves: what is missing, or None. Guaranteed: a decision
table, first hit; each row is a kind of vagueness that a person would ask about, none is about one event. What needs the
rest of the reading (which event, which day) is doubts.py's.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings.wish import Action, Missing

_PUT_IN = frozenset({Action.SCHEDULE})
_MEETING = frozenset({Action.SCHEDULE, Action.CHANGE, Action.CANCEL})
_ACTS = _MEETING | {Action.REMIND}
_POLITE_IF = r"(?! (?:possible|necessary|needed|not|so|you (?:can|could|would|don't|do not|have|are able)|(?:it|that|this)(?:'s| is) (?:ok|okay|fine|possible|alright|all right)|\w+(?: and \w+)? (?:is|are) (?:free|available)|(?:she|he|they|we)(?:'s|'re) (?:free|available))\b)"
_ANY = frozenset({*Action})
_MANY = r"(?:events?|games?|meetings|festivals?|holidays?|birthdays|appointments|dates|classes|matches|concerts|activities|parties|programs?|stuff|things)"
_TABLE: tuple[tuple[frozenset[Action | None], str, Missing], ...] = (
    # all of something that is not here yet: which ones?
    (_PUT_IN, rf"\b(?:all|every|each)\b(?: (?:of )?(?:the|my|our|their|its))?(?:[ \x00]+[\w']+){{0,3}}?[ \x00]+{_MANY}\b", Missing.EVENT),
    # asked of a person, not of an assistant
    (_MEETING, r"^\W*(?:shall|should) (?:we|i)\b", Missing.MEANING),
    (frozenset({Action.QUERY}), r"^\W*(?:shall|should) we (?:meet|go|have|get|do|grab)\b", Missing.MEANING),
    (frozenset({Action.QUERY}), r"^\W*(?:keep|leave|hold)\b[^.;]{1,40}?\b(?:open|free|clear|empty|blank)\b", Missing.MEANING),
    (frozenset({Action.QUERY}), r"^\W*(?:tell|show|give|read|explain)(?: me)?(?: more)? (?:about |of )?(?:it|this|that|them)\W*$", Missing.EVENT),
    # what a word means, and what another person shall hear
    (frozenset({Action.QUERY}), r"^\W*what(?:'s| is| are| does) an? [\w ]{1,30}\W*$", Missing.MEANING),
    (_ANY, r"^\W*(?:tell|text|message|inform|let(?='?s? \w+ know)) (?!me\b|us\b|about\b|times?\b|dates?\b|what|when|where|which|who|how|if\b|the\b|my\b|all\b|every)[\w']+ (?:the|that|my|to|about|know|i)\b", Missing.MEANING),
    # about the assistant, about the calendar as a thing, and about other things
    (_ANY, r"^\W*(?:hear me|what can you|what do you (?!have|see|show)|who are you|how are you|what did (?:i say|you)|how (?:do|does|did)\b.{1,40}\bworks?\W*$)", Missing.MEANING),
    (_ANY, r"^\W*(?:share|sync(?! with\b)|synchroni[sz]e|export|import|forward|back ?up|link|connect)\b", Missing.MEANING),
    (_ANY - {Action.REMIND}, r"\b(?:grocery|groceries|shopping|wish|contacts?|packing|play|reading|watch)[ -]?lists?\b", Missing.NOT_CALENDAR),
    (frozenset({Action.QUERY}), r"\b(?:movies?|films?|bands?) (?:are |is )?(?:playing|showing|out|on)\b", Missing.NOT_CALENDAR),
    # keep a day free: with what?
    (frozenset({*Action, None} - {Action.QUERY}), r"\b(?:keep|leave|hold|make sure|stays?|remains?|kept|left)\b[^.;]{1,40}?\b(?:open|free|clear|empty|available|blank)\W*(?:(?:on|in|for) (?:my|the) (?:calendar|schedule|agenda)\W*)?$|\b(?:need|want) (?:an? |my )?(?:clear|free|open|empty) (?:calendar|schedule|agenda|day)\b|\b(?:keep|leave)\b[^.;]{1,40}?\b(?:open|free|clear|empty) (?:on|in|from) my (?:calendar|schedule|agenda)\b", Missing.MEANING),
    # only if: nobody here knows whether; put right in mid-sentence: which of the two?
    (_MEETING, rf"\b(?:if{_POLITE_IF}|unless|provided(?: that)?|as long as|assuming|depending on)\b", Missing.MEANING),
    (_ACTS, r"\x00[\s,.;-]*(?:or rather|sorry|no,|no wait|wait|i mean|i meant|scratch that|correction|make (?:that|it)|actually)[\s,]*[\x00\d]", Missing.MEANING),
    (_ACTS, r"^\W*(?:maybe|perhaps|possibly)\b|\b(?:would|does|will)\b\s*\x00[\s\x00]*(?:work|suit)\b", Missing.MEANING),
    # a clock that has no such time
    (_ACTS, r"(?<![\d:.])\d{1,2}:\d\d(?![\d:])|\bat \d{1,3}\s*(?:$|[\x00.,;!?])", Missing.TIME),
    # another name, a second one: a wish has neither
    (frozenset({Action.CHANGE}), r"^\W*(?:copy|duplicate|rename|retitle|(?:change|update|edit) the (?:name|title|subject)|call\b)", Missing.MEANING),
    # put into what is there: a thing, and nobody
    (frozenset({Action.CHANGE}), r"^\W*(?:add|attach|include|put) (?:an? |some )[\w ]{1,40}? to (?:the|my|our|\x00)", Missing.MEANING),
    # somebody whose name is not known
    (_ACTS, r"\b(?:what(?:'s| is| was) (?:his|her|their) (?:name|face)|what'?s[- ]?(?:his|her)[- ]?(?:name|face)|(?:forgot|forget|can't remember|don't remember|don't know|not sure of) (?:his|her|their|the) names?|whoever|somebody from|someone from)\b", Missing.PERSON),
    # as it always was, and what somebody else shall be asked
    (frozenset({*Action, None} - {Action.QUERY}), r"^\W*(?:the )?(?:same|usual)\b[ \x00]+(?:as|for|again|please)", Missing.MEANING),
    (_ANY, r"^\W*(?:(?:schedule|book|add|put in|set up) )?(?:the )?(?:usual|same again)\b(?! \w+ing\b| [a-z]+ (?:with|at)\b)", Missing.MEANING),
    (_ANY, r"^\W*ask (?!me\b|us\b|about\b|for\b)[\w']+", Missing.MEANING),
    # what shall become of it is said in a word that may mean to lose it
    (frozenset({*Action, None} - {Action.REMIND}), r"\b(?:do the needful|do your (?:thing|magic)|work your magic|sort (?:this|it|that) out|take care of (?:it|this|that)|make it work)\b", Missing.MEANING),
    (frozenset({Action.CANCEL, None}), r"\b(?:format|reset|process|handle|sort out|do something about|deal with)\b", Missing.MEANING),
)  # fmt: skip
TEMPLATE = re.compile(
    r"\b(?:event|date|time|day|person|name|place) [b-hj-z]\b(?!')|\bx{2,}\b|\bxyz\b|\.\.\.|…|\b[xyz] (?:day|date|event|time|person)\b|\bso and so\b|\bsuch and such\b|<\w*>|\[\w*\]|_{2,}"
)
_ROWS = tuple((actions, re.compile(pattern), missing) for actions, pattern, missing in _TABLE)


def vague(left: str, action: Action | None) -> Missing | None:
    """left: without times and politeness."""
    return next((missing for actions, pattern, missing in _ROWS if action in actions and pattern.search(left)), None)


def template(low: str) -> Missing | None:
    """What a placeholder stands for."""
    found = TEMPLATE.search(low)
    if not found:
        return None
    return Missing.DATE if "day" in found[0] or "date" in found[0] else Missing.EVENT
