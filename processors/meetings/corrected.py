"""What is put right in mid-sentence, put right: "friday, no wait, thursday" says Thursday.

Enters: a tidy text. Leaves: the text as it would have been said at once: what is said later holds, and takes the place
of the last thing of its kind before (a day of a day, a clock of a clock, a name of a name, a command of all before it); "not A but B" and "B rather than A" are "B instead".
Guaranteed: where nothing of its kind is found the text stays as it is, and vague.py asks; no text grows.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings import grammar as g

_TURN = r"(?:no wait|wait no|wait|sorry|oops|whoops|hang on|hold on|scratch that|strike that|correction|i (?:mean|meant)|(?:i )?should say|make (?:that|it)|or rather|actually|nope|no|not that|let me correct that|my mistake|my bad)"
_FILLED = r"(?:oh|ah|er|erm|uh|um|hmm|well|please|it's|it is|better|let's say|let's make it|on second thoughts?|it should be|i think)"
_MARK = re.compile(
    rf"[\s,;.!-]*\b(?:{_FILLED}[\s,.!-]+)*{_TURN}(?:[\s,.:!;-]+(?:{_TURN}|{_FILLED}))*[\s,.:!;-]+(?=\w)", re.IGNORECASE
)
_BARE = re.compile(r"\W*(?:no|actually|wait|sorry|make (?:it|that))\W*", re.IGNORECASE)
_COMMAND = r"(?:cancel|delete|remove|add|schedule|book|put|set|move|push|remind|show|tell|call off|reschedule|postpone|drop|invite|create|plan|find|check|clear)"
_VERB = re.compile(rf"(?:please |just |rather )*(?P<verb>{_COMMAND})\b(?: (?P<it>it|that|this|them)\b)?(?P<rest>.*)", re.IGNORECASE)  # fmt: skip
_FIRST_VERB = re.compile(rf"^(?P<polite>.{{0,40}}?)\b{_COMMAND}\b(?: (?:up|in|off))? ", re.IGNORECASE)
_KINDS = tuple(
    re.compile(rf"(?<![\w'])(?:(?:on|at|for|in|by|from|to|until|till|every|each) )?(?P<what>{said})(?! (?:people|persons|of us|times))", re.IGNORECASE)
    for said in (g.LENGTH_SAID, g.DAY_SAID, g.CLOCK_SAID)
)  # fmt: skip
_DAYS, _CLOCKS = _KINDS[1], _KINDS[2]
_LARGE = re.compile(r"(?:week|weekend|month)$", re.IGNORECASE)
_MOVED = re.compile(r".{0,40}?\b(?:move|push|shift|reschedule|postpone|change)\b", re.IGNORECASE)
_MADE = re.compile(r"make (?:it|that)\b", re.IGNORECASE)
_STOP = r"(?=\s*(?:$|[,.;!?]|\b(?:at|on|for|with|in|from|to|about|next|this|tomorrow|today|tonight|and|every)\b))"
_WORDS = re.compile(
    rf"(?:(?:with|to|for|at|in) )?(?:(?:the|my|an?) )?(?P<what>[\w'.-]+(?: [\w'.-]+){{0,3}}?){_STOP}", re.IGNORECASE
)
_OBJECTS = (
    re.compile(r"\b(?:with|to|for|at|in|called|and) (?:the |my )?(?P<what>(?:(?!with\b|to\b|for\b|and\b)[\w'.-]+)(?: [\w'.-]+)?)$", re.IGNORECASE),
    re.compile(rf"^(?:.{{0,40}}?\b)?{_COMMAND} (?:the |my |an? )?(?P<what>[\w'.-]+(?: [\w'.-]+){{0,2}})$", re.IGNORECASE),
)  # fmt: skip
_TIME = rf"(?:(?:on |at )?{g.DAY_SAID}(?:,? (?:at )?{g.CLOCK_SAID})?|(?:at )?{g.CLOCK_SAID}(?: (?:on )?{g.DAY_SAID})?)"
_CONTRASTS = (
    re.compile(rf"(?<![\w'])not (?P<wrong>{_TIME}),? but (?:rather |instead )?(?P<right>{_TIME})(?! (?:minutes|people|hours))", re.IGNORECASE),
    re.compile(rf"(?<![\w'])(?P<right>{_TIME}),? (?:and |but )?(?:not|rather than|instead of|in place of|as opposed to|and no longer|no longer) (?P<wrong>{_TIME})(?! (?:minutes|people|hours))", re.IGNORECASE),
)  # fmt: skip
"""Not this but that; that and not this: what is there moves."""
CORRECTIONS_MAX = 3


def corrected(text: str) -> str:
    """The text with what was put right in the place of what was wrong."""
    for contrast in _CONTRASTS:
        text = contrast.sub(_right_one, text, count=1)
    for _ in range(CORRECTIONS_MAX):
        found = next((one for one in _MARK.finditer(text) if one.start() and (_put(text, one)) is not None), None)
        if found is None:
            return text
        text = _put(text, found) or text
    return text


def _right_one(found: re.Match[str]) -> str:
    """Next week but not on Monday leaves a day out, and is none."""
    if bool(_LARGE.search(found["right"])) != bool(_LARGE.search(found["wrong"])):
        return found[0]
    return f"{found['right']} instead"


def _put(text: str, mark: re.Match[str]) -> str | None:
    before, later = text[: mark.start()], text[mark.end() :]
    if _MADE.search(mark[0]) and _MOVED.match(before) and any(kind.match(later) for kind in _KINDS):
        return f"{before} to {later}"  # move my 3pm, make it 4pm
    bare = _BARE.fullmatch(mark[0]) is not None and not re.search(r"[?!.]$", before)
    return _instead(before, later, bare=bare)


def _instead(before: str, later: str, *, bare: bool) -> str | None:
    """None: nothing of its kind stands before. bare: a word that may also be said for other reasons."""
    if not bare and (told := _VERB.match(later)):
        thing = _FIRST_VERB.sub(r"\g<polite>", before, count=1) if _FIRST_VERB.match(before) else ""
        return f"{told['verb']} {thing}{told['rest']}" if told["it"] and thing else later if not told["it"] else None
    for kind in _KINDS:
        if right := kind.match(later):
            return _in_place(kind, before, later, right)
    if not (right := _WORDS.match(later)):
        return None
    words, rest = right["what"].split(), _after(later[right.end() :])
    if (same := _overlap(before, words)) is not None:
        return f"{same}{' '.join(words)}{rest}"
    if bare:
        return None
    for wrong in (pattern.search(before) for pattern in _OBJECTS):
        if wrong and not any(kind.fullmatch(wrong["what"]) for kind in _KINDS):
            return f"{before[: wrong.start('what')]}{' '.join(words)}{rest}"
    return None


def _after(rest: str) -> str:
    """What follows the word that was put right, without the sign that closes the correction."""
    return f" {rest.lstrip(' ,-')}" if rest.strip(" ,-") else ""


def _in_place(kind: re.Pattern[str], before: str, later: str, right: re.Match[str]) -> str | None:
    wrong = next(iter(reversed(list(kind.finditer(before)))), None)
    if wrong is None or bool(_LARGE.search(wrong[0])) != bool(_LARGE.search(right[0])):
        return None
    rest, tail = _after(later[right.end() :]), before[wrong.end() :]
    clock = _CLOCKS.match(rest.lstrip()) if kind is _DAYS else None
    if clock and _CLOCKS.fullmatch(tail.strip()):
        tail = ""  # Friday at 2, no, Thursday at 3
    return f"{before[: wrong.start('what')]}{right['what']}{tail}{rest}"


def _overlap(before: str, words: list[str]) -> str | None:
    """Laura's shower, sorry, Lena's shower: up to where the two differ."""
    heard = before.split(" ")
    for length in range(len(words) - 1, 0, -1):
        same = [word.lower() for word in words[-length:]]
        if [word.lower() for word in heard[-length:]] == same and len(heard) >= len(words):
            return "".join(f"{word} " for word in heard[: -len(words)])
    return None
