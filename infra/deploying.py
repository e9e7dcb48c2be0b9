"""Brings a workflow to a running system: what is judged before, and what is done, in which order.

Enters: a workflow file with its recorded cases (and its input contract, where it has one of its own), a running
system's Kafka and registry, and who acts. Leaves: the contract registered, its topic created, the version deployed and
active, each audited; or nothing at all, with every reason why not. Guaranteed: nothing is written before everything was
judged, also whether the running stages know the systems and pools that it asks, and have the policies, prompts and
models that it names as they are here (needing.py); each act can be repeated, so a deploy that was interrupted is
finished by the same command; when it returns, admit reads the input (where it could be asked).

Order: contract, topic, version, activation. Whoever sees one of them finds those before it.

Rejected: one event for all of it (a version may be deployed and tried before it is active); a workflow whose versions
take different contracts (a case that admit took for the one would meet the other in plan).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aios.infra import needing
from aios.processors.cases import case_files, limited, workflow_cases
from aios.processors.cases.workflow_cases import Ran
from aios.processors.language import autonomy, workflow_files
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import Workflow, asks
from aios.processors.language.workflow_files import Live, Sound
from aios.schemas import compat
from aios.schemas.codec import Codec
from aios.schemas.models import WorkflowActivated, WorkflowDeployed
from aios.schemas.registry import RegistrySource
from aios.streams import deployments, inputs, limits, topology
from aios.streams.activations import RETIRED
from aios.streams.admin import ensure_topics, partitions_of
from aios.streams.config import KafkaSettings, Settings, client
from aios.streams.deployments import Tests
from aios.streams.errors import ConfigError, StateBroken, Unavailable
from aios.streams.expression import Expression
from aios.streams.inputs import Input
from aios.streams.topology import Kind

READ_S_MAX = 60.0  # until admit reads a new input: one rebalance, two where members come over one by one
READ_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """A workflow file and how its recorded cases came out."""

    sound: Sound
    ran: tuple[Ran, ...]

    @property
    def tests(self) -> Tests:
        return Tests(passed=sum(not one.wrong for one in self.ran), all=len(self.ran))


@dataclass(frozen=True, slots=True)
class There:
    """What is deployed and active in a system now."""

    deployed: dict[str, WorkflowDeployed]
    activated: dict[str, WorkflowActivated]

    def versions(self, workflow: str) -> dict[int, WorkflowDeployed]:
        return {told.version: told for told in self.deployed.values() if told.workflow == workflow}


def judge(file: Path) -> Judged:
    """Check a file and run its recorded cases. Raises ConfigError with a line for each mistake."""
    sound, problems = workflow_files.read_file(file)
    if sound is None:
        raise ConfigError("\n".join(problems))
    recorded = case_files.read(case_files.file_of(file), sound)
    return Judged(sound, tuple(workflow_cases.run(sound, one) for one in recorded))


def there(settings: Settings, codec: Codec) -> There:
    """Raises Unavailable."""
    return There(*deployments.read(settings.kafka, codec))


def in_service(settings: Settings, codec: Codec) -> dict[str, Workflow | None]:
    """By name, the version that new cases take; None: it is retired. Raises Unavailable, ConfigError."""
    with deployments.loaded(settings.kafka, codec) as tables:
        live = Live(workflow_files.shipped(), tables)
        return {name: live.latest(name) for name in sorted({each.workflow for each in live})}


def refused(sound: Sound, known: There) -> list[str]:
    """Why this version may not come to what is there; empty: it may. Pure but for the shipped files."""
    return [
        *_text(sound, known),
        *_older(sound.workflow, known),
        *_taken(sound, known),
        *_declared(sound.input),
        *_compatible(sound.input, known),
    ]


def _text(sound: Sound, known: There) -> Iterator[str]:
    workflow = sound.workflow
    if workflow.signed_off is None:
        yield "nobody signed its policies off: `signed_off: {by: …, on: …}` in the file"
    before = known.deployed.get(workflow.reference)
    if before is not None and before.definition != sound.text:
        yield f"{workflow.reference} is deployed with another text, and cases may run on it: raise `version`"
    for shipped in workflow_files.shipped():
        if before is None and shipped.reference == workflow.reference:
            yield f"{workflow.reference} is a version that this release ships: raise `version`"


def _older(workflow: Workflow, known: There) -> Iterator[str]:
    """Whoever goes back says so, and does not by an old file that lies around."""
    name, shipped = workflow.workflow, workflow_files.shipped().latest(workflow.workflow)
    newest = max([*known.versions(name), shipped.version if shipped is not None else 0], default=0)
    active = known.activated.get(name)
    if workflow.reference not in known.deployed and workflow.version < newest:
        yield f"{name}@{newest} is here already: raise `version`"
    elif active is not None and workflow.version < active.version:
        yield f"new cases take {name}@{active.version}; `aios workflow activate {workflow.reference}` goes back"


def _taken(sound: Sound, known: There) -> Iterator[str]:
    """A contract belongs to one workflow, and a workflow keeps its contract."""
    mine, contract = sound.workflow.workflow, sound.input.contract
    takers = {one.workflow: one.input for one in workflow_files.shipped()}
    takers |= {told.workflow: deployments.declared_input(told.definition) for told in known.deployed.values()}
    for name, taken in sorted(takers.items()):
        if name != mine and taken == contract:
            yield f"{contract} is what {name} takes; each workflow has an input of its own"
        if name == mine and taken != contract:
            yield f"{mine} takes {taken} in its other versions; a workflow that takes {contract} has another name"


def _declared(taken: Input) -> Iterator[str]:
    if taken.contract not in inputs.SHIPPED and taken.contract in topology.all_topics():
        yield f"{taken.contract} is a topic of AIOS itself; take another name"


def _compatible(taken: Input, known: There) -> Iterator[str]:
    if taken.contract in inputs.SHIPPED:
        return
    before = {
        told.version: deployments.input_of(told).schema
        for told in known.deployed.values()
        if deployments.declared_input(told.definition) == taken.contract
    }
    for why in compat.problems(taken.schema, before):
        yield f"{taken.contract} {why}"


def _passed_by(kafka: KafkaSettings, codec: Codec, workflow: Workflow) -> list[str]:
    """Why new cases may not take it while a limit is declared that would not hold for them. Raises Unavailable."""
    if not (why := limited.unheld(workflow)):
        return []
    held = [one.budget for one in limits.read(kafka, codec).values() if one.workflow in (limits.ALL, workflow.workflow)]
    return [f"{why}; it would pass the limits that are declared: {', '.join(sorted(held))}"] if held else []


def _unpassed(workflow: Workflow) -> list[str]:
    why_not = [*workflow_files.unfit(workflow), *workflow_files.unpassed(workflow)]
    return [f"{why}; a version that names it takes no new cases" for why in why_not]


def _unserved(kafka: KafkaSettings, workflow: Workflow) -> Iterator[str]:
    """Systems and pools that it asks and the running stages do not have, which would stop over it. Raises Unavailable.

    Their topics are made before the stages start that know them.
    """
    asked = [ask for step in workflow.steps.values() for ask in asks(step.kind)]
    lanes = {name: stage for name, stage in topology.BY_NAME.items() if stage.kind is Kind.POOL}
    named = {
        *(f"connectors.{ask.system}" for ask in asked if isinstance(ask, Call)),
        *(name for ask in asked if isinstance(ask, Question) for name in lanes if name.startswith(f"{ask.pool}.")),
    }
    for stage in sorted(named):
        try:
            partitions_of(kafka, topology.BY_NAME[stage].reads[0].name)
        except StateBroken:
            yield f"{stage} has its file here, and the running system started without it: start it again"


def deploy(
    settings: Settings, codec: Codec, judged: Judged, *, by: str, reason: str, active: bool
) -> tuple[WorkflowDeployed, WorkflowActivated | None]:
    """Do it; what is done already is left as it is. Raises ConfigError with every reason why not, Unavailable."""
    sound, known = judged.sound, there(settings, codec)
    taken = [*_unpassed(sound.workflow), *_passed_by(settings.kafka, codec, sound.workflow)] if active else []
    unserved = [*_unserved(settings.kafka, sound.workflow), *needing.lacking(settings.kafka, codec, sound.workflow)]
    if why_not := [*refused(sound, known), *unserved, *taken]:
        raise ConfigError("\n".join(why_not))
    signed = sound.workflow.signed_off
    own = sound.input.contract not in inputs.SHIPPED
    if own:
        _register(settings.registry.url, sound.input)
        asyncio.run(ensure_topics(settings.kafka, [sound.input.topic]))
    told = deployments.deploy(
        settings.kafka,
        codec,
        workflow=sound.workflow.workflow,
        version=sound.workflow.version,
        definition=sound.text,
        input_schema=sound.input.schema.text if own else "",
        tests=judged.tests,
        signed_off=f"{signed.by}, {signed.on.isoformat()}" if signed is not None else "",
        by=by,
        reason=reason,
    )
    if not active:
        return told, None
    before = known.activated.get(told.workflow)
    if before is not None and before.version == told.version:
        return told, before
    said = _unsaid(sound.workflow, *inherited(sound.workflow, before))
    return told, deployments.activate(settings.kafka, codec, said, by=by, reason=reason, before=before)


def activate(
    kafka: KafkaSettings,
    codec: Codec,
    workflow: Workflow,
    before: WorkflowActivated | None,
    *,
    by: str,
    reason: str,
    said: tuple[str, int] | None = None,
) -> WorkflowActivated:
    """Let new cases take a version. said: its mode and permille; else as inherited().

    Raises ConfigError, Unavailable.
    """
    if said is None:
        why_not = [*_unpassed(workflow), *_passed_by(kafka, codec, workflow)]
        if why_not := why_not or needing.lacking(kafka, codec, workflow):
            raise ConfigError("\n".join(why_not))
    told = _unsaid(workflow, *(said or inherited(workflow, before)))
    return deployments.activate(kafka, codec, told, by=by, reason=reason, before=before)


def inherited(workflow: Workflow, before: WorkflowActivated | None) -> tuple[str, int]:
    """Mode and permille of a version that comes new: it decides no more alone than the one before did, which a
    retired workflow keeps. Raises ConfigError for one that names nobody to ask, where somebody had to be asked.
    """
    own, shipped = autonomy.of_file(workflow), workflow_files.shipped().latest(workflow.workflow)
    if before is not None:
        held = (before.autonomy, before.auto_permille)
    elif shipped is not None:
        held = min(own, autonomy.of_file(shipped), key=lambda one: deployments.alone(*one))
    else:
        held = own
    if workflow.autonomy is None and deployments.alone(*held) < deployments.alone(*own):
        raise ConfigError(
            f"{workflow.reference} names nobody to ask, and its cases decide {held[0]} now: give its file "
            f"`autonomy: {{ask: STEP}}`, or widen first: `aios workflow autonomy {workflow.workflow} auto`"
        )
    return held


def standing(workflow: Workflow, known: There) -> WorkflowActivated:
    """What holds for new cases now, where nobody has said anything: what the file says."""
    return known.activated.get(workflow.workflow, _unsaid(workflow, *autonomy.of_file(workflow)))


def _unsaid(workflow: Workflow, mode: str, permille: int) -> WorkflowActivated:
    """Before anybody says it."""
    return WorkflowActivated(
        workflow=workflow.workflow,
        version=workflow.version,
        autonomy=mode,
        auto_permille=permille,
        reason="",
        by="",
        activated_at=0,
    )


def retire(
    kafka: KafkaSettings, codec: Codec, name: str, before: WorkflowActivated, *, by: str, reason: str
) -> WorkflowActivated:
    """Take no new cases. Raises Unavailable."""
    told = replace(before, workflow=name, version=RETIRED)
    return deployments.activate(kafka, codec, told, by=by, reason=reason, before=before)


def _register(url: str, taken: Input) -> None:
    """Raises SchemaRefused, Unavailable."""
    source = RegistrySource(url)
    try:
        source.register(taken.topic.subject(taken.contract), taken.schema.text)
    finally:
        source.close()


def is_read(kafka: KafkaSettings, topic: str, group: str) -> bool:
    """Whether every partition of the topic has a member of the group that reads it, within READ_S_MAX."""
    admin = AdminClient(client(kafka, log_level=0))
    deadline = time.monotonic() + READ_S_MAX
    while True:
        try:
            described = admin.describe_consumer_groups([group])[group].result(READ_S_MAX)
            there_are = set(admin.list_topics(topic, timeout=READ_S_MAX).topics[topic].partitions)
        except KafkaException as error:
            raise Unavailable(f"Kafka does not say who reads {topic}: {error.args[0]}") from error
        read = {
            place.partition
            for member in described.members
            if member.assignment is not None
            for place in member.assignment.topic_partitions
            if place.topic == topic
        }
        if there_are and there_are <= read:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(READ_AGAIN_S)


def compared(before: Sound, after: Sound) -> Sequence[str]:
    """What is another in the second, a line each: steps, thresholds, labels, objectives. Pure."""
    return list(_compared(before.workflow, after.workflow))


def _compared(one: Workflow, other: Workflow) -> Iterator[str]:
    first, second = _plain(one.model_dump()), _plain(other.model_dump())
    for name in Workflow.model_fields:
        if name in ("version", "steps", "samples"):
            continue
        yield from _differing(name, first[name], second[name])
    steps, now = first["steps"], second["steps"]
    for name in dict.fromkeys((*steps, *now)):
        if name not in now:
            yield f"- step {name}"
        elif name not in steps:
            yield f"+ step {name}"
        else:
            yield from _differing(f"step {name}", steps[name], now[name])


def _plain(value: Any) -> Any:
    """Expressions as their texts, so that what says the same is the same."""
    match value:
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case Expression():
            return value.source
    return value


def _differing(place: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from _differing(f"{place}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True), 1):
            yield from _differing(f"{place}[{number}]", one, other)
    else:
        yield f"~ {place}: {_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else " ".join(str(value).split())
