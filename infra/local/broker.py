"""Apache Kafka itself as a child process: one KRaft node on loopback, data in a folder.

Enters: a folder and the jars (infra/setup.py put them under .tools/kafka). Leaves: a bootstrap address.
Guaranteed: ports are free ones, remembered in the folder, so that a restart has the same address; data
survives kill -9; the process dies with its parent.
Rejected: Docker (not there on a bare machine), librdkafka's mock cluster (shows aborted records as committed).
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aios.infra.local import child, ports
from aios.streams.errors import ConfigError, Unavailable

VERSION = "4.2.0"
REPOSITORY = Path(__file__).parents[2]
JARS = REPOSITORY / ".tools" / "kafka" / VERSION
READY_S_MAX = 60.0
ASK_S_MAX = 1.0
POLL_S = 0.1
MESSAGE_BYTES_MAX = (1 << 20) + (128 << 10)  # a dead letter and the batch around it
HEAP = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Broker:
    """One node. Not running until start()."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self.ports = ports.remembered(folder / "ports.json", ("client", "controller"))

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
        if not (self._folder / "data" / "meta.properties").is_file():
            self._format(properties)
        return [*self._java(HEAP), "kafka.Kafka", str(properties)]

    def start(self) -> None:
        """Run it and wait until it answers. Raises Unavailable with the end of its log."""
        command = self.command()
        self._process = child.start(command, self._folder / "kafka.log")
        self.wait_ready()

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
        cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
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
        client, controller = self.ports["client"], self.ports["controller"]
        return "\n".join(
            [
                "process.roles=broker,controller",
                "node.id=1",
                f"controller.quorum.voters=1@{ports.LOOPBACK}:{controller}",
                f"listeners=PLAINTEXT://{ports.LOOPBACK}:{client},CONTROLLER://{ports.LOOPBACK}:{controller}",
                f"advertised.listeners=PLAINTEXT://{ports.LOOPBACK}:{client}",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                f"log.dirs={self._folder / 'data'}",
                "offsets.topic.replication.factor=1",
                "offsets.topic.num.partitions=8",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
                "transaction.state.log.num.partitions=8",
                "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
                "share.coordinator.state.topic.replication.factor=1",
                "share.coordinator.state.topic.min.isr=1",
                "share.coordinator.state.topic.num.partitions=8",
                "group.initial.rebalance.delay.ms=0",
                "auto.create.topics.enable=false",
                f"message.max.bytes={MESSAGE_BYTES_MAX}",
                "log.cleaner.dedupe.buffer.size=33554432",
                "",
            ]
        )

    def _tail(self) -> str:
        try:
            return (self._folder / "kafka.log").read_text(encoding="utf-8", errors="replace")[-1500:]
        except OSError:
            return "(no log)"


LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
"""
