"""Workflows that came while the system runs: workflow.deployed.v1 and workflow.activated.v1, as tables and as acts.

Enters: a checked file with its input contract, or an act of a principal (another version, more autonomy, none at all).
Leaves: a record of a compacted topic, and before it one of the audit under the name of who acted; and of both tables,
what may be submitted here. Guaranteed: a version is deployed once (its text never changes, since open cases run on it);
one without a name that answers for its policies is not deployed; whoever follows the tables sees an act within POLL_S
of streams/reference.py, whole. What a file means is not judged here: processors/language/workflow_files.py does that.
Rejected: the file in a volume that every process mounts (nobody knows who changed it, and stages would differ);
deleting a version (a case that runs on it could not go on).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import yaml

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import WorkflowActivated, WorkflowDeployed
from aios.streams import inputs, reference
from aios.streams.activations import PERMILLE, RETIRED
from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError
from aios.streams.inputs import Input
from aios.streams.reference import ReferenceTable, Why
from aios.streams.topics import INPUTS, SOURCES, WORKFLOW_ACTIVATED, WORKFLOW_DEPLOYED, Topic
from aios.streams.wall_clock import wall_ms

DEFINITION_BYTES_MAX = 512 << 10
MIGRATED = "workflow_migrated"  # kind of a case.told.v1 of an operator: the case goes on by another version
OPERATOR = "operator:"  # how what an operator does begins, before the name
MODES = ("shadow", "suggest", "auto")  # each decides more alone than the one before

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """How a version did on its recorded cases."""

    passed: int
    all: int


class Deployments:
    """Both tables. start() to follow along, load() to look once; changed() is called by the reader for each record."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, changed: Callable[[], None] = lambda: None) -> None:
        self.changes = 0  # seen so far, of both

        def told(_name: str, _before: object, _after: object) -> None:
            self.changes += 1
            changed()

        self.deployed: ReferenceTable[WorkflowDeployed] = ReferenceTable(
            kafka, codec, WORKFLOW_DEPLOYED, WorkflowDeployed, name_of=reference_of, changed=told
        )
        self.activated: ReferenceTable[WorkflowActivated] = ReferenceTable(
            kafka, codec, WORKFLOW_ACTIVATED, WorkflowActivated, name_of=lambda one: one.workflow, changed=told
        )

    def start(self) -> None:
        """Raises Unavailable."""
        self.deployed.start()
        self.activated.start()

    def load(self) -> None:
        """Raises Unavailable."""
        self.deployed.load()
        self.activated.load()

    def catch_up(self) -> None:
        """See ReferenceTable. What was activated was deployed before, so the versions come last. Raises Unavailable."""
        self.activated.catch_up()
        self.deployed.catch_up()

    def close(self) -> None:
        self.deployed.close()
        self.activated.close()


@dataclass(frozen=True, slots=True)
class Entry:
    """Which workflow takes the events of a contract. open: whether it takes new ones; else it is retired."""

    workflow: str
    input: Input
    open: bool


class Catalogue:
    """What may be submitted here. deployments: None where only the shipped workflows are there."""

    def __init__(self, deployments: Deployments | None = None) -> None:
        self._deployments = deployments
        self._known: tuple[int, dict[str, Entry]] = (-1, {})

    def entry(self, contract: str) -> Entry | None:
        """Who takes the events of this contract; None: nobody ever did."""
        return self._entries().get(contract)

    def input_of(self, workflow: str) -> Input | None:
        """What a workflow takes; None: there is no such workflow, or it is retired."""
        found = (one.input for one in self._entries().values() if one.open and one.workflow == workflow)
        return next(found, None)

    def names(self) -> list[str]:
        """Every workflow that takes cases now."""
        return sorted(one.workflow for one in self._entries().values() if one.open)

    def deployed(self) -> tuple[Input, ...]:
        """What came with deployed workflows: once there, always, since a retired workflow's are still to be refused."""
        taken = {contract: entry.input for contract, entry in self._entries().items()}
        return tuple(taken[name] for name in sorted(taken.keys() - {topic.name for topic in INPUTS}))

    def topics(self) -> tuple[Topic, ...]:
        """Where events may come."""
        return (*INPUTS, *(one.topic for one in self.deployed()))

    def _entries(self) -> dict[str, Entry]:
        """By contract; made anew when a table has changed."""
        count = self._deployments.changes if self._deployments is not None else 0
        if self._known[0] != count:
            self._known = (count, self._made())
        return self._known[1]

    def _made(self) -> dict[str, Entry]:
        found = {topic.name: Entry(name, inputs.shipped(topic.name), True) for name, topic in SOURCES.items()}
        if self._deployments is None:
            return found
        active = {name: told.version for name, told in self._deployments.activated.all().items()}
        for told in sorted(self._deployments.deployed.all().values(), key=lambda one: (one.workflow, one.version)):
            try:
                taken = input_of(told)  # a later version's contract reads what came by the earlier one's
            except ConfigError as error:  # deployed by a newer AIOS, perhaps
                log.warning("%s is not taken: %s", reference_of(told), error)
                continue
            found[taken.contract] = Entry(told.workflow, taken, told.workflow in active or told.workflow in SOURCES)
        for contract, entry in found.items():
            if active.get(entry.workflow) == RETIRED:
                found[contract] = replace(entry, open=False)
        return found


def reference_of(told: WorkflowDeployed) -> str:
    return f"{told.workflow}@{told.version}"


def input_of(told: WorkflowDeployed) -> Input:
    """The input contract of a deployed version. Raises ConfigError."""
    contract = declared_input(told.definition)
    return inputs.of_text(contract, told.input_schema) if told.input_schema else inputs.shipped(contract)


@lru_cache(maxsize=1_024)
def declared_input(definition: str) -> str:
    """The name of the contract that a workflow's file says. Raises ConfigError."""
    try:
        said: Any = yaml.safe_load(definition)
        return str(said["input"])
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise ConfigError(f"a deployed workflow names no input: {type(error).__name__}") from error


def deploy(
    kafka: KafkaSettings,
    codec: Codec,
    *,
    workflow: str,
    version: int,
    definition: str,
    input_schema: str,
    tests: Tests,
    signed_off: str,
    by: str,
    reason: str,
) -> WorkflowDeployed:
    """Make a version known, and the audit. Returns what was written; the same text again changes nothing.

    input_schema: compact Avro, empty for a contract of this release. signed_off: who answers for its policies.
    Raises ConfigError: nobody does, a test failed, or the version has another text already; Unavailable.
    """
    if not signed_off.strip():
        raise ConfigError("nobody signed its policies off: `signed_off: {by: …, on: …}` in the file")
    if not tests.all or tests.passed != tests.all:
        raise ConfigError(
            f"{tests.passed} of {tests.all} recorded cases came out as recorded; all must, and one at least"
        )
    if len(definition.encode()) > DEFINITION_BYTES_MAX:
        raise ConfigError(f"the file has more than {DEFINITION_BYTES_MAX} bytes")
    said = WorkflowDeployed(
        workflow=workflow,
        version=version,
        definition=definition,
        input_schema=input_schema,
        definition_hash=hash_of(definition),
        tests=ids.canonical({"passed": tests.passed, "all": tests.all}),
        reason=reason,
        by=by,
        deployed_at=wall_ms(),
    )
    before = read(kafka, codec)[0].get(reference_of(said))
    if before is not None:
        if (before.definition_hash, before.input_schema) != (said.definition_hash, said.input_schema):
            raise ConfigError(
                f"{reference_of(said)} is deployed with another text, and cases may run on it: raise `version`"
            )
        return before
    detail = {
        "version": version,
        "definition_hash": said.definition_hash,
        "tests": {"passed": tests.passed, "all": tests.all},
        "signed_off": signed_off,
        "reason": reason,
    }
    _write(kafka, codec, said, reference_of(said), Why(by=by, transition="workflow_deployed", detail=detail))
    return said


def activate(
    kafka: KafkaSettings,
    codec: Codec,
    told: WorkflowActivated,
    *,
    by: str,
    reason: str,
    before: WorkflowActivated | None,
) -> WorkflowActivated:
    """Let new cases take a version, with this much autonomy, and the audit know. Returns what was written.

    before: what held until now, None where nobody had said anything. Raises ConfigError, Unavailable.
    """
    if told.autonomy not in MODES or not 0 <= told.auto_permille <= PERMILLE:
        raise ConfigError(f"autonomy is {', '.join(MODES)}, with a share from 0 to 1")
    said = replace(told, by=by, reason=reason, activated_at=wall_ms())
    detail: dict[str, Any] = {
        "version": said.version,
        "autonomy": said.autonomy,
        "auto_permille": said.auto_permille,
        "reason": reason,
    }
    if before is not None:
        detail["before"] = {
            "version": before.version,
            "autonomy": before.autonomy,
            "auto_permille": before.auto_permille,
        }
    _write(kafka, codec, said, said.workflow, Why(by=by, transition=_transition(before, said), detail=detail))
    return said


def read(kafka: KafkaSettings, codec: Codec) -> tuple[dict[str, WorkflowDeployed], dict[str, WorkflowActivated]]:
    """Every version by name@version, and what is active by name. Raises Unavailable."""
    with loaded(kafka, codec) as tables:
        return tables.deployed.all(), tables.activated.all()


@contextmanager
def loaded(kafka: KafkaSettings, codec: Codec) -> Iterator[Deployments]:
    """Both tables as they are now. Raises Unavailable."""
    tables = Deployments(kafka, codec)
    try:
        tables.load()
        yield tables
    finally:
        tables.close()


def hash_of(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()


def _transition(before: WorkflowActivated | None, said: WorkflowActivated) -> str:
    if said.version == RETIRED:
        return "workflow_retired"
    if before is not None and alone(said.autonomy, said.auto_permille) > alone(before.autonomy, before.auto_permille):
        return "autonomy_widened"  # also where the version is another one
    if before is None or before.version != said.version:
        return "workflow_activated"
    return "autonomy_narrowed"


def alone(mode: str, permille: int) -> int:
    """How much is decided alone: a share of a mode, the rest in the next lower one."""
    return MODES.index(mode) * PERMILLE + permille


def _write(kafka: KafkaSettings, codec: Codec, said: WorkflowDeployed | WorkflowActivated, name: str, why: Why) -> None:
    topic = WORKFLOW_DEPLOYED if isinstance(said, WorkflowDeployed) else WORKFLOW_ACTIVATED
    reference.write(kafka, codec, topic, said, name=name, tenant="", seed=ids.canonical(why.detail), why=why)
