"""A drill for operators: a producer whose new release calls the field `body` that the contract calls `text`.

Enters: KAFKA and REGISTRY, as `eval "$(aios env)"` sets them. Leaves: 60 customer messages that nobody can process as
they are. dlq/README.md goes from there to all of them decided.
"""

import csv
import json
import os
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "document.received.v1"
LETTERS = 60
RELEASE = {
    "type": "record",
    "name": "Letter",
    "namespace": "acme.intake.v2",
    "fields": [{"name": "body", "type": "string"}, {"name": "channel", "type": "string", "default": "message"}],
}
registry = SchemaRegistryClient({"url": os.environ["REGISTRY"]})
# A subject of its own: under the topic's, the registry would have refused this schema.
settings = {"subject.name.strategy": record_subject_name_strategy}
serialize = AvroSerializer(registry, Schema(json.dumps(RELEASE), "AVRO"), conf=settings)
producer = Producer({"bootstrap.servers": os.environ["KAFKA"]})
run = f"drill-{os.getpid()}"
with (Path(__file__).parent / "data" / "messages.csv").open(encoding="utf-8", newline="") as file:
    texts = [row["text"] for row in csv.DictReader(file)]
for number in range(LETTERS):
    letter = {"body": texts[number % len(texts)], "channel": "message"}
    value = serialize(letter, SerializationContext(TOPIC, MessageField.VALUE))
    producer.produce(TOPIC, key=f"{run}-{number:03}", value=value, headers={"aios-tenant": "demo"})
producer.flush()
print(f"{LETTERS} letters are on {TOPIC}, keys {run}-000 to {run}-{LETTERS - 1:03}")
