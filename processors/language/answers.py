"""What a model may answer: the output contracts of inference.completed.v1, read strictly.

In: a task, a contract's name, canonical JSON, and the prompt that was used. Out: the fields a workflow may use, as
plain values. Guaranteed: an answer that does not follow its contract, or the shape or choices of its prompt, is a
ValueError, so that plan treats it like any failed answer; a `number` is never a whole one, so that expressions compute
with it alike whatever it is.

    task       contract            a workflow sees
    classify   classification.v1   label, confidence, out_of_scope
    embed      embedding.v1        vector
    generate   generation.v1       text
               object.v1           object, with the properties of the prompt's output.schema
               choice.v1           choice, one of the prompt's output.choices
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from aios.schemas import ids
from aios.streams import prompt_files, shapes
from aios.streams.errors import ConfigError
from aios.streams.prompt_files import Prompt

TEXT_CHARS_MAX = 10_000
OBJECT_CHARS_MAX = 32_000  # as canonical JSON
DIMENSIONS_MAX = 2_048
Share = Annotated[float, Field(ge=0, le=1)]


class Answer(BaseModel):
    """Fields that a newer worker adds are left out, so that pipeline and workers can be rolled out apart."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Classification(Answer):
    """classification.v1: confidence is calibrated; out_of_scope is the probability that no label fits."""

    label: Annotated[str, Field(min_length=1, max_length=200)]
    confidence: Share
    out_of_scope: Share


class Embedded(Answer):
    """embedding.v1: of length 1."""

    vector: Annotated[list[float], Field(min_length=1, max_length=DIMENSIONS_MAX)]


class Generation(Answer):
    """generation.v1."""

    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


class Object(Answer):
    """object.v1."""

    object: dict[str, Any]


class Choice(Answer):
    """choice.v1."""

    choice: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


CONTRACTS: Mapping[str, Mapping[str, type[Answer]]] = {
    "classify": {"classification.v1": Classification},
    "embed": {"embedding.v1": Embedded},
    "generate": {prompt_files.TEXT: Generation, prompt_files.OBJECT: Object, prompt_files.CHOICE: Choice},
}
"""By task: the contracts its answers follow."""
PAYLOAD = frozenset({"text", "object", "vector"})
"""Fields that hold what a customer wrote, in other words: never in the audit."""


def read(task: str, contract: str, output: str, prompt: str = "") -> dict[str, Any]:
    """The usable fields of an answer. prompt: name@version, empty for tasks without one.

    Raises ValueError when it is not what the task, or the prompt, promises.
    """
    shape = CONTRACTS[task].get(contract)
    if shape is None:
        raise ValueError(f"{task} answers with {' or '.join(CONTRACTS[task])}")
    found = shape.model_validate_json(output).model_dump()
    chosen = _known(prompt) if prompt else None
    if chosen is not None:
        _check(chosen, contract, found)
        if contract == prompt_files.OBJECT:
            found["object"] = shapes.as_numbers(chosen.shape, found["object"])
    if len(ids.canonical(found)) > OBJECT_CHARS_MAX:
        raise ValueError(f"an answer has {OBJECT_CHARS_MAX} characters at most")
    return found


def plain(text: str) -> dict[str, Any]:
    """The JSON object in a text. Raises ValueError for anything else, and for what cannot be written again: a number
    that is not finite, half a character.
    """
    try:
        said = json.loads(text)
        ids.canonical(said).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - as for any other text
    return said


def shown(said: Mapping[str, Any]) -> dict[str, Any]:
    """Of an answer's fields, those that are evidence and no payload."""
    return {name: value for name, value in said.items() if name not in PAYLOAD}


def _known(prompt: str) -> Prompt | None:
    """None for one that this deploy has not: then the contract alone is what counts."""
    try:
        return prompt_files.load(prompt)
    except ConfigError:
        return None


def _check(chosen: Prompt, contract: str, found: Mapping[str, Any]) -> None:
    if contract != chosen.contract:
        raise ValueError(f"{chosen.reference} answers with {chosen.contract}")
    if contract == prompt_files.OBJECT and (wrong := shapes.problems(chosen.shape, found["object"])):
        raise ValueError("; ".join(wrong))
    if contract == prompt_files.CHOICE and found["choice"] not in chosen.output.choices:
        raise ValueError("the answer is none of the choices")


def samples(task: str, label: str, prompt: str = "") -> list[dict[str, Any]]:
    """Answers at the corners of what is possible: every threshold lies between them.

    prompt: `name@version`, or the name alone for its newest version. Raises ConfigError when there is none.
    """
    if task == "generate":
        return _generated(prompt)
    if task == "embed":
        return [Embedded(vector=[1.0, 0.0]).model_dump()]
    return [
        Classification(label=label, confidence=confidence, out_of_scope=out_of_scope).model_dump()
        for confidence in (0.0, 1.0)
        for out_of_scope in (0.0, 1.0)
    ]


def _generated(prompt: str) -> list[dict[str, Any]]:
    chosen = prompt_files.load(prompt if "@" in prompt else f"{prompt}@{prompt_files.newest(prompt)}")
    if chosen.contract == prompt_files.OBJECT:
        return [Object(object=shapes.as_numbers(chosen.shape, shapes.example(chosen.shape))).model_dump()]
    if chosen.contract == prompt_files.CHOICE:
        return [Choice(choice=each).model_dump() for each in chosen.output.choices]
    return [Generation(text="A summary.").model_dump()]
