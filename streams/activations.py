"""Which version of a model or prompt serves: model.activated.v1 and prompt.activated.v1, as tables and as acts.

Enters: an act of a principal, or of the stage that ends a canary. Leaves: a record of a compacted topic keyed by the
model's or prompt's name, and before it one of the audit, under the name of who acted. Guaranteed: an act is one record;
whoever follows the table sees it within POLL_S of streams/reference.py; what serves is a version and at most one
canary, whose cases are chosen by hash (processors/active.py).
Rejected: the version in a configuration file (a change of it is a deploy, and nobody knows who did it and when).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import ModelActivated, PromptActivated
from aios.streams import reference
from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError
from aios.streams.reference import ReferenceTable, Why
from aios.streams.topics import MODEL_ACTIVATED, PROMPT_ACTIVATED

PERMILLE = 1000
RETIRED = 0  # a version


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends a canary, compared with the version that serves the rest."""

    error_share: float = 0.02  # more failed answers than the other's, as a share of all
    latency_ratio: float = 1.5  # median of its answers, relative to the other's
    override_share: float = 0.10  # more labels that a person changed, as a share of those looked at

    @classmethod
    def of(cls, told: ModelActivated) -> Limits:
        """Raises ConfigError."""
        try:
            given = json.loads(told.limits) if told.limits else {}
            return cls(**{name: float(value) for name, value in given.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"the limits of {told.model}'s canary cannot be read: {error}") from error


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
    limits: Mapping[str, float],
) -> ModelActivated:
    """What serves after an act; by, reason and time are not in it yet. Pure.

    stable: the version that serves the rest of a canary's cases where nobody has activated one. canary_permille: 0 for
    all cases. Raises ConfigError.
    """
    if not canary_permille:
        return ModelActivated(model=name, version=version, reason="", by="", activated_at=0)
    serving = before.version if before is not None else stable
    if serving == RETIRED:
        raise ConfigError(f"{name} is retired: activate a version for all cases first")
    if serving == version:
        raise ConfigError(f"{name}@{version} serves every case already; a canary is another version")
    told = ids.canonical(dict(limits)) if limits else ""
    return ModelActivated(
        model=name,
        version=serving,
        canary_version=version,
        canary_permille=canary_permille,
        limits=told,
        reason="",
        by="",
        activated_at=0,
    )


def returned(told: ModelActivated) -> ModelActivated:
    """Without its canary: the version that served the rest serves all."""
    return replace(told, canary_version=0, canary_permille=0, limits="")


def write(kafka: KafkaSettings, codec: Codec, told: ModelActivated, *, by: str, reason: str) -> ModelActivated:
    """Let it serve, and the audit know. Returns what was written. Raises Unavailable."""
    said = replace(told, by=by, reason=reason, activated_at=time.time_ns() // 1_000_000)
    detail = {
        "version": said.version,
        "canary_version": said.canary_version,
        "canary_permille": said.canary_permille,
        "reason": reason,
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
