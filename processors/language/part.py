"""What every part of a workflow's file is made of: words, expressions, jumps, deadlines.

Enters: plain values of a YAML file. Leaves: frozen parts. Guaranteed: an unknown key is refused, with the word that was
probably meant; an expression is compiled, or refused where it stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from aios.streams.expression import SOURCE_CHARS_MAX, Expression
from aios.streams.pool_files import Lane

HOUR_MS = 3_600_000

Cel = Annotated[
    Expression,
    BeforeValidator(lambda value: value if isinstance(value, Expression) else Expression(value)),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": SOURCE_CHARS_MAX, "description": "CEL"}),
]
WORD = r"^[a-z][a-z0-9_]{0,63}$"
NAMED = r"^[a-z][a-z0-9-]{0,63}(@[1-9][0-9]{0,5})?$"  # name, or name@version
POLICY = r"^[a-z][a-z0-9_]{0,63}@[1-9][0-9]{0,5}$"  # always with its version
WORKFLOW = r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+$"
INPUT = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]*$"  # name of a contract
Word = Annotated[str, Field(pattern=WORD)]
Named = Annotated[str, Field(pattern=NAMED)]
Policy = Annotated[str, Field(pattern=POLICY)]


def close_to(word: str, allowed: list[str]) -> str:
    """A hint for a word that is not allowed: the nearest one, and all of them."""
    nearest = difflib.get_close_matches(word, allowed, n=1)
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{meant} (allowed here: {', '.join(sorted(allowed))})"


def wrong_in(error: ValidationError) -> list[str]:
    """Each mistake with its place: `outcome: Input should be a valid string`."""
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]


class Part(BaseModel):
    """Base of every part of a workflow: frozen, and an unknown key is refused with a hint."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key {key}{hint}",
                    {"key": key, "hint": close_to(str(key), list(cls.model_fields))},
                )
        return data


class Jump(Part):
    """Where to go, and the reason that is written into the decision (none: nothing is written)."""

    then: Word
    reason: Word | None = None


class Deadline(Part):
    """Seconds a model or a system has to answer, by lane; later answers are worth nothing."""

    interactive: Annotated[int, Field(ge=1, le=3_600)]
    bulk: Annotated[int, Field(ge=1, le=7 * 86_400)]

    def ms(self, lane: str) -> int:
        return 1_000 * (self.interactive if lane == Lane.INTERACTIVE else self.bulk)
