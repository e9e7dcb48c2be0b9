"""The many verbs with which a calendar is told what to do, said with the few that the rooms after this one read.

Enters: a tidy text, without what is said around the request. Leaves: the text with its verb and the particles of it
replaced: "throw out", "get ... off my list", "... can go" are `cancel`; "shove ... back to" is `move ... to`; "have me
phone" is `remind me to phone`. Guaranteed: a verb is replaced only where it carries the request (at the head, after
courtesies), or where the whole sentence is of that form; what it is done to, and when, stays as it was said. Rejected:
a model of the language: which verb means to lose something must be read by a person before it does.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings import grammar as g
from aios.processors.meetings.grammar import listed
from aios.processors.meetings.rewriting import Instead, rewriter

_HEAD = (
    r"(?P<head>^\W*(?:(?:hey|hi|yo|ok|okay|olly|pda|alexa|siri|google|so|now|then|and|but|please|pls|kindly|just|also|quickly|go ahead and|can you|could you|can we|could we|can i|"
    r"would you|will you|would you be able to|are you able to|are you free to|do you think you could|any chance (?:you|we) (?:can|could)|(?:i |we )?(?:gotta|have got to|got to|must|should|wanna)|(?:i|we)(?:'d| would)? (?:want|need|like|have|wish|got) (?:you )?to|let's|i think we should|we should|you can|you could|someone|somebody|it'?s time to)[,.]? )*)"
)
_THING = r"(?P<thing>(?!(?:to|and|or|if|that(?! \w)|what|when|where|which|who|how|is|are|was|do|does|did|can|could|will|would|please|me|us)\b)[^.;!?]{2,80}?)"
_NOUN = rf"(?P<thing>(?!(?:to|and|or|if|that|this is|what|when|where|which|who|how|why|is|are|was|were|do|does|did|can|could|will|would|please|i|we|he|she|they|it|there|{'|'.join(listed('add set schedule put create make book plan remind cancel delete remove move change show list tell check find scrap drop erase clear'))})\b)(?:(?!\b(?:wants?|would|that|which|who|because|to meet)\b)[^.,;!?]){{2,80}}?)"
_LISTS = r"(?:(?:my|the|our|your) (?:\w+ )?(?:list|calendar|schedule|agenda|diary|planner|plate|books?|week|day|program(?:me)?|docket))"
_END = r"(?=\W*$)"
_TOLD = r"(?=[^\w?]*$)"  # told, not asked
_DROPPED = r"(?:kill|zap|ditch|lose|nuke|purge|scrub|scuttle|shelve|chuck|toss|bin off|cancel out|rescind|unbook|un-book|unschedule|deschedule|blow off|call off|bail on|pass on|do away with|dispose of|get rid of|rid me of|forget about)"
_DROPPED_TOO = r"(?:bin|trash|dump|junk|void|strike|scratch|axe|ax)"  # names of things as well: bin day, strike vote
_OUT_WITH = r"(?:throw|toss|chuck|pitch|pull|kick|wipe|cross|strike|knock|scratch|rub|blot|x|scrub|yank|rip|clear|take|get|clean|have)"
_LEFT_OUT = r"(?:take|remove|strike|cross) (?:me|us|my name) (?:off|from|out of)|(?:drop|bow|pull|back|duck|opt|bail|step) out of|get out of (?!bed\b|the (?:house|car|shower)\b|town\b|work\b)|bail on|skip out on|sit out|count (?:me|us) out (?:of|for)"
_SHOVED = r"(?:shove|nudge|slide|kick|punt|bounce|bump|scoot|knock|pull|push|move|shift|flip|budge)"
_NO_CLOCK = r"(?<!quarter)(?<!\bfive)(?<!\bten)(?<!twenty)(?<!\d)"
_GONE = r"(?:can|has to|have to|needs? to|must|should|ought to|may|might as well|is to|gotta|got to) (?:all )?(?:go|come (?:off|out)|be (?:cancell?ed|deleted|removed|dropped|scrapped|axed|binned|taken (?:off|out)|called off|cleared|erased))"
_OFF = r"(?:(?:has been|have been|was|were|got) (?:called off|cancell?ed|scrapped|dropped)|(?:is|are|'s) (?:off|called off|history|dead|no more|not happening(?: any ?more)?|not going ahead|not on any ?more|cancell?ed)|(?:isn't|is not|aren't|won't be|will not be) (?:happening|going ahead|taking place|needed|required|necessary)(?: any ?more| any longer)?|(?:fell|has fallen|falls|have fallen) through|(?:won't|will not) (?:happen|take place|go ahead)|(?:is|are) no longer (?:happening|needed|required|necessary|on|going ahead|taking place))"
_MOVES = r"(?:(?:moves|rescheduled|has rescheduled|is rescheduling|rebooked|postponed|pushed|has moved|is moving|moved|was moved|got moved|has been moved|has been (?:pushed|shifted|rescheduled|postponed|bumped|changed|switched|delayed|brought forward)|shifts|slips|is (?:postponed|pushed|shifted|rescheduled|moved|bumped)|(?:got|was) (?:pushed|shifted|rescheduled|postponed|bumped|changed|switched|delayed|brought forward)|(?:needs|has|ought|is) to (?:move|be (?:moved|pushed|rescheduled|shifted|postponed|changed))|must (?:move|be moved)|should (?:move|be moved|be on|be at)|needs (?:moving|pushing|shifting|rescheduling))(?: (?:back|up|out|forward|over|along))?)"
_BUZZED = r"(?:ping|text|message|buzz|holler at|shout at|yell at|call|ring|tell|poke|beep|prompt|nag|bug|nudge|alert|warn|notify)"
_DOES = r"(?!(?:about|of|if|when|what|where|which|who|how|that|the|my|our|all|any|a|an|in|on|at|for|before|after|every|tomorrow|today|tonight|this|next|everything|up|it|there|upcoming|events?|meetings?|back|again|please)\b)"
_WHO = r"(?:(?:(?:dr|mr|mrs|ms|prof)\.? )?(?!(?:to|and|or|with|i|you|we|they|he|she|there|me|us|it|that|this|anyone|anybody|everyone|everybody|someone|somebody|all|my|the|an?|in|on|at|for|up|down|every|some|any|time|more)\b)[^\W\d][\w'-]*)"
_NAMES = rf"(?:{_WHO}(?: (?-i:[A-Z])[\w'-]+)?(?:(?:,? (?:and|&|\+) |, )(?!me\b|i\b|myself\b)(?:the |my |our )?{_WHO}(?: (?-i:[A-Z])[\w'-]+)?){{0,5}})"
_BY = rf"(?:,? by (?:an?|{g.NUMBER}|half an?) (?:minutes?|hours?|days?|weeks?|months?)(?: and a half)?,?)"
_ACCEPTED = r"(?:accept(?:ed)?|confirm(?:ed)?|declined?|turn(?:ed)? down|repl(?:y|ied)|respond(?:ed)?|rsvp(?:'?d)?|sa(?:y|id) yes|coming|attending|joining|invited|going|on|there|at(?= (?:the|my|our)\b))"
_GERUNDS = {
    "putting": "put", "setting": "set", "cancelling": "cancel", "canceling": "cancel", "getting": "get", "making": "make",
    "taking": "take", "moving": "move", "removing": "remove", "deleting": "delete", "scheduling": "schedule", "giving": "give",
    "rescheduling": "reschedule", "arranging": "arrange", "organising": "organise", "organizing": "organize", "creating": "create",
    "changing": "change", "postponing": "postpone", "dropping": "drop", "planning": "plan", "reserving": "reserve",
    "inviting": "invite", "erasing": "erase", "squeezing": "squeeze", "swapping": "swap", "saving": "save", "noting": "note",
}  # fmt: skip

_FORMS: tuple[tuple[str, Instead], ...] = (
    # out with it
    (rf"{_HEAD}(?:quit|stop|cease|no more|(?:there's |there is )?no need to|you don't (?:have|need) to|don't|do not|dont|never) (?:remind|alert|notify|nag|ping|bug|wake)(?:g?ing)? (?:me|us)(?: any ?more| any longer| again)? (?P<a>to|about|of|for|that)\b", r"cancel the reminder \g<a>"),
    (rf"{_HEAD}(?:i (?:have|need|want) to )?(?:{_LEFT_OUT}) (?=\w)", r"cancel "),
    (rf"{_HEAD}{_OUT_WITH} (?!me\b|us\b|up\b|the \w+ to\b){_THING} (?:off|out|away)(?: of| from)? {_LISTS}\b", r"cancel \g<thing> "),
    (rf"{_HEAD}(?:throw|toss|chuck|pitch|kick|wipe|cross|strike|knock|scratch|rub|blot|scrub|rip) (?:out|away|off) (?!(?:of|on|in)\b)", r"cancel "),
    (rf"{_HEAD}{_DROPPED} (?=(?:my|the|our|that|this|all|every|everything|any|both|whatever|today|tomorrow|tonight|{g.WEEKDAY}|[\w']+ )\b)(?!(?:time|weight|interest|track|count|sight)\b)", r"cancel "),
    (rf"{_HEAD}{_DROPPED_TOO} (?=(?:my|the|our|that|this|all|every|everything|any|both|whatever|today|tomorrow|tonight|{g.WEEKDAY})\b)", "cancel "),
    (rf"^\W*(?:please )?{_NOUN} {_GONE}(?: please)?{_TOLD}", r"cancel \g<thing>"),
    (rf"^\W*(?:please )?(?:(?:note|be aware|be advised)(?: that)?,? )?(?P<thing>(?:the|my|our|this|all|{g.WEEKDAY}'s|tomorrow's|tonight's|today's) [^.,;!?]{{2,80}}?) ?{_OFF}(?:[,.;]* (?:so |and |please )*(?:(?:cancel|delete|remove|drop|erase|scrap|take (?:it|that) (?:off|out))(?: (?:it|that))?|(?:it|that) (?:can|should|may|must) (?:go|come (?:off|out)|be (?:deleted|removed|taken (?:off|out)|cancell?ed))(?: (?:of|from))?(?: {_LISTS})?))?(?: please)?{_TOLD}", r"cancel \g<thing>"),
    (rf"^\W*(?:i|we)(?:'d| would)? (?:want|need|like) {_THING} (?:gone|off (?=my|the|our)|out of (?=my|the|our)|removed|deleted|cancell?ed|scrapped|dropped|axed|wiped|cleared)(?:(?: (?:of|from))? ?{_LISTS})?(?: please)?{_END}", r"cancel \g<thing>"),
    (rf"^\W*(?:don't|do not|no longer) (?:need|want|require) (?P<thing>(?:the|my|our|that|this|{g.WEEKDAY}'s|tomorrow's) [^.,;!?]{{2,80}}?)(?: any ?more| any longer| after all)?{_END}", r"cancel \g<thing>"),
    (r"(?P<a>^\W*(?:[^,.;!?]{0,40}?\b)?(?:cancel|delete|remove|erase|clear|drop|scrap|free up)\b.{3,120}?)[,.;-]?(?: and| so)?(?: please)? (?:take|clear|wipe|cancel|delete|remove|drop|get) (?:all of it|all of them|it all|them all|everything|it|them|that)(?: (?:off|out|away))*(?: please)?(?=\W*$)", r"\g<a>"),
    (rf"{_HEAD}(?:cancel|strike|remove|delete) (?:whatever|whichever|what)(?:'s| is| comes)?(?: up)? next\b", r"cancel the next event"),
    (rf"^\W*(?:(?:please )?(?:note|be aware|be advised)(?: that)?,? )?(?:i|we)(?: (?:won't|will not|cannot|can't|shall not|am not|are not|aren't|no longer|am no longer|are no longer)|'(?:m|re) (?:not|no longer))(?: (?:be|going to|able to))*(?: (?:having|holding|doing|attending|making|coming to|going to|have|hold|do|attend|make|come to|go to|need))?(?: it)?(?: to)? (?P<thing>(?:the|my|our|that|this|{g.WEEKDAY}'s|tomorrow's|today's|tonight's) [^.,;!?]{{2,80}}?)(?: any ?more| any longer)?(?:[.,;]| -)* ?(?:so |and )*(?:please |can you |could you )*(?:cancel|delete|remove|drop|erase|scrap|take|get|clear) (?:it|that|this|them)(?: (?:off|out|away))?(?: (?:from )?{_LISTS})?(?: please)?{_END}", r"cancel \g<thing>"),
    (rf"^\W*(?:there(?:'s| is) )?no (?:longer )?(?:any )?(?:more )?need (?:for|of) {_THING}(?: any ?more| any longer| now| after all)?{_END}", r"cancel \g<thing>"),
    (rf"{_HEAD}free (?:me|us) up\b", r"clear everything"),
    (rf"^\W*(?P<who>{_NAMES}) (?:(?:has |have |just )*(?:cancell?ed|called off|pulled out of|dropped out of|withdrew from)) (?:(?:his|her|their|the|our|my) )?(?P<thing>(?!it\b|that\b|me\b|us\b|on\b)[^.,;!?]{{2,60}}?)(?P<at>(?: (?:on |at )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))*)(?:[,.;]* (?:so |and |please )*(?:cancel|delete|remove|drop|take) (?:it|that)(?: (?:off|out))?)?{_TOLD}", r"cancel \g<thing> with \g<who>\g<at>"),
    # put in
    (rf"^\W*(?P<who>(?!(?:i|we|he|she|it|there|this|that)\b)[\w-]+(?: [\w-]+)?) (?:is|are|has|have|will have|will be)(?: (?:having|getting|got|doing))? (?:his|her|their) (?P<thing>[\w' -]{{2,40}}?) (?=(?:(?:on|at|from|this|next) )?(?:the )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"add \g<who>'s \g<thing> "),
    (rf"{_HEAD}(?:write|note|enter|log|mark|put|book|schedule|type) (?:(?:in|down|up) (?=(?:an?|the|my|our) (?!(?:name|calendar|schedule|agenda|diary|planner|list|phone)\b))|in (?!(?:my|the|our|an?|for|on|at|that|calendar|{g.DAY_SAID}|{g.CLOCK_SAID})\b)(?=[a-z]))", "add "),
    (rf"{_HEAD}(?:highlight|tag|star|designate|declare) (?=(?:the )?(?:{g.DAY_SAID}) as\b)", "mark "),
    (rf"{_HEAD}make (?:it so(?: that)? (?=(?:i|we) have\b|there (?:is|are)\b)|(?:room|space)(?: (?:on|in) {_LISTS})? for )", "schedule "),
    (rf"^\W*(?:please )?{_NOUN} (?:(?:has|have|needs?|ought|is|are) to|must|should) be (?:scheduled|added|set|put|booked|placed|entered|marked|fixed|arranged|created|saved|planned|noted)(?: (?:up|down|in|to|into|on)(?= (?:(?:on|at|for) |{_LISTS})|$))?", r"add \g<thing>"),
    (r"^\W*(?P<who>(?:my |the |our )?[\w'.]+(?: [\w'.]+){0,2}?) (?:wants|would like|'d like|needs|wishes|has asked|is asking|asked|asks|hopes) (?:to (?:see|meet|speak|talk|chat|catch up|sit down)(?: up)?(?: with| to)? (?:me|us)|for a (?:meeting|call|chat|word)(?: with (?:me|us))?)\b", r"schedule a meeting with \g<who>"),
    (r"^\W*(?:i|we)(?:'ve| have| just|'ve just)* (?:signed up (?:for|to)|registered for|enrolled (?:in|on|for)|booked(?: myself)?(?: in)?(?: (?:for|on|onto))?|got (?:tickets|a ticket|a place|a slot|places) (?:for|at|in|on|to)|bought tickets (?:for|to)|been invited to|am invited to|are invited to|agreed to|arranged|committed to|reserved|been booked (?:for|in for|on|onto)|got booked in for) (?=(?:an?|the|my|our|some|to|for|[a-z]))", "i have "),
    (rf"{_HEAD}(?:get|have) (?P<thing>(?:the|my|our|[\w']+'s?) [^.,;!?]{{2,50}}?) (?:done|fixed|sorted|checked|cleaned|repaired|seen to|looked at) (?=(?:on |at |in |by |this |next )?(?:the )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}|morning|afternoon|week))", r"add \g<thing> "),
    (r"\bthrow (?=(?:an?|the|my|our) (?:[\w']+ ){0,2}(?:party|dinner|bash|shower|barbecue|bbq|reception|ball|get-together)\b)", "schedule "),
    (rf"^\W*(?:please |hey |hi )*(?:can|could|may|might) (?:i|we) (?:please )?(?:have|get|grab|book|steal|borrow) (?=(?:about )?{g.LENGTH_SAID})", "schedule "),
    (rf"(?P<a>{g.LENGTH_SAID}) of (?P<b>{_NAMES})(?:'s|s') time\b", r"\g<a> with \g<b>"),
    (rf"{_HEAD}(?:get|put|book|squeeze|fit) (?:me|us) (?:on|in|into|onto) (?P<a>{_WHO})'s (?:calendar|diary|schedule|agenda|day)\b", r"schedule a meeting with \g<a>"),
    (rf"{_HEAD}(?:send|shoot|email|mail|drop|get) (?P<a>{_NAMES}) (?:an?|the) (?:calendar |meeting )?(?:invite|invitation)(?: (?:for|to))?", r"invite \g<a> for"),
    (rf"{_HEAD}(?:take|have|get|book|want|need|give me|(?:i'm|i am|we're|we are) (?:taking|having)) (?:the )?(?P<a>{g.DAY_SAID}|(?:a|half a|one|two|three) (?:days?|week|half day)|day|a half day|half day|time) off\b(?! (?:my|the|our)\b)", lambda found: f'add "day off" {found["a"] if re.fullmatch(g.DAY_SAID, found["a"], re.IGNORECASE) else ""}'),
    (rf"{_HEAD}(?:mark|put|show|list|set|book|have|block) (?:me|us)(?: down| out)?(?: as)? (?P<a>busy|away|out of (?:the )?office|out|unavailable|ooo|on (?:annual )?leave|off|not available|on holiday|on vacation)\b(?! (?:for|to|of)\b)", r'add "\g<a>"'),
    (rf"{_HEAD}(?:stick|pop|bung|whack|slap|chuck|throw|toss|drop|shove|sling|slot|lock|squeeze|fit|put|get|pencil|plop|plug|pen) (?!(?:[^.;!?]*? in for|down|that|it)\b (?!the\b|{g.DAY_SAID}|{g.CLOCK_SAID})){_THING} (?:in|down) (?=(?:(?:for|at|on|from) )?(?:the |this |next )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"add \g<thing> "),
    (rf"{_HEAD}(?:(?:lock|pen|slot|pop|stick) in|(?:stick|jot|pop) down|stick|pop|bung|whack|slap|plop|plug|pen|diarise|diary) (?=(?:an?|the|my|our|some|in|{g.WEEKDAY}|[\w']+ )\b)", r"add "),
    (rf"{_HEAD}(?P<a>(?:add|set|schedule|create|put|enter|book|make|new)(?: up)?(?: an?| the)?) (?:meeting|appointment|entry|event)[:,]? (?=(?-i:[A-Z])[\w'-]+ )(?!(?:(?-i:[A-Z])[a-z]+day|Room|Today|Tomorrow)\b)", r"\g<a> "),
    (r"^\W*(?:(?:so|and|but|hey|ok) )*(?:can|could|may|might) we (?:please )?(?=(?:do|have|grab|meet|talk|speak|catch up|sit down|chat|discuss|go over)\b)", "let's "),
    (r"^\W*(?:i|we)(?:'d| would)? (?:need|want|have|like|must|should|ought|'ve got)(?: to)? see (?=(?:(?-i:[A-Z])|(?:dr|mr|mrs|ms|prof)\b))", "schedule a meeting with "),
    # over to another time
    (r"^\W*(?:actually,? )?(?:let's|lets|let us|we should|i think we should) (?=(?:please )?(?:move|switch|swap|push|cancel|reschedule|shift|change|postpone|add|schedule|book|put|plan|set up|delete|drop|bump|call off|remove|bring|delay)\b)", ""),
    (rf"^\W*(?:can|could|may|might|should|would it be possible (?:for|to have)|is it possible (?:for|to have)|please (?:let|have)) (?P<thing>(?:the|my|our|this|that|tomorrow's|today's|{g.WEEKDAY}'s) [^.,;!?]{{2,80}}?)(?: please)? (?:to )?(?:be )?(?P<verb>moved|pushed|shifted|rescheduled|postponed|cancell?ed|deleted|removed)(?: (?:back|up|out|forward))?\b", lambda found: f"{'move' if found['verb'][0] in 'mpsr' and found['verb'] != 'removed' else 'cancel'} {found['thing']}"),
    (rf"^\W*(?:(?:so|but|and|please) )*(?:can|could|shall|may|might|let's|lets) ?(?:we|i|you)? (?:please )?(?:make|have|do|hold|start|meet for|put|run) {_THING}(?: (?:on|at|for|to))? (?P<a>(?:(?:on|at|to) )?(?:{g.DAY_SAID}|{g.CLOCK_SAID})[^.;!?]*?),? (?:rather than|instead of|not) (?:on |at )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}){_END}", r"move \g<thing> to \g<a>"),
    (rf"^\W*(?:please )*(?:make|set|start|have) (?P<thing>(?:the|my|our|this|that) [^.,;!?]{{2,60}}?) (?:(?:back|up) )?(?P<a>{g.LENGTH_SAID}) (?:later|earlier|sooner|back|forward){_END}", r"move \g<thing> by \g<a>"),
    (rf"^\W*(?:please )*(?:make|turn|have|let) (?P<thing>(?:the|my|our|this|that) [^.,;!?\d]{{2,60}}?)(?: into| repeat| be)? (?:an? )?(?P<a>(?:bi-?)?weekly|daily|monthly|yearly|fortnightly|(?:every|each) (?:\w+ )?\w+)(?: (?:event|meeting|thing))?{_END}", r"change \g<thing> to repeat \g<a>"),
    (rf"^\W*(?:actually,? |please )*make (?P<thing>(?:the|my|our|{g.WEEKDAY}'s|tomorrow's|today's) [^.,;!?\d]{{2,60}}?) (?:an? )?(?P<a>{g.LENGTH_SAID})(?: long)?{_END}", r"change \g<thing> to \g<a>"),
    (rf"^\W*(?:actually,? |please )*make (?P<thing>(?:the|my|our) [^.,;!?]{{2,60}}?) (?:(?:on|at) )?(?P<a>(?:{g.DAY_SAID}|{g.CLOCK_SAID})(?: (?:at )?{g.CLOCK_SAID})?)(?: instead)?{_END}", r"move \g<thing> to \g<a>"),
    (rf"^\W*(?:please |hey )*(?:can|could|might|should) {_NOUN} (?:start|begin|be|happen|take place|go|run|kick off) (?P<a>(?:(?:at|on|from) )?(?:{g.DAY_SAID}|{g.CLOCK_SAID})[^.;!?]*?) instead(?: of [^.;!?]+)?{_END}", r"move \g<thing> to \g<a>"),
    (rf"{_HEAD}(?:set|put|hold) off {_THING} (?:to|until|till) (?=(?:the )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"move \g<thing> to "),
    (rf"{_HEAD}(?:set|put|hold) {_THING} (?:back|forward|off) (?:to|until|till) (?=(?:the )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"move \g<thing> to "),
    (rf"{_HEAD}(?:move|reschedule|push|shift|postpone|change|rebook) (?P<thing>[^.,;!?]{{2,80}}?)[,.;-]+ (?:maybe |perhaps )?(?P<a>(?:{g.DAY_SAID}|{g.CLOCK_SAID})(?:,? (?:at )?{g.CLOCK_SAID})?) (?:works|is (?:good|best|fine|great|better|perfect|ok|okay|free)|would (?:work|be (?:good|great|best|better|fine|perfect|ideal)|suit)|suits)(?: (?:best|better|well))?(?: for (?:me|us|everyone))?{_END}", r"move \g<thing> to \g<a>"),
    (rf"^\W*(?P<thing>(?:the|my|our) [^.,;!?]{{2,60}}?) is (?P<a>(?:on|at) [^.,;!?]{{1,40}}?) now{_END}", r"move \g<thing> to \g<a>"),
    (rf"{_HEAD}(?P<a>extend|lengthen|prolong|shorten|cut|trim) {_THING}(?: (?:short|down|out))? (?:to|till|until) (?P<b>{g.CLOCK_SAID})(?! ?(?:minutes|mins|min|hours?|hrs?|h)\b)", r"extend \g<thing> until \g<b>"),
    (rf"(?P<a>\b(?:bring|move|push|pull|shift|postpone|put|reschedule|delay|bump)\b[^.;!?]{{2,80}}?(?: (?:forwards?|back|up|out|off))?){_BY} (?=(?:to|until|till)\b)", r"\g<a> "),
    (rf"{_HEAD}{_SHOVED} {_THING}{_NO_CLOCK}(?: (?:forwards?|back|up|out|over|along|across|off))? (?:to|until|till|til) (?=(?:the |this |next )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}|later|earlier|morning|afternoon|evening|\d))", r"move \g<thing> to "),
    (rf"(?P<a>{_HEAD}(?:postpone|reschedule|delay|defer|push|move|shift)\b[^.;!?]{{2,80}}?)(?<!scheduled)(?<!planned)(?<! set) (?:until|till|til|for) (?![^.;!?]* to (?:{g.DAY_SAID}|{g.CLOCK_SAID}))(?=(?:the |this |next )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"\g<a> to "),
    (rf"^\W*(?:(?:please )?(?:note|be aware|be advised|fyi)(?: that)?,? )?{_NOUN} {_MOVES}(?P<a>(?: from [^.;!?]{{1,30}}?)?)(?:[:,]? (?:to|until|till|on|at|for)|[:,;]+(?: it(?:'s| is))?(?: now)?(?: (?:on|at))?) (?P<b>[^.;!?]*?)(?:[,.;]? (?:please|could|can|would)\b[^.;!?]*)?{_TOLD}", r"move \g<thing>\g<a> to \g<b>"),
    (rf"^\W*(?:(?:so|but|and|please) )*(?:can|could|shall|may|might|let's|lets) ?(?:we|i|you)? (?:please )?(?:make|have|do|hold|start|get|meet for|put|run) {_THING}(?: (?:on|at|for|to))? (?P<a>(?:(?:on|at|to) )?(?:{g.DAY_SAID}|{g.CLOCK_SAID})[^.;!?]*?) instead(?: of [^.;!?]+)?{_END}", r"move \g<thing> to \g<a>"),
    (rf"^\W*(?:we|i) (?:said|agreed|planned|had|were going|wanted|meant|booked|scheduled)(?: that)?(?: (?:we|i|to))?(?:'d| would| had| have| will| are)?(?: (?:to|do|have|hold|meet for|start|run))* {_THING} (?:at|on|for) (?P<a>{g.CLOCK_SAID}|{g.DAY_SAID}),? but (?:now )?(?:let's|lets|can we|could we|i'd rather|we should|we'd better|we need to|better)(?: (?:start|do it|make it|have it|do|have|meet|go for|say|move it|move|push it|be))* (?:(?:at|on|to|for) )?(?P<b>{g.CLOCK_SAID}|{g.DAY_SAID})(?:,? still)?", r"move \g<thing> from \g<a> to \g<b>"),
    (rf"^\W*{_NOUN}(?P<a>(?: (?:on|at) (?:{g.DAY_SAID}|{g.CLOCK_SAID}))?) (?:is|becomes|will be|should be) now (?:(?:on|at|to) )?(?=(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"move \g<thing>\g<a> to "),
    (rf"^\W*(?:(?:so|but|and|please) )*(?:can|could|shall|may|might|let's|lets) ?(?:we|i|you)? (?:please )?(?:make it|have it|do|say|try|go for|meet) (?P<a>(?:(?:on|at|to) )?(?:{g.DAY_SAID}|{g.CLOCK_SAID})[^.;!?]*?) instead(?:,)? (?:for|with) (?P<thing>[^.;!?]{{2,60}}){_END}", r"move \g<thing> to \g<a>"),
    (r"\b(?:change|update|set) the (?:location|venue|place|room|address)(?: of| for)? (?P<thing>[^.;!?]{2,60}?) (?:to|from [^.;!?]{2,30} to) (?P<a>[^.;!?]{2,60})", r"move \g<thing> at \g<a>"),
    (rf"(?P<a>\bmove [^.;!?]{{2,60}}? from )(?P<b>\d{{1,2}}(?:st|nd|rd|th)?|the {g.ORDINAL}) to (?P<c>(?:the )?(?:\d{{1,2}}(?:st|nd|rd|th)?|{g.ORDINAL})(?: of)? (?P<m>{g.MONTH_FULL}))", r"\g<a>\g<b> \g<m> to \g<c>"),
    (rf"{_HEAD}{_SHOVED} {_THING},? (?:it|that|this) (?:needs to|has to|must|should|ought to|can|could|will)(?: now)? (?:be|go|happen|move|take place|start)(?: (?:on|at|to|for))? (?=(?:the )?(?:{g.DAY_SAID}|{g.CLOCK_SAID}))", r"move \g<thing> to "),
    (r"^\W*(?:we|i|they)(?:'re|'m| are| am|'ve| have| had to| have to|'ll| will)? (?:just |now |also )?(?:been )?(?:moving|moved|pushing|pushed|shifting|shifted|rescheduling|rescheduled|postponing|postponed)(?: (?:back|up|out))? (?=(?:the|my|our|your|that|this|\w+'s)\b)", "move "),
    (r"^\W*(?:we|i|they)(?:'re|'m| are| am|'ve| have| had to| have to)? (?:just |now |also )?(?:cancell?ing|cancell?ed|dropping|scrapping|scrapped|skipping|calling off|called off) (?=(?:the|my|our|your|that|this|\w+'s)\b)", "cancel "),
    (rf"^\W*(?:it's |it is |this is )?(?:about|regarding|concerning|as for|re) {_THING}[,:;-]+ (?:please )?(?:can|could|shall|may|might|let's|would)? ?(?:we|i|you)? ?(?:please )?(?:say|make it|do|have it|meet|move it(?: to)?|push it(?: to)?|try|go for|be) (?:at |on )?(?P<a>(?:{g.DAY_SAID}|{g.CLOCK_SAID})[^.;!?]*?)(?: instead)?{_END}", r"move \g<thing> to \g<a>"),
    (rf"^\W*(?:about|regarding|concerning|as for|re) (?P<thing>(?:the|my|our|{g.WEEKDAY}'s|tomorrow's) [^.,;!?]{{2,60}})[,:;-]+ .{{0,60}}?\b(?P<verb>strike|cancel|delete|remove|drop|erase|scrap|move|reschedule|postpone|push) (?:it|that)\b", r"\g<verb> \g<thing>"),
    (rf"^\W*{_NOUN} (?:will|shall|is going to|'ll|is to)? ?(?P<n>now )?(?:meet|be|take place|happen|start|sit|convene|gather|go ahead)(?: (?:on|at|from))? (?P<a>(?:{g.DAY_SAID}|{g.CLOCK_SAID})[^.;!?]*?)(?(n)(?: instead)?| instead){_END}", r"move \g<thing> to \g<a>"),
    (rf"^\W*(?!(?:\W|(?:please|can|could|would|let's|we|i|you)\b)*(?:add|book|schedule|put|set|create|plan|remind|invite|find|get|make|enter|block)\b){_NOUN} (?P<a>(?:(?:on )?{g.DAY_SAID}|at {g.CLOCK_SAID})[^.;!?]*?) instead{_END}", r"move \g<thing> to \g<a>"),
    # somebody to what is there
    (rf"{_HEAD}(?:add|invite|include|count in|bring|cc|loop in) (?P<a>{_NAMES}) (?:to|in on|on|in|into|for|at) (?P<b>(?:(?:this|next) )?(?:{g.WEEKDAY}|tomorrow|today|tonight))'s (?P<thing>(?!(?:calendar|list|schedule|agenda|diary|planner|tasks|events|to-?do)\b)[\w' -]{{2,40}}?)(?=\s*(?:$|[.,!?;]|at\b))", r"invite \g<a> to the \g<thing> on \g<b>"),
    (rf"{_HEAD}(?:take|drop|leave|kick|remove|cut|uninvite|disinvite) (?P<a>{_NAMES}) (?:out of|off(?: of)?|from) (?P<b>(?:(?:this|next) )?(?:{g.WEEKDAY}|tomorrow|today|tonight))'s (?P<thing>(?!(?:calendar|list|schedule|agenda|diary|planner|tasks|events|to-?do)\b)[\w' -]{{2,40}}?)(?=\s*(?:$|[.,!?;]|at\b))", r"remove \g<a> from the \g<thing> on \g<b>"),
    # reminded
    (r"^\W*(?:i|we)(?:'ve)? (?:(?:need|have|ought|got) to|must|should|gotta) (?P<do>[a-z][^.;!?]{3,100}?)[,.;]? (?:and |so |please |can you |could you |would you )*(?:remind|ping|nudge|alert|notify) (?:me|us)(?: (?:about|of|to do) (?:it|that|this))?(?: please)?(?=\W*$)", r"remind me to \g<do>"),
    (rf"^(?P<s>[^;!?]{{4,80}}?),? (?:is |are |comes down |falls )?(?:due )?(?:on |by )?{g.DAY_SAID}(?: at {g.CLOCK_SAID})?[,.;]+ (?:and |so |please |can you |could you )*(?:remind|ping|nudge|alert|notify|nag|warn) (?:me|us)(?: (?:about|of) (?:it|that|this))?(?P<t> (?:on |at |in |the )?(?:{g.DAY_SAID}|at {g.CLOCK_SAID})[^.;!?]*){_END}", r"remind me\g<t> about \g<s>"),
    (r"^\W*(?:an? |the )?(?:reminder|note|alarm|alert) (?P<a>(?:for|on|at) [^.;!?]{2,40}?)[,.;:-]+ (?:that )?(?:i|we) (?:must|need to|have to|should|ought to|want to) (?P<do>[a-z])", r"remind me \g<a> to \g<do>"),
    (rf"{_HEAD}(?:(?:i|we) )?(?:need|want|could use|could do with|require) (?:a )?(?:reminding|nudging|prodding|a nudge|a prod|a kick)\b", r"remind me"),
    (rf"(?P<a>{_HEAD}(?:{g.DAY_SAID}|at {g.CLOCK_SAID}|,| )*)(?:give (?:me|us) an? (?:nudge|shout|buzz|ping|poke|prod|kick|beep|holler|little nudge|quick nudge|quick reminder|reminder|heads[- ]up)|(?:shoot|drop|send|throw) (?:me|us) an? (?:quick )?(?:reminder|nudge|ping|heads[- ]up|alert)|(?:nudge|buzz|poke|ping|beep|prompt|nag|bug|prod|holler at|shout at) (?:me|us))\b", r"\g<a>remind me"),
    (r"\b(?:reminder|note|memo) to (?:self|myself|me)\s*[:,-]?\s*(?:to )?", "remind me to "),
    (rf"{_HEAD}(?:(?:i|we) )?(?:have|need|want|ought|must|'d like|would like|should)(?: to)? be reminded(?: that| about| of)? ", r"remind me about "),
    (r"(?P<a>^|^.{0,60}? )have me (?P<do>(?!(?:in|on|at|down|up|a|an|the|my)\b)[a-z]+ )", r"\g<a>remind me to \g<do>"),
    (rf"^(?P<a>(?:in (?:about )?{g.LENGTH_SAID}|{g.LENGTH_SAID} from now|at {g.CLOCK_SAID}|(?:tomorrow|today|tonight|every day|daily)(?: (?:morning|evening|afternoon))?(?: at {g.CLOCK_SAID})?),?) (?:please )?{_BUZZED} (?:me|us)(?: to| that i (?:have|need) to)? (?P<do>{_DOES}[a-z])", r"\g<a> remind me to \g<do>"),
    (rf"{_HEAD}let (?:me|us) know (?P<a>(?:(?:{g.DAY_SAID}|(?:at )?{g.CLOCK_SAID}|in the (?:morning|afternoon|evening)) ?)+)(?=(?:that|to|about) )", r"remind me \g<a> "),
    (rf"{_HEAD}(?:ring|sound|start|fire|trigger|put on|set off) (?:the|an|my) alarm\b", r"set an alarm"),
    (rf"(?P<a>{_HEAD}(?:remind|ping|alert|nudge|buzz|notify|warn|text|poke|wake) (?:me|us)\b[^.;!?]{{0,60}}?),? so (?:that )?(?:i|we) (?:don't|do not|won't|can't) (?:miss|forget(?: about)?|skip|be late (?:for|to)|oversleep) (?=\w)", r"\g<a> about "),
    # who it is with
    (rf"(?P<a>\b(?:book|get|find|give|fix|schedule|set)) (?:us|me)\s*[-(,:]+\s*(?:(?:that's|i\.e\.|meaning) )?(?:me|myself|i),? (?:and |& )?(?P<b>{_NAMES})\s*(?:[-),:]+|(?=for\b))\s*", r"\g<a> with \g<b> "),
    (rf"(?P<a>\b(?:book|get|find|give|fix|have|set up|schedule|need|arrange))(?: (?:for|with))? (?:me|us|myself) (?:and|&|\+|plus|with) (?P<b>{_NAMES}) (?P<c>(?:for )?{g.LENGTH_SAID})", r"\g<a> with \g<b> \g<c>"),
    (rf"(?P<a>\b(?:book|get|find|give|fix|have|set up|schedule|need|arrange))(?: (?:for|with))? (?P<b>{_NAMES}),? (?:and|&|\+|plus) (?:me|myself|i) (?P<c>(?:for )?{g.LENGTH_SAID})", r"\g<a> with \g<b> \g<c>"),
    (rf"[,.?;-]* ?\bme,? (?:(?:u|you),? )?(?:and|&|\+) (?P<b>{_NAMES})(?=\W*$)", r" with \g<b>"),
    (r"(?P<a>\b(?:time|slot|hour|hours|minutes|mins|min|gap|space)) for (?P<b>(?-i:[A-Z])[\w'-]+(?:(?:,? (?:and|&) |, )(?-i:[A-Z])[\w'-]+)*)(?: together)?(?=\s*(?:$|[.,;!?]|on\b|at\b|in\b|next\b|this\b|tomorrow\b|some|between\b|before\b|after\b|to\b))(?<!day)", r"\g<a> with \g<b>"),
    (rf"(?P<a>\b(?:time|slot|hour|minutes|mins|meeting|call|session|gap|space|room)) (?:for|between|with) (?:me|us|myself),? (?:and |& |plus |with |to (?:meet|see|talk to|speak (?:to|with))(?: with)? )?(?P<b>(?:the |my |our )?{_NAMES})", r"\g<a> with \g<b>"),
    (rf"{_HEAD}(?:get|bring|pull|have|call|fit|squeeze|slot|pencil) (?P<a>{_NAMES}) (?:in|into|over|together|round|around|on) (?:for )?(?P<b>(?:a|an|the|our|my|some|coffee|lunch|dinner|drinks|breakfast)\b)", r"schedule with \g<a> for \g<b>"),
    (rf"[,.]? ?(?:please )?(?:enter|put|add|book|note|mark|save|pencil|block)(?: it| that| this)(?: in| down)? for (?:me|us|myself),? ?(?:and |& |plus )?(?P<a>{_NAMES})(?: please)?{_END}", r" with \g<a>"),
    (rf"{_HEAD}(?:pencil|put|slot|squeeze|fit|book|schedule|have) (?P<a>(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )(?-i:[A-Z])[\w'-]+) (?:in|down) for ", r"schedule with \g<a> for "),
    (r"\b(?P<a>office hours?|appointment|slot|meeting|session|interview|consultation|call|tutorial|briefing) for (?=(?:Mr|Mrs|Ms|Dr|Prof)\b\.? (?-i:[A-Z]))", r"\g<a> with "),
    # told, and put in
    (rf"^(?!(?:\W|(?:please|can|could|would|olly|pda|hey|hi)\b)*(?:cancel|delete|remove|move|reschedule|remind|what|when|where|which|who|how|is|are|do|does|did|show|tell|list|check|find|if|postpone|change|erase|clear)\b)(?P<a>.{{6,200}}?)(?:(?:,|\.|;| -)?(?: so| and)?)(?: please| can you| could you| would you| kindly)* (?:put|add|set|save|mark|note|enter|schedule|write|stick|pop|log|jot|book|record|diarise|pencil|register|slot|stash|get|have) (?:it|that|this|them|one)(?: (?:in|down|up|on|into|onto|to))?(?: {_LISTS})?(?: for me)?(?: please)?{_END}", r"\g<a>"),
    (rf"^(?!(?:\W|(?:please|can|could|would)\b)*(?:cancel|delete|remove|move|remind|what|when|where|which|who|how|is|are|do|does|did|show|tell|list|check|find|if)\b)(?P<a>.{{6,200}}?)[,.;]? (?:please (?:add|put|save|note|schedule|book|set|enter)|(?<!my )(?<!the )(?<!our )(?:add|save|note|schedule|book|enter) (?:please|pls|thx|thanks)){_END}", r"\g<a>"),
    (rf"^(?P<w>[^,;]*?(?P<b>{g.DAY_SAID}(?: (?:and|to|-|\+|&|through|until) (?:the )?{g.DAY_SAID})?(?: (?:this|next) week)?)[^,;]*)[,;.]? (?:so |and |please |can you )*(?:mark|put|show|set|have|list) (?:me|us)(?: down| in)?(?: as)? (?P<a>[\w' -]{{2,40}}?) (?:(?:on|for) )?(?:both|those|these|all|that|the)(?: (?:two|three|whole))? (?:days?|time|weeks?|dates?|period){_END}", r'add "\g<a>" \g<b>'),
    (rf"{_HEAD}(?:note|record|log|mark|write|put|jot|remember|save|enter)(?: down)? that (?P<a>(?!(?:i|we)\b)[\w']+(?: [\w']+){{0,4}}? (?:is|are|will be) (?:out|closed|open|away|off|back|shut|done|over|free|in town|on (?:leave|holiday|vacation|strike|call)))\b", r'add "\g<a>"'),
    (rf"{_HEAD}(?:book|reserve|get|take|hold) (?P<b>(?:the )?(?:(?:meeting |conference )?room (?:\w+)|boardroom|\w+ (?:boardroom|hall)|(?:the )?(?-i:[A-Z])\w+ room)) for (?P<a>(?:the|our|my|an?) [^.;!?]{{2,60}})", r"schedule \g<a> in \g<b>"),
    # looked up
    (r"^\W*(?:i|we) (?:think|believe|thought|reckon|guess) (?:(?:i|we) (?:have|had|'ve got)|there(?:'s| is| was)) (?P<a>[^.;!?]{3,80}?),? (?:(?:and|but|please|can you|could you) )*(?:double[- ]?check|check|confirm|verify|is that right)(?: that| it| for me| please)*(?=\W*$)", r"do i have \g<a>"),
    (rf"{_HEAD}(?:remind|tell) me(?: again)? (?P<a>when|where|who|what) (?=(?:is|are|was|were|does|do|did|will|'s)\b)", r"\g<a> "),
    (rf"{_HEAD}(?:look up|look back (?:at|on|to)|look at|check(?: on)?|pull up|bring up|find|go (?:back )?to|see) {_NOUN},? (?:and )?(?:(?:tell me|say) )?(?P<a>what|when|where|who|which day|what day|what date|what time|how long)(?:'s| is| was| are)?(?: (?:it|that|there|on|happening|scheduled|is|was|are|be|they|in it))*{_END}", r"what is \g<thing>"),
    (r"^\W*who(?:m)? (?:did|have|had) (?:i|we) (?:already )?(?:invited?|asked?) (?:to|for) ", "who is invited to "),
    (rf"^\W*(?P<a>(?:when |what |where )?(?:do|did|are|will)) (?P<b>{_NAMES}),? and (?:i|me) (?P<c>[^?.;!]+)", r"\g<a> i \g<c> with \g<b>"),
    (r"^(?P<a>\W*(?:and |so )?)how (?:late|early|soon) (?=(?:does|do|did|is|are|will)\b)", r"\g<a>what time "),
    (r"\b(?:whatever|anything that|all that|everything that|what all)(?:'s| is| are| i have| i've got| we have)?(?: got)? (?=(?:booked|planned|scheduled|on|happening|coming|set|going on)\b)", "everything "),
    (rf"^\W*(?:and |so )?(?:did|has|have|is|are|will|does|do) (?P<a>{_NAMES}) (?:already |yet |definitely )?(?:be )?{_ACCEPTED}(?: yes)?(?: (?:to|for|at|on))?(?: (?:the |my |our |an |your )?(?:invite|invitation|request)(?: (?:to|for|of))?)? (?P<thing>(?:(?:{g.WEEKDAY}|tomorrow|tonight|today)'s |the |my |our |(?=lunch|dinner|breakfast|brunch|drinks|coffee|practice|church))[^.;!?]{{2,60}})", r"do i have \g<thing> with \g<a>"),
    (r"^\W*(?:(?:can you|could you|please) )*(?:check|see|find out|tell me|let me know|look) (?:if|whether) (?P<a>(?:(?-i:[A-Z])|(?:dr|doctor|mr|mrs|ms)\b)[\w.]*(?:(?: and |, | & | )(?-i:[A-Z])\w+)*)(?:'s| is| are) (?:free|available|around|busy|open|reachable)\b", r"when am i free with \g<a>"),
    (rf"{_HEAD}(?:find out|check|see|tell me|let me know) (?:if|whether) (?P<a>(?-i:[A-Z])[\w'-]+) (?P<b>is|will|has) (?={_ACCEPTED})", r"\g<b> \g<a> "),
    (rf"^\W*(?:and |so |when )?(?:is|are) (?P<a>(?!(?:it|that|there|this|my|the|our|any|anyone|anybody|everyone|everybody|anything|everything|all|next|last|today|tomorrow|tonight|yesterday|now|noon|morning|afternoon|evening|lunch|room|rooms|{g.WEEKDAY}|{g.MONTH})\b)(?:(?:dr|doctor|mr|mrs|ms) )?[a-z]+(?: and (?!i\b)[a-z]+)?) (?:free|available|around|busy)\b", r"when am i free with \g<a>"),
    (r"^\W*(?:and |so |when )?(?:is|are) (?P<a>(?:(?-i:[A-Z])|(?:dr|doctor|mr|mrs|ms)\b)[\w'.]*(?:(?: and |, | & | )(?-i:[A-Z])[\w']+)*) (?:free|available|around|busy|open|reachable)\b", r"when am i free with \g<a>"),
)  # fmt: skip
_formed = rewriter(_FORMS)
_MIND = re.compile(r"\b(?:would|do) you mind (?P<verb>[a-z]+ing)\b", re.IGNORECASE)


def plain_verbs(text: str) -> str:
    """The text with the verbs that are known."""
    text = _MIND.sub(lambda found: f"please {_base(found['verb'].lower())}", text)
    return " ".join(_formed(text).split())


def _base(gerund: str) -> str:
    return _GERUNDS.get(gerund, gerund.removesuffix("ing"))
