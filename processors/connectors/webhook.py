"""Webhooks out: a signed message to a system of others, at an address that the deployment names.

Enters: `send`, with the name of an endpoint (connectors.endpoints of the settings), the kind of message and its body.
Leaves: that the receiver took it. Guaranteed: signed as streams/signing.py says; `webhook-id` is the command's
idempotency key, the same for every try, so that a receiver can tell a repeat; a tenant's case reaches that tenant's
endpoints alone; no workflow names an address, and redirects are not followed. A receiver that is away opens its own
circuit alone: its messages wait, a few here and the others in a retry tier, and the other receivers' go on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic import Field

from aios.processors.connectors.connector import Ask, CallFailed, Effect, Failure, Operation, Part, Setup, failure_of
from aios.schemas import ids
from aios.streams import signing
from aios.streams.config import EndpointSettings, secret
from aios.streams.errors import ConfigError
from aios.streams.system_files import ENDPOINT

CONNECT_S_MAX = 3.0
OWN_SHARE = 0.9  # of the try's time, so that a silent receiver is told from a silent system
LATER = frozenset({401, 403, 404, 408, 409, 425, 429})  # also what is only being set up or changed over there
GONE = 410  # it wants nothing any more


class Message(Part):
    """endpoint: of the settings. kind: for the receiver, e.g. `case.decided`."""

    endpoint: str = Field(pattern=ENDPOINT)
    kind: str = Field(min_length=1, max_length=100)
    body: dict[str, Any]


class Taken(Part):
    """status: the receiver's, 2xx."""

    status: int


class Webhook:
    """See the module."""

    operations: Mapping[str, Operation] = {
        "send": Operation(
            request=Message,
            response=Taken,
            response_contract="webhook.taken.v1",
            effects=frozenset({Effect.AT_LEAST_ONCE, Effect.AT_MOST_ONCE}),
        )
    }

    def __init__(self, setup: Setup) -> None:
        self._endpoints = setup.settings.connectors.endpoints
        self._calls_max = setup.system.limits.calls_max
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._calls_max),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, operation: str, request: Message, ask: Ask) -> Taken:  # noqa: ARG002 - there is one
        assert self._session is not None
        endpoint = self._endpoint(request, ask)
        told = {"id": ask.idempotency_key, "type": request.kind, "case_id": ask.case_id, "data": request.body}
        body = ids.canonical(told).encode()
        headers = _signed(endpoint, request.endpoint, ask.idempotency_key, body)
        try:
            async with self._session.post(
                endpoint.url,
                data=body,
                headers={**headers, "Content-Type": "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ask.deadline_s * OWN_SHARE, connect=CONNECT_S_MAX),
            ) as response:
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            raise _unheard(error) from error
        if 200 <= status < 300:
            return Taken(status=status)
        raise _refusal(status)

    async def done(self, operation: str, request: Message, ask: Ask) -> Taken | None:  # noqa: ARG002 - nobody asks
        raise CallFailed(Failure.PERMANENT, "cannot_tell", "a webhook's receiver is not asked what it has taken")

    def classify(self, error: Exception) -> Failure:
        return failure_of(error)

    def _endpoint(self, request: Message, ask: Ask) -> EndpointSettings:
        found = self._endpoints.get(request.endpoint)
        if found is None or not found.url or found.tenant != ask.tenant:
            raise CallFailed(
                Failure.PERMANENT,
                "no_endpoint",
                f"connectors.endpoints has no {request.endpoint} with a url for it",
                was_called=False,
            )
        return found


def _signed(endpoint: EndpointSettings, name: str, message_id: str, body: bytes) -> dict[str, str]:
    """A secret that is not there yet keeps this endpoint's messages waiting, and nobody else's."""
    try:
        return signing.signed(secret(endpoint.secret), message_id, time.time_ns() // 10**9, body)
    except ConfigError as error:
        raise CallFailed(
            Failure.TRANSIENT, "not_configured", f"connectors.endpoints.{name}: {error}", is_systems=False
        ) from error


def _unheard(error: Exception) -> CallFailed:
    never = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    failure = Failure.TRANSIENT if never else Failure.AMBIGUOUS
    return CallFailed(failure, "no_connection", f"the receiver was not heard: {type(error).__name__}", is_systems=False)


def _refusal(status: int) -> CallFailed:
    if status in LATER:
        return CallFailed(Failure.TRANSIENT, f"http_{status}", "the receiver does not take it now", is_systems=False)
    if status >= 500:
        return CallFailed(Failure.AMBIGUOUS, f"http_{status}", "the receiver failed inside", is_systems=False)
    if status == GONE:
        return CallFailed(Failure.REFUSED, f"http_{status}", "the receiver wants nothing any more")
    return CallFailed(Failure.PERMANENT, f"http_{status}", "the receiver does not take it as it is")
