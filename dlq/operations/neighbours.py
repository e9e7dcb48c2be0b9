"""What the handlers of operations ask of others, as they see it: real ones in operations.py, tests bring their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from typing import Any, Protocol

from aios.dlq.entries import Entry, Group, JobCounts, LetterOutcome, Page, Progress, Source
from aios.dlq.filters import Filter
from aios.dlq.index_layout import Outcome, State
from aios.dlq.show import Shown
from aios.schemas.models import (
    BreakerChanged,
    LetterRemembered,
    OperationAnswered,
    OperationRequested,
    ReplayRemembered,
)
from aios.streams.record import Outgoing

Tenants = Collection[str] | None  # whose things are shown; None: everybody's


class Index(Protocol):
    """LetterIndex in service. Raises Unavailable when it does not answer."""

    async def check(self) -> None: ...
    async def page(
        self, wanted: Filter, *, states: Collection[State], tenants: Tenants, limit: int, cursor: str
    ) -> Page: ...
    async def count(self, wanted: Filter, *, states: Collection[State], tenants: Tenants) -> int: ...
    async def groups(self, wanted: Filter, *, states: Collection[State], tenants: Tenants) -> Sequence[Group]: ...
    async def get(self, letter_id: str, *, tenants: Tenants) -> Entry | None: ...
    def scan(
        self,
        wanted: Filter,
        source: Source,
        *,
        states: Collection[State],
        tenants: Tenants,
    ) -> AsyncIterator[Entry | Progress]: ...
    async def job(self, job_id: str) -> JobCounts: ...
    async def job_letters(
        self, job_id: str, outcome: Outcome, *, limit: int, cursor: str
    ) -> tuple[Sequence[LetterOutcome], str]: ...


class Jobs(Protocol):
    """JobTable in service."""

    def newest(self) -> Sequence[ReplayRemembered]: ...
    def beginning(self, job_id: str) -> Sequence[ReplayRemembered]: ...


class Edits(Protocol):
    """EditTable in service."""

    def edit(self, letter_id: str) -> LetterRemembered | None: ...


class Breakers(Protocol):
    """BreakerTable in service."""

    def all(self) -> Mapping[str, BreakerChanged]: ...
    def open_ones(self) -> Sequence[BreakerChanged]: ...


class Answering(Protocol):
    """Answers in service."""

    async def ask(self, command: OperationRequested, tenant: str, s_max: float) -> OperationAnswered | None: ...


class Roads(Protocol):
    """Delivery in service."""

    def deliver(self, out: Outgoing) -> Awaitable[Any]: ...


class Records(Protocol):
    """The records themselves. Both may block; show's `edited` is the value that waits to return."""

    def source(self) -> Source: ...
    def show(self, entry: Entry, edited: bytes | None, *, personal: bool) -> tuple[Shown, Shown | None] | None: ...
