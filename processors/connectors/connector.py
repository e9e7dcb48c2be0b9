"""What a connector is: one small class a system, and nothing about Kafka, retries or circuits in it.

Enters: an operation, its request, and what asks for it. Leaves: the response, or an error with its kind. The shell
around it (command.py) does the rest once for all: it calls within the try's and the command's time, opens the circuit,
tries again, writes intents before effects, and asks `done` after a crash in between. So a connector must

- give up nothing by itself: no retries, no waiting for a system that is away, no state that a restart would lose;
- raise what went wrong, classified by `classify`, with a sentence for people in a CallFailed where it knows one;
- keep payload and secrets out of that sentence (it becomes the case's reason, and stands in logs);
- pass on `ask.idempotency_key`, or derive a natural key of it, where the system takes one: it is the same for every
  try of a command, also after a crash;
- leave the event loop free: what computes for more than a few milliseconds goes to a thread.

Rejected: one method an operation (the shell calls by name anyway, and contracts must be known without an instance).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from aios.streams.config import Settings, secret
from aios.streams.errors import ConfigError
from aios.streams.system_files import Effect, System

__all__ = ["TOO_LARGE", "Ask", "CallFailed", "Connector", "Effect", "Failure", "Operation", "Part", "Setup"]

TOO_LARGE = "answer_too_large"  # word of an answer over limits.answer_bytes_max


class Part(BaseModel):
    """Base of requests and responses: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(StrEnum):
    """What an error says about the effect, and about the system."""

    TRANSIENT = "transient"  # not done, surely; the system is away or overloaded: again later
    AMBIGUOUS = "ambiguous"  # nobody knows whether it was done: no answer in time, a connection lost behind the request
    PERMANENT = "permanent"  # not done, and never will be for this request: malformed, forbidden, not there
    REFUSED = "refused"  # understood and declined by the system: taken, closed, not covered
    UNFORESEEN = "unforeseen"  # nobody named it; our code, most likely


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a system can be asked. response_contract: name and version of the response's fields, e.g. `screening.v1`.

    effects: how a workflow may ask for it. Those that only read give `none`; those that change something give some of
    the others: `reconciled` where `done` can tell afterwards whether it was done, by the idempotency key.
    """

    request: type[BaseModel]
    response: type[BaseModel]
    response_contract: str
    effects: frozenset[Effect] = frozenset({Effect.NONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Who asks. idempotency_key: the same for every try. deadline_s: left for this try, > 0; the shell ends it then."""

    request_id: str
    idempotency_key: str
    tenant: str
    case_id: str = ""
    deadline_s: float


class CallFailed(Exception):
    """A call that failed in a way the connector knows. word: snake_case, for rules and tables; sentence: for people."""

    def __init__(
        self,
        failure: Failure,
        word: str,
        sentence: str,
        *,
        again_after_s: float = 0.0,
        is_systems: bool = True,
        was_called: bool = True,
        was_done: bool = False,
    ) -> None:
        """again_after_s: how long the system asked to be left alone, as in Retry-After; 0: it did not say.

        is_systems: whether it says something of the system as a whole; else of its endpoint alone, whose circuit it
        may open. was_called: whether a refusal came from there; one that is ours alone says nothing of the system.
        was_done: whether it did what it was asked to, and only its answer is of no use, or what was to come after it.
        """
        super().__init__(f"{word}: {sentence}")
        self.failure = failure
        self.word = word
        self.sentence = sentence
        self.again_after_s = again_after_s
        self.is_systems = is_systems
        self.was_called = was_called
        self.was_done = was_done


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a connector is made with. options: of the system's file, what the deployment's settings say on top."""

    system: System
    settings: Settings
    options: Mapping[str, Any]

    def option(self, name: str) -> str:
        """As text. Raises ConfigError where nobody says it."""
        value = self.options.get(name, "")
        if value == "":
            where = f"connectors.options.{self.system.system}.{name}"
            raise ConfigError(f"{self.system.system} needs the option {name}: set {where}")
        return str(value)

    def secret(self, name: str) -> str:
        """What the file's reference leads to, read now: a changed secret is used at once. Raises ConfigError."""
        reference = self.system.secrets.get(name, "")
        given = self.settings.connectors.secrets.get(self.system.system, {}).get(name, reference)
        if not given:
            raise ConfigError(
                f"{self.system.system} has no secret {name}: name it in its file, as env:NAME or file:/path"
            )
        return secret(given)


class Connector(Protocol):
    """See the module. Made as `Class(setup)`, in one event loop; calls come concurrently, up to limits.calls_max.

    operations: known without an instance, since workflows are checked against them.
    """

    operations: Mapping[str, Operation]

    async def open(self) -> None:
        """Before the first call: load, connect. Raises what classify knows; the shell tries again."""

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        """Do it once. request: of the operation's request contract. Raises what classify knows."""

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:
        """The response if a former try has had its effect, None if none has. Asked only for `reconciled`.

        Raises what classify knows; where the system cannot tell for sure, AMBIGUOUS: it is asked again.
        """

    def classify(self, error: Exception) -> Failure:
        """What an error of open, call or done says; failure_of() where the connector knows no better."""

    async def close(self) -> None:
        """At the end of the process."""


def failure_of(error: Exception) -> Failure:
    """What errors say that every connector meets."""
    match error:
        case CallFailed():
            return error.failure
        case ConnectionRefusedError():
            return Failure.TRANSIENT
        case ConfigError():
            return Failure.TRANSIENT  # a secret or an address that a person puts right while commands wait
        case TimeoutError() | OSError():
            return Failure.AMBIGUOUS
    return Failure.UNFORESEEN
