"""What every part of a workflow's file is made of: words, expressions, jumps, deadlines.

Enters: plain values of a YAML file. Leaves: frozen parts. Guaranteed: an unknown key is refused, with the word that was
probably meant; an expression is compiled, or refused where it stands.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from aios.streams import part
from aios.streams.expression import SOURCE_CHARS_MAX, Expression
from aios.streams.part import NAMED, POLICY, WORD
from aios.streams.pool_files import Lane

AGAIN_MAX = 10  # times that what failed is asked again
REST_S_MAX = 86_400  # before each

Cel = Annotated[
    Expression,
    BeforeValidator(lambda value: value if isinstance(value, Expression) else Expression(value)),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": SOURCE_CHARS_MAX, "description": "CEL"}),
]
Word = Annotated[str, Field(pattern=WORD)]
Named = Annotated[str, Field(pattern=NAMED)]
Policy = Annotated[str, Field(pattern=POLICY)]


class Part(part.Part):
    """Base of every part of a workflow."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


class Jump(Part):
    """Where to go, and the reason that is written into the decision (none: nothing is written)."""

    then: Word
    reason: Word | None = None


class Again(Part):
    """Ask again after a rest, where time may heal it: nobody answered in time, or knows whether it was done. What was
    answered, and is a no or of no use, would be answered the same.
    """

    times: Annotated[int, Field(ge=1, le=AGAIN_MAX)]
    first_s: Annotated[int, Field(ge=1, le=REST_S_MAX)]  # the rest before the first of them; each is twice the last
    longest_s: Annotated[int, Field(ge=1, le=REST_S_MAX)]

    @model_validator(mode="after")
    def _growing(self) -> Self:
        if self.longest_s < self.first_s:
            raise ValueError("`longest_s` is no less than `first_s`")
        return self

    @property
    def rests_s(self) -> tuple[int, ...]:
        """Before the first time, the second, and so on."""
        return tuple(min(self.first_s << number, self.longest_s) for number in range(self.times))


class OnError(Jump):
    """Where to go when what a step asked has failed, and has been asked again."""

    again: Again | None = None


class Deadline(Part):
    """Seconds a model or a system has to answer, by lane; later answers are worth nothing."""

    interactive: Annotated[int, Field(ge=1, le=3_600)]
    bulk: Annotated[int, Field(ge=1, le=7 * 86_400)]

    def ms(self, lane: str) -> int:
        return 1_000 * (self.interactive if lane == Lane.INTERACTIVE else self.bulk)
