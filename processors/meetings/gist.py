"""What is said around a request, left aside: a greeting, who is spoken to, why, and thanks.

Enters: a tidy text. Leaves: the sentences and clauses that ask for something, or say when, who or what. Guaranteed: a
sentence that names a time, or begins with a command, is only left aside if it says that the time does not suit; what
is meant by "her" or "it" is put in its place before its sentence goes; a condition ("if the client signs") stays; a
text that is nothing else stays as it is. Rejected: one request out of several commands: that is asked about.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings import grammar as g

_GREETING = r"(?:yeah no|yeah nah|yeah|yep|yup|nah|nope|no|hi|hello|hey|hiya|dear|howdy|morning|afternoon|evening|good (?:morning|afternoon|evening|day)|greetings|hm+|um+|uh+|er+m?|ah|oh|well|right|so|ok|okay|fyi|btw|psst|listen|look|guys|folks|all|team|everyone)"
_OPENING = re.compile(
    rf"^(?:(?:{_GREETING})(?: (?:all|team|everyone|everybody|folks|there|again|both|guys|(?-i:[A-Z])\w+))?\s*(?:[,!:.]+|\s-)\s+"
    r"|(?:hm+|um+|uh+|er+m?|fyi|btw|psst|yeah,? no|yeah,? nah|nah|yeah|yep|right so|ok so|okay so|oh and),? |(?:quick|one|small|another|tiny) (?:q|question|one|ask|favou?r|thing|request|note)(?: for you)?\s*(?:[,:.!?-]+)\s*"
    r"|(?:(?:my )?(?:dear|love|darling|sweetheart|mate|pal|buddy|friend)|lol|oops|whoops|haha|omg|argh|ugh|ah yes|oh no)(?: (?:forgot|i forgot|sorry))?\s*[,:.!-]+\s*|(?:this is|it's|(?:my )?name is) (?:(?:dr|mr|mrs|ms)\.? )?(?-i:[A-Z])\w+(?: (?-i:[A-Z])\w+)?(?: (?:here|speaking|calling|again|from \w+))?\s*[,.!-]+\s+"
    r"|(?:one more thing|also|heads[- ]up|as (?:discussed|agreed|promised|mentioned|per \w+(?: \w+)?|we said|usual)|by the way|(?:standing|urgent|new|small|one last) request|request|action(?: item)?|todo|to[- ]do|for the record)\s*[,:.!-]+\s*"
    r"|(?:sorry|apologies|apols|thanks|thank you)(?: (?:in advance|for|about|to)\b[^.:;!?]{0,50}?)?(?: but|\s*[:;!.,]| -)\s+)",
    re.IGNORECASE,
)
_SIGNED = re.compile(
    r"(?:(?<=[.!?]) |, )(?:(?:many )?thanks|thank you|thx|cheers|best(?: (?:regards|wishes))?|(?:kind |warm )?regards|sincerely|yours|love|ta)[,.! ]+(?-i:[A-Z])\w*(?: (?-i:[A-Z])\w*)?\W*$",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"[\s,.;!-]+(?:(?:many )?thanks(?: (?:so much|a lot|a million|in advance|again))?|thank you(?: (?:so|very) much| in advance)?|thx|ty|ta|cheers|much appreciated|(?:that )?would be (?:great|lovely|good|perfect|nice|ideal)|i'?d appreciate (?:it|that)|appreciate it|"
    r"let me know(?: (?:what you think|if (?:that|it) works))?|if (?:that|it)(?:'s| is)(?: at all)? (?:possible|convenient|no trouble|not too much trouble)|goodbye|bye-?bye|(?:is |if )?that(?:'s| is) (?:ok|okay|alright|all right|fine)(?: with you)?|sounds? good|(?:that |which )?(?:i|we)(?:'d like| want| need| have| plan| would like| would love|'d love) to (?:go|attend|be at)(?: to)?|does that work|if you (?:don't|do not) mind|thank you|when you (?:get a (?:chance|moment|sec)|have a (?:moment|sec|minute))|(?<=[,.!] )best(?: (?:regards|wishes))?|(?:kind |warm )?regards|bye|no rush|asap please|x+)[\s.!?]*$",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"^\W*(?:(?:yes|yeah|yep|no(?=[,.!])|hello|hi|hiya|hey|erm*|um+|uh+|hm+|oh|ah|well|ok|okay|right|now then|good (?:morning|afternoon|evening|day)|dear|love|darling|sweetheart|my dear|and|so|but|also)(?=[\s,.!-])(?! (?:in|on|at|to|for|with)\b)"
    r"|(?:and |oh )*(?:one|a) (?:more|last|other|further|final) thing|(?:this is |i(?:'m| am| was) )?just (?:to (?:say|let you know|confirm|note|mention|tell you)|saying|a (?:quick )?(?:note|word|line)(?: to say)?)(?: that)?"
    r"|i(?:'m| am| was|'ve been| have been)?(?: just)? (?:ringing|calling|phoning|writing|getting in touch|messaging) (?:to (?:ask|say|see|check|enquire|inquire|find out)|because|as)(?: if| whether| that)?"
    r"|i(?:'m| am) (?:afraid|sorry to say|happy to say|pleased to say|sure)(?: that)?|unfortunately|sadly|luckily|i(?:'ve| have| had)?(?: quite| completely| totally| just)? (?:forgotten|forgot|forget|realised|realized|remembered|noticed)(?: that)?(?=,)"
    r"|would you believe it|guess what|long story short|(?:bad news|good news|change of plans?|quick update|update)(?=[:,.!]| -))"
    r"[\s,.!:;-]+(?=\w)",
    re.IGNORECASE,
)
_EMPHATIC = re.compile(r"^(?P<lead>\W*)do (?=(?:wake|remind|put|add|enter|note|make|book|cancel|move|let me know|tell|send|set)\b)", re.IGNORECASE)  # fmt: skip
_OR_ELSE = re.compile(
    r",? or (?:can|should|shall|could|may|do|would|must) (?:i|we)\b[^?]*(?P<end>\??\W*)$", re.IGNORECASE
)
_ASKED_FIRST = re.compile(r"\W*(?:are|am|is|do|does|did|have|has|what|when|where|which|who|how|any)\b", re.IGNORECASE)
_YOU = r"(?:you|u|ya|someone|somebody|the assistant)"
_WOULD = r"(?:could|would|can|might|will)"
_COURTESY = re.compile(
    r"^(?P<lead>\W*(?:(?:hey|hi|hello|ok|okay|olly|pda|alexa|siri|google|so|and|but|then|also|now|well|please)[,.]? )*)(?:"
    rf"(?:i|we)(?:'d| would| will|'ll)(?: really| very much| dearly)? (?:be (?:so |very |most |really |ever so |much )?(?:grateful|happy|glad|delighted|thankful|pleased|obliged)|appreciate it|love it|like it|need it)(?: so much| very much| a lot)? if {_YOU} {_WOULD}(?: please| just| kindly| possibly)* "
    rf"|(?:it|that)(?:'d| would)(?: really)? be (?:so |very |really )?(?:great|good|lovely|nice|helpful|wonderful|amazing|super|perfect|fantastic|kind)(?: of you)? (?:if {_YOU} {_WOULD}|to)(?: please| just)* "
    rf"|(?:would|is|might) it (?:be )?(?:at all )?(?:possible|ok|okay|alright|all right|too much (?:trouble|to ask)|feasible)(?: for {_YOU})? to (?:please )?"
    rf"|is there (?:any|a) (?:way|chance|possibility)(?: (?:that )?{_YOU}(?: {_WOULD})?| (?:of|to)| (?:we|i) (?:can|could))(?: please)? "
    rf"|(?:i|we)(?: was| were|'m| am|'re| are)? ?(?:wonder(?:ing)?|hoping|hope|wondered|just wanted to (?:ask|see)|want to ask|would like to ask|wanted to ask|was going to ask)(?: if| whether| that)? (?:{_YOU} (?:{_WOULD}|to)|it'?s possible to|we (?:can|could)|i (?:can|could))(?: please| just| possibly| maybe)* "
    rf"|do you think (?:{_YOU}|we|i) (?:{_WOULD})(?: please| possibly)* "
    rf"|(?:could|would|can|will) {_YOU} (?:(?:possibly|maybe|perhaps|be (?:so kind|kind enough) (?:as )?to|be a (?:dear|star|love|legend|gem|doll) and|do me a (?:favou?r|solid) and|help me(?: out)?(?: by| to| and)?(?! with\b)|try to|try and|manage to|just|quickly|go ahead and|be able to|please|kindly) )+"
    rf"|(?:may|might|can|could) (?:i|we) (?:please )?(?:ask|get|trouble|bother|have) {_YOU} (?:to )?"
    rf"|(?:please )?(?:be (?:so (?:kind|good)|kind enough|good enough) (?:as )?to|be a (?:dear|star|love|legend|gem|doll) and|do me a (?:favou?r|solid)(?: and|:|,)|feel free to|make sure (?:that )?(?:you|to)|see to it that you|if {_YOU} (?:could|would|can)(?: please| just| possibly)*) "
    rf"|(?:i|we)(?:'d| would| will|'ll| am going to|'m gonna)?(?: really| just| very much)? (?:need|want|like|have|require|love|ask)(?: for)? {_YOU} to |(?:i|we)(?:'d| would| should) (?:very much|dearly|really|so) (?:like|love) to "
    r")(?=[a-z])",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?<![\w'])(?:um+|uh+|erm|hmm+|you know|i guess|i suppose|sort of|kind of|kinda|sorta|i dunno)(?![\w'])(?: ,|,)?|\blike,? (?=(?:at|on|around|tomorrow|next|this|(?:mon|tues|wednes|thurs|fri|satur|sun)day|\d|half|noon|from)\b)(?<!look like )(?<!looks like )(?<!would like )(?<!d like )(?<!is like )",
    re.IGNORECASE,
)
_CAUSE = re.compile(r",? (?:because of|due to|owing to|on account of|thanks to) (?!\w+ing (?:at|on)\b)[^,.;!?]{2,50}(?=\s*$|[.;!?])", re.IGNORECASE)  # fmt: skip
_ASIDE = re.compile(r"\s*\((?P<a>(?![A-Z]{2,5}\)|\d)[^()]{2,60})\)")  # (the Thai place), never (CET)
_WHERE = re.compile(r"^(?:the |our |my )?(?:[\w']+ ){0,2}(?:place|restaurant|caf[eé]|room|office|bar|hall|pub|park|club|hotel|centre|center|house|canteen|gym|studio)\b(?: \w{1,3})?$", re.IGNORECASE)  # fmt: skip
_SAID_OF = r"(?:hopefully|ideally|preferably|basically|obviously|literally|honestly|if anything|by the way|as usual|for a change)"
_ADVERB = re.compile(rf",? ?\b{_SAID_OF}\b,?(?= )|,? ?\b{_SAID_OF}(?=\s*(?:$|[.!?]))", re.IGNORECASE)

_PRONOUN = r"(?:i|we|he|she|they|it|this|that|there|something|someone|somebody|everyone|nobody|no one)"
_BE = r"(?:'m|'s|'re|'ve|'d|'ll| (?:am|is|are|was|were|has|have|had|can|can't|cannot|could|couldn't|will|won't|would|wouldn't|do|does|did|don't|doesn't|didn't|isn't|aren't|wasn't|haven't|hasn't|got|gotta|must|should|might|may))\b"
_PAST = r"(?:came|went|fell|broke|quit|left|withdrew|lost|found|said|says|told|caught|hurt|forgot|thinks?|thought|feels?|felt|hates?|needs?|wants?|wanted|got|gets|took|made|ran|knows?|knew|chose|moved|works?|looks?|seems?|sounds?|keeps?|kept|sprang|sprung|\w{3,}ed)\b"
_SUBJECT = rf"(?:{_PRONOUN}|(?:my|our|the|his|her|their|a|an) [\w'-]+(?: [\w'-]+){{0,2}}?|(?:[a-z]+ )?(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?(?-i:[A-Z])[\w'-]+(?: (?-i:[A-Z])[\w'-]+)?)"
_CLAUSE = rf"(?:(?:{_SUBJECT}|[a-z]+s?)(?: (?:just|really|already|still|also|all|now|both|never|simply|else))?(?:{_BE}| {_PAST}))"
_WHY = r"(?:because|cause|cuz|coz|bc|since|as|so|but|and|sorry|plus)"
_REASON = re.compile(rf"\W*(?:{_WHY},? )?{_CLAUSE}|\W*(?:(?:just |still )?(?:planning|trying|waiting|hoping|thinking|running|feeling|stuck|off|away|sick|ill|busy|going|got)\b)", re.IGNORECASE)  # fmt: skip
_ASKS = r"(?:please|pls|kindly|can (?:you|we|i)|could (?:you|we|i|someone|somebody)|would you|will you|let's|let us|lets|shall we|how about|what about|any chance|is there|do i|am i|have i|what|when|where|who|which|how)"
_COMMANDS = r"(?:add|schedule|put|book|create|make|plan|arrange|organi[sz]e|mark|enter|block|save|note|set|find|get|give|reserve|invite|pencil|remind|alert|notify|ping|nudge|wake|cancel|delete|remove|erase|clear|drop|scrap|call|take|throw|kill|scratch|strike|bin|ditch|axe|trash|move|reschedule|change|postpone|push|shift|bring|swap|bump|show|list|tell|check|read|look|pull|rename|extend|shorten|cut)"
_REQUEST = re.compile(rf"\W*(?:(?:so|then|and|but|now|also|just|instead|therefore),? )*(?:{_ASKS}|{_COMMANDS}|(?:i|we)(?:'d| would)? (?:need|want|like|have) (?:to |an? |the |you |some )?|i(?:'d| would) rather|remind me)\b", re.IGNORECASE)  # fmt: skip
_TIMED = re.compile(rf"(?<![\w'])(?:{g.DAY_SAID}|(?:at|by|from|after|before|until|till) {g.CLOCK_SAID}|\d{{1,2}}(?::\d\d| ?[ap]m)\b|morning|afternoon|evening|night|noon|every|week)", re.IGNORECASE)  # fmt: skip
_UNSUITED = re.compile(r"\b(?:(?:doesn't|does not|don't|won't|will not|isn't|is not|no longer|can't|cannot)\b.{0,30}\b(?:work|suit|do|make|good|possible|great|ideal|happen|going to)\b|clash(?:es)?|(?:is|are) (?:no good|out|off|impossible|full|bad|taken|gone|not good)|(?:am|'m|is|are|be) (?:away|out|busy|off|sick|ill|travelling|traveling|on leave|on holiday)|cancel(?:l)?ed on|came up)\b", re.IGNORECASE)  # fmt: skip
_TELLS = re.compile(r"\b(?:(?:is|it's|be|an?|event|meeting|entry|title) called|named|titled|title|about|subject|join(?:s|ing)?|coming|be there|invited|included|as well|too|hosting|takes? place|(?:is|are|be|it's) (?:at|in|on|with|for|between))\b", re.IGNORECASE)  # fmt: skip
"""What, who or where is told: no mere reason."""
_IF = re.compile(r"\W*(?:(?:and|but|only) )?(?:if|unless|when|once|provided|assuming|whether|until)\b", re.IGNORECASE)
_IT = re.compile(r"\b(?:it|that|this|them|those|these|(?<!-)one(?!-))\b(?! (?:is|was|week|month|year|weekend|morning|afternoon|evening|\w+day)\b)", re.IGNORECASE)  # fmt: skip
_HIM = re.compile(rf"\b(?P<to>with|for|to|and|invite|meet|see) (?:him|them|her(?= (?:to|on|at|for|in|about|and|from|by|again|too|please|every|over|next|this|{g.DAY_SAID}|{g.CLOCK_SAID})\b|\W*$|[,.;!?]))\b", re.IGNORECASE)  # fmt: skip
_THEM = re.compile(r"\b(?P<verb>move|reschedule|cancel|push|shift|postpone|rebook|book|bump) (?:her|him|them)\b(?= (?:from|to|for|on|in|at|until|till)\b|\W*$)", re.IGNORECASE)  # fmt: skip
_THEIRS = re.compile(r"\b(?:her|his|their) (?P<kind>appointments?|meetings?|calls?|sessions?|slots?|bookings?|interviews?|lessons?)\b", re.IGNORECASE)  # fmt: skip
_WHO = re.compile(r"\b(?:with|from|by) (?P<a>(?:(?:dr|mr|mrs|ms)\.? )?[^\W\d]+)(?= (?:delete|cancel|remove|move|drop|erase|clear|so|and|but)\b|[,.;!?]|\s*$)|^(?:(?:patient|client|customer|colleague) )?(?P<b>(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?(?-i:[A-Z])[^\W\d]+)(?= (?:is|has|can't|cannot|won't|was|just|called|says|said|isn't|wants|needs|cannot|asked|would|will|won't|called|rang|emailed)\b)", re.IGNORECASE)  # fmt: skip
_SENTENCE = re.compile(r"(?<=[!?;])\s+|(?<!\b[A-Z])(?<!\b[Dd]r)(?<!\b[Mm]r)(?<!\b[Mm]s)(?<!\b[Mm]rs)(?<!\b[Pp]rof)(?<!\bSt)\.\s+(?=\S)|\s+-\s+(?=[^\W\d])")  # fmt: skip
_TAIL = re.compile(r"(?:,|\s-)\s+(?P<why>[^,;.!?]+)[.!?\s]*$")
_RAN_ON = re.compile(
    rf"(?P<kept>^(?:\W*(?:please|can you|could you|olly|pda|hey))*\W*(?:cancel|delete|remove|erase|clear|drop|scrap|scratch|kill|strike|bin|ditch|axe|trash|call off|take|get rid|throw|move|push|postpone|reschedule|shift|bump)\b.{{4,}}?) (?:(?:because|cause|cuz|coz|bc|since|as) {_CLAUSE}|(?:i|we|he|she|they|it)(?:(?:'m|'s|'re)| (?:am|is|are|was|were|can't|cannot|couldn't|won't|don't|didn't|doesn't|quit|changed|moved|cancell?ed|got sick|have no|has no|broke|fell|lost|forgot|feel|hate))\b(?! (?:going|having|supposed|meeting|attending|hosting|doing|taking|planning|invited|scheduled|signed)\b))(?P<why>[^,;]*)$",
    re.IGNORECASE,
)
_RAN_IN = re.compile(
    rf"^(?P<why>{_SUBJECT}(?:{_BE}| {_PAST}).{{3,60}}?)(?P<so>,? (?:so|and)|,)? (?P<kept>(?:please |can you |could you )*(?:cancel|delete|remove|erase|scrap|call off|get rid of|reschedule|postpone)\b .{{4,}})$",
    re.IGNORECASE,
)
_OF_VERB = re.compile(
    r"\b(?:not|never|nobody|no one|without|should|would|could|must|may|might|can|want|wants|need|needs|like|say|says|said|ask|asked|tell|told|hope|think|thought|mean|meant|to|going)\b|n't\b",
    re.IGNORECASE,
)
"""What a verb after it may belong to: no clause of its own."""
_REMINDED = re.compile(r"\W*(?:an? |the )?(?:reminder|remind|alarm|alert|note)\b", re.IGNORECASE)
_MUST = re.compile(r"\W*(?:that )?(?:i|we) (?:must|need to|have to|should|ought to|want to)\b", re.IGNORECASE)
_RELATIVE = re.compile(r"\b(?:that|which|who|whom|when|where|if|whether|know|sure|how)$", re.IGNORECASE)
_LEAD = re.compile(r"^(?P<why>[^,:;.!?]{3,100})(?P<sign>[,:;.])\s+(?P<kept>.{8,})$")
_BECAUSE = re.compile(r"\W*(?:as|since|because|given that|seeing as|now that|following up on|regarding|with regards? to|re) (?!soon|early|late|far|long|of|per)", re.IGNORECASE)  # fmt: skip
_SO = re.compile(r"^(?:so|and|but|then|therefore|hence),? ", re.IGNORECASE)
_NEWS = re.compile(r"\b(?:is now|are now|(?:was|is|has been|have been|got|been) (?:moved|pushed|rescheduled|postponed|cancell?ed|shifted)|moved to|rescheduled to|is off|is cancell?ed)\b", re.IGNORECASE)  # fmt: skip
_DAY = re.compile(rf"(?<![\w'])(?:on )?{g.DAY_SAID}(?: at {g.CLOCK_SAID})?", re.IGNORECASE)
_THING = re.compile(r"\b(?:an?|my|our|some|the|\w+'s) (?!(?:date|entry|event|reminder|note|calendar|diary|time|day|slot)\b)\w+", re.IGNORECASE)  # fmt: skip
_EMPTIES = re.compile(r"\W*(?:please )?(?:cancel|clear|delete|remove|drop|free up|wipe|erase)\b", re.IGNORECASE)
OPENINGS_MAX = 3


def gist(text: str) -> str:
    """The text without what is only said around the request."""
    kept = text
    for _ in range(2 * OPENINGS_MAX):
        found = _OPENING.match(kept) or _TOKENS.match(kept)
        if found is None or len(kept[found.end() :].split()) < 2:
            break
        kept = kept[found.end() :]
    kept = _ASIDE.sub(_aside_of, _SIGNED.sub("", kept))
    for _ in range(OPENINGS_MAX):
        found = _CLOSING.search(kept)
        if found is None or len(kept[: found.start()].split()) < 2:
            break
        kept = kept[: found.start()]
    kept = _CAUSE.sub("", _ADVERB.sub(" ", _FILLER.sub(" ", kept)))
    kept = _EMPHATIC.sub(r"\g<lead>", _COURTESY.sub(r"\g<lead>", " ".join(kept.split())))
    if _ASKED_FIRST.match(kept):
        kept = _OR_ELSE.sub(r"\g<end>", kept)
    kept = _asked(_named(kept))
    return " ".join(kept.split()) or text


def _aside_of(found: re.Match[str]) -> str:
    return f" {'at' if _WHERE.search(found['a']) else ','} {found['a']}".replace(" ,", ",")


def _named(text: str) -> str:
    """Who "her" is, where one was named before."""
    who = _WHO.search(text)
    if who is None:
        return text
    name = who["a"] or who["b"]
    before, after = text[: who.end()], text[who.end() :]
    after = _HIM.sub(rf"\g<to> {name}", after, count=1)
    after = _THEM.sub(rf"\g<verb> the appointment with {name}", after, count=1)
    return before + _THEIRS.sub(rf"\g<kind> with {name}", after, count=1)


def _asked(text: str) -> str:
    """Without the sentences, and then the clauses, that only say why."""
    sentences = [one for one in _SENTENCE.split(text) if one and one.strip(" .!?")]
    asking = [one for one in sentences if _REQUEST.match(one)]
    if len(sentences) > 1:
        first = next((one for one in sentences if not _aside(one)), "")
        refers = bool(asking) and all(_IT.search(one) for one in asking)
        kept = [one for one in sentences if not _aside(one) or (refers and one is not first and not _REASON.match(one))]
        if kept and len(kept) < len(sentences) and not (refers and not _says(kept)):
            text = " ".join(one if one[-1] in ".!?;" else f"{one}." for one in kept).rstrip(".")
    return _clauses(text)


def _says(kept: list[str]) -> bool:
    """Whether something is left that names what "it" is."""
    return any(not _IT.search(one) for one in kept)


def _aside(sentence: str) -> bool:
    if _IF.match(sentence) or _REQUEST.match(sentence) or (_TELLS.search(sentence) and not _UNSUITED.search(sentence)):
        return False
    return bool(_REASON.match(sentence)) and (not _TIMED.search(sentence) or bool(_UNSUITED.search(sentence)))


def _clauses(text: str) -> str:
    tail = _TAIL.search(text)
    if (
        tail
        and not (_REMINDED.match(text) and _MUST.match(tail["why"]))
        and _aside(tail["why"])
        and len(text[: tail.start()].split()) > 1
        and not _IT.fullmatch(tail["why"])
    ):
        text = text[: tail.start()]
    if (ran := _RAN_ON.match(text)) and not _RELATIVE.search(ran["kept"]) and not _TIMED.search(ran["why"]):
        text = ran["kept"]
    if (
        (ran := _RAN_IN.match(text))
        and (ran["so"] or not _OF_VERB.search(ran["why"]))
        and not _IT.search(ran["kept"])
        and not _TIMED.search(ran["why"])
    ):
        text = ran["kept"]
    return _led(text)


def _led(text: str) -> str:
    """Without the clause before a request; the day that only it names is the day of the request."""
    lead = _LEAD.match(text)
    if lead is None or _IF.match(lead["why"]):
        return text
    why, kept = lead["why"], _SO.sub("", lead["kept"])
    asked = _REQUEST.match(kept) is not None
    if asked and (_BECAUSE.match(why) or lead["sign"] == ":") and not _IT.search(kept):
        return kept
    if (asked or _NEWS.search(kept)) and _aside(why) and not _IT.search(kept):
        return kept
    days = list(_DAY.finditer(why))
    if (
        asked
        and len(days) == 1
        and _REASON.match(why)
        and _THING.search(kept)
        and not (_DAY.search(kept) or _IT.search(kept))
    ):
        unsuited = _UNSUITED.search(why) and not _EMPTIES.match(kept)
        return kept if unsuited else f"{kept.rstrip(' .!')} {days[0][0]}"
    return text
