"""From a prompt and a text to the conversation that a model is sent, and from its words to an answer. Pure.

In: a Prompt (streams/prompt_files.py), a piece of a text, what the model said. Out: messages; the answer's value, or
what is wrong with it; the pieces' values merged by the prompt's rule. Guaranteed: a text of a customer never becomes a
message of its own or a role; the same input gives the same conversation; a value that is returned follows the prompt's
contract, shape and guard.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from aios.inference_workers import guard
from aios.inference_workers.engines.engine import Structured
from aios.schemas import ids
from aios.streams import shapes
from aios.streams.prompt_files import CHOICE, OBJECT, PLACEHOLDER, TEXT, Prompt

Conversation = tuple[tuple[str, str], ...]
WRONG_CHARS_MAX = 1_000  # of an answer that is shown to the model again


class Unusable(ValueError):
    """The model's words are no answer; the message says which rule they break, and never the words."""


def render(prompt: Prompt, piece: str) -> Conversation:
    """The conversation about a piece of a text, as (role, content)."""
    return tuple((one.role, one.content.replace(PLACEHOLDER, piece)) for one in prompt.messages)


def control_words(words: Collection[str]) -> re.Pattern[str]:
    """A pattern of a tokenizer's own words, which end a message or begin a role. words: at least one."""
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if word) or r"(?!)")


def plain(control: re.Pattern[str], content: str) -> str:
    """A text in which no word is one of the tokenizer's own: a blank stands behind the first letter of such."""
    return control.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", content)


class Tokens:
    """A conversation as a model reads it, by its own template. tokenizer: of Hugging Face, with a chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._control = control_words({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()})

    def of(self, conversation: Sequence[tuple[str, str]]) -> list[int]:
        """Nobody's words are control words in it: they can end no message and begin no role."""
        messages = [{"role": role, "content": plain(self._control, content)} for role, content in conversation]
        tokens: list[int] = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        return tokens


def frame(prompt: Prompt) -> str:
    """What the prompt says itself."""
    return " ".join(one.content.replace(PLACEHOLDER, " ") for one in prompt.messages)


def repair(conversation: Conversation, wrong: str, why: str) -> Conversation:
    """The same once more, with what was wrong."""
    again = f"This answer cannot be used: {why}. Answer once more, and nothing but the answer."
    return (*conversation, ("assistant", wrong[:WRONG_CHARS_MAX] or "…"), ("user", again))


def structured(prompt: Prompt) -> Structured | None:
    """What the engine holds the model to; None: free words."""
    if prompt.contract == OBJECT:
        return Structured(schema=ids.canonical(prompt.shape))
    return Structured(choices=prompt.output.choices) if prompt.contract == CHOICE else None


def value(prompt: Prompt, read: str, said: str, finish_reason: str) -> Any:
    """A text, an object or a choice. read: what the model had before it. Raises Unusable."""
    found = _value(prompt, said, finish_reason)
    try:
        ids.canonical(found).encode()
    except ValueError:
        raise Unusable("the answer holds a number that is too large, or half a character") from None
    if broken := guard.breaks(prompt.guard, read, found, frame(prompt)):
        raise Unusable(broken)
    return _masked(prompt, found)


def _value(prompt: Prompt, said: str, finish_reason: str) -> Any:
    if prompt.contract == TEXT:
        if text := tidy(said):
            return text
        raise Unusable("the answer is empty")
    if prompt.contract == CHOICE:
        chosen = said.strip()
        if wrong := _wrong(prompt, chosen):
            raise Unusable(wrong)
        if finish_reason != "stop" and _goes_on(prompt, chosen):
            raise Unusable("the answer was cut off where another choice goes on")
        return chosen
    if finish_reason != "stop":
        raise Unusable("the answer was cut off before its end; be shorter")
    try:
        found = json.loads(said, strict=False)  # the engine's grammar lets tabs and the like stand in a bounded text
    except (ValueError, RecursionError):
        raise Unusable("the answer is no JSON") from None
    if wrong := _wrong(prompt, found):
        raise Unusable(wrong)
    return found


def _wrong(prompt: Prompt, found: Any) -> str:
    """How a value breaks its prompt's shape or choices; empty: it does not."""
    if prompt.contract == OBJECT:
        return "; ".join(shapes.problems(prompt.shape, found))
    if prompt.contract == CHOICE and found not in prompt.output.choices:
        return "the answer is none of the choices"
    return ""


def _goes_on(prompt: Prompt, chosen: str) -> bool:
    """Whether another choice begins with this one: words that end with the last token may be the half of it."""
    return any(each != chosen and each.strip().startswith(chosen) for each in prompt.output.choices)


def _masked(prompt: Prompt, found: Any) -> Any:
    """The value as it may be shown. Raises Unusable: without what is personal it breaks its shape or choices."""
    shown = guard.masked(prompt.guard, found)
    if shown != found and (wrong := _wrong(prompt, shown)):
        raise Unusable(f"without its personal data, {wrong}")
    return shown


def whole(prompt: Prompt, read: str, values: Sequence[Any]) -> Any:
    """One value of the pieces', which are in order. read: the text. Raises Unusable: together they break the guard that
    each keeps.
    """
    found = merged(prompt, values)
    if len(values) > 1 and (broken := guard.breaks(prompt.guard, read, found, frame(prompt))):
        raise Unusable(broken)
    return _masked(prompt, found)


def merged(prompt: Prompt, values: Sequence[Any]) -> Any:
    """Of pieces that are in order. `again` gives the text that is to be read once more."""
    if prompt.input.merge in ("join", "again"):
        return " ".join(values)
    if prompt.input.merge == "vote":
        most = Counter(values)
        return max(values, key=lambda one: (most[one], -values.index(one)))
    if prompt.input.merge == "fill":
        return _filled(prompt.shape, values)
    return values[0]


def _filled(shape: dict[str, Any], values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, inner in shape["properties"].items():
        given = [one[name] for one in values if name in one]
        if not given:
            continue
        if inner["type"] == "array":
            united = {ids.canonical(item): item for one in given for item in one}
            made[name] = list(united.values())[: inner["maxItems"]]
        else:
            made[name] = next((one for one in given if one not in ("", {}, None)), given[0])
    return made


def output(prompt: Prompt, found: Any) -> dict[str, Any]:
    """The value as its contract's field."""
    return {{TEXT: "text", OBJECT: "object", CHOICE: "choice"}[prompt.contract]: found}


def tidy(text: str) -> str:
    """A small model's answer as one paragraph: no quotes around it, no line breaks, no sentence cut in half.

    A text without a finished sentence stays as it is: a half answer is shown as one.
    """
    line = " ".join(text.split()).strip("\"'“” ")
    finished = re.match(r".*[.!?](?=\s|$)", line)
    return finished[0] if finished else line
