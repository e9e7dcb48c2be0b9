"""What the HTTP servers of ours have in common: a port that is found again, and whether Kafka answers.

Enters: an application, where it is to listen. Leaves: a bound server. Guaranteed: a configured port is slot 0's;
others take a free one, which is kept in AIOS_HOME and taken again at the next start; what aiohttp refuses before the
application sees it (bytes that are no HTTP, an Expect that nobody knows) is problem+json too, and repeats nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aios.streams.config import KafkaSettings, client
from aios.streams.errors import ConfigError
from aios.streams.http.about import About
from aios.streams.http.guard import refuse
from aios.streams.http.problem import Problem, of_http

REACH_S_MAX = 2  # of Kafka, when readiness is asked
REACH_KEPT_S = 2.0  # an answer is good for this long
LEAVE_S_MAX = 25.0  # for requests in hand
LINGER_S = 2.0  # for what a refused client sends on, so that it reads why; a stop waits as long, also where it has gone
KEEPALIVE_S = 75.0

log = logging.getLogger(__name__)


class Reach:
    """Whether Kafka answers about a topic: asked in a thread, at most once in REACH_KEPT_S."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._admin = AdminClient(client(kafka, log_level=0))
        self._topic = topic
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._answer = False

    async def __call__(self) -> bool:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._answer = await asyncio.to_thread(self._ask)
                self._until = time.monotonic() + REACH_KEPT_S
            return self._answer

    def _ask(self) -> bool:
        try:
            return bool(self._admin.list_topics(self._topic, timeout=REACH_S_MAX).brokers)
        except KafkaException:
            return False


async def serve(
    about: About,
    name: str,
    *,
    host: str,
    port: int,
    home: Path,
    slot: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Until stop; then refuse what is new and answer what is in hand. name: of the section that has host and port.

    port 0: a free one. Raises ConfigError when the configured port is taken.
    """
    served_by = runner(about)
    await served_by.setup()
    try:
        url = await _listen(served_by, name, host=host, port=port, home=home, slot=slot)
        log.info("listening on %s", url)
        ready()
        await stop.wait()
        about.leave()
    finally:
        await served_by.cleanup()


def runner(about: About) -> web.AppRunner:
    """Serves these handlers, once it is set up."""
    return _Runner(
        about.app(),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGER_S,
        shutdown_timeout=LEAVE_S_MAX,
    )


class _Connection(web.RequestHandler):
    """Of one client."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, message)
        why = "what came is not HTTP as it is written" if status < 500 else "this is a fault of this process"
        answer = refuse(Problem("bad_request" if status < 500 else "internal", why))
        answer.force_close()
        return answer


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()

        async def answered(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await made.request_handler(request)
            except web.HTTPException as error:
                return refuse(of_http(error))

        return _Server(answered, request_factory=made.request_factory, loop=made._loop, **made._kwargs)


async def _listen(runner: web.AppRunner, name: str, *, host: str, port: int, home: Path, slot: int) -> str:
    """Bind, and return the URL. Raises ConfigError when the configured port is taken."""
    file = home / "run" / f"{name}.{slot}.port"
    configured = port if slot == 0 else 0
    try:
        await web.TCPSite(runner, host, configured or _remembered(file)).start()
    except OSError as error:
        if configured:
            raise ConfigError(f"{name}.port {configured} on {host}: {error.strerror}") from error
        await web.TCPSite(runner, host, 0).start()
    bound = int(runner.addresses[0][1])
    if not configured:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(bound), encoding="ascii")
    return f"http://{host}:{bound}"


def _remembered(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
