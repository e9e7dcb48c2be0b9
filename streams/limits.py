"""Limits: what a tenant may spend in a workflow (or in all of them) in a window.

Enters: a limit as an operator declares it. Leaves: budget.declared.v1, one compacted topic keyed by tenant/workflow,
audited, and a table of it that follows along. Guaranteed: a limit that makes no sense is refused before anybody reads
it. A limit that is lifted stays as a record with a hard limit below 0; for who asks the table it is gone.
Rejected: limits in aios.yaml (each process would know its own until it is started again, and nobody could say since
when one held, and by whom).
"""

from __future__ import annotations

from collections.abc import Iterator

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import BudgetChanged, BudgetDeclared
from aios.streams import money, reference
from aios.streams.config import KafkaSettings
from aios.streams.credentials import NAME
from aios.streams.errors import ConfigError
from aios.streams.reference import ReferenceTable, Why
from aios.streams.topics import BUDGET_CHANGED, BUDGET_DECLARED
from aios.streams.wall_clock import wall_ms

ALL = "*"  # as a workflow: all of the tenant's together
WINDOWS = ("hour", "day", "month", "total")
POLICIES = ("refuse", "wait", "cheaper")
LIFTED = -1


def names_of(tenant: str, workflow: str) -> tuple[str, str]:
    """The names of the limits that may hold for a case."""
    return f"{tenant}/{workflow}", f"{tenant}/{ALL}"


class LimitTable(ReferenceTable[BudgetDeclared]):
    """The limits that hold, by name."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        super().__init__(
            kafka,
            codec,
            BUDGET_DECLARED,
            BudgetDeclared,
            name_of=lambda limit: limit.budget,
            kept=lambda limit: limit.hard_micro >= 0,
        )

    def of(self, tenant: str, workflow: str) -> dict[str, BudgetDeclared]:
        """Those that hold for a case, by name."""
        return {name: limit for name in names_of(tenant, workflow) if (limit := self.get(name)) is not None}


def standing(kafka: KafkaSettings, codec: Codec) -> dict[str, BudgetChanged]:
    """Where every budget stands in its window, as the budget stage has told. Raises Unavailable."""
    table = ReferenceTable(kafka, codec, BUDGET_CHANGED, BudgetChanged, name_of=lambda changed: changed.budget)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, BudgetDeclared]:
    """Every limit that holds. Raises Unavailable."""
    table = LimitTable(kafka, codec)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def limit(tenant: str, workflow: str, *, window: str, hard_micro: int, soft_micro: int, policy: str) -> BudgetDeclared:
    """One that makes sense, by nobody yet. Raises ConfigError."""
    for problem in _problems(tenant, window, hard_micro, soft_micro, policy):
        raise ConfigError(problem)
    return BudgetDeclared(
        budget=f"{tenant}/{workflow}",
        tenant=tenant,
        workflow=workflow,
        window=window,
        hard_micro=hard_micro,
        soft_micro=soft_micro,
        policy=policy,
        by="",
        declared_at=wall_ms(),
    )


def declare(kafka: KafkaSettings, codec: Codec, declared: BudgetDeclared) -> None:
    """Let it hold from now on. Raises Unavailable."""
    lifted = declared.hard_micro < 0
    detail = (
        {"workflow": declared.workflow}
        if lifted
        else {
            "workflow": declared.workflow,
            "window": declared.window,
            "hard_micro": declared.hard_micro,
            "soft_micro": declared.soft_micro,
            "policy": declared.policy,
        }
    )
    why = Why(by=declared.by, transition="budget_lifted" if lifted else "budget_declared", detail=detail)
    seed = ids.canonical(detail)
    reference.write(
        kafka, codec, BUDGET_DECLARED, declared, name=declared.budget, tenant=declared.tenant, seed=seed, why=why
    )


def _problems(tenant: str, window: str, hard_micro: int, soft_micro: int, policy: str) -> Iterator[str]:
    if not NAME.fullmatch(tenant):
        yield f"tenant {tenant[:64]!r}: a name is 1 to 63 of a-z, 0-9 and '-'"
    if window not in WINDOWS:
        yield f"window {window!r}: {', '.join(WINDOWS)}"
    if policy not in POLICIES:
        yield f"policy {policy!r}: {', '.join(POLICIES)}"
    if not 0 <= hard_micro <= money.MICRO_MAX:
        yield f"the hard limit is 0 to {money.MICRO_MAX // money.UNIT}"
    if not 0 <= soft_micro <= hard_micro:
        yield "the soft limit is not above the hard one; 0: none"
