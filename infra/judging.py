"""A model version judged through the running system: unseen texts as commands to its pool, answers from Kafka.

In: a running system, a version, and texts for each of its heads (unseen.py). Out: figures a head, of the answers as any
workflow would get them: engine, heads, rounding and topics included. Guaranteed: no label of the texts took part in
training, and where a head's temperature and out-of-scope score were fitted on them, its figures say so
(`calibrated_here`): of these the accuracy is of unseen texts, and the rest is not; no case is opened (what no case
waits for stands in the ledger as wasted), and watch passes the answers over, which the lake keeps; each head ends
within WAIT_S_MAX, and what was not answered by then is counted as failed.
Rejected: cases of the workflow (each would need a person for what falls below a threshold, and leave a decision).
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from aios.inference_workers.training import unseen
from aios.inference_workers.training.judged import Judged, auroc
from aios.infra.tail import Tail
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import carrying, installed, slots, topology
from aios.streams.config import KafkaSettings, Settings
from aios.streams.delivery import Delivery
from aios.streams.errors import ConfigError
from aios.streams.pool_files import Lane
from aios.streams.record import Outgoing
from aios.streams.topics import EVALUATION, INFERENCE_COMPLETED, Topic
from aios.streams.wall_clock import wall_ms

WAIT_S_MAX = 900.0
POLL_S = 0.5
BATCH = 500  # commands delivered at once
STEP = "judge"


@dataclass(frozen=True, slots=True)
class Question:
    """One text. label: empty if none fits."""

    head: str
    label: str
    request: InferenceRequested


def judge(settings: Settings, codec: Codec, model: str) -> list[dict[str, Any]]:
    """A line of figures a head. Raises Unavailable, and ConfigError: no pool labels with this model."""
    run = uuid.uuid4().hex
    return [_judged(settings, codec, model, head, f"{run}/{head}") for head in unseen.heads(model)]


def asked_at(model: str) -> Topic:
    """Where a version is asked: the bulk lane of its pool, or the one it has. Raises ConfigError."""
    name = model.partition("@")[0]
    pools = [pool for pool in installed.pools().values() if pool.model == name and "classify" in pool.serves]
    if not pools:
        raise ConfigError(f"no pool labels with {name}, so nobody would answer: a file in streams/pools names it")
    return topology.pool_of(pools[-1].process, pools[-1].lane).reads[0]  # bulk stands last


def _judged(settings: Settings, codec: Codec, model: str, head: str, name: str) -> dict[str, Any]:
    asked = [
        Question(head, label, _request(settings, model, head, text, f"{name}/{number}"))
        for number, (text, label) in enumerate(unseen.texts(model, head))
    ]
    begun = time.monotonic()
    answers = _answers(settings.kafka, codec, asked, asked_at(model))
    seconds = time.monotonic() - begun
    return _figures(head, asked, answers, seconds) | {"calibrated_here": unseen.calibrated_here(model, head)}


def _request(settings: Settings, model: str, head: str, text: str, name: str) -> InferenceRequested:
    now_ms = wall_ms()
    case_id = ids.derive("judging", name)
    return InferenceRequested(
        request_id=ids.command_id(case_id, STEP, 1),
        case_id=case_id,
        tenant=settings.default_tenant,
        workflow=EVALUATION,
        step=STEP,
        attempt=1,
        task="classify",
        model=model,
        input=text,
        options=ids.canonical({"head": head}),
        lane=Lane.BULK,
        deadline_at=now_ms + int(WAIT_S_MAX * 1000),
        requested_at=now_ms,
    )


def _answers(
    kafka: KafkaSettings, codec: Codec, asked: Sequence[Question], topic: Topic
) -> dict[str, InferenceCompleted]:
    """By request id; those that came in time."""
    tail = Tail(kafka, [INFERENCE_COMPLETED.name])
    try:
        asyncio.run(_ask(kafka, codec, [one.request for one in asked], topic))
        missing = {one.request.request_id for one in asked}
        found: dict[str, InferenceCompleted] = {}
        deadline = time.monotonic() + WAIT_S_MAX
        while missing and time.monotonic() < deadline:
            for record in tail.poll(POLL_S):
                with suppress(SchemaMismatch):  # of another, who writes what nobody can read
                    said = codec.decode(record.value, InferenceCompleted)
                    if said.request_id in missing:
                        missing.discard(said.request_id)
                        found[said.request_id] = said
        return found
    finally:
        tail.close()


async def _ask(kafka: KafkaSettings, codec: Codec, requests: Sequence[InferenceRequested], topic: Topic) -> None:
    delivery = Delivery(kafka, client_id="aios.judging")
    try:
        for start in range(0, len(requests), BATCH):
            await delivery.deliver_all([_out(topic, codec, one) for one in requests[start : start + BATCH]])
    finally:
        await asyncio.to_thread(delivery.close)


def _out(topic: Topic, codec: Codec, request: InferenceRequested) -> Outgoing:
    return carrying.outgoing(
        codec,
        topic,
        request,
        key=slots.key_of(request.tenant, request.case_id),
        event_id=request.request_id,
        source="/aios/judging",
        subject=request.case_id,
        tenant=request.tenant,
        time_ms=request.requested_at,
    )


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────


def _figures(
    head: str, asked: Sequence[Question], answers: dict[str, InferenceCompleted], seconds: float
) -> dict[str, Any]:
    right: list[bool] = []
    confidence: list[float] = []
    inside: list[float] = []
    outside: list[float] = []
    failed = 0
    for one in asked:
        said = answers.get(one.request.request_id)
        if said is None or said.status != "ok":
            failed += 1
            right += [False] if one.label else []
            confidence += [0.0] if one.label else []
            continue
        output = json.loads(said.output)
        (inside if one.label else outside).append(float(output["out_of_scope"]))
        if one.label:
            right.append(output["label"] == one.label)
            confidence.append(float(output["confidence"]))
    judged = Judged(np.array(right), np.array(confidence), np.array(inside), np.ones(len(right)))
    return {
        "head": head,
        "texts": len(asked),
        "accuracy": round(float(judged.right.mean()), 4),
        "calibration_error": judged.calibration_error(),
        "calibration_by_chance": judged.calibration_by_chance(),
        "out_of_scope_auroc": auroc(np.array(inside), np.array(outside)) if inside and outside else None,
        "failed": failed,
        "seconds": round(seconds, 1),
    }
