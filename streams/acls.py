"""What each process may do on a Kafka with access rules: lines for kafka-acls.sh, least privilege for each principal.

Enters: stages, with the topics of workflows that are deployed. Leaves: a shell script. Pure. Guaranteed: a principal
`User:aios-<process>` a process (stages of one process share a connection's credentials); it writes what its stages
write, reads what they read and what returns to them, and its transactions and group carry their names; what they do
beside their groups (topology.Beside) it may do too.

Beside what the topology says, every process that consumes writes to its own dead letters, to the delays (aios.retry.*)
and to the marks of breakers; every process reads the small compacted tables, which say who is who, what is active and
what is deployed. `replay` and `retry` write into every group's own returning topic, and nobody else does.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aios.streams import topics
from aios.streams.admin import READERS
from aios.streams.topics import Cleanup
from aios.streams.topology import REPLAY, RETRY, Kind, Stage

HEAD = """\
# Access rules for Kafka (`aios topology --format acls`). $KAFKA_ACLS: kafka-acls.sh with its --bootstrap-server and
# --command-config. Rules that are there already are left as they are. Producers and whoever runs `aios` are yours to
# add: a producer WRITEs the topic of its input.
set -eu
"""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """operations: of one resource, for one principal. prefixed: of all whose name begins so."""

    process: str
    kind: str  # topic, group, transactional-id
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False

    def line(self) -> str:
        asked = " ".join(f"--operation {one}" for one in self.operations)
        pattern = " --resource-pattern-type prefixed" if self.prefixed else ""
        principal = f"--add --allow-principal User:aios-{self.process}"
        return f"$KAFKA_ACLS {principal} {asked} --{self.kind} {shlex.quote(self.name)}{pattern}"


def script(stages: Iterable[Stage]) -> str:
    """The whole script."""
    return HEAD + "\n".join(rule.line() for rule in rules(stages))


def rules(stages: Iterable[Stage]) -> list[Rule]:
    """One a resource and principal."""
    there = tuple(stages)
    allowed: dict[tuple[str, str, str, bool], set[str]] = {}
    for stage in there:
        for kind, name, operation, prefixed in _of(stage, there):
            allowed.setdefault((stage.process, kind, name, prefixed), set()).update((operation, "Describe"))
    return sorted(
        Rule(process, kind, name, tuple(sorted(operations)), prefixed)
        for (process, kind, name, prefixed), operations in allowed.items()
    )


def _of(stage: Stage, there: tuple[Stage, ...]) -> Iterator[tuple[str, str, str, bool]]:
    """Kind of resource, name, operation, whether it is a prefix."""
    yield "group", READERS, "Describe", False  # librdkafka looks for its coordinator, though nobody joins it
    for table in tables():
        yield "topic", table, "Read", False
    for topic in stage.writes:
        yield "topic", topic.name, "Write", False
    for topic in stage.inputs:
        yield "topic", topic.name, "Read", False
    if stage.reads:
        yield "group", stage.group, "Read", False
        yield "topic", stage.dead_letters.name, "Write", False
        for tier in stage.tiers:
            yield "topic", tier.topic.name, "Write", False
        yield "topic", topics.BREAKER_CHANGED.name, "Write", False
    if stage.changelog is not None:
        yield "topic", stage.changelog.name, "Read", False
        yield "topic", stage.changelog.name, "Write", False
        yield "group", f"{stage.changelog.name}.reader", "Describe", False  # as READERS
    if stage.kind is Kind.FAUST:
        yield "transactional-id", f"{stage.group}.", "Write", True  # one a partition
    yield from _beside(stage, there)


def _beside(stage: Stage, there: tuple[Stage, ...]) -> Iterator[tuple[str, str, str, bool]]:
    """What it needs outside of its group."""
    for topic in stage.beside.reads:
        yield "topic", topic.name, "Read", False
    for topic in stage.beside.writes:
        yield "topic", topic.name, "Write", False
    for group in stage.beside.groups:
        yield "group", group, "Read", True
    for group in stage.beside.asks:
        yield "group", group, "Describe", False
    if stage.beside.transaction:
        yield "transactional-id", stage.group, "Write", False
    for each in there:
        if each.reads and stage in (REPLAY, RETRY):
            yield "topic", each.retries.name, "Write", False
        if each.reads and stage.beside.looks_back:
            for topic in (*each.inputs, each.dead_letters):
                yield "topic", topic.name, "Read", False


def tables() -> list[str]:
    """Small compacted topics that whoever needs them reads whole."""
    return sorted(one.name for one in topics.EVENTS if one.cleanup is Cleanup.COMPACT)
