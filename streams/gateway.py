"""gateway: HTTP in. Cases and people's decisions enter the topics here, outcomes are read back.

Enters: requests with a tenant's API key or a reviewer's token. Leaves: document.received.v1 and review.decided.v1;
JSON. Guaranteed: a 2xx means that the broker has the record; a repeat of a request is the same case; a tenant sees its
own cases and nobody else's; who decided is whose token it was; whoever waits is answered in time, with what is known by
then. What is read comes from the outcome store alone; without it cases are still accepted, only nobody can wait or
read. No transport security: put a proxy that speaks TLS in front of it wherever it listens on more than loopback.
Rejected: asking the stages (they are scaled and restarted alone), keeping cases here (there may be many gateways),
refusing a repeat for certain (plan is the judge; the 409 of this process is its best knowledge).

    http_routes.py  every route and its models        http_guard.py    bounds, API keys, tokens, rates
    http_api.py     what each route does              ingest.py        bytes → event, or what is wrong
    http_problem.py every refusal                     openapi.py       /openapi.json
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

from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams.config import KafkaSettings, Settings, client
from aios.streams.errors import ConfigError
from aios.streams.http_api import Api
from aios.streams.http_guard import TenantGuard
from aios.streams.kafka import Delivery
from aios.streams.outcome_store import OutcomeStore
from aios.streams.principals import PrincipalTable
from aios.streams.tenants import TenantTable
from aios.streams.topology import GATEWAY

REACH_S_MAX = 2  # of Kafka, when readiness is asked
REACH_KEPT_S = 2.0  # an answer is good for this long
LEAVE_S_MAX = 25.0  # for requests in hand
KEEPALIVE_S = 75.0

log = logging.getLogger(__name__)


class Reach:
    """Whether Kafka answers: asked in a thread, at most once in REACH_KEPT_S."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._admin = AdminClient(client(kafka, log_level=0))
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
            return bool(self._admin.list_topics(GATEWAY.writes[0].name, timeout=REACH_S_MAX).brokers)
        except KafkaException:
            return False


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop; then refuse what is new and answer what is in hand. Raises Unavailable when it cannot start."""
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    tenants, principals = TenantTable(settings.kafka, codec), PrincipalTable(settings.kafka, codec)
    outcomes = OutcomeStore(settings.redis.url)
    delivery = Delivery(
        settings.kafka, client_id=f"{GATEWAY.group}.{slot}", deliver_s_max=float(settings.gateway.deliver_s_max)
    )
    try:
        await asyncio.to_thread(codec.warm, GATEWAY.writes)
        await asyncio.to_thread(tenants.start)
        await asyncio.to_thread(principals.start)
        guard = TenantGuard(settings.gateway, tenants, principals)
        reach = Reach(settings.kafka)
        api = Api(settings.gateway, guard, codec=codec, roads=delivery, outcomes=outcomes, reachable=reach)
        runner = web.AppRunner(
            api.app(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=LEAVE_S_MAX,
        )
        await runner.setup()
        try:
            log.info("listening on %s", await listen(runner, settings, slot))
            ready()
            await stop.wait()
            api.leave()
        finally:
            await runner.cleanup()
    finally:
        await asyncio.to_thread(delivery.close)
        await asyncio.to_thread(tenants.close)
        await asyncio.to_thread(principals.close)
        await outcomes.close()
        registry.close()


async def listen(runner: web.AppRunner, settings: Settings, slot: int) -> str:
    """Bind, and return the URL. A configured port is slot 0's; others take a free one, and keep it in AIOS_HOME.

    Raises ConfigError when the configured port is taken.
    """
    host = settings.gateway.host
    file = settings.home / "run" / f"gateway.{slot}.port"
    configured = settings.gateway.port if slot == 0 else 0
    port = configured or _remembered(file)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if configured:
            raise ConfigError(f"gateway.port {configured} on {host}: {error.strerror}") from error
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
