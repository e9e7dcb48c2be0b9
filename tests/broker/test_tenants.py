"""Tenants on a real broker: keys are made once, stored hashed, followed by every table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from aios.schemas.codec import Codec
from aios.schemas.models import TenantRegistered
from aios.streams import reference, tenants
from aios.streams.admin import ensure_topics
from aios.streams.config import KafkaSettings
from aios.streams.credentials import digest
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.tenants import TenantTable
from aios.streams.topics import AUDIT_RECORDED, TENANT_REGISTERED

pytestmark = pytest.mark.broker
WAIT_S_MAX = 10.0


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, (TENANT_REGISTERED, AUDIT_RECORDED)))


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def test_a_key_opens_its_tenant_and_only_its_hash_is_stored(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """Two keys are valid at once, for rotation; what is stored is neither of them."""
    first = tenants.register(kafka, codec, f"t-{unique}")
    second = tenants.register(kafka, codec, f"t-{unique}")
    table = TenantTable(kafka, codec)
    table.start()
    try:
        assert first != second
        for key in (first, second):
            found = table.by_key(key)
            assert found is not None
            assert found.tenant == f"t-{unique}"
            assert key not in repr(found)
        assert table.by_key(first + "x") is None
        assert table.by_key("") is None
        assert table.get("nobody-" + unique) is None
    finally:
        table.close()


def test_a_table_follows_what_others_change(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """A table that is started sees a new tenant, a retired key, and a deactivated tenant, without a restart."""
    table = TenantTable(kafka, codec)
    table.start()
    try:
        first = tenants.register(kafka, codec, f"t-{unique}")
        assert until(lambda: table.by_key(first) is not None)
        second = tenants.register(kafka, codec, f"t-{unique}", retire_others=True)
        assert until(lambda: table.by_key(first) is None)
        assert until(lambda: table.by_key(second) is not None)
        assert tenants.deactivate(kafka, codec, f"t-{unique}")
        assert until(lambda: table.by_key(second) is None)
        known = table.get(f"t-{unique}")
        assert known is not None
        assert not known.active
    finally:
        table.close()


def test_an_old_key_stays_invalid_when_a_tenant_comes_back(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """Deactivate, register again: only the new key opens."""
    old = tenants.register(kafka, codec, f"t-{unique}")
    tenants.deactivate(kafka, codec, f"t-{unique}")
    new = tenants.register(kafka, codec, f"t-{unique}")
    assert tenants.read(kafka, codec)[f"t-{unique}"].key_hashes == (digest(new),)
    assert old != new


def test_a_key_that_is_made_while_the_tenant_is_deactivated_brings_no_old_one_back(
    kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deactivated between the look and the record of a new key: that one opens, what was valid before does not."""
    name, write = f"t-{unique}", tenants._write
    tenants.register(kafka, codec, name)

    def late(_kafka: KafkaSettings, _codec: Codec, tenant: TenantRegistered) -> None:
        monkeypatch.setattr(tenants, "_write", write)
        assert tenants.deactivate(kafka, codec, name)
        write(kafka, codec, tenant)

    monkeypatch.setattr(tenants, "_write", late)
    new = tenants.register(kafka, codec, name)
    found = tenants.read(kafka, codec)[name]
    assert (found.active, found.key_hashes) == (True, (digest(new),))


def test_the_number_of_valid_keys_is_bounded(
    kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key more than KEYS_MAX ends the oldest."""
    monkeypatch.setattr(tenants, "KEYS_MAX", 2)
    keys = [tenants.register(kafka, codec, f"t-{unique}") for _ in range(tenants.KEYS_MAX + 1)]
    assert tenants.read(kafka, codec)[f"t-{unique}"].key_hashes == tuple(map(digest, keys[1:]))


def test_the_home_keeps_one_key_and_makes_another_when_it_is_not_valid(
    kafka: KafkaSettings, codec: Codec, unique: str, tmp_path: Path
) -> None:
    """Asked twice it is the same key, readable by its owner alone; after a deactivation it is a new one."""
    key = tenants.own_key(tmp_path, kafka, codec, f"t-{unique}")
    assert tenants.own_key(tmp_path, kafka, codec, f"t-{unique}") == key
    assert tenants.key_file(tmp_path, f"t-{unique}").stat().st_mode & 0o777 == 0o600
    tenants.deactivate(kafka, codec, f"t-{unique}")
    assert tenants.own_key(tmp_path, kafka, codec, f"t-{unique}") != key


def test_what_nobody_can_read_is_skipped(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """Garbage, and a record under another's name, change nothing."""
    key = tenants.register(kafka, codec, f"t-{unique}")
    mine = codec.encode(TENANT_REGISTERED, tenants.read(kafka, codec)[f"t-{unique}"])
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(TENANT_REGISTERED.name, key=f"t-{unique}".encode(), value=b"\xff garbage")
    producer.produce(TENANT_REGISTERED.name, key=f"other-{unique}".encode(), value=mine)
    assert producer.flush(10) == 0
    found = tenants.read(kafka, codec)
    assert found[f"t-{unique}"].key_hashes == (digest(key),)
    assert f"other-{unique}" not in found
    producer.produce(TENANT_REGISTERED.name, key=f"t-{unique}".encode(), value=None)
    assert producer.flush(10) == 0
    assert f"t-{unique}" not in tenants.read(kafka, codec)


@pytest.mark.parametrize("name", ["", "Acme", "a" * 64, "a b", "ä", "acme\n"])
def test_a_name_is_refused_with_what_is_allowed(kafka: KafkaSettings, codec: Codec, name: str) -> None:
    """Nothing is written under a wrong name."""
    with pytest.raises(ConfigError, match="1 to 63 of a-z"):
        tenants.register(kafka, codec, name)


def test_a_broker_that_is_away_is_unavailable(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is handed out when it cannot be stored."""
    monkeypatch.setattr(reference, "START_S_MAX", 0.5)
    with pytest.raises(Unavailable):
        tenants.register(KafkaSettings(bootstrap_servers="127.0.0.1:1"), codec, "acme")
