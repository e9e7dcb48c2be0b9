"""What an answer must hold before anybody sees it: the guard of a prompt (streams/prompt_files.py). Pure.

In: the guard, the text that was read, the answer. Out: the answer, masked where that is asked, or why it is not used.
Guaranteed: the reason names the rule and never the answer's words. A guard is a net of plain rules: it holds back
invented figures, personal data and answers about something else; it does not know whether a sentence is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aios.streams.prompt_files import Guard, compiled

MASK = "[removed]"
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
WORD = re.compile(r"[^\W\d_]{5,}")  # shorter ones stand in every text
STEM = 5  # letters of a word that are compared
PERSONAL = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"  # mail; without a bound a row of dots takes minutes
    r"|(?<![\d$€£.,])\+?\(?\d(?:[ ()./-]{0,2}\d){7,}(?![.,]?\d)"  # accounts, cards, telephones: eight digits and more
    r"|\b\d{3}-\d{2}-\d{4}\b"  # social security
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"  # IBAN
)


def refuses(guard: Guard, text: str) -> bool:
    """Whether the text is not to be read at all."""
    return _holds(text, guard.never_read)


def breaks(guard: Guard, read: str, answer: Any, frame: str = "") -> str:
    """The rule that the answer breaks, in words; empty: it may be used. answer: a text, or an object of such.

    frame: the prompt's own words, which an answer may use and which say nothing about the text.
    """
    said = "\n".join(texts(answer))
    if guard.numbers_from_input and not set(_numbers(said)) <= set(_numbers(read)):
        return "the answer holds a number that the text does not hold"
    if guard.words_max is not None and len(said.split()) > guard.words_max:
        return f"the answer has more than {guard.words_max} words"
    if _share_from(read, said, frame) < guard.words_from_input_min:
        return "the answer is hardly about the text"
    if guard.personal_data == "refuse" and PERSONAL.search(said):
        return "the answer holds personal data"
    if guard.personal_data == "mask" and any(PERSONAL.search(str(each)) for each in _leaves(answer, (int, float))):
        return "the answer holds personal data as a number, which cannot be masked"
    if _holds(said, guard.never):
        return "the answer holds what it must never hold"
    return ""


def masked(guard: Guard, answer: Any) -> Any:
    """The answer as it may be shown."""
    return _each(answer, lambda text: PERSONAL.sub(MASK, text)) if guard.personal_data == "mask" else answer


def texts(answer: Any) -> Iterator[str]:
    """Every text in an answer, names of properties left out."""
    return map(str, _leaves(answer, (str, int, float)))


def _leaves(answer: Any, kinds: tuple[type, ...]) -> Iterator[Any]:
    if isinstance(answer, dict):
        for value in answer.values():
            yield from _leaves(value, kinds)
    elif isinstance(answer, list):
        for value in answer:
            yield from _leaves(value, kinds)
    elif isinstance(answer, kinds) and not isinstance(answer, bool):
        yield answer


def _holds(text: str, patterns: Iterable[str]) -> bool:
    raw = text.encode(errors="replace")  # half a character is none to RE2
    return any(compiled(each).search(raw) for each in patterns)


def _each(answer: Any, change: Callable[[str], str]) -> Any:
    if isinstance(answer, str):
        return change(answer)
    if isinstance(answer, dict):
        return {name: _each(value, change) for name, value in answer.items()}
    return [_each(value, change) for value in answer] if isinstance(answer, list) else answer


def _numbers(text: str) -> Iterator[str]:
    """As they are meant: 1,250.00 and 1250 are the same."""
    for found in NUMBER.finditer(text):
        whole = found[0].replace(",", "")
        yield whole.rstrip("0").rstrip(".") if "." in whole else whole


def _share_from(read: str, said: str, frame: str) -> float:
    """Of the answer's longer words; those of the frame do not count. An answer that has no others says nothing."""
    known, own = set(_stems(read)), set(_stems(frame))
    words = [word for word in _stems(said) if word in known or word not in own]
    return sum(word in known for word in words) / len(words) if words else 0.0


def _stems(text: str) -> Iterator[str]:
    """Longer words, by their beginning, so that an ending does not matter."""
    return (word[0][:STEM].lower() for word in WORD.finditer(text))
