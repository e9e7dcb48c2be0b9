"""How commands speak with the system that runs in a home: one line of JSON each way over a Unix socket.

Enters: {"do": "status"} or {"do": "scale", "stage": …, "count": …}. Leaves: the answer, or {"error": …}.
Guaranteed: only the home's owner can connect; a deep home works too, although a socket's path has 107 bytes at most
(it is named through an open folder). To stop is SIGTERM to the process behind the socket, as Ctrl-C would be: it
needs no answer from a system in trouble. Rejected: HTTP on loopback, which every user of the machine could reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aios.infra.local.home import Home
from aios.schemas.errors import AiosError
from aios.streams.errors import Unavailable

log = logging.getLogger(__name__)

NAME = "control.sock"
LINE_BYTES_MAX = 1 << 20
ANSWER_S_MAX = 5.0
READ_S_MAX = 5.0  # for the line of somebody who connected
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@contextlib.asynccontextmanager
async def serve(home: Home, answer: Answer) -> AsyncIterator[None]:
    """Answer until the block is left. What `answer` raises as AiosError is said to the asker."""

    asking: set[asyncio.Task[Any] | None] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asking.add(asyncio.current_task())
        try:
            line = await asyncio.wait_for(reader.readline(), READ_S_MAX)
            said = await _answered(answer, line)
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
        except (TimeoutError, OSError, ValueError) as error:  # ValueError: a line over the bound
            log.debug("a command went away: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            asking.discard(asyncio.current_task())

    with _reached(home.run) as path:
        Path(path).unlink(missing_ok=True)  # of a system that was killed: we hold the lock
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        Path(path).chmod(0o600)
    server = await asyncio.start_unix_server(one, sock=listener, limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        waiting = [task for task in asking if task is not None]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        (home.run / NAME).unlink(missing_ok=True)


async def _answered(answer: Answer, line: bytes) -> Mapping[str, Any]:
    try:
        asked = json.loads(line)
        return await answer(asked)
    except AiosError as error:
        return {"error": str(error)}
    except (ValueError, KeyError, TypeError) as error:
        return {"error": f"not understood: {type(error).__name__}"}


def ask(home: Home, asked: Mapping[str, Any], *, s_max: float = ANSWER_S_MAX) -> dict[str, Any]:
    """The answer of the system of this home. Raises Unavailable when none runs or it does not answer in time."""
    with _connected(home, s_max) as connection:
        try:
            connection.sendall(json.dumps(dict(asked)).encode() + b"\n")
            with connection.makefile("rb") as words:
                said: dict[str, Any] = json.loads(words.readline(LINE_BYTES_MAX))
                return said
        except (OSError, ValueError) as error:
            raise Unavailable(f"the system in {home.folder} does not answer: {error}") from error


def owner(home: Home) -> int:
    """Pid of the process that runs the system of this home, answering or not. Raises Unavailable when there is none."""
    with _connected(home, ANSWER_S_MAX) as connection:
        said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        pid: int = CREDENTIALS.unpack(said)[0]
        return pid


@contextlib.contextmanager
def _connected(home: Home, s_max: float) -> Iterator[socket.socket]:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(s_max)
    try:
        with _reached(home.run) as path:
            connection.connect(path)
    except OSError as error:
        connection.close()
        raise Unavailable(f"no system runs in {home.folder}: start one with `aios up`") from error
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _reached(folder: Path) -> Iterator[str]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)
