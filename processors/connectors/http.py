"""JSON over HTTP: a system that a file describes, without code of its own (streams/system_files.py, Http).

Enters: an operation of the file and its request. Leaves: the response's fields, or an error with its kind. Guaranteed:
the idempotency key travels as `Idempotency-Key`, the same for every try; a body larger than the bound is not read on;
redirects are not followed; of what a server says, its status alone gets into reasons and logs; a field names one
segment of a path, and no other place than its operation's; in an address a flag is true or false, as in JSON.

    GET, DELETE         what the path does not name stands in the query, of texts each by itself: tags=a&tags=b
    others              in the body, as JSON

    connected?          not even connected: transient; lost or silent behind the request: ambiguous
    2xx                 the response, if it fits its fields; one without a body (204) has none, which fits where none is
                        asked for; a broken one is ambiguous (a gateway's page, a half body), one over the bound was
                        done, and is of no use
    408, 425, 429, 503  transient, after Retry-After; 401 too: a token that is being changed, while commands wait
    other 5xx           ambiguous: it may have got far
    `refused`           the system declines
    other 3xx, 4xx      permanent: the request or this deployment is wrong

options: url (required), timeout_connect_s. secrets: token, sent as a bearer token; without one nothing is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, create_model

from aios.processors.connectors.connector import TOO_LARGE, Ask, CallFailed, Failure, Operation, Part, Setup, failure_of
from aios.schemas import ids
from aios.streams import system_files
from aios.streams.errors import ConfigError

CONNECT_S_MAX = 3.0
LATER = frozenset({401, 408, 425, 429, 503})
RETRY_AFTER_S_MAX = 300.0
KINDS: Mapping[str, Any] = {
    "text": str,
    "number": float,
    "whole": int,
    "flag": bool,
    "texts": list[str],
    "object": dict[str, Any],
    "objects": list[dict[str, Any]],
}


class Answered(BaseModel):
    """Base of responses: what a server says beside the declared fields is left out."""

    model_config = {"frozen": True, "extra": "ignore"}


def operations_of(system: system_files.System) -> Mapping[str, Operation]:
    """What the file says that the system can be asked."""
    return {name: _operation(system.system, name, each) for name, each in system.operations.items()}


class Http:
    """See the module."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._system = setup.system
        self.operations = operations_of(setup.system)
        self._url = setup.option("url").rstrip("/")
        if not self._url.startswith(("http://", "https://")):  # aiohttp would say so of each call, done or not
            raise ConfigError(f"connectors.options.{self._system.system}.url begins with http:// or https://")
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        connect_s = float(self._setup.options.get("timeout_connect_s", CONNECT_S_MAX))
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
            connector=aiohttp.TCPConnector(limit=self._system.limits.calls_max),
            cookie_jar=aiohttp.DummyCookieJar(),  # one session for all tenants: what one is given is no other's
            auto_decompress=True,
            middlewares=(_once,),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, operation: str, request: BaseModel, ask: Ask) -> BaseModel:
        told = self._system.operations[operation]
        status, body, again_s = await self._send(told.method, told.path, request, ask)
        if 200 <= status < 300:
            return self._fitting(operation, body)
        raise self._refusal(operation, status, again_s)

    async def done(self, operation: str, request: BaseModel, ask: Ask) -> BaseModel | None:
        path = self._system.operations[operation].done
        status, body, again_s = await self._send("GET", path, request, ask, names_only=True)
        if status == 404:
            return None
        if 200 <= status < 300:
            return self._fitting(operation, body)
        raise self._refusal(operation, status, again_s)

    def classify(self, error: Exception) -> Failure:
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return Failure.TRANSIENT
        if isinstance(error, aiohttp.ClientError):
            return Failure.AMBIGUOUS
        return failure_of(error)

    async def _send(
        self, method: str, path: str, request: BaseModel, ask: Ask, *, names_only: bool = False
    ) -> tuple[int, Any, float]:
        """Status, JSON (None if it is none), and what Retry-After says. names_only: nothing but what the path names."""
        assert self._session is not None
        fields = request.model_dump(mode="json", exclude_none=True)
        named = set(system_files.named_in(path))
        values = {**fields, system_files.KEY: ask.idempotency_key}
        where = path.format(**{name: _segment(name, values.get(name, "")) for name in named})
        body = {} if names_only else {name: value for name, value in fields.items() if name not in named}
        reads = method in system_files.QUERYING
        async with self._session.request(
            method,
            f"{self._url}{where}",
            data=None if reads else ids.canonical(body).encode(),
            params=_query(body) if reads else None,
            headers={"Idempotency-Key": ask.idempotency_key, **self._headers(reads)},
            allow_redirects=False,
        ) as response:
            bound = self._system.limits.answer_bytes_max
            raw = await response.content.read(bound + 1)
            while len(raw) <= bound and (more := await response.content.read(bound + 1 - len(raw))):
                raw += more
            if len(raw) > bound:
                was_done = 200 <= response.status < 300
                says = f"{'it was done; ' if was_done else ''}the answer is over {bound} bytes"
                raise CallFailed(Failure.PERMANENT, TOO_LARGE, says, was_done=was_done)
            return response.status, _json(raw) if raw else {}, _again_s(response.headers.get("Retry-After", ""))

    def _headers(self, reads: bool) -> dict[str, str]:
        told = {} if reads else {"Content-Type": "application/json"}
        given = self._setup.settings.connectors.secrets.get(self._system.system, {})
        if "token" in {**self._system.secrets, **given}:
            token = self._setup.secret("token")
            if not token.isprintable():
                raise ConfigError(f"connectors.secrets.{self._system.system}.token is no token: it has several lines")
            told["Authorization"] = f"Bearer {token}"
        return told

    def _fitting(self, operation: str, body: Any) -> BaseModel:
        """Raises CallFailed, also for what no record can hold: no finite number, half a character, endless levels."""
        try:
            found = self.operations[operation].response.model_validate(body)
            ids.canonical(found.model_dump(mode="json")).encode()
        except (ValueError, RecursionError) as error:
            raise CallFailed(Failure.AMBIGUOUS, "answer_broken", "the answer does not fit its contract") from error
        return found

    def _refusal(self, operation: str, status: int, again_s: float) -> CallFailed:
        if status in LATER:
            return CallFailed(Failure.TRANSIENT, f"http_{status}", "it asks to come again", again_after_s=again_s)
        if status >= 500:
            return CallFailed(Failure.AMBIGUOUS, f"http_{status}", "it failed inside", again_after_s=again_s)
        if status in self._system.operations[operation].refused:
            return CallFailed(Failure.REFUSED, f"http_{status}", f"it declines to {operation}")
        return CallFailed(Failure.PERMANENT, f"http_{status}", "it does not take the request as it is")


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Whether a request whose connection was lost is sent again says its effect; aiohttp would, all but a POST."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise CallFailed(Failure.AMBIGUOUS, "connection_lost", "the connection was lost behind the request") from error


@lru_cache(maxsize=256)
def _model(name: str, fields: tuple[tuple[str, str], ...], base: type[BaseModel]) -> type[BaseModel]:
    made: dict[str, Any] = {}
    for field, kind in fields:
        found = KINDS[kind.removesuffix("?")]
        made[field] = (found | None, None) if kind.endswith("?") else (found, ...)
    return create_model(name, __base__=base, **made)


def _operation(system: str, name: str, told: system_files.Http) -> Operation:
    title = f"{system}.{name}"
    return Operation(
        request=_model(f"{title}.request", tuple(told.request.items()), Part),
        response=_model(f"{title}.response", tuple(told.response.items()), Answered),
        response_contract=f"{title}.v1",
        effects=frozenset(told.effects),
    )


def _segment(name: str, value: Any) -> str:
    """Of a path; quoted. Nothing, `.` and `..` would name another place."""
    text = _text(value)
    if text in ("", ".", ".."):
        raise CallFailed(Failure.PERMANENT, "request_broken", f"{name} cannot stand in a path", was_called=False)
    return quote(text, safe="")


def _query(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = ((name, value if isinstance(value, list) else [value]) for name, value in fields.items())
    return [(name, _text(each)) for name, every in pairs for each in every]


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _again_s(header: str) -> float:
    """Seconds; dates are not followed (another machine's clock)."""
    try:
        return min(max(0.0, float(header)), RETRY_AFTER_S_MAX)
    except ValueError:
        return 0.0
