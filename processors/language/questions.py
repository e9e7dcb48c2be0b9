"""What a workflow asks of models and outside systems: alone, as a branch of several, or of each item of a list.

In: plain values of a YAML file. Out: frozen parts. Guaranteed: a pool is one that is installed, in the lane where it is
asked; a task has what it needs; what is done at most once is sent at most once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from aios.processors.language.part import Cel, Deadline, Named, OnError, Part, Policy, Word
from aios.streams import installed
from aios.streams.part import close_to
from aios.streams.pool_files import Lane
from aios.streams.system_files import ATTEMPTS_MAX

Effect = Literal["none", "reconciled", "at_least_once", "at_most_once"]


class Guards(Part):
    """Policies that judge what a model is asked, and what it answers (processors/policies)."""

    before: tuple[Policy, ...] = ()
    after: tuple[Policy, ...] = ()


class Question(Part):
    """What a model is asked. Where the answer failed, expired or is not what the task promises, the fallback is asked
    that the pool's file names; after the last one it has failed.
    """

    status: Word | None = None  # of the case while it waits
    task: Literal["classify", "embed", "generate"]
    pool: Word
    model: Named
    prompt: Named | None = None
    input: Cel  # the text
    input_chars_max: Annotated[int, Field(ge=1, le=200_000)]  # the text is cut to this
    options: Mapping[Word, Cel] = {}
    labels: Cel | None = None  # a label outside this list is a failed answer
    priority: Cel | None = None  # from -PRIORITY_MAX to PRIORITY_MAX (streams/slots.py): the lower goes first
    lane: Lane | None = None  # of the pool; without, interactive where somebody waits for the case, else bulk
    deadline_s: Deadline
    attempts_max: Annotated[int, Field(ge=1, le=5)]  # an unanswered request is asked again, this often in all
    guards: Guards = Guards()

    @model_validator(mode="after")
    def _served(self) -> Self:
        if says := self._no_pool():
            raise PydanticCustomError("no_pool", "{says}", {"says": says, "key": "pool"})
        if (self.task == "classify") != (self.labels is not None):
            raise ValueError("`labels` belongs to task classify, which needs it")
        if (self.task == "generate") != (self.prompt is not None):
            raise ValueError("`prompt` belongs to task generate, which needs it")
        return self

    def _no_pool(self) -> str:
        """Why there is none where it may be asked: in its own lane, or where it has none in both."""
        pools = installed.pools()
        processes = sorted({pool.process for pool in pools.values()})
        if self.pool not in processes:
            return f"there is no pool {self.pool}{close_to(self.pool, processes)}"
        lacking = [lane for lane in ([self.lane] if self.lane else Lane) if f"{self.pool}.{lane}" not in pools]
        if not lacking:
            return ""
        served = next(lane for lane in Lane if f"{self.pool}.{lane}" in pools)
        return f"pool {self.pool} has no lane {lacking[0]}: with `lane: {served}` the step asks the one it has"


class Infer(Question):
    """Ask a model, and go on with its answer."""

    status: Word
    then: Word
    on_error: OnError


class Call(Part):
    """What an outside system is asked to do. How often a command is tried is the system's own matter (streams/systems);
    a command that nobody answers in time is repeated under the same idempotency key, attempts_max in all.
    """

    status: Word | None = None  # of the case while it waits
    system: Word
    operation: Word
    request: Mapping[Word, Cel] = {}
    effect: Effect = "none"
    lane: Lane | None = None
    deadline_s: Deadline
    attempts_max: Annotated[int, Field(ge=1, le=ATTEMPTS_MAX)] = 1

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.effect == "at_most_once" and self.attempts_max > 1:
            raise ValueError("`attempts_max` is 1 where the effect is at_most_once")
        return self


class Connect(Call):
    """Ask an outside system, and go on with its answer."""

    status: Word
    then: Word
    on_error: OnError


class Branch(Part):
    """One of several that are asked at the same time. Exactly one kind."""

    infer: Question | None = None
    connect: Call | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.infer is None) == (self.connect is None):
            raise ValueError("a branch has exactly one kind: infer, connect")
        return self

    @property
    def asks(self) -> Question | Call:
        return self.infer or cast(Call, self.connect)

    @property
    def kind(self) -> str:
        return "connect" if self.infer is None else "infer"
