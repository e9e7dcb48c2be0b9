"""`aios doctor`: is everything here that a system needs, and does what runs answer?

Enters: this machine, this repository, the system of AIOS_HOME if one runs. Leaves: a row for each thing looked at,
with how to get what is missing (packages in Debian's names). Exit 1 when something needed is missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import psutil
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aios.inference_workers.weights import convert, weights
from aios.infra import output
from aios.infra.local.broker import JARS, REPOSITORY, VERSION
from aios.infra.local.home import Home
from aios.infra.local.valkey import binary
from aios.infra.output import FAILED
from aios.infra.running import found_running, load_settings
from aios.schemas.errors import AiosError, SchemaMismatch, Unavailable
from aios.schemas.registry import RegistrySource, shown
from aios.streams.config import Settings, client
from aios.streams.errors import ConfigError

PYTHON, JAVA_MIN = (3, 11), 17
MEMORY_GIB_MIN = 6.0  # the whole system with both engines takes about 5
DISK_GIB_MIN = 2.0  # free, for data; setup has taken its 7 before
ANSWER_S_MAX = 5.0
GIB = 1 << 30
COLUMNS = ("what", "found", "needed", "ok", "how")


@dataclass(frozen=True, slots=True)
class Look:
    """One thing looked at. how: to get it, empty when it is there. required: without it nothing starts."""

    what: str
    found: str
    needed: str
    ok: bool
    how: str = ""
    required: bool = True


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def doctor(as_json: bool) -> None:
    """Check versions, memory, disk, what setup has installed, and every service that can be reached."""
    settings = load_settings()
    looks = [*_programs(), *_machine(settings), *_installed(), *_services(settings)]
    rows = [asdict(look) for look in looks]
    if not as_json:
        rows = [_told(row) for row in rows]
    output.rows(rows, COLUMNS, as_json=as_json, none="nothing to look at")
    if any(look.required and not look.ok for look in looks):
        raise click.exceptions.Exit(FAILED)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """For people: no advice where none is needed, and of a path in here its two ends."""
    found = row["found"]
    if found.startswith(f"{REPOSITORY}/"):
        first, *between, last = Path(found).relative_to(REPOSITORY).parts
        found = f"{first}/{'…/' if between else ''}{last}"
    return {**row, "found": found, "ok": "yes" if row["ok"] else "NO", "how": "" if row["ok"] else row["how"]}


def _programs() -> Iterator[Look]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Look("Python", found, "3.11", sys.version_info[:2] == PYTHON, "apt-get install python3.11-venv")
    said = _says("java", "-version")
    match = re.search(r'version "(\d+)', said)
    java = int(match[1]) if match else 0
    yield Look(
        "Java", str(java or "none"), f"{JAVA_MIN} or newer", java >= JAVA_MIN, "apt-get install openjdk-17-jre-headless"
    )
    for program, package in (("mvn", "maven"), ("make", "make")):
        path = shutil.which(program)
        yield Look(
            program,
            path or "none",
            "any",
            path is not None,
            f"apt-get install {package} (for make setup)",
            required=False,
        )
    uv = REPOSITORY / ".tools" / "uv" / "bin" / "uv"
    yield Look("uv", _says(str(uv), "--version").strip() or "none", "any", uv.is_file(), "make setup", required=False)


def _says(*command: str) -> str:
    """Everything a program prints; empty if there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_S_MAX)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def _machine(settings: Settings) -> Iterator[Look]:
    memory = psutil.virtual_memory()
    yield Look(
        "memory",
        f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} free",
        f"{MEMORY_GIB_MIN:.0f} GiB",
        memory.total / GIB >= MEMORY_GIB_MIN,
        "a larger machine, or kafka, registry and redis elsewhere (settings)",
        required=False,
    )
    folder = settings.home.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / GIB
    yield Look(
        "disk",
        f"{free:.1f} GiB free at {folder}",
        f"{DISK_GIB_MIN:.0f} GiB",
        free >= DISK_GIB_MIN,
        "make room, or set AIOS_HOME to a larger disk",
    )


def _installed() -> Iterator[Look]:
    for what, folder in (("pipeline environment", ".venv"), ("workers' environment", ".venv-inference")):
        yield _file(what, REPOSITORY / folder / "bin" / "python")
    yield _file(f"Kafka {VERSION}", JARS / f"kafka_2.13-{VERSION}.jar")
    yield _valkey()
    yield from _weights()


def _valkey() -> Look:
    try:
        return _file("Valkey", binary())
    except ConfigError as error:
        return Look("Valkey", "none", "installed", ok=False, how=str(error))


def _weights() -> Iterator[Look]:
    try:
        every = weights.every()
    except AiosError as error:
        yield Look("models", "not to be read", "files.json", ok=False, how=str(error))
        return
    for name, made in every.items():
        try:
            yield _file(f"model {name}", convert.folder(name))
        except AiosError as error:
            how = str(error) if made.form == "folder" else "make setup"
            yield Look(f"model {name}", "not there", "there", ok=False, how=how)


def _file(what: str, path: Path) -> Look:
    return Look(what, str(path) if path.exists() else "none", "installed", path.exists(), "make setup")


def _services(settings: Settings) -> Iterator[Look]:
    configured = (settings.kafka.bootstrap_servers, settings.registry.url, settings.redis.url)
    if not Home(settings.home).is_held() and not all(configured):
        yield Look("system", f"none runs in {settings.home}", "optional", ok=True, required=False)
        return
    found = found_running()
    if found is None:  # it starts, or hangs in its start: it says no address yet
        yield _service("system", str(settings.home), "not ready")
    else:
        settings = found.settings
    if settings.kafka.bootstrap_servers:
        yield _service("Kafka", settings.kafka.bootstrap_servers, _kafka(settings))
    if settings.registry.url:
        yield _service("registry", shown(settings.registry.url), _registry(settings.registry.url))
    if settings.redis.url:
        yield _service("Valkey", shown(settings.redis.url), _redis(settings.redis.url))
    if found is not None and found.gateway:
        yield _service("gateway", found.gateway, _http(f"{found.gateway}/readyz"))


def _service(what: str, address: str, trouble: str) -> Look:
    said = f"{address}: {trouble}" if trouble else address
    return Look(what, said, "answers", not trouble, "aios status; aios logs STAGE; aios down && aios up")


def _kafka(settings: Settings) -> str:
    """What is wrong with it; empty if nothing is."""
    try:
        AdminClient(client(settings.kafka, log_level=0)).list_topics(timeout=ANSWER_S_MAX)
    except KafkaException as error:
        return str(error.args[0].str())
    except ConfigError as error:  # a secret that is not there
        return str(error)
    return ""


def _registry(url: str) -> str:
    source = RegistrySource(url)
    try:
        source.by_id(1)
    except SchemaMismatch:  # it says that it has none of this id
        return ""
    except Unavailable as error:
        return str(error)
    finally:
        source.close()
    return ""


def _http(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S_MAX):  # noqa: S310 - an address of the settings
            return ""
    except (OSError, ValueError) as error:  # HTTPError and URLError are OSErrors
        return str(error)


def _redis(url: str) -> str:
    server = redis.Redis.from_url(url, socket_timeout=ANSWER_S_MAX, socket_connect_timeout=ANSWER_S_MAX)
    try:
        server.ping()
    except redis.RedisError as error:
        return str(error)
    finally:
        server.close()
    return ""
