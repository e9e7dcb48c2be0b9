"""Outside systems: systems/<system>.yaml, one file a system. Adding a system is adding a file.

In: folders of files: FOLDER, and a team's own (installed.py). Out: frozen System values; the system's topic, consumer
group, circuit, metrics and objective follow from them (topology.py), and which class speaks to it
(processors/connectors/registry.py). Guaranteed: every mistake in any file is told with file, line and column; a secret
is a reference, never a value. Addresses belong to a deployment: `connectors.options` of aios.yaml wins over `options`
here.
Rejected: systems in aios.yaml (what is asked of a system belongs to the workflows' versions, not to a machine).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from aios.streams import part_file
from aios.streams.errors import ConfigError
from aios.streams.part import FIELD, FIELD_TYPE, LETTERS, SECRET, WORD, Part, close_to

FOLDER = Path(__file__).parent / "systems"
ATTEMPTS_MAX = 5  # commands of one step of a case
KEY = "idempotency_key"  # in a path
QUERYING = ("GET", "DELETE")  # methods whose request stands in the address
OBJECTS = ("object", "objects")
ENDPOINT = r"^[a-z][a-z0-9-]{0,63}$"  # of a system that is many


class Effect(StrEnum):
    """What a workflow says of an operation: what may have happened when nobody knows whether it has."""

    NONE = "none"  # it only reads
    RECONCILED = "reconciled"  # the system is asked whether it was done: once
    AT_LEAST_ONCE = "at_least_once"  # tried again: perhaps twice
    AT_MOST_ONCE = "at_most_once"  # not tried again: perhaps not at all, and the case is told `unknown`


class Limits(Part):
    """Over all processes of the system together; each takes its share by the partitions that it has.

    calls_max: calls at once; where there are more processes than that, each makes one. rate_per_s: calls begun in a
    second. call_s_max: of one try. waiting_max: commands that a process has in hand, waiting ones included; the others
    stay in the topic. answer_bytes_max: of a response. tenant_outstanding_max: commands of one tenant (to one endpoint,
    where the system is many) that wait in the topic, in hand or for a retry, over all partitions of plan; the rest
    waits in plan's state.
    """

    calls_max: Annotated[int, Field(ge=1, le=1024)] = 8
    rate_per_s: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    call_s_max: Annotated[float, Field(gt=0, le=600)] = 10.0
    waiting_max: Annotated[int, Field(ge=1, le=4096)] = 256
    answer_bytes_max: Annotated[int, Field(ge=1024, le=768 << 10)] = 256 << 10
    tenant_outstanding_max: Annotated[int, Field(ge=1, le=100_000)] = 128


class Again(Part):
    """Between two tries of a command: a random part of a bound that doubles from first_s to longest_s (full jitter).

    unsure_s: after a try with an effect that nobody answered, the system may still be at it. It is left alone for as
    long, and a random part of as much again, before it is asked whether it was done, or tried again.
    """

    first_s: Annotated[float, Field(gt=0, le=60)] = 0.2
    longest_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    unsure_s: Annotated[float, Field(ge=0, le=600)] = 1.0


class Circuit(Part):
    """Opens after failures_max failures in a row, or when more than share_max of the last `window` calls failed.

    Open for open_s, twice as long after each probe that fails, up to open_s_max; then one call is let through.
    """

    failures_max: Annotated[int, Field(ge=1, le=1000)] = 5
    window: Annotated[int, Field(ge=2, le=1000)] = 20
    share_max: Annotated[float, Field(gt=0, le=1)] = 0.5
    open_s: Annotated[float, Field(gt=0, le=600)] = 2.0
    open_s_max: Annotated[float, Field(gt=0, le=3600)] = 30.0


class Goal(Part):
    """p95_ms: from a command's broker timestamp to the acknowledged answer. success: share without dead letter."""

    p95_ms: Annotated[int, Field(ge=1)]
    success: Annotated[float, Field(gt=0, le=1)] = 0.999


Operation = Annotated[str, Field(pattern=WORD)]
FieldName = Annotated[str, Field(pattern=FIELD)]
FieldType = Annotated[str, Field(pattern=FIELD_TYPE)]


class Http(Part):
    """One operation of a system that speaks JSON over HTTP (connectors/http.py); a file is all that it needs.

    path, done: `{field}` stands for a field of the request, `{idempotency_key}` for the key. request, response: field →
    type; a `?` behind the type: it may be missing; what GET and DELETE ask by stands in the address, where no object
    does, and in a path no list. refused: statuses that decline the request; other 4xx are mistakes
    of ours.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, Field(pattern=r"^/\S*$")]
    request: Mapping[FieldName, FieldType] = {}
    response: Mapping[FieldName, FieldType] = {}
    effects: Annotated[tuple[Effect, ...], Field(min_length=1)] = (Effect.NONE,)
    done: Annotated[str, Field(pattern=r"^(/\S*)?$")] = ""  # GET: 200 with the response: done; 404: not done
    refused: tuple[Annotated[int, Field(ge=400, le=499)], ...] = (409, 422)

    @model_validator(mode="after")
    def _can_tell(self) -> Http:
        if Effect.RECONCILED in self.effects and not self.done:
            raise ValueError("effects: reconciled needs `done`, a path that tells whether it was done")
        if Effect.NONE in self.effects and len(self.effects) > 1:
            raise ValueError("effects: what only reads gives none, and nothing else")
        return self

    @model_validator(mode="after")
    def _paths(self) -> Http:
        for key, path in (("path", self.path), ("done", self.done)):
            allowed = [*self.request, KEY]
            if unknown := [field for field in named_in(path) if field not in allowed]:
                hint = close_to(unknown[0], allowed)
                raise PydanticCustomError(
                    "unknown_field",
                    "{path} names {field}, which its request does not have{hint}",
                    {"key": key, "path": path, "field": unknown[0], "hint": hint},
                )
        return self

    @model_validator(mode="after")
    def _fits_an_address(self) -> Http:
        named = {*named_in(self.path), *named_in(self.done)}
        for field, said in self.request.items():
            kind = said.removesuffix("?")
            if field in named and kind in (*OBJECTS, "texts"):
                where, fit = "a path", "text, number, whole, flag"
            elif self.method in QUERYING and kind in OBJECTS:
                where, fit = f"the address of a {self.method}", "text, number, whole, flag, texts; or method: POST"
            else:
                continue
            raise PydanticCustomError(
                "no_room",
                "{field} is {kind}, which cannot stand in {where} (allowed here: {fit})",
                {"key": "request", "field": field, "kind": kind, "where": where, "fit": fit},
            )
        return self


class System(Part):
    """One system; see the module. connector: of processors/connectors/registry.py; several systems may share one.

    endpoint: the field of a request that names who of the system is asked, where it is many that fail one by one.
    """

    system: Annotated[str, Field(pattern=LETTERS)]
    does: Annotated[str, Field(min_length=1, max_length=80)]  # one line for people
    connector: Annotated[str, Field(pattern=LETTERS)]
    endpoint: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,63})?$")] = ""
    options: Mapping[str, Any] = {}
    secrets: Mapping[str, Annotated[str, Field(pattern=SECRET)]] = {}
    operations: Mapping[Operation, Http] = {}  # of the connector `http` alone; the others have theirs in code
    limits: Limits = Limits()
    again: Again = Again()
    circuit: Circuit = Circuit()
    objective: Goal

    def endpoint_of(self, request: Mapping[str, Any]) -> str:
        """Which endpoint a request names; empty: none, or one that none may be called, so it stands with the system."""
        said = request.get(self.endpoint) if self.endpoint else None
        return said if isinstance(said, str) and re.fullmatch(ENDPOINT, said) else ""

    @model_validator(mode="after")
    def _operations(self) -> System:
        if (self.connector == "http") != bool(self.operations):
            says = "the connector http has `operations` in its file, the others have theirs in code"
            raise PydanticCustomError("operations", "{says}", {"key": "connector", "says": says})
        return self


def read(*folders: Path) -> Mapping[str, System]:
    """Every system by name. Raises ConfigError, a line a mistake."""
    found: dict[str, System] = {}
    problems: list[str] = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        system, _, wrong = part_file.read(path, System, "system")
        problems += wrong
        if system is not None:
            found[system.system] = system
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def named_in(path: str) -> list[str]:
    """The fields that stand in braces. Raises ValueError: a brace alone."""
    return [field for _, field, _, _ in string.Formatter().parse(path) if field is not None]
