"""Words that forbid what they name: "do not cancel the meeting", "no meeting on Friday", "please keep it".

Enters: the text in lower case, the action that was read. Leaves: whether it says that something is not to be done.
Guaranteed: whoever says it is asked what is meant, and nothing is carried out; the turns that mean a cancellation ("I do
not need it any more", "don't remind me", acts.py) are none of these. Rejected: reading what is forbidden as a wish of its
own: a calendar keeps no rule such as "never on Fridays".
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings.wish import Action

_OUT = r"(?:cancell?|delet|remov|eras|dropp?|clear|wip|scrapp?|discard|declin|dismiss|kill|skipp?|call off|get rid of)"
_OVER = r"(?:mov|re-?schedul|chang|postpon|push|shift|updat|edit|extend|shorten|renam|delay|modify|adjust|swapp?|alter|touch|bring forward)"
_IN = r"(?:schedul|book|plann?|add|arrang|organi[sz]|creat|invit|reserv|accept|meet|enter|block|sett?(?: up)?(?= (?:up|an?|any|the|it|anything|my)\b|ting)|putt?(?= \w)|mak(?=e (?:an?|any|the)\b|ing (?:an?|any|the)\b))"
_VERB = rf"(?:{_OUT}|{_OVER}|{_IN})(?:e|es|s|ing)?\b"
_DONE = rf"(?:{_OUT}|{_OVER}|{_IN})e?d\b"
_NOT = r"(?:(?<!why )(?<!whether or )(?:do|did|does|should|must|may|need|shall|will|would|can|could|have|am|are|is|was|were|is to|are to)(?: (?:you|i|we))? not|(?<!why )(?:don't|dont|doesn't|didn't|shouldn't|mustn't|needn't|isn't|aren't|wasn't|weren't)|(?:won't|can't|cannot|couldn't|wouldn't)(?! (?:you|u|we|i|it|this|that)\b)|never|not(?! (?:only|before|after|later|earlier|until|on|in|at)\b)|nobody|no[ -]one|none|nothing|no need to|under no circumstances)"
_LET_ME = r"(?!(?:forget|hesitate|fail|miss|remind|alert|notify|wake)\b|(?:let|allow) (?:me|us)\b)"
_BETWEEN = rf"(?:{_LET_ME}(?:please|ever|dare|to|go|and|just|even|also|yet|try|start|plan|intend|mean|meant|be|going|you|i|we|me|really|think|should|must|will|would|supposed|allowed|here|again) )"
_WANTED = (
    rf"(?:{_LET_ME}(?:want|like|wish|let|allow|need|ask|asked|tell|told|said|say|have|think)\b(?: [\w']+){{0,4}}? )"
)
_FORBIDDEN = re.compile(
    rf"\b{_NOT} {_LET_ME}(?:{_WANTED}|{_BETWEEN}{{0,4}}?)(?:{_VERB}|(?:be |get )?{_DONE})"
    rf"|\b(?:avoid|without|instead of|rather than|refrain from|stop|quit) (?:{_OUT}|{_OVER}|{_IN})ing\b"
    rf"|\b(?:{_OUT}|{_OVER}|schedul|book|plann?|arrang|creat|make?)e? (?:no(?! ?(?:later|earlier|sooner|more than|longer)\b)|nothing|none)\b"
)
_STILL_WANTED = re.compile(r"\b(?:don't|do not) (?:want|need) .{1,60}(?:any ?more|any longer)\b|\bnot yet\b")
_COURTESY = (
    r"(?:\W|please\b|kindly\b|hi\b|hey\b|hello\b|sorry\b|ok\b|okay\b|so\b|and\b|but\b|olly\b|alexa\b|siri\b|google\b)*"
)
_MEETS = r"(?:meetings?|calls?|appointments?|events?|bookings?|entry|entries|lunch(?:es)?|dinners?|parties|party|sessions?|reminders?|interviews?)\b"
_NONE_OF_IT = re.compile(
    rf"^{_COURTESY}(?:(?:absolutely )?no (?:more )?(?:[\w'-]+ ){{0,2}}?{_MEETS}|never\b(?! ?mind\b)|nothing\b(?! (?:but|else)\b))"
)
_KEPT = re.compile(
    r"\b(?:keep|leave) (?:it|them|that one|this one|everything|all of (?:it|them))(?=\s*(?:$|[.,;!?)]|(?:in|on|there|as|where|please|though)\b))"
    r"|\bbut (?:please )?(?:keep|leave|not)\b"
)
_STANDS = re.compile(
    rf"^{_COURTESY}(?:keep|leave) (?:the|my|our|this|that|these|those|all) (?:[\w'-]+ ){{0,2}}?{_MEETS}"
)
_AT_ONCE = re.compile(rf"^{_COURTESY}(?:do not|don't|dont|never) (?:please |ever |dare )?{_VERB}")
_WHETHER = re.compile(rf"^{_COURTESY}(?:should|shall) (?:i|we) (?:really |just |maybe )?{_VERB}")
"""Asked for advice: no order."""


def forbids(low: str, action: Action | None) -> bool:
    """low: the whole text in lower case."""
    if action is Action.REMIND:
        return False
    if action is Action.QUERY:
        return bool(_AT_ONCE.match(low))
    if _NONE_OF_IT.match(low) or _STANDS.match(low) or (_FORBIDDEN.search(low) and not _STILL_WANTED.search(low)):
        return True
    return action in (Action.CANCEL, Action.CHANGE) and bool(_WHETHER.match(low) or _KEPT.search(low))
