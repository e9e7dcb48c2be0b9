"""Models: inference_workers/models/<name>/<version>/, one folder a version, its card.yaml read strictly.

In: the cards of this deploy. Out: frozen Card values, for the workers that serve the versions, for plan, which asks the
newest where nobody has activated another, and for `aios model`. Guaranteed: unknown keys are refused with the file's
name; a version says its own name. A version is immutable: whoever has decided with it can say what it was; another one
is another folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile, ZipFile

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aios.streams.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "inference_workers" / "models"
CARD = "card.yaml"
HEADS = "heads.npz"  # of a version's folder: trained heads, each of its arrays named HEAD.WHAT
REFERENCE = re.compile(r"([a-z][a-z0-9-]{0,63})@([1-9][0-9]{0,5})")


class Card(BaseModel):
    """What a version is, for people; and of it what programs read: model, task, weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(pattern=rf"^{REFERENCE.pattern}$")]
    task: Literal["classify", "generate", "embed"]
    weights: str  # a folder of models/files.json, or a server's name of the model: as its pools' engine wants it
    about: Annotated[str, Field(min_length=1)]
    made_of: Mapping[str, Any]
    licence: Mapping[str, Any] | str
    intended_use: str
    not_for: tuple[str, ...]
    data: Mapping[str, Any] | str
    how_it_was_judged: Mapping[str, Any] | str
    calibration: str = ""
    limits: tuple[str, ...]
    made_by: str = ""


@lru_cache(maxsize=64)
def card(reference: str) -> Card:
    """`name@version` → its card. Raises ConfigError naming what is wrong and where."""
    matched = REFERENCE.fullmatch(reference)
    path = FOLDER / matched[1] / matched[2] / CARD if matched else None
    if path is None or not path.is_file():
        raise ConfigError(f"there is no model {reference[:80]}; there are {', '.join(known())}")
    try:
        found = Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if found.model != reference:
        raise ConfigError(f"{path} says it is {found.model}")
    return found


def folder(reference: str) -> Path:
    """Where the files of a version lie."""
    name, _, version = reference.partition("@")
    return FOLDER / name / version


@lru_cache(maxsize=64)
def heads(reference: str) -> tuple[str, ...]:
    """What a version can label by, `options.head` of a request; empty: it labels nothing. Raises ConfigError."""
    path = folder(reference) / HEADS
    if not path.is_file():
        return ()
    try:
        with ZipFile(path) as file:
            return tuple(sorted({name.partition(".")[0] for name in file.namelist()}))
    except BadZipFile as error:
        raise ConfigError(f"{path}: {error}") from error


def digest(reference: str) -> str:
    """SHA-256 of a version's card and heads as they are now: what `aios model train` makes anew under the same name."""
    paths = (folder(reference) / name for name in (CARD, HEADS))
    each = [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in paths]
    return hashlib.sha256(" ".join(each).encode()).hexdigest()


def metrics(reference: str) -> dict[str, Any]:
    """How a version did when it was judged; empty: nobody has. Raises ConfigError."""
    path = folder(reference) / "metrics.json"
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def known() -> list[str]:
    """Every model there is, as `name@version`, oldest version first."""
    return [f"{name}@{version}" for name in names() for version in versions(name)]


def names() -> list[str]:
    return sorted({path.parents[1].name for path in FOLDER.glob(f"*/*/{CARD}") if _version(path)})


@lru_cache(maxsize=64)
def versions(name: str) -> tuple[int, ...]:
    """Of one model, rising; empty: there is none of that name."""
    if not REFERENCE.fullmatch(f"{name}@1"):
        return ()
    return tuple(sorted(filter(None, map(_version, (FOLDER / name).glob(f"*/{CARD}")))))


def newest(name: str) -> int:
    """The newest version there is; what serves is another question (model.activated.v1). Raises ConfigError."""
    found = versions(name)
    if not found:
        raise ConfigError(f"there is no model {name[:80]}; there are {', '.join(names())}")
    return found[-1]


def reference(name: str) -> str:
    """`name@version` of the newest. Raises ConfigError."""
    return f"{name}@{newest(name)}"


def _version(path: Path) -> int:
    return int(path.parent.name) if REFERENCE.fullmatch(f"a@{path.parent.name}") else 0
