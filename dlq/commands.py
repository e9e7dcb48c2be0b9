"""What operators may ask of dead letters, replay jobs and breakers: the commands, who may give them, and how. Pure.

Enters: operation.requested.v1 and the principals as they are now. Leaves: one typed command, or Refused with a problem
from a closed list and a sentence that says what to do. Guaranteed: the name of who asks is the record's own, never an
argument; roles are looked up when the command is carried out, so that what a principal was allowed yesterday does not
count; who approves is never who edited or planned; a principal of some tenants touches nothing of others.

The same code writes and reads the arguments: `requested` for clients, `parse` for the stage.

    kind            arguments                                           object
    letter.*        place, generation; patch or the record's value      dead letter id
                    (edit), hash_after (approve)
    replay.plan     kind, action, filter, edit, rate_per_s, cap, order  job id (job_id_of)
    replay.*        none                                                job id
    breaker.close   none                                                breaker's key
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from aios.schemas import ids
from aios.schemas.models import OperationRequested
from aios.streams import json_text
from aios.streams.record import Where

EDIT_CHARS_MAX = 64 << 10  # of a JSON Patch
FILTER_CHARS_MAX = 8 << 10
REASON_CHARS_MAX = 1_000
RATE_MAX = 1_000_000  # records per second
CAP_MAX = 1_000_000_000
ASKED = "asked_sha256"  # in the result of an answer: sha256_of its request
SHORT_CHARS = 12  # of an id as people are shown it; enough to name it


class Kind(StrEnum):
    """Every command, closed."""

    EDIT = "letter.edit"
    APPROVE_EDIT = "letter.approve"
    DISCARD = "letter.discard"
    RESTORE = "letter.restore"
    FREE = "letter.free"
    PLAN = "replay.plan"
    APPROVE = "replay.approve"
    RUN = "replay.run"
    PAUSE = "replay.pause"
    RESUME = "replay.resume"
    ABORT = "replay.abort"
    CLOSE_BREAKER = "breaker.close"


OPERATOR, APPROVER = "operator", "approver"
ROLE: Mapping[Kind, str] = {
    kind: APPROVER if kind in (Kind.APPROVE_EDIT, Kind.APPROVE, Kind.FREE) else OPERATOR for kind in Kind
}
"""Which role a command needs."""


class Problem(StrEnum):
    """Why a command was refused, closed; the words are in `detail`."""

    UNKNOWN_COMMAND = "unknown_command"
    BAD_ARGUMENTS = "bad_arguments"
    UNKNOWN_PRINCIPAL = "unknown_principal"
    ROLE_MISSING = "role_missing"
    OTHER_TENANT = "other_tenant"
    SAME_PRINCIPAL = "same_principal"  # four eyes
    NOT_FOUND = "not_found"  # no such letter, job or breaker; or it has aged out
    WRONG_STATE = "wrong_state"
    CHANGED = "changed"  # it is not what the principal saw
    DOES_NOT_FIT = "does_not_fit"  # an edit that would fail again
    TOO_MANY = "too_many"  # jobs at once
    KEY_REUSED = "key_reused"  # an idempotency key, for another command


class Refused(Exception):
    """The command changes nothing. detail: for the principal, without payload."""

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail


GOES_ON: Mapping[str, str] = {
    "open": "aios replay plan --id",
    "edited": "aios dlq approve",
    "replayed": "aios dlq show",
    "discarded": "aios dlq restore",
    "quarantined": "aios dlq free",
    "expired": "aios dlq show",
}
"""The command that a letter goes on by, by its state."""


def short(whole: str) -> str:
    """An id as people are shown it; they may name it so."""
    return whole[:SHORT_CHARS]


def wrong_state(letter_id: str, state: str, *wanted: str) -> Refused:
    """What is asked for takes a letter in another state; says what this one takes."""
    why = f"the dead letter is {state}, not {' or '.join(wanted)}; it goes on by `{GOES_ON[state]} {short(letter_id)}`"
    return Refused(Problem.WRONG_STATE, why)


class Target(StrEnum):
    """What a job looks for; in ReplayRemembered.kind."""

    LETTERS = "letters"  # dead letters
    MISSED = "missed"  # events with neither case nor refusal nor dead letter


class Action(StrEnum):
    REPLAY = "replay"
    DISCARD = "discard"


class Order(StrEnum):
    OLDEST = "oldest"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterCommand:
    """place, generation: as the principal saw it. patch: RFC 6902, JSON text, of an edit without bytes of its own.

    hash_after: of the edited value that is approved.
    """

    kind: Kind
    place: Where
    generation: int
    patch: str = ""
    hash_after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommand:
    """filter: canonical JSON (dlq/filters.py). edit: RFC 6902 of what it selects, as JSON. rate_per_s, cap: 0: none."""

    target: Target = Target.LETTERS
    action: Action = Action.REPLAY
    filter: str = "{}"
    edit: str = ""
    rate_per_s: int = 0
    cap: int = 0
    order: Order = Order.OLDEST
    kind: Kind = Kind.PLAN


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCommand:
    """approve, run, pause, resume or abort; the job is the request's object."""

    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerCommand:
    """Close the breaker that is the request's object."""

    kind: Kind = Kind.CLOSE_BREAKER


Command = LetterCommand | PlanCommand | JobCommand | BreakerCommand


class Principal(Protocol):
    """As principal.registered.v1 has it."""

    @property
    def name(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...
    @property
    def tenants(self) -> tuple[str, ...]: ...
    @property
    def active(self) -> bool: ...


class Principals(Protocol):
    """streams/principals.py's table."""

    def get(self, name: str) -> Principal | None: ...


def command_id_of(principal: str, key: str) -> str:
    """key: the principal's own idempotency key; the same one is the same command."""
    return ids.derive("command", principal, key)


def job_id_of(command_id: str) -> str:
    """The job that a replay.plan makes: the object of its request."""
    return ids.derive("replay-job", command_id)


def sha256_of(request: OperationRequested) -> str:
    """Of what is asked for, by which a command is known from another one under the same idempotency key."""
    value = hashlib.sha256(request.value or b"").hexdigest()
    whole = ids.canonical([request.kind, request.object_id, request.arguments, value])
    return hashlib.sha256(whole.encode()).hexdigest()


def key_reused() -> Refused:
    """Under this idempotency key another command was given."""
    return Refused(Problem.KEY_REUSED, "this Idempotency-Key was used for another command; take a new one")


def requested(
    command: Command,
    *,
    object_id: str = "",
    principal: str,
    key: str,
    reason: str,
    now_ms: int,
    value: bytes | None = None,
) -> OperationRequested:
    """The record that asks for it. object_id: not for a plan, which makes its own. value: bytes of an edit."""
    command_id = command_id_of(principal, key)
    return OperationRequested(
        command_id=command_id,
        kind=command.kind,
        object_id=job_id_of(command_id) if isinstance(command, PlanCommand) else object_id,
        arguments=ids.canonical(_arguments(command)),
        value=value,
        principal=principal,
        reason=reason[:REASON_CHARS_MAX],
        requested_at=now_ms,
    )


def _arguments(command: Command) -> dict[str, Any]:
    match command:
        case LetterCommand():
            told = {"place": list(command.place), "generation": command.generation}
            optional = {"patch": command.patch, "hash_after": command.hash_after}
            return told | {name: text for name, text in optional.items() if text}
        case PlanCommand():
            return {
                "kind": command.target,
                "action": command.action,
                "filter": command.filter,
                "edit": command.edit,
                "rate_per_s": command.rate_per_s,
                "cap": command.cap,
                "order": command.order,
            }
    return {}


def parse(request: OperationRequested) -> Command:
    """The command in a request. Raises Refused."""
    try:
        kind = Kind(request.kind)
    except ValueError:
        raise Refused(
            Problem.UNKNOWN_COMMAND, f"there is no such command; there are {', '.join(sorted(Kind))}"
        ) from None
    if not request.object_id:
        raise Refused(Problem.BAD_ARGUMENTS, "the command names no object")
    given = _Given(_object(request.arguments, "arguments"))
    command = _command(kind, given, request)
    given.nothing_left()
    return command


def _command(kind: Kind, given: _Given, request: OperationRequested) -> Command:
    if kind is Kind.PLAN:
        if request.object_id != job_id_of(request.command_id):
            raise Refused(Problem.BAD_ARGUMENTS, "the object of a plan is the job that its command makes")
        return _plan(given)
    if kind is Kind.CLOSE_BREAKER:
        return BreakerCommand()
    if kind in (Kind.APPROVE, Kind.RUN, Kind.PAUSE, Kind.RESUME, Kind.ABORT):
        return JobCommand(kind=kind)
    command = LetterCommand(
        kind=kind,
        place=given.place("place"),
        generation=given.number("generation", (1 << 31) - 1),
        patch=given.text("patch", EDIT_CHARS_MAX) if kind is Kind.EDIT else "",
        hash_after=given.text("hash_after", 64) if kind is Kind.APPROVE_EDIT else "",
    )
    if kind is Kind.EDIT and bool(command.patch) == (request.value is not None):
        raise Refused(Problem.BAD_ARGUMENTS, "an edit is either a JSON Patch or replacement bytes")
    if kind is not Kind.EDIT and request.value is not None:
        raise Refused(Problem.BAD_ARGUMENTS, "only an edit carries bytes")
    if command.patch:
        read_patch(command.patch)
    return command


def _plan(given: _Given) -> PlanCommand:
    edit = given.text("edit", EDIT_CHARS_MAX)
    if edit:
        read_patch(edit)
    plan = PlanCommand(
        target=Target(given.choice("kind", tuple(Target))),
        action=Action(given.choice("action", tuple(Action))),
        filter=ids.canonical(_object(given.text("filter", FILTER_CHARS_MAX) or "{}", "filter")),
        edit=edit,
        rate_per_s=given.number("rate_per_s", RATE_MAX),
        cap=given.number("cap", CAP_MAX),
        order=Order(given.choice("order", tuple(Order))),
    )
    if plan.edit and plan.action is Action.DISCARD:
        raise Refused(Problem.BAD_ARGUMENTS, "what is discarded is not edited")
    if plan.target is Target.MISSED and (plan.edit or plan.action is Action.DISCARD):
        raise Refused(Problem.BAD_ARGUMENTS, "missed events are returned as they are")
    return plan


def read_patch(text: str) -> list[dict[str, Any]]:
    """Its operations, within our bounds; whether it applies shows on the letter. Raises Refused."""
    operations = _read(text, "the patch")
    if not isinstance(operations, list) or not operations or not all(isinstance(one, dict) for one in operations):
        raise Refused(Problem.BAD_ARGUMENTS, "a JSON Patch (RFC 6902) is a list of at least one operation")
    return operations


class _Given:
    """Arguments as they are taken; what nobody takes is a mistake."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def text(self, name: str, chars_max: int) -> str:
        value = self._values.pop(name, "")
        if not isinstance(value, str) or len(value) > chars_max:
            raise Refused(Problem.BAD_ARGUMENTS, f"{name} is a text of at most {chars_max} characters")
        return value

    def number(self, name: str, most: int) -> int:
        value = self._values.pop(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise Refused(Problem.BAD_ARGUMENTS, f"{name} is a whole number from 0 to {most}")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self._values.pop(name, allowed[0])
        if value not in allowed:
            raise Refused(Problem.BAD_ARGUMENTS, f"{name} is one of {', '.join(allowed)}")
        return str(value)

    def place(self, name: str) -> Where:
        match self._values.pop(name, None):
            case [str() as topic, int() as partition, int() as offset] if partition >= 0 and offset >= 0:
                return topic, partition, offset
        raise Refused(Problem.BAD_ARGUMENTS, f"{name} is a topic, a partition and an offset")

    def nothing_left(self) -> None:
        if self._values:
            raise Refused(Problem.BAD_ARGUMENTS, f"nobody knows the argument {min(self._values)[:40]}")


def _object(text: str, name: str) -> dict[str, Any]:
    value = _read(text or "{}", name)
    if not isinstance(value, dict):
        raise Refused(Problem.BAD_ARGUMENTS, f"{name} is no JSON object")
    return value


def _read(text: str, name: str) -> Any:
    try:
        return json_text.read(text, name)
    except json_text.Unreadable as error:
        raise Refused(Problem.BAD_ARGUMENTS, str(error)) from None


def allowed(principals: Principals, name: str, kind: Kind, tenants: frozenset[str]) -> Principal:
    """Who asks, as registered now. tenants: of what the command touches. Raises Refused."""
    principal = principals.get(name)
    if principal is None or not principal.active:
        raise Refused(Problem.UNKNOWN_PRINCIPAL, "who asks is not registered here, or not active any more")
    role = ROLE[kind]
    if role not in principal.roles:
        raise Refused(Problem.ROLE_MISSING, f"{kind} needs the role {role}; `aios principal add` gives it")
    if principal.tenants and not tenants <= set(principal.tenants):
        raise Refused(Problem.OTHER_TENANT, "who asks may act for some tenants only, and this touches others")
    return principal


def other_eyes(approver: str, *others: str) -> None:
    """That somebody else approves. Raises Refused."""
    if approver in others:
        raise Refused(Problem.SAME_PRINCIPAL, "who edited or planned cannot approve it; another approver has to")
