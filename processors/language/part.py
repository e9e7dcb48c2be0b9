"""What every part of a workflow's file is made of: words, expressions, jumps, deadlines.

Enters: plain values of a YAML file. Leaves: frozen parts. Guaranteed: an unknown key is refused, with the word that was
probably meant; an expression is compiled, or refused where it stands.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from aios.streams import part
from aios.streams.expression import SOURCE_CHARS_MAX, Expression
from aios.streams.part import NAMED, POLICY, WORD
from aios.streams.pool_files import Lane

HOUR_MS = 3_600_000

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


class Deadline(Part):
    """Seconds a model or a system has to answer, by lane; later answers are worth nothing."""

    interactive: Annotated[int, Field(ge=1, le=3_600)]
    bulk: Annotated[int, Field(ge=1, le=7 * 86_400)]

    def ms(self, lane: str) -> int:
        return 1_000 * (self.interactive if lane == Lane.INTERACTIVE else self.bulk)
