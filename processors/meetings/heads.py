"""The head of a clause: which verb stands there, and what it wants. A decision table, read from the top, first hit.

Enters: a clause in lower case. Leaves: an action, "look" (look something up), "state" (something is told), or None.
Guaranteed: every row is a pattern at the head of the clause and nothing else, so that what a clause means is the row
that it meets. What stands first is the exception to what stands below.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings.wish import Action

LOOK, STATE = "look", "state"
_REMIND = (
    r"(?:intimate|(?:keep (?:on )?)?remind(?:er|ing)?|alert|notify|notif(?:y|ication)|warn|ping|nudge|buzz|alarm|wake)\b|(?:don't|do not|dont|never) (?:let (?:me|us)|allow (?:me|us) to|forget)\b"
    r"|make (?:me )?(?:sure (?:that )?i|remember|aware)\b|(?:help me )?remember\b|(?:tell|text|email|message|call|prompt) me (?:to|\d+|an? \w+ before|before|when it(?:'s| is) time|when i have to)\b"
    r"|(?:be|get) (?:reminded|notified|alerted)\b|let me know (?:when it(?:'s| is) time|\d+|an? (?:hour|day|week)|before|when i (?:need|have|should)|to)\b|keep me (?:posted|reminded|informed|updated|notified)\b|i (?:need|want|would like|'d like) to (?:be|get) (?:reminded|notified|alerted)\b"
    r"|(?:(?:i|we)(?:'d| would)? )?(?:need|want|like) (?:a |an )?(?:reminder|alarm|alert|notification)|give (?:a |an )?(?:reminder|alarm|alert|notification)\b|give me (?:a |an )?(?:\S+ ){0,3}?(?:reminder|alarm|alert|notification|heads[ -]up|notice|warning)\b"
)
_NOTE_KIND = r"(?:reminders?|notifications?|alerts?|alarms?|notice|heads[ -]up|warning)\b(?! lists?\b)"
_PUT = (
    r"add|set(?: ?up)?|schedule|put|create|make|book|plan|arrange|organi[sz]e|mark|enter|insert|note|flag|save|block|pencil|log|record|include|register|place|"
    r"reserve|write|input|fix|jot|take(?: a)? note|new|invite|hold|keep|fill|post|store|start|send|establish|get me|find me|find|get|grab|nab|calendar(?= (?:an?|the|my|this|in)\b)|list|activate|turn on|enable|upload|attach|type|make a note|fit|squeeze|slot"
)
_CANCEL = (
    r"(?:bin|trash|lose|scratch|ditch|axe|chuck|drop)(?= ?(?:(?:my|the|our|that|all|everything)\b|\x00))|cancel(?:l?ed|ling)?|delete|deleting|remove|erase|clear|clean|empty|drop|destroy|wipe|purge|scrap|discard|unschedule|decline|reject|take (?:\S+ ){0,8}?(?:off|out|away)\b|take off|get rid|rm|"
    r"call off|nix|eliminate|dismiss|kill|strike|cross|blank|throw(?: (?:out|away|off)\b|(?= [^.;]{1,60} (?:out|away|off)\b))|undo|disregard|void|abort|rid|un-?book|uninvite|deschedule|forget about|forget(?= ?(?:(?:the|my|our|all|everything)\b|\x00))|free up|nuke|revoke|withdraw|turn off|disable|stop|end|skip|omit|make (?:my )?(?:\w+ )?(?:calendar|schedule|day|week) (?:empty|clear|clean|free|blank)"
)
_CHANGE = r"move|reschedule|change|postpone|push|shift|update|edit|extend|shorten|rename|bring forward|delay|modify|adjust|swap|switch|alter|repeat|re-?arrange|correct|prepone|defer|transfer|relocate|rebook|reset(?! (?:my |the )?(?:calendar|schedule|data|phone))|duplicate|copy|bump"
_LOOK = (
    r"show|list|tell|give|display|open|check|view|read|see|look|find|pull|bring|let (?:me|us) know|get|what|go|access|review|search|inform|describe|explain|fetch|print|say|remind me what|verify|confirm|see if|know|hear|scan|"
    r"browse|locate|launch|start|run|report|summari[sz]e|update me|brief|enumerate|count|retrieve|provide|name|query|examine|ask|search for|recall|recite|go through|run through|detail"
)
_STATE = (
    r"(?:i|we)(?:'ve| have)(?: got)?(?: a| an| my| to)?\b|i(?:'m| am) (?:having|going|meeting|attending|seeing|flying|hosting|planning)\b|we(?:'re| are) (?:having|going|meeting|flying)\b|(?:i|we)(?:'ll| will) (?:be |go |have |meet |attend )|"
    r"there(?:'s| is| will be)\b|need (?:an?|the)\b|(?:i|we) (?:should|must|could|ought to|have to) (?:meet|talk|speak|have|do|catch up|sit down)\b|(?:let's|lets|let us|shall we) (?:meet|have|do|go|get|grab|talk|schedule|plan|set|catch)\b|(?:i|we)(?: would|'d)? (?:need|want|like|wish)(?: to (?:have|meet|attend|go|take|do|be))?\b|(?:meet|have|hold) (?!i\b)|"
    r"(?:my|our) \w+ is (?:on|at)\b|how about\b|what about\b|why don't (?:we|i)\b"
)
_AGAIN = r"(?:\b(?:repeat|recur|recurring|repeating|weekly|daily|monthly|yearly|annual)|\x00)"
_NOUNS_AFTER = r"(?:schedule|plan|plans|calendar|list|note|record|meeting|place(?= of\b))(?:'s)?(?: (?:for|of|on|in|from|to)\b(?! (?:my|the|our) (?:calendar|agenda|diary|planner)\b)|[\s\x00]*$|s\b)"
_ENDS_NP = r"(?:(?!\b(?:for|about|to|that|of|before|on|at|in|when|regarding|by|from|with|and)\b)[^,.;])"
_MEETS = (
    r"(?:meetings?|appointment|call|party|lunch|dinner|conference|event|invitation|invite list|sync|stand-?up|retro(?:spective)?|review|session|catch-?up|interview|workshop|kick-?off|briefing|class|training|demo|"
    r"seminar|webinar|one-on-one|check-?in|offsite|huddle|chat|trip|breakfast|brunch|drinks)\b"
)
_LISTED = r"(?:schedule|calendar|agenda|events|appointments|meetings|plans|list|tasks|reminders)\b"
_OF_OLD = r"(?:meeting|appointment|event|call|reminder|party|birthday|all|my|the|everything)\b"
_LENGTH = r"(?:time|slot|\d+ (?:min|hour)|hour|half|room|opening|gap|space|window|spot|moment|(?:one|two|three|thirty|forty|fifteen|twenty)[ -](?:hour|min))"

_TABLE: tuple[tuple[str, str | None], ...] = (
    (r"remind me (?:again )?(?:what|where|which|who|how|if|whether)\b", LOOK),
    (rf"(?:make|set|turn|mark) (?:this|that|it)\b.*{_AGAIN}", Action.CHANGE),
    (r"make (?:(?:the|my|our|this|that)\b|\x00).*\b(?:long(?:er)?|short(?:er)?|earlier|later|start|end|finish)\W*$", Action.CHANGE),
    (rf"(?:add|include) (?:(?!{_OF_OLD})\w+ ?,? ?){{1,6}}?(?:to|in) (?:my|the|our|\x00+) ?(?:\w+ |\x00+ ?){{0,3}}?{_MEETS}", Action.CHANGE),
    (rf"add (?:(?!{_OF_OLD})\w+ ?){{1,3}}?to (?:the|our) (?!calend|schedule|agenda|diary|planner|list|event|date|day|book|end|start|next|first)\w+", Action.CHANGE),
    (rf"repeat (?:back|to me|that|(?:me )?(?:my|the|today's|tomorrow's|all|all my) (?:\w+ )?{_LISTED})(?!.*(?:every|daily|weekly|\x00))", LOOK),
    (rf"(?:open|start|begin) (?:up )?an? (?:new )?{_NOTE_KIND}", Action.REMIND),
    (r"(?:open|start|begin) (?:up )?(?:an? |the )?(?:new )?(?:event|meeting|appointment|entry|calendar entry)\b", Action.SCHEDULE),
    (
        rf"(?:(?:i|we) )?(?:need|want|would like|'d like|wanna see) (?:to (?:see|know|hear) )?(?:my|the|our|today's|tomorrow's|a list of|all) (?:\w+ )?{_LISTED}(?! (?:removed|deleted|cleared|cancelled|to be))",
        LOOK,
    ),
    (r"(?:update|edit|modify) (?:my|the) (?:calendar|schedule|agenda|diary) for\b", Action.SCHEDULE),
    (rf"(?:remove|delete|drop|take) (?:(?!{_OF_OLD})\w+ ?,? ?){{1,6}}?from (?:my|the|our|\x00+) ?(?:(?!{_LISTED})\w+ |\x00+ ?){{0,3}}?{_MEETS}", Action.CHANGE),
    (r"(?:throw|chuck|drop|stick|pop|toss)\b.{1,80}\b(?:on|in|onto|into) (?:my|the|our) (?:\w+ )?(?:calendar|schedule|agenda|diary|planner)\b", Action.SCHEDULE),
    (rf"(?:{_CANCEL})(?![\w'-])", Action.CANCEL),
    (r"(?:don't|do not|dont|never|stop|quit|no longer) (?:remind|alert|notify|wake)", Action.CANCEL),
    (r"(?:repeating|recurring) (?:event|meeting|reminder|appointment)s? (?!for\b)\w", Action.SCHEDULE),
    (r"(?:set|make) (?:the|my|our) .{1,80}?\b(?:to )?(?:repeat(?:ing)?|recur(?:ring)?)\b", Action.CHANGE),
    (_REMIND, Action.REMIND),
    (r"(?:let me know|tell me|inform me) *\x00[\s\x00]*(?:$|to\b)", Action.REMIND),
    (r"(?:i|we) (?:need|want|have|must) (?:to )?remember\b", Action.REMIND),
    (rf"set (?:an? |the |my )?{_NOTE_KIND}", Action.REMIND),
    (rf"(?:{_CHANGE})(?![\w'-])|(?:set|make) .{{1,80}}\b(?:to )?(?:repeat|recur)(?:ing)?\b\W*$", Action.CHANGE),
    (r"(?:make|create|give me|get me|get|send me|write|prepare|compile) (?:me )?(?:a |the )?(?:list|summary|overview)\b", LOOK),
    (r"invite\b.{1,80}\b(?:to|for) (?:(?:my|the|our|this|that)\b|\x00)", Action.CHANGE),
    (rf"(?:list|find|get|open)\b{_ENDS_NP}{{0,60}}?\b{_NOTE_KIND}", LOOK),
    (rf"(?:{_PUT})\b{_ENDS_NP}{{0,60}}?\b{_NOTE_KIND}", Action.REMIND),
    (_NOUNS_AFTER, None),
    (r"(?:review|update|run|brief|report) with\b", None),
    (rf"(?:find|get|give)(?: me)? (?:an? |some |us )?{_LENGTH}", Action.SCHEDULE),
    (r"find (?:me |us )?an? ?(?:\x00|day\b|date\b)", Action.SCHEDULE),
    (r"(?:get|find|secure|grab) (?:(?:me|us) an?|me|us|an?) (?:meeting|room|conference|appointment|slot|table|seat|call)", Action.SCHEDULE),
    (r"(?:sign|pencil|put|count) (?:me|us) (?:up|down|in)\b|secure\b", Action.SCHEDULE),
    (rf"(?!(?:list|find|get|send|start)\b)(?:{_PUT})(?![\w'-])", Action.SCHEDULE),
    (rf"(?:{_LOOK})(?![\w'-])", LOOK),
    (_STATE, STATE),
)  # fmt: skip
_ROWS = tuple((re.compile(pattern), wanted) for pattern, wanted in _TABLE)
_FILLED = re.compile(r"(?:(?:please|now|also|just|again|kindly|i will|i'll|to)\s+)+")


def head(clause: str) -> str | None:
    """What the verb at the head of a clause wants."""
    filled = _FILLED.match(clause)
    clause = clause[filled.end() :] if filled else clause
    return next((wanted for pattern, wanted in _ROWS if pattern.match(clause)), None)
