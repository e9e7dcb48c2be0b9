"""Versioned prompts: prompts/<name>/<version>.yaml, read strictly, rendered to a conversation.

In: a prompt's file and a text. Out: the messages that are sent to the model, the same for the same input.
Guaranteed: unknown keys and missing placeholders are refused with the file's name; a text is cut to the
prompt's words_max; text of customers never becomes a message of its own or a role.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aios.streams.errors import ConfigError

FOLDER = Path(__file__).parent / "prompts"
PLACEHOLDER = "{input}"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(Part):
    tokens_max: Annotated[int, Field(ge=1, le=1024)]
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: int = 0


class Input(Part):
    words_max: Annotated[int, Field(ge=1)]


class Message(Part):
    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Part):
    """One version of one prompt; never changed once a case was decided with it."""

    name: str
    version: Annotated[int, Field(ge=1)]
    model: str
    task: Literal["generate"]
    contract: str
    sampling: Sampling
    input: Input
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]

    def render(self, text: str) -> tuple[tuple[str, str], ...]:
        """The conversation about a text, as (role, content)."""
        cut = _first_words(text, self.input.words_max)
        return tuple((message.role, message.content.replace(PLACEHOLDER, cut)) for message in self.messages)


@lru_cache(maxsize=64)
def load(reference: str) -> Prompt:
    """`name@version` → the prompt. Raises ConfigError naming what is wrong and where."""
    name, _, version = reference.partition("@")
    path = FOLDER / name / f"{version}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9-]*@[0-9]+", reference) or not path.is_file():
        raise ConfigError(f"there is no prompt {reference}; there are {', '.join(known())}")
    try:
        prompt = Prompt.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if f"{prompt.name}@{prompt.version}" != reference:
        raise ConfigError(f"{path} says it is {prompt.name}@{prompt.version}")
    if not any(PLACEHOLDER in message.content for message in prompt.messages):
        raise ConfigError(f"{path}: no message contains {PLACEHOLDER}")
    return prompt


def known() -> list[str]:
    """Every prompt there is, as `name@version`."""
    return sorted(f"{path.parent.name}@{path.stem}" for path in FOLDER.glob("*/*.yaml"))


def tidy(text: str) -> str:
    """A small model's answer as one paragraph: no quotes around it, no line breaks, no sentence cut in half.

    A text without a finished sentence stays as it is: a half answer is shown as one.
    """
    line = " ".join(text.split()).strip("\"'“” ")
    finished = re.match(r".*[.!?](?=\s|$)", line)
    return finished[0] if finished else line


def _first_words(text: str, words_max: int) -> str:
    """The text as written, up to its words_max-th word."""
    end = 0
    for count, word in enumerate(re.finditer(r"\S+", text)):
        if count == words_max:
            break
        end = word.end()
    return text[:end].strip()
