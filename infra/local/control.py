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
    with _reached(home.run) as path, socket.socket(socket.AF_UNIX) as listener:
        Path(path).unlink(missing_ok=True)  # of a system that was killed: we hold the lock
        listener.bind(path)
        Path(path).chmod(0o600)
        listener.listen()
        listener.setblocking(False)
        asking: dict[asyncio.Task[None], socket.socket] = {}
        loop = asyncio.get_running_loop()
        loop.add_reader(listener, _accept, listener, answer, asking)
        try:
            yield
        finally:
            (home.run / NAME).unlink(missing_ok=True)
            loop.remove_reader(listener)
            waiting = dict(asking)
            for task, connection in waiting.items():
                task.cancel()
                connection.close()
            await asyncio.gather(*waiting, return_exceptions=True)


def _accept(listener: socket.socket, answer: Answer, asking: dict[asyncio.Task[None], socket.socket]) -> None:
    try:
        connection, _ = listener.accept()
    except OSError as error:  # it went away again, or there are too many open files
        log.debug("a command could not be heard: %s", error)
        return
    task = asyncio.get_running_loop().create_task(_one(connection, answer))
    asking[task] = connection
    task.add_done_callback(asking.pop)


async def _one(connection: socket.socket, answer: Answer) -> None:
    """One question, one answer."""
    loop = asyncio.get_running_loop()
    with connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(READ_S_MAX):
                line = await _line(connection)
            said = await _answered(answer, line)
            await loop.sock_sendall(connection, json.dumps(said).encode() + b"\n")
        except (TimeoutError, OSError) as error:
            log.debug("a command went away: %s", error)


async def _line(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
        more = await loop.sock_recv(connection, LINE_BYTES_MAX)
        if not more:
            break
        line += more
    return line


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
