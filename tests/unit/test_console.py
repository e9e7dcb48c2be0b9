"""Pages for people: what a browser may do in them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from aios.dlq.operations.api import Api as OperationsApi
from aios.streams.gateway.api import Api as GatewayApi
from aios.streams.http import console
from tests.fakes import gateway, operations
from tests.unit.test_gateway import problem

FILES = sorted(file for folder in (console.SHARED, GatewayApi.PAGE, OperationsApi.PAGE) for file in folder.iterdir())


@pytest.mark.parametrize("served", [gateway.served, operations.served])
def test_a_browser_may_run_nothing_else_in_a_page(served: Any) -> None:
    """Nobody's key is needed, for it holds nothing; no inline script, no other host, no frame; no other file."""

    async def within() -> None:
        async with served() as server:
            for path, kind in (("", "text/html"), ("/common.js", "text/javascript"), ("/page.css", "text/css")):
                async with server.client.get(f"{server.url}/console{path}") as response:
                    assert (response.status, response.content_type) == (200, kind)
                    policy = response.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in policy
                    assert "unsafe" not in policy
                    assert "frame-ancestors 'none'" in policy
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
            for other in ("api.py", "..%2Fapi.py", "index.htm"):
                async with server.client.get(f"{server.url}/console/{other}") as response:
                    await problem(response, "not_found")

    asyncio.run(within())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parents[1].name}-{file.name}")
def test_it_shows_text_as_text_and_asks_no_other_host(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not re.findall(rf"{markup}|localStorage|document\.cookie", text)
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"<[^>]* (?:on\w+|style)=|<script(?![^>]*src=)|<style", text)
