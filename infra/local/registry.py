"""The schema registry of one machine: Confluent's REST protocol over one compacted topic of the same Kafka.

Enters: the address of Kafka (settings) and a port. Leaves: a registry for any client that speaks the protocol.
A process of its own: `python -m aios.infra.local.registry --port P`; Registry starts one as a child.
Guaranteed: a schema is registered only if it is safe to decode with and every reader can read every record of its
subject (schemas/safety.py, schemas/compat.py; level FULL_TRANSITIVE unless configured otherwise); what was answered
survives kill -9; ids are never reused; a second instance takes over and this one leaves with status 70.
It listens on loopback only and asks for no password. In production any Confluent-compatible registry takes its
place by its URL (registry.url). registry_api.py has the endpoints, registry_catalogue.py what they say,
registry_protocol.py what they refuse, registry_log.py how it is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from aiohttp import web

from aios.infra.local import child
from aios.infra.local.ports import free_ports
from aios.infra.local.registry_api import Api
from aios.infra.local.registry_catalogue import Catalogue
from aios.infra.local.registry_log import TOPIC, SchemaLog
from aios.streams import config, logs
from aios.streams.config import KafkaSettings
from aios.streams.errors import AiosError, ConfigError, Fenced, StateBroken, Unavailable

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
READY_S_MAX = 45.0
STOP_S_MAX = 15.0
POLL_S = 0.05
LEFT = 70  # exit status: another instance took over, or the topic is not what it must be


async def serve(kafka: KafkaSettings, *, port: int, topic: str, stop: asyncio.Event) -> None:
    """Serve until stop is set. Raises Unavailable or StateBroken when it cannot start, Fenced when it must leave."""
    catalogue = Catalogue()
    schemas = SchemaLog(kafka, catalogue, topic=topic)
    runner = web.AppRunner(Api(catalogue, schemas).application(), access_log=None, shutdown_timeout=STOP_S_MAX / 2)
    try:
        await schemas.open()
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        log.info("the registry serves %s at http://%s:%d", topic, HOST, port)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, schemas.left), return_when=asyncio.FIRST_COMPLETED)
        if schemas.left.done():
            raise schemas.left.result()
    finally:
        await runner.cleanup()
        await schemas.close()


async def _run(kafka: KafkaSettings, port: int, topic: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(kafka, port=port, topic=topic, stop=stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="aios.infra.local.registry", description="The local schema registry.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topic", default=TOPIC)
    arguments = parser.parse_args()
    logs.start("registry", 0)
    try:
        settings = config.load()
        if not settings.kafka.bootstrap_servers:
            raise ConfigError("kafka.bootstrap_servers is not set: the registry keeps its schemas in Kafka")
        asyncio.run(_run(settings.kafka, arguments.port, arguments.topic))
    except (Fenced, StateBroken) as error:
        sys.exit(_farewell(error, LEFT))
    except (AiosError, OSError) as error:
        sys.exit(_farewell(error, 1))


def _farewell(error: Exception, status: int) -> int:
    """The message says what is wrong; a traceback would say no more."""
    log.error("%s", error)
    return status


class Registry:
    """The registry as a child process. Not running until start(). port 0: a free one."""

    def __init__(self, kafka: KafkaSettings, log_file: Path, *, port: int = 0, topic: str = TOPIC) -> None:
        self._kafka = kafka
        self._log_file = log_file
        self._port = port or free_ports(1)[0]
        self._topic = topic
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self) -> list[str]:
        """What to run; its Kafka is in the environment (environment())."""
        return [
            sys.executable,
            "-P",
            "-m",
            "aios.infra.local.registry",
            "--port",
            str(self._port),
            "--topic",
            self._topic,
        ]

    def environment(self) -> dict[str, str]:
        return os.environ | {"AIOS_KAFKA": self._kafka.model_dump_json()}

    def start(self) -> None:
        """Run it and wait until it answers. Raises Unavailable with the end of its log."""
        self._process = child.start(self.command(), self._log_file, self.environment())
        self.wait_ready()

    def wait_ready(self) -> None:
        """Poll until it answers."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and self.poll() is None:
            try:
                with urllib.request.urlopen(self.url, timeout=1):  # noqa: S310 - our own server
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(POLL_S)
        tail = self._log_file.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise Unavailable(f"the registry did not start; the end of {self._log_file}:\n{tail}")

    def poll(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll() if self._process else None

    def wait(self, s_max: float) -> int:
        """Exit status of the process, which has to end within s_max."""
        assert self._process is not None
        return self._process.wait(s_max)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force after child.STOP_S_MAX."""
        if self._process is not None:
            child.stop(self._process, how)
            self._process = None


if __name__ == "__main__":
    main()
