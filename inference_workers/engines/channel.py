"""What travels between a worker and the process of its engine, over a pair of connected sockets.

Enters and leaves: the messages below, each a pickle behind its length; both ends are ours, and nobody else has the
sockets. The worker's end never waits for the engine's (asyncio); the engine's end reads between two steps what has
come, and sleeps in wait() while it has nothing to do. Guaranteed: messages arrive in order; a message has a bound;
either end learns of the other's end (EOFError, asyncio.IncompleteReadError).
Rejected: multiprocessing's connections (they block the event loop in the middle of a message), gRPC (a server and a
port for two processes that begin and end together), JSON (a vector is 384 floats).
"""

from __future__ import annotations

import asyncio
import pickle
import select
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, Runner
from aios.streams.config import InferenceSettings

MESSAGE_BYTES_MAX = 256 << 20  # a batch of the longest texts is far below
READ_BYTES = 1 << 18
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The first message of a worker. model: folder. overtaken_max: batch.py. overrides: of vLLM's EngineArgs. who: the
    process and slot that the logs name.
    """

    model: Path
    runner: Runner
    settings: InferenceSettings
    overtaken_max: int
    overrides: Mapping[str, Any]
    who: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Ask:
    number: int
    request: Embed | Generate


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for it any more. Of one that has ended meanwhile nothing is said."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """And warm. tokens_max: room of the KV cache; 0: it has none."""

    version: str
    tokens_max: int


@dataclass(frozen=True, slots=True)
class Died:
    """The engine's last message. is_setting: what has to be changed is a setting, and `why` names it."""

    why: str
    is_setting: bool = False


@dataclass(slots=True)
class Stepped:
    """What has happened since the last one, by the numbers of what was asked, in this order: some left, being
    cancelled; some were refused; some were seated (tokens of the prompt, when); then all that are seated had `seconds`
    of the engine together (0: no step was made), wrote some tokens (how many, when) and some ended.

    told: what engine.Told hears of the step. metrics: vLLM's own, in Prometheus' text format, when they are due.
    Times are of the monotonic clock, which all processes of a machine share.
    """

    left: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    seated: list[tuple[int, int, float]] = field(default_factory=list)
    seconds: float = 0.0
    wrote: list[tuple[int, int, float]] = field(default_factory=list)
    ended: list[tuple[int, Embedding | Generation]] = field(default_factory=list)
    told: Mapping[str, Any] | None = None
    metrics: str = ""


NOTHING = Stepped()
Message = Load | Ask | Cancel | Loaded | Died | Stepped


def framed(message: Message) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Message:
    """The next one. Raises asyncio.IncompleteReadError at the other's end."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return _message(await reader.readexactly(_bounded(length)))


class End:
    """The engine's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._come = bytearray()

    def send(self, message: Message) -> None:
        """Waits until the worker takes it."""
        self._sock.sendall(framed(message))

    def wait(self, s_max: float | None = None) -> None:
        """Until there is something to read, or the worker is gone; None: however long that is."""
        select.select((self._sock,), (), (), s_max)

    def read(self) -> Sequence[Message]:
        """What has come. Raises EOFError when nothing will come any more."""
        try:
            while chunk := self._sock.recv(READ_BYTES, socket.MSG_DONTWAIT):
                self._come += chunk
        except BlockingIOError:
            return list(self._whole())
        raise EOFError

    def _whole(self) -> Iterator[Message]:
        while len(self._come) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._come)
            end = _LENGTH.size + _bounded(length)
            if len(self._come) < end:
                return
            yield _message(self._come[_LENGTH.size : end])
            del self._come[:end]


def _message(body: bytes | bytearray) -> Message:
    message: Message = pickle.loads(body)  # noqa: S301 - from the other end, which is ours
    return message


def _bounded(length: int) -> int:
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {length} bytes; at most {MESSAGE_BYTES_MAX} travel")
    return length
