"""What files that people write are made of: parts whose unknown keys are refused with a hint, and the words in them.

Enters: plain values of a YAML file. Leaves: frozen parts. Guaranteed: an unknown key is refused, with the word that was
probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

WORD = r"^[a-z][a-z0-9_]{0,63}$"
NAMED = r"^[a-z][a-z0-9-]{0,63}(@[1-9][0-9]{0,5})?$"  # name, or name@version
POLICY = r"^[a-z][a-z0-9_]{0,63}@[1-9][0-9]{0,5}$"  # always with its version
WORKFLOW = r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+$"
INPUT = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]*$"  # name of a contract
LETTERS = r"^[a-z]{1,32}$"  # a system's name, and a connector's
FIELD = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"  # of somebody else's JSON
FIELD_TYPE = r"^(text|number|whole|flag|texts|object|objects)\??$"
POOL = r"^[a-z][a-z0-9_]{0,63}\.(interactive|bulk)$"
SECRET = r"^(env:|file:).+"  # noqa: S105 - a reference to one
SECRET_OR_NONE = r"^((env|file):.+)?$"  # noqa: S105 - same
SERVER = r"^https?://[^\s@]+$"  # without a user and a password, which are no part of an address


def close_to(word: str, allowed: list[str]) -> str:
    """A hint for a word that is not allowed: the nearest one, and all of them."""
    nearest = difflib.get_close_matches(word, allowed, n=1)
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{meant} (allowed here: {', '.join(sorted(allowed))})"


def wrong_in(error: ValidationError) -> list[str]:
    """Each mistake with its place: `outcome: Input should be a valid string`."""
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]


def known_keys(kind: type[BaseModel], data: Any) -> Any:
    """The same data. Raises a ValidationError's cause: a key that this kind of part does not have, with a hint."""
    known = [field.alias or name for name, field in kind.model_fields.items()]
    for key in data if isinstance(data, Mapping) else ():
        if key not in known:
            hint = close_to(str(key), known)
            raise PydanticCustomError("unknown_key", "unknown key {key}{hint}", {"key": key, "hint": hint})
    return data


class Part(BaseModel):
    """Base of every part of a file: frozen, and an unknown key is refused with a hint."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # it may be a secret

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        return known_keys(cls, data)
