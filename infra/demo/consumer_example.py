"""An analyst's consumer: every decision, complete in itself."""

import os

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "case.decided.v1"
# read_committed: decisions are written in transactions; other isolation shows those that were taken back, twice.
settings = {"group.id": "analyst", "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
consumer = Consumer({"bootstrap.servers": os.environ["KAFKA"], **settings})
consumer.subscribe([TOPIC])
read = AvroDeserializer(SchemaRegistryClient({"url": os.environ["REGISTRY"]}))
while (message := consumer.poll(20)) is not None:  # ends after 20 quiet seconds
    decided = read(message.value(), SerializationContext(TOPIC, MessageField.VALUE))
    print(decided["case_id"], decided["outcome"], decided["label"], decided["confidence"], decided["decided_by"])
consumer.close()
