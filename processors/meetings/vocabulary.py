"""Words that carry a request and name nothing: which may stand at the ends of a name, and which are general.

Enters: nothing. Leaves: sets of words in lower case, and the phrases for the calendar itself. Guaranteed: no word about
time is here; those are phrases (moments.py).
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings.grammar import listed

CALENDAR = re.compile(
    r"\b(?:(?:on|in|from|off|to|into|onto) (?:my|the|your) (?:list|lists|events|reminders|appointments|records?|memory|plans?|program|book|account|tasks)\b(?! (?:for|of|with|about|on|at)\b|(?<=book) \w)|"
    r"(?:appointments?|events?|meetings?) (?:list|book)\b)|"
    r"\b(?:(?:to|on|in|into|onto|from|off(?: of)?|of|at|for|by|within|inside|out of|through|save on|saved on|saved in) )?"
    r"(?:(?:my|the|our|your|this|a|any|his|her|whole|entire|full) )*(?:(?:google|outlook|house|home|kitchen|wall|office|school|team|company|business|private|main|work|personal|phone|online|family|daily|weekly|shared) )?"
    r"(?:(?<=in my )schedule|(?<=on my )schedule|(?<=in the )schedule|calendars?|diary|agenda|planner|notebook|(?<=my )phone|(?<=the )phone|app|tap|plate|docket|system|device|appointment book|to[- ]do list|itinerary|(?:event|task|events|meeting)s? list|date ?book|schedule(?= ?(?:\x00|$|[,.?!])))(?! (?:event|entry|item|invite|invitation|appointment|reminder|interview|call|meeting|conference))\b",
    re.IGNORECASE,
)
NEEDS = re.compile(
    r"\b(?:in |with |and |plus |needs? |including |equipped with |that has )+(?:an? |the |some )?(?:large |big |small |quiet |meeting |conference )?(?P<need>rooms?|projectors?|whiteboards?|flip ?charts?|video(?: ?conferenc(?:e|ing))?|screens?|beamers?)\b(?! \w?\d)(?! [a-z]\b)(?! (?-i:[A-Z]))",
    re.IGNORECASE,
)
KINDS = frozenset(listed("meeting appointment reminder task alarm notification alert"))
GENERAL = frozenset(
    listed(
        "event events schedule schedules plan plans program programs programme calendar calendars anything something nothing everything anywhere somewhere someone anybody somebody thing things stuff entry entries item items activity activities "
        "agenda agendas planned scheduled happening anyone slot slots commitment commitments engagements list lists update updates notes gap gaps break breaks conflict conflicts detail details function functions occasion occasions happenings arrangement arrangements timetable dates info information to-do to-dos todo todos obligations obligation data content contents availability reservation-list occurrence occurrences instance instances lineup docket routine clash clashes overlap overlaps duties"
    )
)
FRAME_FIRST = frozenset(
    listed(
        "a an the my our your his their me i we you us all both any every each some this that these those of in to on at for as it is be and or then please also so just there new another only "
        "upcoming coming next last before after future active pending undone special urgent interesting fun exciting big major most two three four five rest remainder past old recent latest duplicate wrong following created removed extra certain previous prior unnecessary unimportant entire whole full other remaining current specific particular generic calendar repeating recurring repeat list up out down about that's from off"
    )
)
DETERMINERS = frozenset(listed("the my our your his her their a an one"))
AFTER_DETERMINER = frozenset(
    listed(
        "earliest all both next last upcoming coming whole entire full other following old recent latest past previous duplicate wrong certain specific particular generic new another only current remaining "
        "rest of the my our a an any each every repeating recurring scheduled planned calendar important free busy available opening openings quick undone special urgent interesting fun exciting big major most two three four five future active pending"
    )
)
ASKED_OF = frozenset(
    listed(
        "date day time times location address place details detail info information title name length duration rest list number overview rundown summary status kind kinds type types lot hours days note remainder subject organizer organiser host attendees participants guests people topic purpose cost price venue timing timings"
    )
)
LINKS = frozenset(
    listed(
        "of for as is are was were do does did to will am my the our should can must i we it on and that has have at time day about all out down i'm"
    )
)
HEADS = frozenset(
    listed(
        "and or then to i i'd i'll i'm me please also just you we not don't dont do let go can could would will can't cannot won't couldn't didn't"
    )
)
VERBS = frozenset(
    listed(
        "add set schedule put create make book plan arrange organize organise mark enter insert note flag save block pencil log record include register place reserve write input fix jot take hold keep invite "
        "cancel delete deleting remove erase clear clean empty drop destroy wipe purge scrap discard trash unschedule get cross throw strike eliminate dismiss undo end stop turn skip "
        "move reschedule change postpone push shift update edit extend shorten rename delay modify adjust swap switch alter correct rearrange defer relocate rebook transfer prepone recur bump "
        "unbook uninvite bin lose scratch ditch axe nix chuck decline reject squeeze fit slot grab nab "
        "remind notify alert tell ping warn send give start activate open find look check see view read show list display pull bring search review review print repeat"
    )
)
FRAME_LAST = frozenset(
    listed(
        "a an the my our your me i we you it is be and or then please also so there of in to on at for from up off out with by as down again now am are was do have has got again that this about set right today's one"
    )
)
_ASKING = (
    "marked overbooked met still already definitely ever even there's that's it's must unfinished open outstanding due what what's whats which who whose when where how why time day date many much long often is are was were am do does did have has had will would can could should shall not isn't got get give tell show list let know "
    "display open check view read see look find pull bring need aware supposed going doing having been being any anything everything more left free busy available availability openings opening booked "
    "remind inform describe want like see if whether whats's when's where's who's how's important dates due order made make name add added schedule scheduled put set coming planned kind type sort "
    "review say start fetch read print provide present share verify confirm update regarding week hear go into details information info input undone pending access search number first last count total happened able happening remember up attending invited joining hosting until till before clear open empty full occupied packed through run go over held leave head arrive attend else soon exactly miss missed tap fit room back wanted trying earlier recall currently forget bear include includes contain contains clash double attend attending request requested seeing"
)
QUERY_FIRST = frozenset(listed(_ASKING))
QUERY_LAST = frozenset(
    listed(
        "unfinished open outstanding pending called named must finish finishes finished over did had was were will would should start starts starting end ends begin begins meets mine only happen happens happening scheduled planned cancelled canceled rescheduled confirmed moved changed coming going have had going on do does doing got get save saved added supposed be been "
        "booked set due exist exists occur occurs take takes taking place available free next held still yet already listed left there here today's on's much long again soon too right over anything being held clear open empty full occupied packed for last when where or not leave that made back loud aloud to me showing shown taken look looks looking like shape exists attend attending i've go meet seeing active marked done"
    )
)
ACTS_FIRST = frozenset(
    listed(
        "add set schedule put create make book plan arrange organize organise mark enter insert note flag save block pencil log record include register place reserve write input fix jot take hold keep new invite "
        "cancel delete deleting remove erase clear clean empty drop destroy wipe purge scrap discard trash unschedule get rid rm -rf rf take cross throw strike eliminate dismiss undo end stop turn "
        "move reschedule change postpone push shift update edit extend shorten rename delay modify adjust swap switch alter correct rearrange defer relocate rebook transfer prepone recur bump "
        "bin lose scratch ditch axe nix chuck decline reject squeeze fit slot grab nab "
        "remind notify alert tell ping warn let know never don't dont do not forget remember send give start activate "
        "there's there are were expecting have having need want would like will go going i'm i've i'll we'll we're we've let's lets meet attend be reminder reminders notification alert alarm reminding "
        "open find look check see content contents some day time times existing previously earlier entry when about regarding that off how going is take place down over date sure miss that been am aside i'd like reminded notified alerted warned attending making what whatever inform informed updated intimate ensure got gotten can't cannot won't couldn't longer no didn't able skip omit disregard void abort revoke disable nuke format reset free up invitation"
    )
)
ACTS_LAST = frozenset(
    listed(
        "comes sits mine only meets opens falls runs added add made make have had scheduled planned set up going coming entry delete cancel remove erase it time times reminder notification alert down off out save note happening which content contents day alarm together now sharply anymore longer attend go list slot take place happen happens start starts begin begins occurs due coming is going to later repeats repeat repeating recurring recur has been was cancelled canceled booked created arranged listed entered saved marked supposed attending i've that's immediately away permanently completely altogether forever entirely instead quickly asap had just already currently right too needs need cleared wiped off removed deleted erased clean blank"
    )
)
FILLERS = frozenset(listed("please upcoming olly pda kindly"))

_IRREGULAR = {
    "parties": "party",
    "entries": "entry",
    "activities": "activity",
    "people": "people",
    "lunches": "lunch",
    "classes": "class",
}


def singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "'s")) else word


EVENTS = re.compile(
    r"\b(?:birthday|anniversary|appointment|party|wedding|meeting|game|match|concert|class|lesson|flight|trip|dinner|lunch|breakfast|brunch|exam|test|interview|conference|call|date|holiday|vacation|festival|ceremony|"
    r"graduation|reunion|recital|practice|rehearsal|show|movie|play|visit|check-?up|surgery|session|event|funeral|baptism|christmas|easter|thanksgiving|halloween|new year|valentine|presentation|deadline|seminar|workshop|webinar|"
    r"lecture|training|picnic|barbecue|bbq|gathering|celebration|services?|mass|tournament|race|marathon|dentist|doctor|hearing|audition|meet|conference|summit|review|interview|birthdays|"
    r"parade|fair|prom|shower|retreat|camp|tour|ride|performance|opera|exhibition|launch|release|election|delivery|haircut|massage|therapy|gig|drinks|date night|book club|church|demo|stand-?up|sync|kick-?off|offsite|retro(?:spective)?|briefing|debrief|hackathon|check-?in|catch-?up|choir|yoga|ballet|gym|pilates|karaoke|brunch|sleepover|playdate|vet|dentist|orthodontist|physio(?:therapy)?|barber|webinar|townhall|town hall|all[- ]hands|one-on-one|handover|onboarding|keynote|panel|standup|(?:mother|father|valentine|independence|labou?r|memorial|veteran|president|republic|teacher|new year)(?:'?s'?)? day)s?\b"
)
_NAME = r"(?-i:(?!(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|(?:Christmas|Easter|Zoom|Teams|Skype|Webex|Doctor|Dentist)\b)[A-ZÀ-Þ][\w'-]+)"
BOOKED = re.compile(
    rf"\W*(?:(?:please|can you|could you|can't you|couldn't you) )*(?:book|schedule|get|grab)(?: me)? (?P<who>{_NAME}(?: {_NAME})?(?:(?:,| and| &) (?:me\b|{_NAME}(?: {_NAME})?))*)(?=\s*(?:\x00|$)|\s+(?:for|on|at|in)\b)",
    re.IGNORECASE,
)
"""Book Ana for Thursday: somebody, and no thing of that name."""
FOREIGN = re.compile(
    r"\b(?:weather|temperature|forecast|rain|snow|calories?|steps|heart rate|song|music|playlist|radio|podcast|audiobook|volume|lights?|lamp|thermostat|vacuum|coffee machine|e-?mails?|inbox|news|headlines?|traffic|recipe|cook|"
    r"stocks?|exchange rate|currency|joke|translate|definition|define|capital of|president|population|pizza|takeaway|order food|uber|taxi|train ticket|wikipedia|how old|tweet|facebook|twitter|instagram|battery|wifi|horoscope|lottery|score|who won|in history|restaurants?|movie times|subscriptions?|memberships?|credit cards?|passwords?)\b|\b(?:stores?|shops?|banks?|mall|sun|moon|post office|library|pharmacy|supermarket)\b.{0,20}\b(?:closed?s?|opens?|rise|sets?)\b|\bhow many (?:days|weeks|hours|months|minutes) (?:until|till|are|before|left|in|to)\b|\bwhat(?:'s| is)? (?:the |today's )?(?:current )?(?:day|date|time|year|month)(?: of the week)?(?: is it| it is| is)?(?: (?:now|in \w+|today|tomorrow|\w+day|on \w+day|of next \w+day|it))?\W*$"
)
FOREIGN_ACTS = re.compile(
    r"\b(?:subscriptions?|memberships?|volume|lights?|lamp|thermostat|music|song|playlist|radio|tv|television|heating|heater|fan|vacuum|wifi|bluetooth|brightness)\b"
)
UNNAMED = frozenset(listed("someone somebody anyone anybody xyz xxx xx x person people whom who him her them"))
_IN_THE_EVENING = re.compile(r"\b(?:dinner|supper|drinks|cocktails|night out|date night|movie night)\b")
_IN_THE_MORNING = re.compile(r"\b(?:breakfast|wake (?:me |us )?up|get up|sunrise)\b")


def usual(low: str) -> str:
    """In which part of the day the thing happens that is named: dinner at eight is in the evening."""
    evening, morning = _IN_THE_EVENING.search(low), _IN_THE_MORNING.search(low)
    if bool(evening) == bool(morning):
        return ""
    return "evening" if evening else "morning"
