"""`aios model watch`: how far models and workflows have drifted, how canaries stand, and which went back by themselves.

Enters: what the watch keeps in Valkey, the activations and the findings in Kafka. Leaves: three tables, or one JSON
object. Guaranteed: nothing is compared or changed here; what is shown is what the watch last compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import click
from redis.exceptions import RedisError

from aios.infra import output
from aios.infra.commands.operations import JSON, at
from aios.infra.commands.tenant import connected
from aios.infra.output import NOT_RUNNING, fail
from aios.schemas.codec import Codec
from aios.schemas.models import ModelActivated, ModelDrifted
from aios.sinks.canary import Side, Trial
from aios.sinks.drift import TESTS, Series, limit_of
from aios.sinks.watch import EPOCH, state_key
from aios.sinks.watch_state import State, read_back
from aios.streams import activations, outcome_store
from aios.streams.config import KafkaSettings, Settings
from aios.streams.errors import SchemaMismatch, Unavailable
from aios.streams.kafka import cluster_id, read_all
from aios.streams.topics import MODEL_DRIFTED
from aios.streams.topology import WATCH

FOUND_MAX = 20  # newest findings shown
DRIFT = ("subject", "measure", "state", "distance", "limit", "windows", "window", "tested")
CANARIES = ("model", "canary", "share", "measure", "of canary", "of stable", "limit", "counted")
FOUND = ("found", "subject", "measure", "distance", "limit", "chance", "test")
RETURNED = ("returned", "model", "serves", "why")


@click.command("watch")
@JSON
def watch(as_json: bool) -> None:
    """Drift of models and workflows; how canaries stand.

    Also the newest findings, and the canaries that went back by themselves. A series is first collected: its first
    answers are what later ones are compared with. `moved` says that the last window lies further off than its limit,
    and that chance does not explain it.
    """
    try:
        with connected() as (settings, codec):
            state = _state(settings)
            activated = activations.read(settings.kafka, codec)
            found = _found(settings.kafka, codec)
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    drift = [_row(*key, series, state) for key, series in sorted(state.series.items())]
    canaries = [row for _, trial in sorted(state.trials.items()) for row in _rows(trial)]
    returned = [_return(one) for _, one in sorted(activated.items()) if one.by == WATCH.name]
    if as_json:
        output.one({"drift": drift, "canaries": canaries, "found": found, "returned": returned}, as_json=True)
        return
    output.rows(drift, DRIFT, as_json=False, none="No model has answered yet.")
    click.echo()
    output.rows(canaries, CANARIES, as_json=False, none="There is no canary: `aios model activate` begins one.")
    for rows, columns in ((found, FOUND), (returned, RETURNED)):
        if rows:
            click.echo()
            output.rows(rows, columns, as_json=False, none="")


def _state(settings: Settings) -> State:
    """Raises Unavailable."""
    epoch, fields = asyncio.run(_kept(settings.redis.url, state_key(cluster_id(settings.kafka))))
    if not epoch:
        fail("the watch has compared nothing yet, or reads the topics again: `aios logs watch`", NOT_RUNNING)
    return read_back(fields, settings.watch)


async def _kept(url: str, key: str) -> tuple[str, dict[str, str]]:
    """Raises Unavailable."""
    redis = outcome_store.connect(url, connections_max=1)
    try:
        pipe = redis.pipeline(transaction=True)
        pipe.get(EPOCH)
        pipe.hgetall(key)
        epoch, fields = await pipe.execute()
        return epoch or "", fields
    except RedisError as error:
        raise Unavailable(f"Valkey does not answer: {type(error).__name__}") from error
    finally:
        await redis.aclose()
        await redis.connection_pool.disconnect()


def _found(kafka: KafkaSettings, codec: Codec) -> list[dict[str, Any]]:
    """The newest findings, newest first. Raises Unavailable."""
    found: list[dict[str, Any]] = []
    for record in read_all(kafka, MODEL_DRIFTED.name):
        try:
            one = codec.decode(record.value, ModelDrifted)
        except SchemaMismatch:
            continue  # not a watch's: the topic is shown, not judged
        found.append(
            {
                "found": at(record.timestamp_ms),
                "subject": one.subject,
                "measure": one.measure,
                "distance": round(one.value, 3),
                "limit": one.limit,
                "chance": f"{one.chance:.1e}",
                "test": one.test,
                "event_id": one.event_id,
            }
        )
    return found[: -FOUND_MAX - 1 : -1]


def _row(subject: str, measure: str, series: Series, state: State) -> dict[str, Any]:
    limits, collecting = state.limits, series.reference.count < state.limits.reference_count
    count, full = (
        (series.reference.count, limits.reference_count) if collecting else (series.window.count, limits.window_count)
    )
    tested = series.windows > 0
    return {
        "subject": subject,
        "measure": measure,
        "state": "collecting" if collecting else "moved" if series.moved else "steady" if tested else "waiting",
        "distance": round(series.distance, 3) if tested else None,
        "limit": limit_of(series.kind, limits),
        "chance": series.chance if tested else None,
        "test": TESTS[series.kind],
        "windows": series.windows,
        "moves": series.moves,
        "window": f"{count}/{full}",
        "tested": at(series.tested_ms),
    }


def _rows(trial: Trial) -> Iterator[dict[str, Any]]:
    """A line a measure."""
    limits = trial.limits
    about = {
        "model": f"{trial.model}@{trial.version}",
        "canary": f"{trial.model}@{trial.canary_version}",
        "share": f"{trial.permille / 10:g} %",
        "since": at(trial.since_ms),
    }
    sides = trial.canary, trial.stable

    def line(measure: str, shown: list[str], limit: str, counted: list[int]) -> dict[str, Any]:
        said = {"measure": measure, "of canary": shown[0], "of stable": shown[1], "limit": limit}
        return {**about, **said, "counted": f"{counted[0]} and {counted[1]}"}

    yield line(
        "error_share",
        [f"{one.error_share:.1%}" for one in sides],
        f"+{limits.error_share:.1%}",
        _counts("answers", sides),
    )
    yield line(
        "latency_ratio",
        [f"{one.median_ms:.1f} ms" for one in sides],
        f"× {limits.latency_ratio:g}",
        [len(one.times) for one in sides],
    )
    yield line(
        "override_share",
        [f"{one.override_share:.1%}" for one in sides],
        f"+{limits.override_share:.1%}",
        _counts("reviewed", sides),
    )


def _counts(name: str, sides: tuple[Side, Side]) -> list[int]:
    return [getattr(one, name) for one in sides]


def _return(one: ModelActivated) -> dict[str, Any]:
    return {
        "returned": at(one.activated_at),
        "model": one.model,
        "serves": f"{one.model}@{one.version}",
        "why": one.reason,
    }
