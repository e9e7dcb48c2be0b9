"""Finds the system that runs in AIOS_HOME, so that every command speaks to the right addresses.

Enters: settings, and home/run/system.json, which `aios up` writes when it is ready (one that a killed system left
behind is not believed). Leaves: settings whose addresses are all filled in. Configured addresses win over the file's.
Guaranteed: a command whose own files (streams/extensions.py) that system does not read can be told so.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios.infra.local.home import Home
from aios.infra.output import NOT_RUNNING, fail
from aios.streams import config
from aios.streams.config import Settings
from aios.streams.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Running:
    """settings: with kafka, registry and redis addresses. gateway, operations: URLs, empty if they do not run here."""

    settings: Settings
    gateway: str
    operations: str


def system_file(settings: Settings) -> Path:
    return settings.home / "run" / "system.json"


def load_settings() -> Settings:
    """The settings, or a clear exit for a user's mistake."""
    try:
        return config.load()
    except ConfigError as error:
        fail(str(error))


def running() -> Running:
    """The running system, or exit NOT_RUNNING with the command that starts one."""
    found = found_running()
    if found is None:
        home = load_settings().home.absolute()
        fail(f"no system runs in {home}: start one with `aios up`", NOT_RUNNING)
    return found


def gateway_url(given: str | None) -> str:
    """Where the gateway is: as given, else the one that runs here, else an exit."""
    url = given or running().gateway
    if not url:
        fail("no gateway runs here: start a system with `aios up`, or set GATEWAY to the URL of one", NOT_RUNNING)
    return url


def operations_url() -> str:
    """Where operations is: here if it runs here, else as OPERATIONS says (streams/config.py reads AIOS_ alone), else an
    exit.
    """
    found = found_running()
    url = (found.operations if found is not None else "") or os.environ.get("OPERATIONS", "")
    if not url:
        why = "start a system with `aios up`, or set OPERATIONS to the URL of one"
        fail(f"no operations server runs in {load_settings().home.absolute()}: {why}", NOT_RUNNING)
    return url


def found_running() -> Running | None:
    """The running system, for commands that say something without one too."""
    settings = load_settings()
    said = _said(settings)
    filled = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(
                update={"bootstrap_servers": settings.kafka.bootstrap_servers or said.get("kafka", "")}
            ),
            "registry": settings.registry.model_copy(update={"url": settings.registry.url or said.get("registry", "")}),
            "redis": settings.redis.model_copy(update={"url": settings.redis.url or said.get("valkey", "")}),
        }
    )
    if not (filled.kafka.bootstrap_servers and filled.registry.url and filled.redis.url):
        return None
    return Running(filled, str(said.get("gateway", "")), str(said.get("operations", "")))


def unread() -> str:
    """Why the system that runs here would not find what is in this command's own folder; empty: it would, or none runs
    here.
    """
    settings = load_settings()
    mine, said = settings.extensions.folder, _said(settings)
    if mine is None or not said or said.get("extensions") == str(mine):
        return ""
    reads = said.get("extensions") or "no folder of its own"
    return f"the system in {settings.home.absolute()} reads {reads}, not {mine}: start it again with extensions.folder"


def _said(settings: Settings) -> dict[str, Any]:
    """What `aios up` has written; empty: nothing runs here."""
    try:
        said: dict[str, Any] = json.loads(system_file(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if Home(settings.home).is_held() else {}
