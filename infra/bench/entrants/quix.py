"""Quix Streams, exactly once, a stateful apply with its changelog: a program of `aios bench peers`.

Runs in an environment of its own (quix.lock), so it imports nothing of ours but wire.py, as a file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from quixstreams import Application

sys.path.insert(0, str(Path(__file__).parent))
from wire import decode, encode

application = Application(
    broker_address=os.environ["BROKER"],
    consumer_group=os.environ["GROUP"],
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    state_dir=os.environ["FOLDER"],
    commit_interval=1.0,  # as often as ours at most; longer transactions are faster and later
    producer_extra_config={"acks": "all", "linger.ms": 5, "batch.size": 1_000_000},
    loglevel="WARNING",
)
source = application.topic(os.environ["IN"], key_deserializer="bytes", value_deserializer="bytes")
target = application.topic(os.environ["OUT"], key_serializer="bytes", value_serializer="bytes")


def work(value: bytes, state: Any) -> bytes:
    record = decode(value)
    count, total = state.get("mean", (0, 0.0))
    count, total = count + 1, total + record["score"]
    state.set("mean", (count, total))
    record["score"] = total / count
    return encode(record)


application.dataframe(source).apply(work, stateful=True).to_topic(target)
application.run()
