"""Tenants: who may have cases here, and which API keys are theirs.

Enters: a name and its acts (register, deactivate). Leaves: tenant.registered.v1, one compacted topic keyed by name,
and a table of it that follows along. Guaranteed: a key is seen once, by whoever asked for it; what is stored is its
SHA-256, so that neither the topic nor a copy of it lets anybody in. Several keys of a tenant are valid at once, so
that one can be replaced without a gap. A record that nobody can read is skipped and said so, never believed.
Rejected: slow password hashes (a key is 256 random bits, nothing to guess; and every request pays for the check),
comparing in constant time (a key is looked up by its digest, whose likeness to a stored one tells nothing).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import ContractError
from aios.schemas.models import TenantRegistered
from aios.streams import tracing
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.topics import TENANT_REGISTERED

NAME = re.compile(r"[a-z0-9-]{1,63}")
KEY_PREFIX = "aios_"  # so that secret scanners and people recognise one
KEY_BYTES = 32
KEYS_MAX = 5  # valid at once; the oldest gives way
WRITES_MAX = 3  # of one change, when others change the same tenant at the same moment
START_S_MAX = 30.0
DELIVER_S_MAX = 10.0
POLL_S = 0.2
AGAIN_S = 1.0  # before a registry that was away is asked again

log = logging.getLogger(__name__)


def digest(api_key: str) -> str:
    """What is stored of a key: SHA-256, hex."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def register(kafka: KafkaSettings, codec: Codec, name: str, *, retire_others: bool = False) -> str:
    """Make a tenant, or one more key for it, and return that key: the only time it can be seen.

    retire_others: its other keys stop being valid; those of an inactive tenant always do.
    Raises ConfigError for a name that is none, Unavailable when Kafka or the registry does not answer.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"tenant {name[:64]!r}: a name is 1 to 63 of a-z, 0-9 and '-'")
    api_key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    hashed = digest(api_key)
    for _ in range(WRITES_MAX):
        before = read(kafka, codec).get(name)
        if before is not None and hashed in before.key_hashes:
            return api_key
        kept = before.key_hashes if before is not None and before.active and not retire_others else ()
        _write(
            kafka,
            codec,
            TenantRegistered(
                tenant=name,
                key_hashes=(*kept, hashed)[-KEYS_MAX:],
                active=True,
                registered_at=before.registered_at if before is not None else time.time_ns() // 1_000_000,
            ),
        )
    after = read(kafka, codec).get(name)
    if after is None or hashed not in after.key_hashes:
        raise Unavailable(f"tenant {name} is changed by others at this moment; try again")
    return api_key


def deactivate(kafka: KafkaSettings, codec: Codec, name: str) -> bool:
    """Refuse a tenant everywhere from now on, and forget its keys. False if there is none of that name."""
    before = read(kafka, codec).get(name)
    if before is None:
        return False
    _write(kafka, codec, replace(before, active=False, key_hashes=()))
    return True


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, TenantRegistered]:
    """All tenants as they are now. Raises Unavailable."""
    table = TenantTable(kafka, codec)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def key_file(home: Path, name: str) -> Path:
    """Where the key of a home's own tenant is kept, for the commands of the person whose home it is."""
    return home / "run" / f"{name}.key"


def kept_key(home: Path, name: str) -> str:
    """The key kept there, empty if none."""
    file = key_file(home, name)
    return file.read_text(encoding="ascii").strip() if file.is_file() else ""


def keep_key(home: Path, name: str, api_key: str) -> None:
    """Keep it for its owner alone (mode 600), instead of the one before."""
    file = key_file(home, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(api_key + "\n")


def own_key(home: Path, kafka: KafkaSettings, codec: Codec, name: str) -> str:
    """The home's key of this tenant, as kept; made and kept when there is none that is valid."""
    kept = kept_key(home, name)
    found = read(kafka, codec).get(name)
    if kept and found is not None and found.active and digest(kept) in found.key_hashes:
        return kept
    api_key = register(kafka, codec, name)
    keep_key(home, name, api_key)
    return api_key


class TenantTable:
    """The topic as a table. Not filled until start() or load(); one reader thread, any number of askers."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._kafka = kafka
        self._codec = codec
        self._by_name: dict[str, TenantRegistered] = {}
        self._by_hash: dict[str, str] = {}
        self._consumer: Consumer | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Read the topic to its end, then follow it in a thread. Raises Unavailable."""
        self.load()
        self._thread = threading.Thread(target=self._follow, args=(self._consumer,), name="tenants", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Read the topic to its end, once. Raises Unavailable, also when the topic does not exist."""
        self._consumer = consumer = self._open()
        try:
            for message in self._until_end(consumer, self._assign(consumer)):
                self._apply(message)
        except KafkaException as error:
            raise Unavailable(f"{TENANT_REGISTERED.name} cannot be read: {error.args[0]}") from error

    def get(self, name: str) -> TenantRegistered | None:
        """The tenant as it is now, active or not."""
        return self._by_name.get(name)

    def by_key(self, api_key: str) -> TenantRegistered | None:
        """The active tenant whose key this is."""
        found = self._by_name.get(self._by_hash.get(digest(api_key), ""))
        return found if found is not None and found.active else None

    def all(self) -> dict[str, TenantRegistered]:
        """Every tenant by name, as they are at this moment."""
        return self._by_name.copy()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _open(self) -> Consumer:
        return Consumer(
            client(
                self._kafka,
                **{
                    "group.id": "aios.tenants",  # librdkafka wants one; nothing is subscribed or committed
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed",
                    "auto.offset.reset": "earliest",
                    "log_level": 0,
                },
            )
        )

    def _assign(self, consumer: Consumer) -> dict[int, int]:
        """Assign every partition from its beginning; returns, by partition with records, the end to read to."""
        name = TENANT_REGISTERED.name
        found = consumer.list_topics(name, timeout=START_S_MAX).topics[name]
        if found.error is not None:
            raise Unavailable(f"{name} does not exist in this Kafka; `aios up` creates every topic")
        ends: dict[int, int] = {}
        for partition in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=START_S_MAX)
            if low < high:
                ends[partition] = high
        consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in found.partitions])
        return ends

    def _until_end(self, consumer: Consumer, ends: dict[int, int]) -> Iterator[Message]:
        """Up to the ends as they were, or where librdkafka says that a partition ends (the last was compacted)."""
        deadline = time.monotonic() + START_S_MAX
        while ends:
            if time.monotonic() > deadline:
                raise Unavailable(f"{TENANT_REGISTERED.name} could not be read within {START_S_MAX:.0f} s")
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            if message.error() is None:
                yield message
                if message.offset() + 1 >= ends.get(message.partition(), 0):
                    ends.pop(message.partition(), None)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ends.pop(message.partition(), None)

    def _follow(self, consumer: Consumer) -> None:
        waiting: Message | None = None
        while not self._stop.is_set():
            message = waiting or consumer.poll(POLL_S)
            waiting = None
            if message is None or message.error() is not None:  # librdkafka reconnects by itself
                continue
            try:
                self._apply(message)
            except Unavailable as error:
                log.warning("tenants are not up to date: %s", error)
                waiting = message
                self._stop.wait(AGAIN_S)

    def _apply(self, message: Message) -> None:
        name = (message.key() or b"").decode("utf-8", "replace")
        if message.value() is None:
            self._put(name, None)
            return
        try:
            tenant = self._codec.decode(message.value(), TenantRegistered)
        except ContractError as error:
            log.warning("skipped a tenant at offset %d: %s", message.offset(), error)
            return
        if tenant.tenant != name:
            log.warning("skipped a tenant at offset %d: its key is not its name", message.offset())
            return
        self._put(name, tenant)

    def _put(self, name: str, tenant: TenantRegistered | None) -> None:
        """Askers see the tenant before or after, and never a key without its tenant."""
        before = self._by_name.get(name)
        hashes = tenant.key_hashes if tenant is not None and tenant.active else ()
        for hashed in before.key_hashes if before is not None else ():
            if hashed not in hashes:
                self._by_hash.pop(hashed, None)
        if tenant is None:
            self._by_name.pop(name, None)
        else:
            self._by_name[name] = tenant
        self._by_hash.update(dict.fromkeys(hashes, name))


def _write(kafka: KafkaSettings, codec: Codec, tenant: TenantRegistered) -> None:
    now_ms = time.time_ns() // 1_000_000
    event_id = str(ids.derive("tenant", tenant.tenant, str(now_ms), *tenant.key_hashes))
    failed: list[KafkaError] = []
    producer = Producer(
        client(
            kafka,
            **{
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": int(DELIVER_S_MAX * 1000),
                "log_level": 0,
            },
        )
    )
    producer.produce(
        TENANT_REGISTERED.name,
        key=tenant.tenant.encode(),
        value=codec.encode(TENANT_REGISTERED, tenant),
        headers=list(
            tracing.envelope(
                tenant,
                event_id=event_id,
                source="/aios/tenants",
                subject=tenant.tenant,
                tenant=tenant.tenant,
                traceparent="",
                time_ms=now_ms,
            )
        ),
        on_delivery=lambda error, _: failed.append(error) if error is not None else None,
    )
    if producer.flush(DELIVER_S_MAX) or failed:
        raise Unavailable(f"Kafka did not take the tenant: {failed[0].str() if failed else 'no answer'}")
