"""A Kafka producer of your own: `text` is the only field to fill."""

import os

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "document.received.v1"
registry = SchemaRegistryClient({"url": os.environ["REGISTRY"]})
schema = registry.get_latest_version(f"{TOPIC}-value").schema
serialize = AvroSerializer(registry, schema.schema_str)
producer = Producer({"bootstrap.servers": os.environ["KAFKA"]})

letter = {"text": "My new card has not arrived yet, where is it?"}
value = serialize(letter, SerializationContext(TOPIC, MessageField.VALUE))
# The key is the idempotency key: publishing it twice is one case. `aios case find --key letter-1` finds it.
producer.produce(TOPIC, key="letter-1", value=value, on_delivery=lambda error, place: print(error or place.offset()))
producer.flush()
