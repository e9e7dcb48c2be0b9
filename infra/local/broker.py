"""Apache Kafka itself as a child process: a KRaft node on loopback, data in a folder; alone, or one of a cluster.

Enters: a folder and the jars (infra/setup.py put them under .tools/kafka). Leaves: a bootstrap address.
Guaranteed: ports are free ones, remembered in the folder, so that a restart has the same address; data
survives kill -9; the process dies with its parent. What a first start has left beside the jars (first_start.py) makes
this one cheaper and no different: a JVM refuses an archive that does not fit it and its jars, without a word.
Rejected: Docker (not there on a bare machine), librdkafka's mock cluster (shows aborted records as committed).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aios.infra.local import child, ports
from aios.streams.errors import ConfigError, Unavailable

VERSION = "4.2.0"
REPOSITORY = Path(__file__).parents[2]
JARS = REPOSITORY / ".tools" / "kafka" / VERSION
CLASSES = JARS / "classes.jsa"  # Kafka's, as this machine's JVM maps them
RECORDS = JARS / "bootstrap.checkpoint"  # the first ones of a cluster of this version; they name no cluster and no node
READY_S_MAX = 60.0
ASK_S_MAX = 1.0
POLL_S = 0.1
COPIES_MAX = 3  # of Kafka's own topics
MESSAGE_BYTES_MAX = (1 << 20) + (128 << 10)  # a dead letter and the batch around it
HEAP = ("-Xms384m", "-Xmx512m", "-Xmn192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Room for what is young: begun with 128 MiB, a broker at work stood still twice as long, at times for 0.2 s."""
ARCHIVED = (f"-XX:SharedArchiveFile={CLASSES}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
META = "meta.properties"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Several nodes that are one cluster: its id, each node's controller port, and each node's port behind a proxy.

    Kafka's clients follow the addresses that nodes advertise. So each has a second listener, which advertises a
    proxy's port: whoever asks there for the cluster stays behind the proxy.
    """

    cluster: str
    controllers: Mapping[int, int]
    proxies: Mapping[int, int]


def cluster_id() -> str:
    """A new one, as Kafka writes them."""
    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")


class Broker:
    """One node. Not running until start(). quorum: None for a node alone."""

    def __init__(self, folder: Path, *, number: int = 1, quorum: Quorum | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        self._number = number
        self._quorum = quorum
        self._process: subprocess.Popen[bytes] | None = None
        self.ports = node_ports(folder, proxied=quorum is not None)

    @property
    def address(self) -> str:
        return f"{ports.LOOPBACK}:{self.ports['client']}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self) -> list[str]:
        """What to run; the folder is formatted first if it is new."""
        properties = self._folder / "server.properties"
        properties.write_text(self._properties(), encoding="utf-8")
        (self._folder / "log4j2.properties").write_text(LOGGING, encoding="utf-8")
        if not (self._folder / "data" / META).is_file():
            self._format(properties)
        archived = ARCHIVED if CLASSES.is_file() else ()
        return [*self._java((*HEAP, *archived)), "kafka.Kafka", str(properties)]

    def start(self) -> None:
        """Run it and wait until it answers. Raises Unavailable with the end of its log."""
        command = self.command()
        self.launch(command)
        self.wait_ready()

    def launch(self, command: list[str] | None = None) -> None:
        """Run it and do not wait: a node of a cluster answers when most of them are there."""
        self._process = child.start(command or self.command(), self._folder / "kafka.log")

    def wait_ready(self) -> None:
        """Poll until the node answers. Raises Unavailable."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            if self.answers():
                return
            time.sleep(POLL_S)
        raise Unavailable(f"Kafka did not start; the end of {self._folder}/kafka.log:\n{self._tail()}")

    def answers(self) -> bool:
        """Whether it serves; waits up to ASK_S_MAX for that."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(admin.list_topics(timeout=ASK_S_MAX).brokers)
        except KafkaException:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force after child.STOP_S_MAX."""
        if self._process is not None:
            child.stop(self._process, how)
            self._process = None

    def _format(self, properties: Path) -> None:
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        cluster = self._quorum.cluster if self._quorum else cluster_id()
        if RECORDS.is_file():
            _write_format(self._folder / "data", cluster, self._number)
            return
        done = subprocess.run(
            [*self._java(()), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"Kafka's folder cannot be formatted: {(done.stderr or done.stdout).strip()[-500:]}")

    def _java(self, options: tuple[str, ...]) -> list[str]:
        if not JARS.is_dir():
            raise ConfigError(f"Kafka's jars are not in {JARS}: run `make setup`")
        java = shutil.which("java")
        if java is None:
            raise ConfigError("java is not on PATH: install Java 17 or newer (Debian: openjdk-17-jre-headless)")
        logging = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        return [java, *options, logging, "-cp", f"{JARS}/*"]

    def _properties(self) -> str:
        voters = self._quorum.controllers if self._quorum else {self._number: self.ports["controller"]}
        copies = min(COPIES_MAX, len(voters))
        listens, advertises = self._listeners()
        return "\n".join(
            [
                "process.roles=broker,controller",
                f"node.id={self._number}",
                f"controller.quorum.voters={','.join(f'{n}@{ports.LOOPBACK}:{port}' for n, port in voters.items())}",
                f"listeners={_listed(listens)}",
                f"advertised.listeners={_listed(advertises)}",
                "controller.listener.names=CONTROLLER",
                f"listener.security.protocol.map={','.join(f'{name}:PLAINTEXT' for name in listens)}",
                f"log.dirs={_escaped(self._folder / 'data')}",
                f"offsets.topic.replication.factor={copies}",
                "offsets.topic.num.partitions=8",
                f"transaction.state.log.replication.factor={copies}",
                f"transaction.state.log.min.isr={max(1, copies - 1)}",
                "transaction.state.log.num.partitions=8",
                "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
                f"share.coordinator.state.topic.replication.factor={copies}",
                f"share.coordinator.state.topic.min.isr={max(1, copies - 1)}",
                f"min.insync.replicas={max(1, copies - 1)}",
                "share.coordinator.state.topic.num.partitions=8",
                "group.initial.rebalance.delay.ms=0",
                "auto.create.topics.enable=false",
                f"message.max.bytes={MESSAGE_BYTES_MAX}",
                "log.cleaner.dedupe.buffer.size=33554432",
                "",
            ]
        )

    def _listeners(self) -> tuple[dict[str, int], dict[str, int]]:
        """Ports it listens on, and those it tells clients, by listener."""
        listens = {"PLAINTEXT": self.ports["client"], "CONTROLLER": self.ports["controller"]}
        advertises = {"PLAINTEXT": self.ports["client"]}
        if self._quorum is not None:
            listens["PROXIED"] = self.ports["proxied"]
            advertises["PROXIED"] = self._quorum.proxies[self._number]
        return listens, advertises

    def _tail(self) -> str:
        try:
            return (self._folder / "kafka.log").read_text(encoding="utf-8", errors="replace")[-1500:]
        except OSError:
            return "(no log)"


def _write_format(data: Path, cluster: str, node: int) -> None:
    """What StorageTool writes, without a JVM for it: tests/broker/test_local.py compares."""
    data.mkdir()
    shutil.copyfile(RECORDS, data / RECORDS.name)
    meta = {"version": 1, "cluster.id": cluster, "node.id": node, "directory.id": cluster_id()}
    part = data / f"{META}.part"
    part.write_text("".join(f"{name}={value}\n" for name, value in meta.items()), encoding="utf-8")
    part.rename(data / META)  # last: with it the folder is formatted


def _escaped(path: Path) -> str:
    """As Java reads a file of properties: in Latin-1, other letters and backslashes by escapes that JSON has too."""
    return json.dumps(str(path))[1:-1]


def node_ports(folder: Path, *, proxied: bool) -> dict[str, int]:
    """A node's ports, by use; chosen once and remembered in its folder."""
    return ports.remembered(folder / "ports.json", ("client", "controller", *(("proxied",) if proxied else ())))


def _listed(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{ports.LOOPBACK}:{port}" for name, port in listeners.items())


LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
"""
