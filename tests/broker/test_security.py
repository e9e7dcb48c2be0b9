"""A Kafka that wants TLS and a password: both clients and a whole stage on one description; and one that freezes."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import ipaddress
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from aios.infra.local.broker import Broker
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Unavailable
from aios.streams.kafka import Delivery, Intake, ensure_topics, read_one
from aios.streams.record import Outgoing
from aios.streams.security import faust_credentials
from aios.streams.topics import Family, Topic
from tests.broker import stages
from tests.fault import stage_worker
from tests.stopping import stopped

pytestmark = pytest.mark.broker
PASSWORD = "correct horse"
TOPIC = "secured"
TOLD_S_MAX = 30.0
# aiokafka's stop() does not wait until its sockets are closed; each test that uses it collects them before it ends,
# so that no other test is told of them
aiokafka_leaves_sockets = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


class SecuredBroker(Broker):
    """The local node behind SASL_SSL, with certificates of its own making."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._certificates = folder
        make_certificates(folder)
        (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
        (folder / "wrong").write_text("wrong", encoding="utf-8")

    def settings(self, **changed: str) -> KafkaSettings:
        properties = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "aios",
            "sasl.password": f"file:{self._certificates / 'password'}",
            "ssl.ca.location": str(self._certificates / "ca.pem"),
        }
        changed = {name.replace("_", "."): value for name, value in changed.items()}
        return KafkaSettings(bootstrap_servers=self.address, properties=properties | changed)

    def answers(self) -> bool:
        try:
            return bool(AdminClient(client(self.settings(), log_level=0)).list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _properties(self) -> str:
        login = (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required username="aios" password="{PASSWORD}"'
        )
        return super()._properties().replace("PLAINTEXT://", "SASL_SSL://") + "\n".join(
            [
                "listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name=SASL_SSL",
                "sasl.mechanism.inter.broker.protocol=PLAIN",
                "sasl.enabled.mechanisms=PLAIN",
                f'listener.name.sasl_ssl.plain.sasl.jaas.config={login} user_aios="{PASSWORD}";',
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={self._certificates / 'node.pem'}",
                "ssl.truststore.type=PEM",
                f"ssl.truststore.location={self._certificates / 'ca.pem'}",
                "",
            ]
        )


def make_certificates(folder: Path) -> None:
    """ca.pem, and node.pem for 127.0.0.1 signed by it; other.pem signs nothing."""
    ca, ca_key = certificate("aios test ca", None, None)
    node, node_key = certificate("node", ca, ca_key)
    other, _ = certificate("other ca", None, None)
    pem = serialization.Encoding.PEM
    key = node_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "other.pem").write_bytes(other.public_bytes(pem))
    (folder / "node.pem").write_bytes(key + node.public_bytes(pem) + ca.public_bytes(pem))


def certificate(
    name: str, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        builder = builder.add_extension(loopback, critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    node = SecuredBroker(Path(tmp_path_factory.mktemp("secured")))
    node.start()
    topic = Topic(name=TOPIC, contracts=(), key="k", family=Family.REFERENCE)
    asyncio.run(ensure_topics(node.settings(), [topic]))
    yield node
    node.stop()


async def put(kafka: KafkaSettings, value: bytes, *, deliver_s_max: float = 10.0) -> int:
    delivery = Delivery(kafka, client_id="test", deliver_s_max=deliver_s_max)
    try:
        return (await delivery.deliver(Outgoing(TOPIC, b"k", value))).offset
    finally:
        delivery.close()


@aiokafka_leaves_sockets
def test_both_clients_reach_it_by_the_same_settings(secured: SecuredBroker, unique: str) -> None:
    """confluent-kafka writes, Faust's transport reads and answers, an intake takes both."""

    async def run() -> None:
        kafka = secured.settings()
        first = await put(kafka, b"by confluent-kafka")
        security = credentials_to_aiokafka_auth(faust_credentials(kafka))
        consumer = AIOKafkaConsumer(
            TOPIC, bootstrap_servers=secured.address, auto_offset_reset="earliest", group_id=None, **security
        )
        producer = AIOKafkaProducer(bootstrap_servers=secured.address, **security)
        await consumer.start()
        await producer.start()
        try:
            await producer.send_and_wait(TOPIC, b"by aiokafka", key=b"k")
            async with asyncio.timeout(20):
                read = [await consumer.getone() for _ in range(first + 2)]
        finally:
            await consumer.stop()
            await producer.stop()
        assert [record.value for record in read[first:]] == [b"by confluent-kafka", b"by aiokafka"]
        intake = Intake(kafka, group=f"aios.g-{unique}", topics=[TOPIC], in_flight_max=10)
        await intake.start()
        taken = []
        while len(taken) < first + 2:
            taken += await asyncio.wait_for(intake.take(10, wait_ms_max=1_000), 20)
        await intake.close(0)
        assert [record.value for record in taken[first:]] == [record.value for record in read[first:]]

    asyncio.run(run())
    gc.collect()


def test_a_stateful_stage_lives_on_it(secured: SecuredBroker, unique: str, tmp_path: Path) -> None:
    """Faust's membership, the stage's transactions, state and dead letters: all of a real process, by the settings."""
    kafka = secured.settings()
    stage = stages.counting_stage(unique, inputs=2)
    stages.create(kafka, stage, partitions=1)
    stages.put(kafka, stage.reads[0].name, [("a", "1"), ("a", '{"do": "fail"}'), ("a", "2")])
    process = stage_worker.start(kafka, unique, tmp_path)
    try:
        deadline = time.monotonic() + TOLD_S_MAX
        while len(told := stages.committed(kafka, stage.writes[0].name)) < 2:
            assert process.poll() is None, (tmp_path / "0.log").read_text(errors="replace")
            assert time.monotonic() < deadline, (tmp_path / "0.log").read_text(errors="replace")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TOLD_S_MAX) == 0
    finally:
        process.kill()
    assert [json.loads(one.value()) for one in told] == [{"id": "1", "n": 1}, {"id": "2", "n": 2}]
    assert [one.value() for one in stages.committed(kafka, stage.dead_letters.name)] == [b'{"do": "fail"}']
    assert PASSWORD not in (tmp_path / "0.log").read_text(errors="replace")


@aiokafka_leaves_sockets
@pytest.mark.parametrize("changed", [{"sasl_password": "wrong"}, {"ssl_ca_location": "other.pem"}])
def test_without_the_password_or_the_certificate_nobody_gets_in(
    secured: SecuredBroker, changed: dict[str, str], tmp_path: Path
) -> None:
    """Neither client falls back to anything weaker."""
    folder = secured._certificates
    given = {
        name: f"file:{folder / value}" if "password" in name else str(folder / value) for name, value in changed.items()
    }
    kafka = secured.settings(**given)

    async def run() -> None:
        with pytest.raises(Unavailable):
            await put(kafka, b"never", deliver_s_max=1.5)
        producer = AIOKafkaProducer(
            bootstrap_servers=secured.address, **credentials_to_aiokafka_auth(faust_credentials(kafka))
        )
        with pytest.raises(KafkaError, match=r"bootstrap|uthentication"):
            await producer.start()
        await producer.stop()

    asyncio.run(run())
    gc.collect()


def test_a_kafka_that_freezes_is_unavailable_and_then_goes_on(secured: SecuredBroker, unique: str) -> None:
    """No delivery hangs, no intake fails; when it thaws, both go on by themselves, without loss."""

    async def run() -> None:
        kafka = secured.settings()
        before = await put(kafka, b"before")
        delivery = Delivery(kafka, client_id="test", deliver_s_max=1.5)
        intake = Intake(kafka, group=f"aios.g-{unique}", topics=[TOPIC], in_flight_max=1_000)
        await intake.start()
        seen = await intake.take(1_000, wait_ms_max=20_000)
        assert secured.pid is not None
        with stopped(secured.pid):
            async with asyncio.timeout(10):
                done = await asyncio.gather(
                    *(delivery.deliver(Outgoing(TOPIC, b"k", b"while frozen")) for _ in range(20)),
                    return_exceptions=True,
                )
            assert {type(error) for error in done} == {Unavailable}
        place = None
        async with asyncio.timeout(30):
            while place is None:
                try:
                    place = await delivery.deliver(Outgoing(TOPIC, b"k", b"after"))
                except Unavailable:
                    continue
            while not any(record.value == b"after" for record in seen):
                seen += await intake.take(1_000, wait_ms_max=500)
        offsets = [record.offset for record in seen if record.offset >= before]
        assert offsets == sorted(set(offsets))
        assert read_one(kafka, TOPIC, 0, place.offset) in seen
        delivery.close()
        await intake.close(0)

    asyncio.run(run())
