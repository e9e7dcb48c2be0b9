"""What is said to a voice assistant out of habit, said plainly: "the day's agenda", "select all and delete", "my week".

Enters: a tidy text without what is said around the request. Leaves: the text with such turns replaced by the words that
verbs.py and plainly.py read. Guaranteed: as in plainly.py, each turn is a pattern with a bounded reach; a choice of two
times in a question ("at 2 or 3") is left out of it, because the answer tells which.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

from aios.processors.meetings import grammar as g
from aios.processors.meetings.rewriting import NOTE, polite, rewriter

_POLITE = polite()
_CALENDAR = r"(?:(?:my|the|our) )?(?:calendar|schedule|agenda|diary|planner)"
_OUT = r"(?:delete|remove|erase|cancel|clear)"
_MEAL = r"(?:lunch|dinner|breakfast|brunch|drinks|coffee|supper)"
_NAME = rf"(?!(?:an?|the|my|our|this|that|it|me|us|about|of|on|for|at|when|if|before|in|to|by|from|after|every|all|any|new|some|no|people|everyone|everybody|{_MEAL}|date|day|event|events|meetings?|appointments?|upcoming|up|down|{g.DAY_SAID})\b)[a-z][\w.-]*"
_SEEN = r"(?:doctor|dentist|movie|film|show|play|vet|lawyer|specialist|eye|game|match|concert|therapist|counsell?or|principal|manager|boss|teacher|mechanic|barber|nurse|accountant|optician|physician|surgeon|family|parents)"
_ASKED = r"(?P<asked>^\W*(?:is|are|does|do|did|was|were|will)\b[^.;!?]{2,80}?)"

_TURNS = (
    # all of it, a day of it
    (rf"^{_POLITE}(?:make|have|get) (?P<a>{_CALENDAR}|(?:my|the) (?:day|week|month|weekend)) (?:totally |completely |all )?(?:clear(?:ed)?|empt(?:y|ied)|blank|free|clean|wiped)\b", r"clear \g<a>"),
    (rf"^{_POLITE}free (?P<a>{_CALENDAR}|(?:my|the|our) (?:day|morning|afternoon|evening|week|weekend))\b", r"clear \g<a>"),
    (rf"^{_POLITE}(?P<a>clear|empty|wipe|free|cancel|erase|delete)(?: out| up)? (?:the|this) (?:whole |entire )?day(?=\W*$)", r"\g<a> today"),
    (rf"^{_POLITE}(?:terminate|exclude|uncheck|eradicate|obliterate|annul|retract) (?=(?:(?:all|every|any|the|my|our|this|that|next)\b|events?\b|meetings?\b|appointments?\b))", "cancel "),
    (rf"^{_POLITE}(?:select|choose|pick|highlight|find|locate|get) (?P<a>(?!out\b)[^.,;!?]{{2,60}}?),? and (?:then )?{_OUT}(?: it| them| those| these| that| this)?(?=\W*$)", r"delete \g<a>"),
    (rf"^{_POLITE}(?:select|choose|highlight) and (?={_OUT}\b)", ""),
    (rf"^{_POLITE}(?:delete|remove|erase) all(?=\W*$)", "delete everything"),
    (r"\bevery single (?=[a-z])", "every "),
    (rf"\b(?:monthly|every month),? (?P<a>[^.,;!?]{{2,60}}?) on (?:the )?(?P<b>first|second|third|fourth|last) (?P<c>{g.WEEKDAY_FULL})(?! (?:of|in)\b)", r"\g<a> on the \g<b> \g<c> of every month"),
    (r"\bthe day'?s (?P<a>agenda|schedule|events?|plans?|meetings?|appointments?)\b", r"today's \g<a>"),
    (rf"\bfrom (?P<a>{g.DAY_SAID}) (?:on|onwards?)\b(?! (?:the|my)\b)", r"not before \g<a>"),
    (rf"^{_POLITE}open(?: up)? {_CALENDAR},? (?=(?:add|schedule|put|set|create|delete|remove|cancel|erase|clear)\b)", ""),
    (rf"^{_POLITE}(?:open|go to|pull up|bring up)(?: up)? {_CALENDAR} (?:for|on|to) (?P<a>{g.DAY_SAID}),? and (?P<b>(?:add|put|schedule|set|create|delete|remove|cancel|clear|erase)\b [^.;!?]+)", r"\g<b> on \g<a>"),
    (r"\b(?P<a>events?|meetings?|appointments?) (?:(?:that (?:is|are) )?related to|(?:that )?ha(?:ve|ving) to do with) (?P<b>(?!(?:my|the|our|this|that|it)\b)[a-z]+)\b", r"\g<b> \g<a>"),
    (r"^(?P<a>(?:(?:my|the|our|today's|tomorrow's|tonight's) )?(?:[a-z]+ )?(?:meetings?|appointments?|events?|party|class|dinner|lunch|call|interview)\b(?:(?!\b(?:is|are|was|were|has|have|been|be|got|getting|that)\b)[^.,;!?]){0,40}?) cancell?ed(?=\W*$)", r"cancel \g<a>"),
    # a window, and no length: anywhere in it
    (rf"\b(?:some ?time|any ?time)(?: (?:on )?(?P<d>{g.DAY_SAID}))? between (?P<a>{g.CLOCK_SAID} (?:and|to) {g.CLOCK_SAID})", lambda found: f"{found['d'] or ''} between {found['a']} as early as possible"),
    # reminded, invited
    (rf"^{_POLITE}(?:e-?mail|text|message|mail|get) me (?=an? {NOTE}\b)", "give me "),
    (rf"^{_POLITE}(?:send|give) {NOTE} to (?P<a>{_NAME}) (?=(?:about|for|of|that)\b)", r"remind \g<a> "),
    (rf"^{_POLITE}(?:notify|alert) (?P<a>{_NAME}) (?=(?:about|of|that)\b)", r"remind \g<a> "),
    (rf"^{_POLITE}(?:let me know|tell me|inform me) (?=when [^.;!?]{{2,60}}? (?:is|are) (?:about|going) to (?:start|begin|commence|happen|take place)\b)", "notify me "),
    (rf"^{_POLITE}inform me (?=(?:before|prior to|when|\d+|an? \w+ before)\b)", "notify me "),
    (r"\bremind me(?: that)? it(?:'s| is) (?=(?:my|our|[\w]+'s) \w)", "remind me of "),
    (r"\bremind me on (?P<a>(?:my|our|[\w]+'s) (?:birthday|anniversary)) to (?P<b>[^.;!?]+)", r"remind me to \g<b> on \g<a>"),
    (r"\b(?P<a>an? )(?:text|e-?mail|phone|calendar|quick|short|little) (?=(?:reminder|notification)\b)", r"\g<a>"),
    (rf"^{_POLITE}(?:send|shoot)(?: out)? (?:an? |the )?(?:(?:calendar|meeting) )?(?:request|invite|invitation) to (?P<a>{_NAME})(?=\W*$)", r"invite \g<a>"),
    (rf"^{_POLITE}(?:send|shoot)(?: out)? (?:an? |the )?meeting request to (?P<a>{_NAME}) (?=for\b)", r"schedule a meeting with \g<a> "),
    (rf"^{_POLITE}send(?: out)? (?:the )?(?:invites|invitations) (?:for|to) (?=(?:my|the|our)\b)", "invite people to "),
    (rf"\b(?P<a>birthday|anniversary) {NOTE} for (?P<b>(?:my )?[a-z]\w*)(?:'s)?(?=\W*$| (?:on|for|in|at)\b)", r"reminder for \g<b>'s \g<a>"),
    (rf"^{_POLITE}(?:create|make|send|set up|add) (?:out )?(?:an? )?(?:new )?(?:calendar |meeting )?(?:invite|invitation) for (?=[a-z])", "schedule "),
    (rf"^{_POLITE}(?:add|include) (?P<a>{_NAME}(?: and {_NAME})?) (?:to|in) (?={_MEAL}\b)", r"invite \g<a> to the "),
    (rf"^{_POLITE}(?:make|set|have) (?P<a>(?:this|that|the|my) (?:\w+ )?(?:event|meeting|appointment|reminder)) (?:to be )?(?:repeated|recurring|repeating|recur)\b", r"repeat \g<a>"),
    # told
    (r"^need(?:s|ed)? to (?=(?:add|set|create|schedule|cancel|delete|remove|book|make|put)\b)", ""),
    (rf"^(?:i|we)(?:'d| would)? (?:want|need|like|have) to (?=(?:go (?:to )?)?see (?:an?|the|my) (?:\w+ )?{_SEEN}\b)", "schedule "),
    (rf"^(?:i'm|i am|i'll be|i will be) (?P<a>busy|unavailable|booked)(?: up)? (?=(?:on |this |next |all )?{g.DAY_SAID})", r'add "\g<a>" '),
    # looked up
    (rf"^{_POLITE}(?:tell|inform|update|brief) me (?:about|on) (?P<a>{g.DAY_SAID})(?=\W*$)", r"what do i have \g<a>"),
    (r"^my day(?=\W*$)", "my schedule for today"),
    (r"^my (?P<a>week|month|weekend)(?=\W*$)", r"my schedule for this \g<a>"),
    (r"^(?:my |the )?(?:calendar )?events? list(?=\W*$)", "show events"),
    (r"\bhow much (?:more |longer )?time(?: (?:do i have|have i got|is there|is left|left|is it))* ?(?:until|till|til|before|to) (?=(?:my|our|the)\b)", "when is "),
    (r"\bhow (?:many (?:days|weeks|months)|long)(?: (?:are there|is it|is there|left))* (?:until|till|til|before|to) (?=(?:christmas|easter|thanksgiving|halloween|diwali|ramadan|new year|valentine|mother's day|father's day)\b)", "when is "),
    (r"^from what time (?:to|till|until) (?:what time|when) (?P<a>is|are|does|do)\b|^(?:till|until|since) (?:when|what time) (?P<b>is|are|does|do)\b", lambda found: f"when {found['a'] or found['b']}"),
    (r"\bis there (?:a|any) chance (?:that )?(?=i\b)", "do "),
    (rf"{_ASKED} (?:at )?{g.CLOCK_SAID} or (?:at )?{g.CLOCK_SAID}", r"\g<asked>"),
    (rf"{_ASKED} in (?P<a>{g.MONTH_FULL}) or (?:in )?(?P<b>{g.MONTH_FULL})", r"\g<asked> from \g<a> to \g<b>"),
    (r"^(?:am i|are we|will i be|will we be) (?:running )?late (?:for|to) ", "when is "),
    (r"^(?P<a>are|am) (?P<b>we|i) still (?=(?:meeting|seeing|having)\b)", r"\g<a> \g<b> "),
    (r"\b(?:any|some|every)(?:one|body)'s (?=(?:birthday|anniversary)\b)", "any "),
    (r"\bwhich of my (?:friends|family|relatives|contacts|colleagues) (?P<a>has|have|is|are)\b", r"who \g<a>"),
    (r"^(?:in )?(?:which|what) (?:room|place|city|building|hall) (?P<a>is|are) (?P<b>[^.;!?]{2,60}?)(?: (?:in|at))?(?=\W*$)", r"where \g<a> \g<b>"),
    (r"\bwhom (?=(?:do|did|am|are|will)\b)", "who "),
    (r" in my life\b", ""),
    (r"\bthe (?P<a>next few days|coming days|(?:days|week) ahead)\b", "my schedule"),
    (rf"^{_POLITE}(?:find|get|show|give)(?: me| us)?(?: some)? (?:free|available) (?:time|slots?)(?: for (?:me|us))?\b", "when am i free"),
    (r"^(?P<w>(?:what|when|tell|show|give|next|find|get)\b[^.;!?]{0,30}?(?P<a>meeting|appointment|class|game|match|party|concert|exam|flight)) tim(?:e|es|ing|ings)(?=\W*$| (?:on|for|with|today|tomorrow)\b)", r"\g<w>"),
    (r"\b(?P<a>time|times|timings?) (?:of|for) (?P<b>the|my|our|dinner|lunch|breakfast|brunch)\b", r"\g<a> of \g<b>"),
    (r"\bname (?:of|for) (?P<a>(?:the |my )?events?)\b", r"\g<a>"),
)  # fmt: skip
_plain = rewriter(_TURNS)


def aloud(text: str) -> str:
    """The text with one space between words."""
    return " ".join(_plain(text).split())
