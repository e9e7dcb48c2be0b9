"""The page for people: what a browser may do in it."""

from __future__ import annotations

import asyncio
import re

import pytest

from aios.streams.gateway import console
from tests.fakes.gateway import Served, served
from tests.unit.test_gateway import problem


def test_a_browser_may_run_nothing_else_in_it() -> None:
    """Nobody's key is needed, for it holds nothing; no inline script, no other host, no frame; no other file."""

    async def test(gateway: Served) -> None:
        for path, kind in (("", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            async with gateway.request("GET", f"/console{path}", tenant="") as response:
                assert (response.status, response.content_type) == (200, kind)
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
        for other in ("api.py", "..%2Fapi.py", "index.htm"):
            async with gateway.request("GET", f"/console/{other}", tenant="") as response:
                await problem(response, "not_found")

    async def within() -> None:
        async with served() as gateway:
            await test(gateway)

    asyncio.run(within())


@pytest.mark.parametrize("name", console.FILES)
def test_it_shows_text_as_text_and_asks_no_other_host(name: str) -> None:
    text = (console.FOLDER / name).read_text(encoding="utf-8")
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage", text
    )
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"<[^>]* (?:on\w+|style)=|<script(?![^>]*src=)|<style", text)


def test_every_file_of_the_page_is_served() -> None:
    assert {file.name for file in console.FOLDER.iterdir()} == console.FILES.keys()
