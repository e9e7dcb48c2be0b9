"""A small outside system over HTTP, with a ledger on disk: what tests count effects at.

POST /bookings           books `amount` for `account` under the Idempotency-Key; every time it is asked, unless it keeps
                         keys (`keeps_keys`), it is one more line of the ledger
GET  /bookings/{key}     the booking, or 404
GET  /rates/{currency}   only reads

`answers` decides what each request is answered with, by its number among all: 200 (as it should), a status, `reset`
(the connection is cut before anything is done), `lost` (done, and the connection is cut), `hang` (nothing, ever), or
after so many seconds (a float).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

Answers = Callable[[int, str], int | float | str]
"""number of the request, from 0, and its method → what becomes of it."""
START_S_MAX = 10.0


def well(_number: int, _method: str) -> int | str:
    return 200


class Outside:
    """In a thread of its own, so that it outlives whatever is killed. Use as a context manager."""

    def __init__(self, ledger: Path, answers: Answers = well, *, keeps_keys: bool = False) -> None:
        self.ledger = ledger
        self.answers = answers
        self.asked: list[tuple[str, str]] = []  # method and path, in the order they came
        self.port = 0
        self._keeps_keys = keeps_keys
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="outside", daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def booked(self, key: str = "") -> list[dict[str, Any]]:
        """The effects, of one key or all."""
        lines = self.ledger.read_text(encoding="utf-8").splitlines() if self.ledger.exists() else []
        found = [json.loads(line) for line in lines]
        return [each for each in found if not key or each["key"] == key]

    def __enter__(self) -> Outside:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(START_S_MAX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_S_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S_MAX)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/bookings", self._book)
        app.router.add_get("/bookings/{key}", self._look_up)
        app.router.add_get("/rates/{currency}", self._rate)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # its site is started

    async def _end(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _book(self, request: web.Request) -> web.StreamResponse:
        told, key = await request.json(), request.headers["Idempotency-Key"]
        return await self._as_told(request, lambda: self._effect(key, told))

    async def _look_up(self, request: web.Request) -> web.StreamResponse:
        found = self.booked(request.match_info["key"])
        if not found:
            return await self._as_told(request, lambda: None)
        return await self._as_told(request, lambda: {"booking": found[0]["booking"]})

    async def _rate(self, request: web.Request) -> web.StreamResponse:
        return await self._as_told(request, lambda: {"rate": 1.25, "currency": request.match_info["currency"]})

    async def _as_told(self, request: web.Request, work: Callable[[], dict[str, Any] | None]) -> web.StreamResponse:
        number = len(self.asked)
        self.asked.append((request.method, request.path))
        said = self.answers(number, request.method)
        if said == "hang":
            await asyncio.sleep(3600)
        if said == "reset":
            _cut(request)
            raise web.HTTPInternalServerError
        if isinstance(said, float):
            await asyncio.sleep(said)
        if isinstance(said, int) and said != 200:
            return web.Response(status=said, text="<html>not today</html>")
        done = work()
        if said == "lost":
            _cut(request)
        return web.json_response(done) if done is not None else web.Response(status=404)

    def _effect(self, key: str, told: dict[str, Any]) -> dict[str, Any]:
        before = self.booked(key)
        if self._keeps_keys and before:
            return {"booking": before[0]["booking"]}
        booking = f"b-{len(self.booked())}"
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "booking": booking, **told}) + "\n")
        return {"booking": booking}


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
