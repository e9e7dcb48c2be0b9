"""The loop that people write around a model, for `aios bench inference`: take n records, ask the model, write, commit.

Enters: a model (inference_direct.py), what it is asked by request, a topic of these requests, how many at once. Leaves:
seconds from the first record to the last commit. It holds what such loops hold: records are committed after their
answers are acknowledged. It has no deadlines, no priorities, no dead letters; one bad record ends it; a rebalance
repeats what was in hand. Its prompts are made before the clock starts: a line of formatting costs nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer

from aios.schemas.codec import Codec
from aios.schemas.models import InferenceRequested
from aios.schemas.registry import RegistrySource

if TYPE_CHECKING:
    from aios.infra.bench.inference_direct import Asks, Direct

WAIT_S = 1.0
WAIT_S_MAX = 120.0
FETCH = {"fetch.wait.max.ms": 10}


def run(direct: Direct, asked: Mapping[str, Asks], order: Mapping[str, Any]) -> dict[str, Any]:
    """order: broker, registry, topic, out, count, at_once."""
    source = RegistrySource(order["registry"])
    codec = Codec(source)
    own = {"group.id": f"bench.loop.{uuid4()}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": order["broker"], **own, **FETCH})
    producer = Producer({"bootstrap.servers": order["broker"], "acks": "all"})
    consumer.subscribe([order["topic"]])
    done, began, deadline = 0, 0.0, time.monotonic() + WAIT_S_MAX
    try:
        while done < order["count"]:
            messages = consumer.consume(order["at_once"], WAIT_S)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the loop has done {done} of {order['count']}")
            if not messages:
                continue
            began = began or time.monotonic()
            direct.offline(asked[codec.decode(each.value(), InferenceRequested).request_id] for each in messages)
            for message in messages:
                producer.produce(order["out"], json.dumps({"of": message.offset()}), message.key())
            producer.flush()
            consumer.commit(asynchronous=False)
            done += len(messages)
        return {"seconds": time.monotonic() - began, "took_ms": []}
    finally:
        consumer.close()
        source.close()
