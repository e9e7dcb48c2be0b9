"""What a transcript or a hasty hand leaves out, put back: the apostrophes of "thursdays class", "whens", "dont".

Enters: a tidy text. Leaves: the text with its apostrophes. Guaranteed: nothing but apostrophes is added, so that no
word is lost and none comes in; "mondays and wednesdays", "yoga tuesdays at 7" stay the series that they are. Rejected:
a list of names: whose farewell it is ("garys"), is told by the occasion behind it.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

from aios.processors.meetings import grammar as g
from aios.processors.meetings.rewriting import rewriter

_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = r"(?:january|february|april|june|july|august|september|october|november|december)"
_NO_OWNED = rf"(?!(?:and|or|but|at|from|to|until|till|in|on|for|with|starting|beginning|please|after|before|between|by|of|off|only|is|are|was|were|every|each|this|next|the|i|we|when|as|if|except|not|with|around|about|it|me|{g.WEEKDAY}|{_DAY}s)\b)"
_OCCASIONS = r"(?:(?:\w+ )?(?:birthday|wedding|farewell|(?:baby |bridal )?shower|recital|surgery|graduation|anniversary|funeral|baptism|christening|retirement|engagement|party|send-?off|operation|appointment|check-?up|visit|housewarming|defen[cs]e|first day|last day|exam|interview|presentation|talk|review|flight|arrival))\b"
_COMMON = r"(?:girls|boys|kids|parents|friends|ladies|mens|sales|drinks|sports|news|games|christmas|cards|twins|neighbou?rs|colleagues|business|fitness|cocktails|tennis|athletics|clients?|mothers|fathers|presidents|years|this|his|its|was|is|has|us|as|thanks|always|series|students|guests|details|times|dates|days|weeks|months|hours|minutes|plans|events|appointments|meetings|reminders|alarms|tasks|things|lots|classes|lessons|sessions|teachers|employees|operations|physics|maths|politics|logistics|economics|analytics|gymnastics|aerobics|pilates|thomas|james|charles|chris|lucas|niklas|jonas|\w*day|\w+ss|does|sometimes|perhaps|besides|towards|afterwards|lets|shows?|gets|adds|needs|lists|reads|tells)"

_PUT_BACK = (
    (rf"(?<![\w'])(?<!every )(?<!each )(?<!all )(?<!on )(?P<a>{_DAY})s (?={_NO_OWNED}[a-z])", r"\g<a>'s "),
    (rf"\b(?P<w>my|the|this|next|last) (?P<a>{_DAY})s (?=\d)", r"\g<w> \g<a>'s "),
    (r"\b(?P<a>yesterday|today|tomorrow|tonight)s\b(?! and\b)", r"\g<a>'s"),
    (r"\b(?P<w>next|last|this) (?P<a>week|month|year|weekend)s (?=[a-z])(?!(?:and|or|in|on|at|is|are|from|to|until|the)\b)", r"\g<w> \g<a>'s "),
    (rf"(?<![\w'])(?P<a>{_MONTH})s (?=[a-z])(?!(?:and|or)\b)", r"\g<a>'s "),
    (r"\b(?P<a>what|when|where|who|how|that|there|he|she|let)s\b(?!')", r"\g<a>'s"),
    (r"\b(?P<a>do|does|did|is|are|was|have|has|had|wo|ca|could|would|should)nt\b", r"\g<a>n't"),
    (r"\b(?P<a>time|day|date)'?s (?=(?:the|my|our|it)\b)", r"\g<a> is "),
    (rf"\btwo thousand(?: and)? (?P<a>{g.WORDED})", lambda found: f"20{g.number(found['a']):02}"),
    (r"\b(?P<a>you|they)re\b", r"\g<a>'re"),
    (r"\b(?P<a>i)ve\b", r"\g<a>'ve"),
    (r"\b(?P<a>(?:you|they))ve\b", r"\g<a>'ve"),
    (r"\bim (?=[a-z])", "i'm "),
    (r"\bid (?=(?:like|love|prefer|rather|want|need)\b)", "i'd "),
    (r"\bill (?=(?:be|have|need|take|go|meet|see|get|not)\b)", "i'll "),
    (rf"\bits (?=(?:\d|{g.WORDED}|{g.WEEKDAY}|a|an|the|not|at|on|too|time|raining|over|off|been|no|my|our|in|just|gonna|going|for)\b)", "it's "),
    (rf"(?<![\w'])(?!{_COMMON}\b)(?P<a>[a-z]{{3,}})s (?={_OCCASIONS})", r"\g<a>'s "),
)  # fmt: skip
_put_back = rewriter(_PUT_BACK)


def spoken(text: str) -> str:
    """The text with its apostrophes."""
    return _put_back(text)
