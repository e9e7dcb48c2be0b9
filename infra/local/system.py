"""The whole system on this machine, in the order in which its parts need each other.

Enters: settings and a home that nobody else holds. Leaves: Kafka → its topics → the registry → every contract →
Valkey → the home's tenant and principals → all stages, each announced as it becomes ready; then home/run/system.json.
Guaranteed: a part with an address in the settings is used and not started; the end, whatever brings it, stops the
stages first (they hand back what they have in hand), then what they stand on, and leaves no process behind; a second
request to stop kills at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aios.dlq.breakers import BreakerTable
from aios.inference_workers.engines.engine import ENVIRONMENT
from aios.infra.local import control, ports
from aios.infra.local.broker import REPOSITORY, Broker
from aios.infra.local.home import OWN_LOG, Home
from aios.infra.local.spare import Spare
from aios.infra.local.supervisor import PROCESSES_MAX, NotReady, Part, State, Supervisor
from aios.infra.local.valkey import Valkey
from aios.infra.prepare import patiently
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource, register_all, shown
from aios.streams import principals, tenants, topology
from aios.streams.admin import ensure_topics
from aios.streams.config import GatewaySettings, KafkaSettings, OperationsSettings, Settings
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.topology import Kind

START_S_MORE = 50.0  # of the whole start, beside an engine's (inference.load_s_max)
GIVEN_UP_S_MAX = 5.0
SCALE_S_MAX = 150.0  # old processes hand back, new ones load a model
PROBE_S_MAX = 1.0
PATIENCE_S = 20.0  # with a topic whose leader is only just elected, a registry that only just starts
WORKERS = REPOSITORY / ".venv-inference" / "bin" / "python"
POOLS = tuple(dict.fromkeys(stage.process for stage in topology.STAGES if stage.kind is Kind.POOL))
STAGES = tuple(name for name in topology.PROCESSES if name not in POOLS)
SPARE = "spare"  # whose words go to a log of that name
BASE = ("kafka", "registry", "valkey")  # what the stages stand on, as started; stopped the other way round
SERVERS = (topology.GATEWAY.process, topology.OPERATIONS.process)
ALONE = {
    **dict.fromkeys(SERVERS, "listens on one port of this machine"),
    topology.AUDIT.process: "is the one writer of its chain",
    topology.WATCH.process: "compares all that models say",
}
SAFE_PATH = {"PYTHONSAFEPATH": "1"}  # a folder `streams` in somebody's working directory is not ours
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


T = TypeVar("T")


class System:
    """One run of it. say(name, what): a line for people."""

    def __init__(self, settings: Settings, home: Home, say: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._home = home
        self._say = say
        self._supervisor = Supervisor(say, [home.log(OWN_LOG, 0), home.log(SPARE, 0)])
        self._addresses = dict.fromkeys(("kafka", "registry", "valkey", *SERVERS), "")
        self._ports = ports.remembered(home.folder / "ports.json", ("registry", *SERVERS))
        self._up = False  # every part has been ready
        self._breakers: BreakerTable | None = None  # from when there are contracts

    async def run(self, stop: asyncio.Event, kill: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Until stop is set; kill, set later, does not wait for anybody. Raises AiosError when it cannot start."""
        self._home.clear()
        stopping = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(self._start())
        try:
            async with control.serve(self._home, self._answer):
                try:
                    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
                    if starting.done():
                        starting.result()
                        on_ready()
                        await stopping
                finally:
                    await self._finish(starting, kill)
        finally:
            stopping.cancel()
            self._supervisor.close()
            self._home.clear()

    def status(self) -> dict[str, Any]:
        """As `aios status --json` prints it."""
        processes = [
            {
                "stage": each.part.stage,
                "slot": each.slot,
                "pid": each.pid,
                "state": str(each.state),
                "restarts": each.restarts,
                "last_exit": each.last_exit,
            }
            for each in self._supervisor.processes()
        ]
        ready = self._up and all(each["state"] == State.READY for each in processes)
        return {"ready": ready, **self._addresses, "breakers": self._open_breakers(), "processes": processes}

    def _open_breakers(self) -> list[dict[str, Any]]:
        """What pauses or is slowed by itself, with what to do."""
        found = self._breakers.open_ones() if self._breakers is not None else []
        told = ("key", "reason", "failed", "settled", "changed_at", "action")
        return [{name: getattr(each, name) for name in told} for each in found]

    # ── start ──

    async def _start(self) -> None:
        started = time.monotonic()
        self._check()
        try:
            async with asyncio.timeout(self._start_s_max):
                settings = await self._base(started)
                await self._stages(settings, self._left(started))
        except TimeoutError as error:
            late = self._supervisor.late()
            raise NotReady(f"the system was not ready within {self._start_s_max:.0f} s\n{late}".strip()) from error
        own = self._settings.extensions.folder
        self._home.publish({**self._addresses, "extensions": "" if own is None else str(own)})
        self._up = True
        self._say("system", f"ready after {time.monotonic() - started:.1f} s")

    @property
    def _start_s_max(self) -> float:
        """Of the whole start."""
        return self._settings.inference.load_s_max + START_S_MORE

    def _left(self, started: float) -> float:
        return max(0.1, self._start_s_max - (time.monotonic() - started))

    def _check(self) -> None:
        """What would only be found out at the end. Raises ConfigError."""
        if not WORKERS.is_file():
            raise ConfigError(f"the workers' environment is missing ({WORKERS}): run `make setup`")
        if self._settings.metrics.port:
            raise ConfigError(
                f"metrics.port {self._settings.metrics.port} is one port, and each process here needs its own: leave it"
                " 0, and run/metrics in this home says which they are"
            )
        taken: dict[int, str] = {}
        for name, section in self._servers():
            by = taken.setdefault(section.port, name)
            if section.port and (by != name or not ports.is_free(section.port)):
                who = f" by {by}.port" if by != name else ""
                raise ConfigError(f"{name}.port {section.port} is taken{who}; set another, or 0 for a free one")

    def _servers(self) -> tuple[tuple[str, GatewaySettings | OperationsSettings], ...]:
        """Stages that listen on a port, with where they do."""
        return tuple(zip(SERVERS, (self._settings.gateway, self._settings.operations), strict=True))

    async def _base(self, started: float) -> Settings:
        """What the stages stand on; returns the settings with every address filled in."""
        settings = self._settings
        kafka = settings.kafka.bootstrap_servers or await self._kafka(self._left(started))
        settings = settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": kafka})},
        )
        self._found("kafka", kafka)
        declared = topology.all_topics().values()
        created = await ensure_topics(settings.kafka, declared)
        self._say("topics", f"{len(created)} created, {len(declared) - len(created)} were there")

        url = settings.registry.url or await self._registry(settings, self._left(started))
        self._found("registry", url)
        ids = await patiently(lambda: register_all(url, declared), PATIENCE_S)
        self._say("contracts", f"{len(ids)} subjects, {len(set(ids.values()))} schemas")
        self._breakers = await patiently(lambda: _followed(settings.kafka, url), PATIENCE_S)

        valkey = settings.redis.url or await self._valkey(self._left(started))
        self._found("valkey", valkey)
        settings = settings.model_copy(
            update={
                "registry": settings.registry.model_copy(update={"url": url}),
                "redis": settings.redis.model_copy(update={"url": valkey}),
            }
        )
        await patiently(lambda: self._callers(settings), PATIENCE_S)
        self._say("tenant", f"{settings.default_tenant}; its key: aios tenant key {settings.default_tenant}")
        self._say("principals", f"{' and '.join(principals.OWN)}; their tokens: {self._home.run}")
        return settings

    def _found(self, part: str, address: str) -> None:
        self._addresses[part] = address
        self._say(part, f"at {shown(address)}")

    async def _kafka(self, s_max: float) -> str:
        broker = Broker(self._home.folder / "kafka")
        command = await asyncio.to_thread(broker.command)
        await self._serve("kafka", command, {}, broker.answers, s_max)
        return broker.address

    async def _registry(self, settings: Settings, s_max: float) -> str:
        port = self._ports["registry"]
        url = f"http://{ports.LOOPBACK}:{port}"
        command = [sys.executable, "-m", "aios.infra.local.registry", "--port", str(port)]
        environment = {**SAFE_PATH, "AIOS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers}
        await self._serve("registry", command, environment, lambda: _answers(url), s_max)
        return url

    async def _valkey(self, s_max: float) -> str:
        valkey = Valkey(self._home.folder / "valkey")
        await self._serve("valkey", valkey.command(), {}, valkey.answers, s_max)
        return valkey.url

    async def _serve(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        answers: Callable[[], bool],
        s_max: float,
    ) -> None:
        async def probe() -> bool:
            return await asyncio.to_thread(answers)

        part = Part(
            stage=name,
            command=command,
            log=lambda slot: self._home.log(name, slot),
            environment=environment,
            probe=probe,
        )
        self._supervisor.add(part)
        await self._supervisor.until_ready([name], s_max)

    def _callers(self, settings: Settings) -> None:
        registry = RegistrySource(settings.registry.url)
        codec = Codec(registry)
        try:
            tenants.own_key(self._home.folder, settings.kafka, codec, settings.default_tenant)
            principals.own_tokens(self._home.folder, settings.kafka, codec)
        finally:
            registry.close()

    async def _stages(self, settings: Settings, s_max: float) -> None:
        environment = {
            "AIOS_HOME": str(self._home.folder),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": settings.registry.url,
            "AIOS_REDIS__URL": settings.redis.url,
            **SAFE_PATH,
        }
        for name, section in self._servers():
            port = section.port or self._ports[name]
            host = ports.LOOPBACK if section.host in ANY_HOST else section.host
            self._addresses[name] = f"http://{host}:{port}"
            environment[f"AIOS_{name.upper()}__PORT"] = str(port)
        for name in topology.PROCESSES:
            self._supervisor.add(self._part(name, environment))
        await self._supervisor.until_ready(topology.PROCESSES, s_max)
        self._supervisor.keep([self._spare(kin, environment) for kin in (STAGES, POOLS)])

    def _part(self, name: str, environment: Mapping[str, str]) -> Part:
        command, own = _program(name)
        return Part(
            stage=name,
            command=[*command, name],
            log=lambda slot: self._home.log(name, slot),
            environment={**environment, **own},
        )

    def _spare(self, kin: Sequence[str], environment: Mapping[str, str]) -> Spare:
        command, own = _program(kin[0])
        return Spare(command, kin, {**environment, **own}, self._home.log(SPARE, 0))

    # ── while it runs ──

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        match asked["do"]:
            case "status":
                return self.status()
            case "scale":
                await self._scale(str(asked["stage"]), int(asked["count"]))
                return {}
            case other:
                raise ConfigError(f"{other!r} is nothing that a system does")

    async def _scale(self, stage: str, count: int) -> None:
        if stage not in topology.PROCESSES:
            raise ConfigError(f"{stage} has no processes to scale; these have: {', '.join(topology.PROCESSES)}")
        if stage in ALONE and count > 1:
            raise ConfigError(f"{stage} {ALONE[stage]}: there is one of it")
        if not 0 <= count <= PROCESSES_MAX:
            raise ConfigError(f"{stage}={count}: 0 to {PROCESSES_MAX} processes of a stage")
        if not self._up:
            raise ConfigError("the system is not ready yet, or stops already")
        await self._supervisor.scale(stage, count, SCALE_S_MAX)

    # ── end ──

    async def _finish(self, starting: asyncio.Task[None], kill: asyncio.Event) -> None:
        """A system that never was ready has nothing in hand: it gets GIVEN_UP_S_MAX."""
        s_max = None if self._up else GIVEN_UP_S_MAX
        self._up = False
        self._home.clear()
        self._say("system", "stops")
        starting.cancel()
        await asyncio.wait((starting,))
        if self._breakers is not None:
            await asyncio.to_thread(self._breakers.close)
        ending = asyncio.create_task(self._stop_all())
        killing = asyncio.create_task(kill.wait())
        await asyncio.wait((ending, killing), timeout=s_max, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            self._supervisor.kill()
        killing.cancel()
        await ending
        self._say("system", "has stopped")

    async def _stop_all(self) -> None:
        await self._supervisor.stop(topology.PROCESSES)
        for name in reversed(BASE):
            await self._supervisor.stop([name])


def _program(process: str) -> tuple[list[str], Mapping[str, str]]:
    """What runs it, and the environment of that."""
    python, own = sys.executable, {}
    if process in POOLS:
        python = str(WORKERS)
        own = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    return [python, "-m", "aios.infra.stage"], own


def _followed(kafka: KafkaSettings, registry: str) -> BreakerTable:
    """Every breaker, as it changes. Raises Unavailable."""
    table = BreakerTable(kafka, Codec(RegistrySource(registry)))
    try:
        table.start()
    except Unavailable:
        table.close()
        raise
    return table


def _answers(url: str) -> bool:
    """Whether an HTTP server is there; any answer counts."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_S_MAX):  # noqa: S310 - an address of ours
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
