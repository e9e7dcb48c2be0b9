"""`aios status`: what a running system says of itself, and how people read it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aios.infra.cli import aios
from aios.infra.commands import up
from aios.infra.local.home import Home
from aios.infra.local.system import System
from aios.schemas.models import BreakerChanged
from aios.streams.config import Settings
from tests.fakes.breakers import open_breaker

ACTION = "Mend it, then `aios breaker close aios.admit/0`."


class Opened:
    """The breakers that are open."""

    def open_ones(self) -> list[BreakerChanged]:
        return [open_breaker("aios.admit", 0, at=1_790_000_000_000, action=ACTION)]


def test_a_status_shows_open_breakers_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the system's own table to the lines that people read; none before there is a table."""
    settings = Settings(home=tmp_path)
    monkeypatch.setattr(up, "load_settings", lambda: settings)

    async def said() -> dict[str, Any]:
        system = System(settings, Home(tmp_path), lambda *_: None)
        before = system.status()
        system._breakers = Opened()  # type: ignore[assignment]
        assert before["breakers"] == []
        return system.status()

    answer = asyncio.run(said()) | {"valkey": "redis://aios:hunter2@cache:6379/0"}
    monkeypatch.setattr(up, "_asked", lambda *_: answer)
    shown = CliRunner().invoke(aios, ["status"])
    assert shown.exit_code == 0
    assert "breaker aios.admit/0 is open: 21 of 22 records (unknown)" in shown.stdout
    assert ACTION in shown.stdout
    assert "redis://cache:6379/0" in shown.stdout
    (one,) = json.loads(CliRunner().invoke(aios, ["status", "--json"]).stdout)["breakers"]
    assert (one["key"], one["action"]) == ("aios.admit/0", ACTION)
