"""Which version of a model or prompt serves: model.activated.v1 and prompt.activated.v1, as tables and as acts.

Enters: an act of a principal, or of the stage that ends a canary. Leaves: a record of a compacted topic keyed by the
model's or prompt's name, and before it one of the audit, under the name of who acted. Guaranteed: an act is one record;
whoever follows the table sees it within POLL_S of streams/reference.py; what serves is a version and at most one
canary, whose cases are chosen by hash (processors/cases/active.py).
Rejected: the version in a configuration file (a change of it is a deploy, and nobody knows who did it and when).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import ModelActivated, PromptActivated
from aios.streams import model_files, reference
from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError
from aios.streams.prompt_files import Recorded
from aios.streams.reference import ReferenceTable, Why
from aios.streams.topics import MODEL_ACTIVATED, PROMPT_ACTIVATED
from aios.streams.wall_clock import wall_ms

PERMILLE = 1000  # of cases: a share
RETIRED = 0  # a version


def draw(what: str, case_id: str) -> int:
    """Where a case stands among PERMILLE, the same for everybody who asks; a share that grows keeps the cases it had.

    what: the share is of; another one has other cases.
    """
    digest = hashlib.sha256(f"{what}/{case_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PERMILLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends a canary, compared with the version that serves the rest."""

    error_share: float = 0.02  # more failed answers than the other's, as a share of all
    latency_ratio: float = 1.5  # median of its answers, relative to the other's
    override_share: float = 0.10  # more labels that a person changed, as a share of those looked at

    @classmethod
    def of(cls, told: ModelActivated) -> Limits:
        """Of an activation. Raises ConfigError."""
        return cls.read(told.limits)

    @classmethod
    def read(cls, text: str) -> Limits:
        """Of a JSON object; empty: the defaults. Raises ConfigError naming what is wrong."""
        known = ", ".join(each.name for each in fields(cls))
        try:
            given = json.loads(text) if text else {}
            found = cls(**given)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"limits of a canary: a JSON object of {known}") from error
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ConfigError(f"limits of a canary: {name} is a number from 0 on")
        return found


def models(kafka: KafkaSettings, codec: Codec) -> ReferenceTable[ModelActivated]:
    """By name; load() it, or start() it to follow along."""
    return ReferenceTable(kafka, codec, MODEL_ACTIVATED, ModelActivated, name_of=lambda told: told.model)


def prompts(kafka: KafkaSettings, codec: Codec) -> ReferenceTable[PromptActivated]:
    """By name; load() it, or start() it to follow along."""
    return ReferenceTable(kafka, codec, PROMPT_ACTIVATED, PromptActivated, name_of=lambda told: told.prompt)


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, ModelActivated]:
    """Of every model that somebody has activated a version of. Raises Unavailable."""
    table = models(kafka, codec)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def activated(
    before: ModelActivated | None,
    name: str,
    version: int,
    *,
    stable: int,
    canary_permille: int,
    limits: str = "",
) -> ModelActivated:
    """What serves after an act; by, reason and time are not in it yet. Pure.

    stable: the version that serves the rest of a canary's cases where nobody has activated one. canary_permille: 0 for
    all cases. limits: of the canary, JSON. Raises ConfigError.
    """
    if not canary_permille:
        return ModelActivated(model=name, version=version, reason="", by="", activated_at=0)
    serving = before.version if before is not None else stable
    if serving == RETIRED:
        raise ConfigError(f"{name} is retired: activate a version for all cases first")
    if serving == version and before is None:
        raise ConfigError(
            f"nobody has activated a version of {name}, so {name}@{version}, the newest, serves every case; activate "
            f"the version that shall keep the others first: `aios model activate {name}@V`, then the canary"
        )
    if serving == version:
        raise ConfigError(f"{name}@{version} serves every case already; a canary is another version")
    return ModelActivated(
        model=name,
        version=serving,
        canary_version=version,
        canary_permille=canary_permille,
        limits=limits,
        reason="",
        by="",
        activated_at=0,
    )


def serves(reference: str, told: ModelActivated | None, newest: str) -> bool:
    """Whether name@version answers all new cases, or all but a canary's. told: the last activation of its model; None:
    nobody has activated one, so that the newest does.
    """
    return reference == (newest if told is None else f"{told.model}@{told.version}")


def returned(told: ModelActivated) -> ModelActivated:
    """Without its canary: the version that served the rest serves all."""
    return replace(told, canary_version=0, canary_permille=0, limits="")


def write(kafka: KafkaSettings, codec: Codec, told: ModelActivated, *, by: str, reason: str) -> ModelActivated:
    """Let it serve, and the audit know, with the digests of what lies here of it. Returns what was written.

    Raises Unavailable.
    """
    said = replace(told, by=by, reason=reason, activated_at=wall_ms())
    named = {f"{said.model}@{version}" for version in (said.version, said.canary_version)}
    detail = {
        "version": said.version,
        "canary_version": said.canary_version,
        "canary_permille": said.canary_permille,
        "reason": reason,
        "digests": {one: model_files.digest(one) for one in sorted(named.intersection(model_files.known()))},
    }
    reference.write(
        kafka,
        codec,
        MODEL_ACTIVATED,
        said,
        name=said.model,
        tenant="",
        seed=f"{said.version}/{said.canary_version}/{said.canary_permille}",
        why=Why(by=by, transition="model_retired" if said.version == RETIRED else "model_activated", detail=detail),
    )
    return said


def read_prompts(kafka: KafkaSettings, codec: Codec) -> dict[str, PromptActivated]:
    """Of every prompt that somebody has activated a version of. Raises Unavailable."""
    table = prompts(kafka, codec)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def write_prompt(
    kafka: KafkaSettings, codec: Codec, name: str, version: int, *, evaluation: Recorded, by: str, reason: str
) -> PromptActivated:
    """Let a version of a prompt serve, and the audit know. Returns what was written.

    Raises ConfigError for an evaluation that was not passed, or is of another version; Unavailable.
    """
    if not evaluation.passed or evaluation.prompt != f"{name}@{version}":
        raise ConfigError(f"{name}@{version} has not passed its evaluation set, so it is not activated")
    said = PromptActivated(
        prompt=name,
        version=version,
        evaluation=ids.canonical(evaluation.model_dump()),
        reason=reason,
        by=by,
        activated_at=wall_ms(),
    )
    detail = {"version": version, "reason": reason, "evaluation": evaluation.model_dump()}
    reference.write(
        kafka,
        codec,
        PROMPT_ACTIVATED,
        said,
        name=name,
        tenant="",
        seed=f"{version}/{evaluation.set_digest}",
        why=Why(by=by, transition="prompt_activated", detail=detail),
    )
    return said
