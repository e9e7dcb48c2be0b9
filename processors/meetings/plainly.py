"""What is said in a roundabout way, said plainly: the same request in the words that the other rooms read.

Enters: a tidy text with its slips of spelling mended. Leaves: the text, with turns of speech replaced. Guaranteed: each
turn is a pattern with a bounded reach that adds no name and takes none away; a text without such a turn stays as it is.
What is said in two clauses ("the picnic is off, delete it") becomes one, so that "it" needs no memory.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

from aios.processors.meetings import grammar as g
from aios.processors.meetings.rewriting import NOTE, polite, rewriter

_POLITE = polite("would you be able to", "are you able to")
_OUT = r"(?:cancel|remove|delete|erase|clear|drop|scrap|take (?:it |that |this )?(?:off|out)|take)"
_OVER = r"(?:reschedule|move|(?:re-?)?book|shift|postpone|push|put|set|schedule|change|make|do|have|plan|arrange)"
_IT = r"(?:it|that|this|them|those|that one|(?:that|this|the) (?:event|meeting|appointment|entry|reminder|one))"
_KIND = r"(?:meetings?|appointments?|reminders?|events?|calls?)"
_LIST = r"(?:(?:my|the) (?:list of (?:\w+ )?(?:reminders?|events?|appointments?|meetings?|tasks?|things to do)|(?:reminder|event|task|to[- ]?do|appointment)s? list|calendar|schedule|agenda|planner))"

_DAY = r"(?:(?:this |next )?(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|today|mon|tues?|weds?|thurs?|thu|fri|sat|sun)"
_DAY_ENDS = r"(?:the )?(?:(?:end|close) of (?:the )?(?:business|play|work(?:ing)? ?day|day)|eod|cob|eob)"
_WHO = r"[\w'.-]+(?: [\w'.-]+)?(?:,? (?:and |& )?(?!and\b|me\b|i\b)[\w'.-]+){0,6}?"
_LENGTH = r"(?:an?|one|two|three|half an?|\d+)(?: (?:and a )?half)?[ -]?(?:minutes?|mins?|hours?|hrs?)"
_MEAL = r"(?:an? |some )?(?:quick )?(?:coffee|lunch|dinner|breakfast|brunch|drinks?|beers?|tea|pizza|bite|catch-up)\b"

_TURNS = (
    # written short
    (r"\bw/(?:e|end)\b", "weekend"),
    (r"\bw/c\b", "week commencing"),
    (r"\bb4\b", "before"),
    (r" as (?:an? )?(?:guest|attendee|participant|invitee)s? (?:to|for|on|in) (?:my |the |our )?", " to the "),
    (r"^(?:(?:on|in) )?(?P<a>(?:my|the) (?:list|lists) of (?:my )?\w+|(?:my|the) \w+ list) (?:is|are) what\b", r"what is on \g<a>"),
    (r"(?<![\w/])w/ ?(?=\w)|\bw (?=(?-i:[A-Z])[a-z])|(?<=[a-z] )w (?=[a-z]{2,})", "with "),
    (r"(?<=\w) \+ (?=\w)", " and "),
    (rf"\b(?P<a>{_DAY}),? am\b", r"\g<a> morning"),
    (rf"\b(?P<a>{_DAY}),? pm\b", r"\g<a> afternoon"),
    (r"\bin the am\b", "in the morning"),
    (r"\bin the pm\b", "in the afternoon"),
    (r"\b(?:a |one )?fortnight\b(?:'s)?", "two weeks"),
    (r"\bday after next\b", "day after tomorrow"),
    (r"\brun[- ]down\b", "rundown"),
    (r" re:? (?=\w)", " about "),
    (r"\b(?P<a>how|where|when|who|what) ?long's\b", r"\g<a> long is"),
    (r"\bremainder(?P<a>s?)\b(?! (?:of|in)\b)", r"reminder\g<a>"),
    # in another order, in another's English
    (r"\bat (?P<a>\d{1,2}) ?(?:hours|hrs|uhr)\b", r"at \g<a>:00"),
    (r"\bat what hour\b", "at what time"),
    (r"\b(?P<a>i|we) (?P<b>want|need|wish|would like|'d like|like) (?=(?:make|book|schedule|add|cancel|move|set|put|create|plan|arrange|delete|remove)\b)", r"\g<a> \g<b> to "),
    (r"\b(?:do|make) (?:the|a) (?:booking|reservation|entry|scheduling)(?: of| for)? (?=(?:an?|the|my)\b)", "book "),
    (r"\bhow (?:many (?:days|weeks|months|hours)|long|soon|much longer|far (?:away|off)) (?:(?:is it|do i have|have i got|are there|left|is left) )*(?:until|till|til|before|to|is) (?=(?:my|our) )", "when is "),
    (r"\b(?P<a>what|which) (?:weekend|month|weekday|year)(?: and (?:day|date|time))? (?=(?:is|are|does|do|did|was|will|am)\b(?! (?:it|this)\b))", r"\g<a> day "),
    (r"^(?:i|we)(?:'d| would)? (?:forgot|forget|(?:can't|cannot|can not|don't|do not) (?:remember|recall|know)|(?:am|'m|are) not sure) (?=(?:what|when|where|who|which|if|whether|how)\b)", "tell me "),
    (r"^(?:i|we)(?: would|'d) (?:really )?(?:appreciate|love) (?=an? )", "i need "),
    (r"\bwhat(?:'s| is) (?P<a>on the cards|in store|in the pipeline|on deck|lined up)\b", "what's on"),
    (r"\bwhat (?:time|day|date) (?!(?:is|are|does|do|did|will|was|am|i|it|we|should|can|must|would|for|of|on|in|at|to)\b)(?P<a>[^.,;!?]{2,40}?) (?:is|starts?|begins?|ends?|takes place|finishes)\b(?! (?:it|there)\b)", r"when is \g<a>"),
    (r"(?<=\w)(?<! on)(?<! via)(?<! over)(?<! with)(?<! to)(?<! in)(?<! a)(?<! the)(?<! by)(?<! using)(?<! through),? (?P<a>zoom|webex|google meet|ms teams|facetime)(?=\W*$)", r" on \g<a>"),
    (r"\b(?P<a>mornings?|afternoons?|evenings?) (?:are|is|would be|works?|suits?)(?: (?:best|good|better|ideal|preferred|fine|great))?(?: for (?:me|us))?(?=\s*(?:$|[.,;!?]))", r"in the \g<a>"),
    (r"\b(?P<a>everything|anything|all|things|events|what)(?: that| which)? (?:i|we)(?:'ve| have)? (?:promised|agreed|planned|signed up|arranged|been asked|am supposed|am meant|are supposed) (?:to|for)(?: (?:attend|do|go to|be at|visit))?\b", r"\g<a>"),
    # a day, a limit
    (r",? (?:starting|beginning) (?:with |from |on )?(?:this|the next|the coming) one\b", ""),
    (rf"\bto the same time (?:on )?(?={g.DAY_SAID})", "to "),
    (rf"\b(?:when|once|as soon as) it(?:'s| is) (?=(?:{g.CLOCK_SAID}|{g.DAY_SAID}))", "at "),
    (r"\bevery day(?P<b>[^.;!?]{0,30}?),? (?:except|excluding|but not|not|apart from|other than|bar)(?: on| at| for)?(?: the)? weekends?\b", r"every weekday\g<b>"),
    (r"\bevery (?P<a>morning|afternoon|evening)(?P<b>[^.;!?]{0,30}?),? (?:except|excluding|but not|not|apart from|other than|bar)(?: on| at| for)?(?: the)? weekends?\b", r"every weekday\g<b> in the \g<a>"),
    (rf"(?P<a>{g.CLOCK_SAID}),? (?:but|and) (?P<b>before|until|by|no later than|not after|not later than)\b", r"\g<a> \g<b>"),
    (r"\bm-?/?w-?/?f\b", "mondays, wednesdays and fridays"),
    (r"\bt-?/?th\b", "tuesdays and thursdays"),
    (rf"[,.;-]* ?\b(?P<a>{g.CLOCK_SAID}) (?:works|is (?:good|best|fine|great|perfect|ok|okay)|would (?:work|be (?:good|great|best|fine|perfect|ideal)|suit)|suits)(?: best| better| well| great)?(?: for (?:me|us|everyone|all of us))?(?=\s*(?:$|[.,!?;]))", r" at \g<a>"),
    (rf"[,.;-]* ?\b(?P<a>{g.DAY_SAID}) (?:works|is (?:good|best|fine|great|perfect|ok|okay)|would (?:work|be (?:good|great|best|fine|perfect|ideal)|suit)|suits)(?: best| better| well| great)?(?: for (?:me|us|everyone|all of us))?(?=\s*(?:$|[.,!?;]))", r" \g<a>"),
    (rf"(?<!to )(?<!and )(?<!or )(?<!through )(?<!thru )(?<!until )(?<!till )(?<!- )(?<!-)(?<!& )\b(?P<a>{g.WEEKDAY_FULL})(?:,| of)? next week\b", r"next \g<a>"),
    (rf"\bnext week,? (?:on )?(?P<a>{g.WEEKDAY_FULL})(?! ?(?:,|-|to|and|or|&|through|thru|until|till)\b)", r"next \g<a>"),
    (rf"\b(?:by |until |till )?(?P<a>{g.DAY_SAID}|{g.CLOCK_SAID}),? at the (?:very )?latest\b", r"by \g<a>"),
    (r"\b(?:once|when|as soon as) (?P<a>lunch|work) (?:is|'s) (?:over|done|finished)\b", r"after \g<a>"),
    (rf"\b(?:and |, ?)?(?:finishing|finished|ending|done|over(?: and done)?|wrapped up|wrapping up|(?:it )?(?:needs|has|must|should|is)(?: to)? (?:be (?:over|done|finished)|end|finish|wrap up)) (?:(?:by|before|no later than|at the latest by) )(?={g.CLOCK_SAID})", " no later than "),
    # the end of a day that is named is that day
    (rf"\b(?:at |by )?{_DAY_ENDS}(?: on| of|,)? (?=(?:{_DAY}|the \d)\b)", "by "),
    (rf"\b(?P<a>{_DAY}),? (?:at |by )?{_DAY_ENDS}\b", r"\g<a>"),
    (rf"\b{_DAY_ENDS}\b", "end of the day"),
    (r",? if (?:at all )?possible\b|,? if (?:you (?:can|could|would|please|don't mind)|(?:it|that)(?:'s| is) (?:ok|okay|fine|all ?right|no trouble))(?: with you)?(?=\s*(?:$|[.,!?]))", ""),
    (r"\bwont\b", "won't"),
    (r"\bcant\b", "can't"),
    (r" at (?:any|some) (?:point|time|stage)\b", ""),
    (r",? (?:anything|any ?time|whatever) (?P<a>[^,.;!?]{2,40}?) (?:works|is (?:fine|good|ok|okay)|suits|would (?:work|suit))\b(?: for me)?", r" \g<a>"),
    # speech
    (r"\bgonna\b", "going to"),
    (r"\b(?P<a>i|we) should (?=(?:like|love|be (?:glad|happy|grateful))\b)", r"\g<a> would "),
    (r"\b(?:i|we)(?:'ve)? (?:gotta|got to)\b", "i have to"),
    (r"\b(?:i'?ve gotta|i gots? to)\b", "i have to"),
    (r"\bwanna\b", "want to"),
    (r"\b(?:lemme|let met)\b", "let me"),
    (r"\bgimme\b", "give me"),
    (r"\b(?<!')im (?=going|having|meeting|not|no|seeing|attending|free|busy|supposed)", "i'm "),
    (r"^(?P<a>(?:\W*(?:hey|hi|ok|olly|pda|please)\b)?\W*)(?P<b>can|could|would|will) (?:to|yo|yu|ya|your|u|yout|yuo|i you) (?=(?:please |pls |kindly )?\w)", r"\g<a>\g<b> you "),
    (r"\bin terms of\b", "for"),
    (r"\bput in (?=an? )", "put "),
    (rf"\b(?:grab|get) (?={_MEAL})", "have "),
    (rf"^{_POLITE}(?:(?:sign|hook|set|pencil|count|put|book) (?:me|us) (?:up|in|down) (?:for|with)|hook up|secure (?:me|us)|squeeze in|fit in|slot in|pencil in) ", "schedule "),
    (rf"^{_POLITE}(?:wake (?:me|us)(?: up)?|get (?:me|us) up) (?=at|by|\d|tomorrow|on|early|in)", "wake me up "),
    (rf"^{_POLITE}(?:pencil|put|slot|squeeze|fit|book) (?P<a>(?-i:[A-Z])\w+(?:(?:,| and|, and) (?-i:[A-Z])\w+)*) (?:in|down) for ", r"schedule with \g<a> for "),
    # to another time: forward and back
    (r"\b(?:bring|pull|push|put|move|shift) (?P<a>[^.;!?]{2,60}?) (?:forwards?|back|up|out) (?=(?:to|until|till)\b)", r"move \g<a> "),
    # who is in, who is out
    (r"\b(?:uninvite|disinvite) (?P<a>[^.;!?]{2,40}?) (?:from|to) ", r"remove \g<a> from "),
    (rf"^{_POLITE}(?:take|drop|leave|kick) (?P<a>(?-i:[A-Z])\w+(?:(?:,| and|, and) (?-i:[A-Z])\w+)*) (?:out of|off(?: of)?|from) (?!(?:my|the|our) (?:\w+ )?(?:calendar|schedule|agenda|diary|planner|list)\b)", r"remove \g<a> from "),
    (rf"^(?P<polite>.{{0,40}}?)\bget (?P<a>{_WHO})(?:,? (?:and|&) (?:me|myself|i))? together(?: for)? ", r"\g<polite>schedule a meeting with \g<a> for "),
    (rf"^(?P<polite>.{{0,40}}?)\bget (?P<a>{_WHO}(?: \w+)?) on (?:a |the )?(?:(?P<b>call|zoom|video call|conference call)|phone|line)\b", r"\g<polite>schedule a call with \g<a>"),
    (rf"\b(?:add|invite|include) (?P<a>(?-i:[A-Z])\w+(?:(?:,| and|, and) (?-i:[A-Z])\w+)*) to (?P<b>{_DAY})'s (?P<c>[\w' -]{{2,40}}?)(?=\s*(?:$|[.,!?;]))", r"invite \g<a> to the \g<c> on \g<b>"),
    (rf"^{_POLITE}(?:find|get|book|give|have) (?:me|us|myself) (?:and|&) (?P<a>{_WHO}) (?={_LENGTH})", r"book with \g<a> "),
    (rf"^(?P<b>(?:{_LENGTH} (?:for|with) )?)(?:me|myself) (?:and|&) (?=\w)", r"\g<b>with "),
    (r",\s(?:me|myself)(?:,| and| &) (?=(?-i:[A-Z]))", " with "),
    (r",\s(?P<a>(?-i:[A-Z])[\w' ]{1,30}?) (?:and|&) (?:i|me)\b,?", r" with \g<a>"),
    (r"\b(?P<a>(?:coffee|lunch|dinner|drinks|call|chat|meeting|breakfast|brunch)) (?:me|myself) (?:and|&) (?=\w)", r"\g<a> with "),
    (rf"\bwith (?P<a>{_WHO}),? (?:and|&) (?:me|myself|i)\b", r"with \g<a>"),
    (r"^(?P<a>(?:my|our|the) [\w' ]{2,40}?) (?:leaves|departs|takes off|lands) (?=(?:at|on|in|around|\d|tomorrow|next|this)\b)", r"\g<a> is "),
    (r"\bto (?P<a>day|morrow|night)(?=\s*(?:$|[.,!?]|at\b|from\b|between\b))", r"to\g<a>"),
    (r"\b(?P<a>(?:between|from) \d{1,2}(?::?\d\d)? ?(?:[ap]\.?m\.? )?(?:and|to|until|till|-) )(?P<b>1[0-2]|[1-9])(?P<c>[0-5]\d)\b(?!\d|:)", r"\g<a>\g<b>:\g<c>"),
    (r"\b(?P<a>at|between|from|by|until|till) (?P<b>1[0-2]|[1-9])(?P<c>[0-5][05])(?=\s*(?:$|[.,!?;]|(?:and|to|until|till|on|today|tomorrow|tonight|this|next|with|for|in the|please|every)\b))", r"\g<a> \g<b>:\g<c>"),
    # single quotes about a name
    (r"(?<![\w'])'(?P<a>[^\"]{2,80}?)'(?=\s*(?:$|[.,!?;]|\s(?!\w+')))", r'"\g<a>"'),
    # every calendar there is
    (r"\b(?:for|of|in|from|on|over|across) all(?: of)?(?: the| my)? (?:days?|dates?|weeks?|months?|years?|times?|calendars?)\b", ""),
    (rf"\b(?P<a>everything|{_KIND}) (?:for|of|in|on) every (?:day|date|week|month|year)\b", r"\g<a>"),
    # whatever is next, and what with it
    (rf"^{_POLITE}(?:whatever|whichever)(?: is| comes)?(?: the| my)? next (?P<a>[\w ]{{0,40}}?)(?: (?:is|that is|comes))?(?: (?:in|on) (?:the|my) (?:calendar|schedule|agenda))?,? (?:please )?(?P<b>{_OUT}) {_IT}", r"\g<b> the next \g<a>"),
    (rf"^{_POLITE}(?:whatever|whichever) (?P<a>\w[\w ]{{0,40}}?) (?:is|comes)(?: up)? next,? (?:please )?(?P<b>{_OUT}) {_IT}", r"\g<b> the next \g<a>"),
    (rf"^{_POLITE}(?:whatever|whichever)(?:'s| is| comes)(?: up)? next,? (?:on (?:the|my) (?:calendar|schedule|agenda))?,? ?(?:please )?(?P<b>{_OUT}) {_IT}", r"\g<b> the next event"),
    # no longer so: out with it
    (rf"^(?:(?:i|we)(?:'m| am|'re| are)? (?:no longer|not|never)(?: need| needed| have| want| going| able| attending| doing| getting)*|(?:i|we) (?:do not|don't|won't|will not|can't|cannot|can not|am not going)(?: (?:need|want|have|be|make|able|going|attend|do))*)(?: to(?= \w))?(?: make)? (?P<a>[^.,;!?]{{2,60}}?)(?: any ?more| any longer| now)?[.,;!]*(?: and| so)?(?: please)?(?: (?:can|could|would|will) you(?: please)?| you can| please)?(?<! to) {_OUT} {_IT}\b", r"remove \g<a>"),
    (rf"^(?:i|we)(?:'m| am|'re| are)? (?:no longer|not)(?: need| have| want| going| attending)*(?: to(?= \w))? (?P<a>[^.,;!?]{{2,60}}?)(?: any ?more| any longer| now)?[.,;!]*(?: and| so)? (?:can|could|should|please let) {_IT} be (?:removed|deleted|cancell?ed|erased|taken off)\b", r"remove \g<a>"),
    # out there and in here: moved
    (rf"^{_POLITE}{_OUT} (?P<a>[^.;!?]{{2,80}}?),? and (?:then )?{_OVER}(?:(?: {_IT})?(?: back)? (?:for|to|on|at|until|till)|(?: {_IT}) (?={g.DAY_SAID}|{g.CLOCK_SAID})) ?", r"\g<polite>reschedule \g<a> to "),
    # a room, a time: found
    (rf"^{_POLITE}(?:help me (?:with|find|get|out with)|i(?: would|'d)? (?:need|like|want|require)|get me|find me|give me|(?:do|did) you have(?!.*\b(?:open|free|available)\b)) (?P<a>an? (?:meeting|conference|board)[ -]?room)(?! (?:list|schedule))", r"book \g<a>"),
    (r"\b(?:anything|something|everything|what(?:'s| is| are|s)?|all)(?: there)? (?:in|on|under|among) (?:my|the) (?P<a>reminders|appointments|alarms|alerts|notifications)\b(?! list)", r"any \g<a>"),
    # looked up by what stands on a list
    (rf"^{_POLITE}(?:check|confirm|verify|see|tell me|make sure|find out|let me know) (?:if|that|whether) (?:i have )?(?P<a>[^.;!?]{{2,80}}?) (?:is|are|was) (?:on|in) {_LIST}", r"do i have \g<a> on my calendar"),
    (r"\b(?P<a>reminder|event|task|appointment|meeting)s list\b", r"\g<a> list"),
    (rf"\b(?P<a>an? {NOTE})(?: to be| that is)? (?:set|made|created|scheduled)(?: up)? (?=(?:for|to|about)\b)", r"\g<a> "),
    (rf"^{_POLITE}(?:did|have|had) i (?:included?|put|add(?:ed)?|set|placed?|write|written|list(?:ed)?) (?P<a>[^.;!?]{{2,80}}?) (?:on|in|to) {_LIST}(?! (?:for|on|of)\b)", r"do i have \g<a> on my calendar"),
    (rf"^{_POLITE}(?:did|have|had) i (?:included?|put|add(?:ed)?|set|placed?|write|written) (?:on|in|to|into) {_LIST} (?:that i (?:need|have|want|ought) to |to |that )?(?P<a>[^.;!?]{{2,80}})", r'do i have "\g<a>" on my calendar'),
    (rf"^(?:is|are) (?!there\b|(?:my|the|this|that) (?:calendar|schedule))(?P<a>[^.;!?]{{2,80}}?) (?:on|in) {_LIST}(?! (?:for|on|of)\b)", r"do i have \g<a> on my calendar"),
    (rf"^{_POLITE}(?:(?:check|confirm|verify|see) (?:if|that|whether)|is it (?:true|right|correct) that) i (?:have|set|put|made|added) (?P<a>[^.;!?]{{2,80}})", r"do i have \g<a>"),
    (r"(?:,? and|,) (?:then )?(?:tell(?: me)?|say|state|read|list|let me know|read out|describe|repeat)(?: to me)? (?:what(?:'s| is| they are| are they| is on)|when they are|what and when|them|it|each)(?: (?:they are|are they|is|are|on|it|on it|out|to me|back|aloud|out loud))*[ .!?]*$", ""),
    (rf"^{_POLITE}(?:walk|take|guide|talk|lead|run) (?:me|us) through ", "tell me "),
    (rf"^{_POLITE}(?:go|run|read) (?:through|over|down) ", "tell me "),
    (r"^.{0,30}?\b(?:what(?:'s| is| was| are| were)?|things?|stuff|everything|that)\b[\w ]{0,20}?\b(?:i|me)(?: had| have| was| am| did)?(?: ask(?:ed)?| want(?:ed)?| tell| told| need(?:ed)?| trying| supposed)(?: you| for)*(?: to)? (?:be reminded|remind me|remember|help me remember|bear in mind|keep in mind|not forget)(?: (?:about|of|to do|earlier|before|again))*\b(?! to \w)", "what do i have on my calendar"),
    (rf"\b(?P<a>{NOTE}) (?:for|on|in|to|into) (?:my|the) (?:calendar|schedule|agenda|diary|phone|list) (?=(?:to|for|about|that)\b)", r"\g<a> "),
    (rf"^{_POLITE}(?:add|put) (?:to|on|in) (?:my |the )?reminders?(?: list)?[:,]? (?=\w)", "remind me to "),
    (rf"^{_POLITE}(?:add|put) (?P<a>[^.;!?]{{2,60}}?) (?:to|on|in|into) (?:my |the )?reminders?(?: list)?(?! (?:to|about|of)\b)", r"set a reminder for \g<a>"),
    (rf"\b(?:set|put|add|create|make)(?: up)? (?:an? |the )?{NOTE} for (?:it|that|this)\b", "remind me"),
    (rf"^{_POLITE}(?:update|fill(?: up| in)?|edit|modify) (?:(?:my|the|our) )?(?:calendar|schedule|agenda|diary|planner) (?:with|to (?:add|include|show)|that (?:i|we) have) ", "add "),
    (r",? (?:from now on|going forward|from here on)\b", ""),
    (rf"^{_POLITE}(?:let )?(?P<a>[^.,;!?]{{2,60}}?) (?:(?:should|must|needs? to|has to|have to) )?be invited to (?=\w)", r"invite \g<a> to "),
    # sent, and put in afterwards
    (rf"^{_POLITE}(?:send|email|e-mail|mail|shoot)(?: out)? (?:an? |the )?(?:calendar |meeting )?(?:invite|invitation)s? to (?P<a>[^.;!?]{{2,60}}?) (?:for|to) (?=(?:a |the |my |our )?[a-z]+\b)(?!\d)", r"invite \g<a> for "),
    (r"^(?P<a>(?:i|we|my|our|the|there|it|today|tomorrow|on|next|this|an?|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october|november|december)\b.{8,200}?)[,.;]?(?: so| and)?(?: please| can you| could you)*(?: (?:put|add|set|save|mark|note|enter|schedule|write) (?:it|that|this)(?: in| down| up| on)?(?: (?:my|the) (?:calendar|schedule|agenda))?(?: please)?| please (?:add|set|save|note|put))[ .!?]*$", r"\g<a>"),
    (rf",? (?:that|which) (?:has|have|includes?|involves?|features?) (?P<a>{_WHO}) (?:in|on|at) (?:it|them)\b|\binvolving (?P<b>(?=\w))", lambda found: f" with {found['a'] or ''}"),
    (rf"^it(?:'s| is) (?=(?:my|our|[\w']+'s) [\w' ]{{2,40}} (?:on |at )?{g.DAY_SAID})", "add "),
    (rf",? (?:i\.? ?e\.?|namely|that is),? (?:on |at )?(?=(?:the )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", " "),
    (r"\b(?:good|best|convenient|suitable) time (?:for me )?(?:to|for)\b", "time to"),
    (rf"(?:,|,? and) (?:add|include|invite|bring|cc) (?P<a>{_WHO}) (?:to|in|on|for|into) (?:it|that|this)\b", r" with \g<a>"),
    (r",? which is (?=(?:my|our|the|an?)\b)", " for "),
    (r"\b(?:for|between) (?:me|myself|us) and (?=\w)", "with "),
    (r"\b(?:for|between) (?P<a>[\w' ]{2,40}?) and (?:me|i|myself)\b", r"with \g<a>"),
    (rf"^{_POLITE}(?:can|could|may|might) i (?:please )?(?:get|have|set|receive) (?=an? {NOTE}\b)", "give me "),
    # what it is called, what it is about
    (r"\b(?:and |, ?)?(?:please )?(?:name|title|call|label|entitle) it(?: as)? (?=\w)", "called "),
    (r"\b(?:and |, ?)?(?:please )?(?:input|put|set|enter|give|use|add|write|with|make|keep)? ?(?:the |its |it a |it the )?(?:name|title|label|subject)(?: of it)? (?:as|to be|is) (?=\w)", " called "),
    (r"\bunder the (?:name|title|heading)(?: of)? ", "called "),
    (rf"\b(?:send|give|shoot) (?:out )?(?:(?P<a>(?!an?\b|the\b){_WHO}) an? {NOTE}|an? {NOTE} to (?P<b>(?!(?:call|text|email|buy|pick|pay|meet|get|take|ask|tell|talk|see|visit|go|do|make|check|write|finish|bring|clean|feed|water|turn|order|book|me|us)\b){_WHO})) (?=(?:to|about|for|that|of)\b)", lambda found: f"remind {found['a'] or found['b']} "),
    (rf"\b(?P<a>{NOTE}\b.{{0,60}}?) (?:towards?|in regards? (?:to|of)|with regards? to|with respect to|in respect (?:of|to)|pertaining to|re|as to|in reference to) ", r"\g<a> about "),
    (rf"\b(?P<a>{NOTE}) (?:alert|alarm|reminder|notification)\b", r"\g<a>"),
    (rf"\b(?P<a>{NOTE}) for (?P<b>(?:\d+|an?|one|two|three|five|ten|fifteen|twenty|thirty|forty|forty[- ]five|half an) (?:minutes?|mins?|hours?)) (?=to )", r"\g<a> in \g<b> "),
    # where at that time
    (r"\b(?P<a>where (?:am i|do i|should i|must i|will i|are we|do we)(?: supposed| have| need| expected)?(?: to)? be) by ", r"\g<a> at "),
    (r"(?: (?:clear|free|open|empty|available))?(?P<a>(?: today| tomorrow| on \w+)?) with no (?=(?:meetings?|appointments?|events?)\b)", r"\g<a>, "),
    # away
    (r"^(?:i'm|i am|i'll be|i will be|we're|we are) (?:on )?(?P<a>away|leave|holiday|vacation|annual leave|out of (?:the )?office)\b(?!.*\b(?:cancel|move|delete|remove|remind|reschedule|clear)\b)", r'add "\g<a>"'),
    (r"^out of (?:the )?office\b", 'add "out of office"'),
)  # fmt: skip
_turned = rewriter(_TURNS)


def plainly(text: str) -> str:
    """The text with one space between words."""
    return " ".join(_turned(text).split())
