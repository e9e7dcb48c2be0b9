"""Open cases as plan remembers them, read from its changelog.

Enters: a running system's Kafka, the name of a workflow. Leaves: the open cases of it, and whether one could go on by
another version. Guaranteed: read to the end that stood there at the start; nothing is written. Of a million remembered
cases, all are read: this is for an operator's act, not for a page that is looked at.
Rejected: the outcome store (it knows the status of a case, not what it waits for).
"""

from __future__ import annotations

from dataclasses import replace

from aios.processors.cases import migrating
from aios.processors.cases.turn import step_of as step_of_path
from aios.processors.language.workflow_files import Workflows
from aios.processors.stateful.changelog import RESERVED
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import CaseRemembered
from aios.streams.admin import read_all
from aios.streams.config import Settings
from aios.streams.errors import ConfigError
from aios.streams.topology import PLAN


def read(settings: Settings, codec: Codec, workflow: str) -> list[CaseRemembered]:
    """Raises Unavailable."""
    topic = PLAN.changelog
    if topic is None:
        return []
    found: dict[bytes, CaseRemembered] = {}
    for record in read_all(settings.kafka, topic.name):
        if record.key is None or record.key.startswith(RESERVED):
            continue
        found.pop(record.key, None)
        try:
            known = codec.decode(record.value, CaseRemembered) if record.value is not None else None
        except SchemaMismatch:
            continue  # what the turnstile remembers, under keys of its own
        if known is not None and known.workflow == workflow and not known.decided_at:
            found[record.key] = replace(known, case_id=record.key.decode())
    return list(found.values())


def step_of(known: CaseRemembered) -> str:
    """Where it waits, as the workflow names it."""
    return step_of_path(known.step)


def judge(known: CaseRemembered, workflows: Workflows, to: int) -> str:
    """Why it could not go on by that version; empty: it could. Raises ConfigError: there is no such version."""
    after = workflows.at(known.workflow, to)
    try:
        moved = migrating.migrated(known, workflows.at(known.workflow, known.workflow_version), after)
    except ConfigError as error:
        return str(error)
    return moved if isinstance(moved, str) else ""
