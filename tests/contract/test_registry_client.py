"""Confluent's own client and serializers, with default settings, against the local registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Metadata,
    MetadataProperties,
    MetadataTags,
    Rule,
    RuleKind,
    RuleMode,
    RuleParams,
    RuleSet,
    Schema,
    SchemaRegistryClient,
    SchemaRegistryError,
    ServerConfig,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from aios.schemas import contracts
from aios.schemas.codec import Codec
from aios.schemas.models import DocumentReceived, TimerFired
from aios.streams.topics import DOCUMENT_RECEIVED, TIMER_FIRED


@pytest.fixture
def client(registry_url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url}) as one:
        yield one


def _record(*fields: tuple[str, Any, Any], name: str = "R", **more: Any) -> str:
    listed = [{"name": f, "type": t} | ({} if d is ... else {"default": d}) for f, t, d in fields]
    return json.dumps({"type": "record", "name": name, "fields": listed, **more})


ONE = _record(("a", "int", ...))
TWO = _record(("a", "int", ...), ("b", "string", ""))
OTHER = _record(("a", "string", ...))


def _context(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"subject.name.strategy.type": "TOPIC"},
        {"auto.register.schemas": False},
        {"auto.register.schemas": False, "use.latest.version": True},
    ],
    ids=["defaults", "strategy named", "registered before", "the latest version"],
)
def test_serializer_and_deserializer_meet(client: SchemaRegistryClient, unique: str, settings: dict[str, Any]) -> None:
    """What one writes, the other reads; whoever registered the schema."""
    if settings:
        client.register_schema(f"{unique}-value", Schema(ONE, "AVRO"))
    value = AvroSerializer(client, ONE, conf=settings)({"a": 7}, _context(unique))
    assert AvroDeserializer(client)(value, _context(unique)) == {"a": 7}
    assert client.get_versions(f"{unique}-value") == [1]


def test_a_producer_with_default_settings_writes_what_we_read(registry_url: str, codec: Codec) -> None:
    """AvroSerializer with our contract's file finds the subject and id that we registered, and `text` is enough."""
    with SchemaRegistryClient({"url": registry_url}) as client:
        serialize = AvroSerializer(client, contracts.working("document.received.v1").text)
        value = serialize({"text": "hello"}, _context(DOCUMENT_RECEIVED.name))
        assert codec.decode(value, DocumentReceived) == DocumentReceived(text="hello")
        timer = TimerFired(timer_id="t", case_id="c", due_at=1, fired_at=2)
        read = AvroDeserializer(client)(codec.encode(TIMER_FIRED, timer), _context(TIMER_FIRED.name))
        assert (read["timer_id"], read["fired_at"].timestamp()) == ("t", 0.002)


def test_versions_grow_and_are_found(client: SchemaRegistryClient, unique: str) -> None:
    """Registering, looking up, listing, in every way the client has."""
    first = client.register_schema(unique, Schema(ONE, "AVRO"))
    second = client.register_schema(unique, Schema(TWO, "AVRO"))
    assert second != first
    assert client.get_versions(unique) == [1, 2]
    assert client.get_latest_version(unique).schema_id == second
    assert client.get_version(unique, 1).schema.schema_str == json.dumps(json.loads(ONE), separators=(",", ":"))
    assert client.lookup_schema(unique, Schema(TWO, "AVRO")).version == 2
    assert json.loads(client.get_schema(first).schema_str) == json.loads(ONE)
    assert client.get_subjects_by_schema_id(first, unique) == [unique]
    assert [(v.subject, v.version) for v in client.get_schema_versions(second, unique)] == [(unique, 2)]
    assert unique in client.get_subjects(subject_prefix=unique)
    assert client.get_referenced_by(unique, 1) == []
    assert client.get_schema_types() == ["AVRO"]
    assert client.get_contexts() == ["."]


def test_a_schema_has_one_id_however_it_is_written(client: SchemaRegistryClient, unique: str) -> None:
    """Spaces, the order of keys and the way a namespace is given make no other schema; a doc does."""
    full = _record(("a", "int", ...), name=f"n.R{unique}")
    short = _record(("a", "int", ...), name=f"R{unique}", namespace="n")
    turned = json.dumps(dict(reversed(json.loads(short).items())), indent=3)
    documented = _record(("a", "int", ...), name=f"n.R{unique}", doc="Another.")
    ids = [
        client.register_schema(subject, Schema(text, "AVRO"))
        for text, subject in ((full, unique), (short, unique), (turned, unique), (full, f"{unique}-2"))
    ]
    assert len(set(ids)) == 1
    assert client.get_versions(unique) == [1]
    assert client.register_schema(unique, Schema(documented, "AVRO")) not in ids
    assert client.get_subjects_by_schema_id(ids[0]) == [unique, f"{unique}-2"]


def test_compatibility_is_told_and_enforced(client: SchemaRegistryClient, unique: str) -> None:
    """FULL_TRANSITIVE unless the subject says otherwise."""
    assert client.get_compatibility() == "FULL_TRANSITIVE"
    client.register_schema(unique, Schema(ONE, "AVRO"))
    assert client.test_compatibility(unique, Schema(TWO, "AVRO"))
    assert not client.test_compatibility(unique, Schema(OTHER, "AVRO"), version=1)
    assert not client.test_compatibility_all_versions(unique, Schema(OTHER, "AVRO"), verbose=True)
    assert client.test_compatibility_all_versions(f"{unique}-new", Schema(OTHER, "AVRO"))
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(unique, Schema(OTHER, "AVRO"))
    assert (caught.value.http_status_code, caught.value.error_code) == (409, 409)
    assert "cannot read version 1" in caught.value.error_message
    assert client.set_compatibility(unique, "none") == {"compatibility": "NONE"}
    assert client.get_compatibility(unique) == "NONE"
    assert client.register_schema(unique, Schema(OTHER, "AVRO"))
    assert client.delete_config(unique).compatibility_level.value == "NONE"
    assert client.set_config(unique, ServerConfig(compatibility=ConfigCompatibilityLevel.BACKWARD)) == {
        "compatibility": "BACKWARD"
    }


def test_metadata_and_rules_come_back(client: SchemaRegistryClient, unique: str) -> None:
    """The client executes rules that the registry only keeps; another rule set is another schema."""
    rule = Rule(
        name="bound",
        doc="",
        kind=RuleKind.CONDITION,
        mode=RuleMode.WRITE,
        type="CEL",
        tags=["PII"],
        params=RuleParams(params={"a": "b"}),
        expr="message.a < 100",
        on_success=None,
        on_failure="ERROR",
        disabled=False,
    )
    metadata = Metadata(
        tags=MetadataTags(tags={"**.a": ["PII"]}),
        properties=MetadataProperties(properties={"owner": "us"}),
        sensitive=["owner"],
    )
    ruled = Schema(ONE, "AVRO", [], metadata, RuleSet(migration_rules=None, domain_rules=[rule]))
    with_rules, without = client.register_schema(unique, ruled), client.register_schema(unique, Schema(ONE, "AVRO"))
    assert with_rules != without
    client.clear_caches()
    kept = client.get_schema(with_rules)
    assert kept.rule_set is not None
    assert kept.metadata is not None
    assert kept.rule_set.to_dict()["domainRules"] == [rule.to_dict()]
    assert kept.metadata.to_dict() == metadata.to_dict()
    assert client.get_schema(without).rule_set is None


def test_subjects_may_have_any_printable_name(client: SchemaRegistryClient, unique: str) -> None:
    """Slashes, spaces, percent signs and other alphabets are encoded on the way."""
    for name in (f"{unique}/a b", f"{unique}%2F", f"{unique}-Größe-値", f"{unique}?x=1#y", f"{unique}+&"):
        schema_id = client.register_schema(name, Schema(ONE, "AVRO"))
        assert client.get_versions(name) == [1]
        assert name in client.get_subjects_by_schema_id(schema_id)
        assert client.delete_subject(name) == [1]


def test_deletes_are_soft_first(client: SchemaRegistryClient, unique: str) -> None:
    """A soft-deleted schema is still read by its id; a permanent delete takes it away; its id is not given again."""
    first = client.register_schema(unique, Schema(ONE, "AVRO"))
    second = client.register_schema(unique, Schema(TWO, "AVRO"))
    assert client.delete_version(unique, 1) == 1
    assert client.get_versions(unique) == [2]
    assert client.get_versions(unique, deleted=True) == [1, 2]
    assert client.get_versions(unique, deleted_only=True) == [1]
    assert client.delete_subject(unique) == [2]
    assert unique not in client.get_subjects()
    assert unique in client.get_subjects(deleted=True)
    assert unique in client.get_subjects(deleted_only=True)
    client.clear_caches()
    assert client.get_schema(second)
    assert client.get_version(unique, 2, deleted=True).schema_id == second
    assert client.delete_subject(unique, permanent=True) == [1, 2]
    own = Schema(_record(("a", "int", ...), name=f"R{unique}"), "AVRO")
    gone = client.register_schema(unique, own)
    client.delete_subject(unique)
    client.delete_subject(unique, permanent=True)
    client.clear_caches()
    with pytest.raises(SchemaRegistryError) as caught:
        client.get_schema(gone)
    assert caught.value.error_code == 40403
    assert client.register_schema(unique, own) > max(first, second, gone)


def test_a_read_only_subject_takes_nothing(client: SchemaRegistryClient, unique: str) -> None:
    """READONLY refuses what would change it; its schemas are still read, and its mode can be lifted."""
    schema_id = client.register_schema(unique, Schema(ONE, "AVRO"))
    assert client.get_global_mode() == "READWRITE"
    assert client.update_mode(unique, "READONLY") == "READONLY"
    assert client.get_mode(unique) == "READONLY"
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(unique, Schema(TWO, "AVRO"))
    assert (caught.value.http_status_code, caught.value.error_code) == (422, 42205)
    client.clear_caches()
    assert client.register_schema(unique, Schema(ONE, "AVRO")) == schema_id
    assert client.delete_mode(unique) == "READONLY"
    assert client.register_schema(unique, Schema(TWO, "AVRO"))
