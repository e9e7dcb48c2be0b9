"""The topics as an AsyncAPI 3.0 document: who writes and reads which contract where, for whoever makes a client of it.

Enters: stages, and inputs of deployed workflows. Leaves: the document, as plain values. Pure. Guaranteed: a channel a
topic, its contracts as Avro, and an operation for each stage that sends to or receives from it; producers' own topics
(the inputs) stand first. Topics that carry bytes of others (dead letters, what returns) have no contract, and say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from aios.schemas import contracts
from aios.schemas.models import EVENTS
from aios.streams import topology
from aios.streams.inputs import Input
from aios.streams.topics import Topic, distinct
from aios.streams.topology import Stage

AVRO = "application/vnd.apache.avro;version=1.9.0"


def document(stages: Iterable[Stage], inputs: Iterable[Input]) -> dict[str, Any]:
    """inputs: whose contract is none of this release."""
    there = tuple(stages)
    deployed = {one.contract: one for one in inputs}
    channels = distinct(
        chain(topology.all_topics().values(), (topic for stage in there for topic in (*stage.writes, *stage.inputs)))
    )
    named = sorted({contract for topic in channels.values() for contract in topic.contracts})
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "AIOS on Kafka", "version": "1", "description": "Values are Avro in Confluent's framing."},
        "defaultContentType": "application/vnd.confluent.avro",
        "channels": {name: _channel(topic) for name, topic in channels.items()},
        "operations": dict(_operations(there)),
        "components": {"messages": {name: _message(name, deployed) for name in named}},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Keyed by: {topic.key}." + ("" if topic.contracts else " Bytes of others, as they came."),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.contracts},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": _configuration(topic)}},
    }


def _configuration(topic: Topic) -> dict[str, Any]:
    said = topic.config()
    kept = {"retention.ms": int(said["retention.ms"])} if "retention.ms" in said else {}
    return {"cleanup.policy": [said["cleanup.policy"]], "max.message.bytes": topic.bytes_max, **kept}


def _operations(stages: tuple[Stage, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    for stage in stages:
        for action, topics in (("send", stage.writes), ("receive", stage.inputs)):
            for topic in topics:
                about = {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}, "summary": stage.does}
                if action == "receive":
                    about["bindings"] = {"kafka": {"groupId": {"type": "string", "const": stage.group}}}
                yield f"{stage.name}.{action}.{topic.name}", about


def _message(contract: str, deployed: dict[str, Input]) -> dict[str, Any]:
    schema = contracts.working(contract) if contract in EVENTS else deployed[contract].schema
    return {"name": contract, "payload": {"schemaFormat": AVRO, "schema": json.loads(schema.text)}}
