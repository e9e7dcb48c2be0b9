"""The system `sanctions`: names against the list that is published.

Enters: a name, and what else is known of whom it names. Leaves: a verdict, and every entry that it may be, with a
score and reasons in sentences, under the version of the list that said so. Nothing outside changes. Guaranteed: an
answer is of one version, whole; a version that is published (list.published.v1) is loaded beside the old one and takes
over when it is ready; one that cannot be read, or whose bytes are not those of its hash, is logged and the old one goes
on. When a published version takes over, decided cases are screened again (rescreening.py). It computes in this
process: a search takes a few milliseconds, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from aios.processors.connectors.connector import Ask, CallFailed, Failure, Operation, Part, Setup, failure_of
from aios.processors.connectors.rescreening import Rescreening
from aios.processors.screening import births, published, reasons
from aios.processors.screening.entries import Kind
from aios.processors.screening.index import Asked, Hit
from aios.processors.screening.names import CHARS_MAX, PARTS_MAX, is_whole
from aios.processors.screening.published import Current
from aios.schemas.errors import Unavailable

LIST = "ofac_sdn"

log = logging.getLogger(__name__)
LEVELS: Mapping[str, Literal["clear", "ambiguous", "match"]] = {
    "clear": "clear",
    "possible": "ambiguous",
    "strong": "match",
}


class ScreenRequest(Part):
    """born: ISO, a year, or in words. kind, born: empty where not known. country: for those who read the request.

    A name of more than PARTS_MAX parts is refused: the rest of it would not be looked for, and nobody would know.
    """

    name: Annotated[str, Field(min_length=1, max_length=CHARS_MAX)]
    born: Annotated[str, Field(max_length=64)] = ""
    country: Annotated[str, Field(max_length=64)] = ""
    kind: Literal["", "individual", "entity", "vessel", "aircraft"] = ""

    @field_validator("name")
    @classmethod
    def _is_read_whole(cls, name: str) -> str:
        if not is_whole(name):
            raise ValueError(f"a name of more than {PARTS_MAX} parts")
        return name


class HitFound(Part):
    """One entry of the list. entry: its number there; matched: the name that was compared, perhaps an alias."""

    entry: str
    name: str
    matched: str
    kind: str
    programme: str
    score: int
    verdict: Literal["ambiguous", "match"]
    born: tuple[str, ...]
    countries: tuple[str, ...]
    reasons: tuple[str, ...]


class Screening(Part):
    """verdict: of the best hit. score: 0 to 100, a person looks from 50 on; the best hit's."""

    verdict: Literal["clear", "ambiguous", "match"]
    score: int
    hits: tuple[HitFound, ...]
    list: str
    version: str


class Sanctions:
    """See the module."""

    operations: Mapping[str, Operation] = {
        "screen": Operation(request=ScreenRequest, response=Screening, response_contract="screening.v1"),
    }

    def __init__(self, setup: Setup) -> None:
        name = str(setup.options.get("list", LIST))
        self._follows = bool(setup.options.get("follow", True))
        self._current = Current(name, setup.settings, follow=self._follows)
        self._settings = setup.settings
        self._walking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Loads the list: some seconds. Raises Unavailable, ConfigError."""
        await asyncio.to_thread(self._current.open)
        if self._follows and self._walking is None:
            walk = Rescreening(self._settings, self._current.now, self._current.published_at).walk()
            self._walking = asyncio.create_task(walk)
            self._walking.add_done_callback(_ended)

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        del ask
        if not isinstance(request, ScreenRequest):
            raise CallFailed(Failure.PERMANENT, "unknown_operation", f"sanctions cannot be asked to {operation}")
        return await asyncio.to_thread(answer, self._current.now(), request)

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:
        """Nothing has effects here."""
        del operation, request, ask
        return None

    def classify(self, error: Exception) -> Failure:
        return Failure.TRANSIENT if isinstance(error, Unavailable) else failure_of(error)

    async def close(self) -> None:
        if self._walking is not None:
            self._walking.cancel()
            await asyncio.gather(self._walking, return_exceptions=True)
        await asyncio.to_thread(self._current.close)


def _ended(walking: asyncio.Task[None]) -> None:
    """The walk is beside the answers: what ends it is said, and names are screened on."""
    if not walking.cancelled() and (error := walking.exception()) is not None:
        log.error("decided cases are no longer screened again: %s", error, exc_info=error)


def answer(loaded: published.Loaded, request: ScreenRequest) -> Screening:
    """What the list says. Pure but for the caches of the index."""
    asked = Asked(request.name, births.read(request.born), Kind(request.kind) if request.kind else None)
    hits = loaded.index.search(asked)
    return Screening(
        verdict=LEVELS[hits[0].level] if hits else "clear",
        score=hits[0].score if hits else 0,
        hits=tuple(_found(asked, hit) for hit in hits),
        list=loaded.listed.name,
        version=loaded.listed.version,
    )


def _found(asked: Asked, hit: Hit) -> HitFound:
    return HitFound(
        entry=hit.entry.number,
        name=hit.entry.names[0],
        matched=hit.name,
        kind=hit.entry.kind.value,
        programme=hit.entry.programme,
        score=hit.score,
        verdict="match" if hit.level == "strong" else "ambiguous",
        born=tuple(str(one) for one in hit.entry.born),
        countries=hit.entry.countries,
        reasons=reasons.sentences(asked, hit),
    )
