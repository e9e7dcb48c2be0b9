"""A TCP proxy that injures what passes through it: slow, thin, one way only, cut.

Enters: a port to listen on and a port to pass to, for each route. Leaves: the same bytes, as late and as few as the
weather says. Guaranteed: the weather holds for every connection at once and may change at any time; bytes are late
or missing and never altered or out of order; a direction whose bytes were dropped ends its connection when the weather
clears, since nothing sensible can follow a hole.
Everything runs in one thread of its own. Rejected: toxiproxy (a Go toolchain for every user who proves), netem and
iptables (root, and the whole machine).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from aios.infra.local.ports import LOOPBACK

CHUNK_BYTES = 32 << 10
START_S_MAX = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """delay_s: added to each chunk, each way. bytes_per_s: of one direction of a connection; 0: no bound.

    drop_asked, drop_answered: bytes towards the server, or from it, vanish. is_cut: nobody is connected.
    """

    delay_s: float = 0.0
    bytes_per_s: int = 0
    drop_asked: bool = False
    drop_answered: bool = False
    is_cut: bool = False


FAIR = Weather()


class Proxy:
    """routes: port to listen on → port to pass to, all on loopback. Not running until start()."""

    def __init__(self, routes: Mapping[int, int]) -> None:
        self._routes = dict(routes)
        self._weather = FAIR
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self.passed = 0  # bytes, both ways

    def start(self) -> None:
        """Returns when every port is listened on. Raises OSError."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(START_S_MAX)

    def set(self, weather: Weather) -> None:
        """From now on, for every connection."""
        self._weather = weather
        if weather.is_cut:
            self._loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(START_S_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S_MAX)
        self._loop.close()

    async def _listen(self) -> None:
        for port, target in self._routes.items():
            accept = functools.partial(self._accept, target)
            self._servers.append(await asyncio.start_server(accept, LOOPBACK, port))

    async def _leave(self) -> None:
        for server in self._servers:
            server.close()
        self._cut()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, port: int, asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either side ends it."""
        this = asyncio.current_task()
        assert this is not None
        self._pipes.add(this)
        self._writers.add(answering)
        server: asyncio.StreamWriter | None = None
        try:
            if self._weather.is_cut:
                return
            replies, server = await asyncio.open_connection(LOOPBACK, port)
            self._writers.add(server)
            ways = (
                asyncio.create_task(self._pipe(asking, server, is_answer=False)),
                asyncio.create_task(self._pipe(replies, answering, is_answer=True)),
            )
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            return  # the server is away: so are we
        finally:
            for writer in (answering, server):
                if writer is not None:
                    writer.transport.abort()
                    self._writers.discard(writer)
            self._pipes.discard(this)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
        has_hole = False
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                weather = self._weather
                if weather.drop_answered if is_answer else weather.drop_asked:
                    has_hole = True
                    continue
                if has_hole:
                    return
                wait_s = weather.delay_s + (len(chunk) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
                if wait_s:
                    await asyncio.sleep(wait_s)
                sink.write(chunk)
                await sink.drain()
                self.passed += len(chunk)
