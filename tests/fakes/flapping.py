"""An HTTP proxy that flaps: for each request in turn a pattern says what becomes of it.

200      passed on, and the answer given back
500…     answered by the proxy, not passed on
"reset"  the connection is closed before the request is passed on
"lost"   passed on, done, and the connection closed before the answer is given back
"hang"   not passed on, and nothing is answered
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import aiohttp
from aiohttp import web

from aios.infra.local import ports

Becomes = int | str
Pattern = Callable[[int, str], Becomes]
HANG_S = 60.0


class Flapping:
    """In front of one server. asked: method and what became of it, in order."""

    def __init__(self, target: str, pattern: Pattern) -> None:
        self.pattern = pattern
        self.asked: list[tuple[str, Becomes]] = []
        (self._port,) = ports.free_ports(1)
        self.url = f"http://{ports.LOOPBACK}:{self._port}"
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Flapping:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    async def _serve(self) -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as client:
            self._client = client
            runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, ports.LOOPBACK, self._port).start()
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        becomes = self.pattern(len(self.asked), request.method)
        self.asked.append((request.method, becomes))
        body = await request.read()
        if becomes == "hang":
            await asyncio.sleep(HANG_S)
        if becomes in ("reset", "hang"):
            return self._closed(request)
        if isinstance(becomes, int) and becomes != 200:
            return web.Response(status=becomes)
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        url = f"{self._target}{request.path_qs}"
        async with self._client.request(request.method, url, data=body, headers=headers) as answer:
            raw = await answer.read()
            if becomes == "lost":
                return self._closed(request)
            kept = {
                name: answer.headers[name]
                for name in ("ETag", "Content-Type", "Content-Encoding")
                if name in answer.headers
            }
            return web.Response(status=answer.status, body=raw, headers=kept)

    def _closed(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
