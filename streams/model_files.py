"""Models: <folder>/<name>/<version>/, one folder a version, its card.yaml read strictly.

In: the cards of this deploy, in each of FOLDERS. Out: frozen Card values, for the workers that serve the versions, for
plan, which asks the newest where nobody has activated another, and for `aios model`. Guaranteed: unknown keys are
refused with the file's name; a version says its own name, and is in one of the folders alone. A version is immutable:
whoever has decided with it can say what it was; another one is another folder. One whose card leaves something unsaid
is a draft, and so is one that is made to be trained (it has `data`) until it was judged (metrics.json): nobody is
served by a draft, and it is not the newest. Nor is one whose heads are others than those that were judged: who asks it
hears so.
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

from aios.streams import config, extensions
from aios.streams.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "inference_workers" / "models"
FOLDERS = extensions.beside(FOLDER, config.read().extensions.folder)
"""The release's, and `models` where a team has its own files (extensions.py): new versions are made there."""
CARD = "card.yaml"
METRICS = "metrics.json"
DATA = "data"
HEADS = "heads.npz"  # of a version's folder: trained heads, each of its arrays named HEAD.WHAT
HEADS_JUDGED = "heads_sha256"  # in METRICS: which heads the figures are of
UNSAID = "not said yet"  # on a card: what only its makers can say
REFERENCE = re.compile(r"([a-z][a-z0-9-]{0,63})@([1-9][0-9]{0,5})")


class Card(BaseModel):
    """What a version is, for people; and of it what programs read: model, task, weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(pattern=rf"^{REFERENCE.pattern}$")]
    task: Literal["classify", "generate", "embed"]
    weights: str  # a name in files.json (inference_workers/weights), or of a server's, as its pools' engine wants it
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

    @property
    def unsaid(self) -> list[str]:
        """What it leaves open."""
        return [name for name, said in self.model_dump().items() if UNSAID in str(said)]


@lru_cache(maxsize=64)
def card(reference: str) -> Card:
    """`name@version` → its card. Raises ConfigError naming what is wrong and where."""
    path = folder(reference) / CARD if REFERENCE.fullmatch(reference) else None
    if path is None or not path.is_file():
        raise ConfigError(f"there is no model {reference[:80]}; there are {', '.join([*known(), *drafts()])}")
    try:
        found = Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if found.model != reference:
        raise ConfigError(f"{path} says it is {found.model}")
    return found


def folder(reference: str) -> Path:
    """Where the files of a version lie, or would: in the last of the folders. Raises ConfigError: they lie in two."""
    name, _, version = reference.partition("@")
    places = [each / name / version for each in FOLDERS]
    there = [place for place in places if (place / CARD).is_file()]
    if len(there) > 1:
        raise ConfigError(f"{reference} is both in {there[0]} and in {there[1]}: a version never changes, rename yours")
    return there[0] if there else places[-1]


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
    each = (_sha256(folder(reference) / name) for name in (CARD, HEADS))
    return hashlib.sha256(" ".join(each).encode()).hexdigest()


def metrics(reference: str) -> dict[str, Any]:
    """How a version did when it was judged; empty: nobody has. Raises ConfigError."""
    path = folder(reference) / METRICS
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def heads_digest(reference: str) -> str:
    """SHA-256 of a version's heads as they are now; empty: it has none."""
    return _sha256(folder(reference) / HEADS)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def changed(reference: str) -> str:
    """Why a version is not what was judged, empty if it is, or if nobody knows. Raises ConfigError."""
    judged = metrics(reference).get(HEADS_JUDGED)
    if judged is None or judged == heads_digest(reference):
        return ""
    path = folder(reference) / HEADS
    return f"{path} is not what {reference} was judged with: put that back, and make another version of this"


def known() -> list[str]:
    """Every model that can be asked, as `name@version`, oldest version first."""
    return [f"{name}@{version}" for name in names() for version in versions(name)]


def names() -> list[str]:
    """Those of which a version can be asked."""
    return sorted(name for name in _all() if versions(name))


def drafts() -> list[str]:
    """Versions that nobody is served by yet."""
    return [f"{name}@{version}" for name in _all() for version in _written(name) if version not in versions(name)]


@lru_cache(maxsize=64)
def versions(name: str) -> tuple[int, ...]:
    """Of one model, those that can be asked, rising; empty: there is none of that name."""
    return tuple(version for version in _written(name) if not _is_draft(folder(f"{name}@{version}")))


def following(name: str) -> str:
    """`name@version` of the next one that is made."""
    return f"{name}@{max(_written(name), default=0) + 1}"


def newest(name: str) -> int:
    """The newest version there is; what serves is another question (model.activated.v1). Raises ConfigError."""
    found = versions(name)
    if not found and (made := _written(name)):
        raise ConfigError(f"{name}@{made[-1]} is a draft: it serves when its card says all and it was judged")
    if not found:
        raise ConfigError(f"there is no model {name[:80]}; there are {', '.join(names())}")
    return found[-1]


def reference(name: str) -> str:
    """`name@version` of the newest. Raises ConfigError."""
    return f"{name}@{newest(name)}"


def _all() -> list[str]:
    return sorted({path.parents[1].name for each in FOLDERS for path in each.glob(f"*/*/{CARD}") if _version(path)})


def _written(name: str) -> list[int]:
    """Of one model, every version that has a card, rising."""
    if not REFERENCE.fullmatch(f"{name}@1"):
        return []
    return sorted({found for each in FOLDERS for path in (each / name).glob(f"*/{CARD}") if (found := _version(path))})


def _is_draft(version: Path) -> bool:
    is_judged = (version / METRICS).is_file() or not (version / DATA).is_dir()
    return not is_judged or UNSAID in (version / CARD).read_text(encoding="utf-8", errors="replace")


def _version(path: Path) -> int:
    return int(path.parent.name) if REFERENCE.fullmatch(f"a@{path.parent.name}") else 0
