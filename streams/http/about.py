"""What the HTTP servers of ours have in common: routes become a router, and each tells how it is.

Enters: a server's routes and its guard, and how to ask whether what it stands on answers. Leaves: the application;
health and the OpenAPI document. Guaranteed: every route of the document is served, and no other. Rejected: metrics
here, where a proxy in front would tell them to everybody: each process has a port for them (streams/metrics.py).
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from aios.streams.errors import Unavailable
from aios.streams.http import openapi
from aios.streams.http.guard import Guard
from aios.streams.http.openapi import Caller, Route, public

VERSION = "1"
ASK_S_MAX = 0.5  # of what it reads from, where it can go on without

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Health(BaseModel):
    """What this process can reach. outcomes false: cases are accepted, but nobody can wait or read."""

    ready: bool
    kafka: bool
    outcomes: bool


class About(ABC):
    """A server's handlers, by the names of its routes. reachable: whether Kafka answers at this moment. check: of what
    it reads from; raises Unavailable.
    """

    def __init__(
        self,
        guard: Guard,
        routes: Sequence[Route],
        *,
        title: str,
        body_bytes_max: int,
        reachable: Callable[[], Awaitable[bool]],
        check: Callable[[], Awaitable[None]],
        path_values: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._guard = guard
        self._routes = routes
        self._body_bytes_max = body_bytes_max
        self._reachable = reachable
        self._check = check
        self._document = json.dumps(
            openapi.document(routes, title=title, version=VERSION, path_values=path_values or {})
        )

    def app(self) -> web.Application:
        """Every route, behind the guard."""
        app = web.Application(client_max_size=self._body_bytes_max, middlewares=[self._guard.answered])
        for route in self._routes:
            act = getattr(self, route.name)
            app.router.add_route(
                route.method, route.path, act if route.caller is Caller.NOBODY else self._guarded(route, act)
            )
        return app

    def leave(self) -> None:
        """Serve nothing new."""
        self._guard.stopping = True

    @abstractmethod
    def _guarded(self, route: Route, act: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        """The handler of a route that needs a bearer."""

    async def alive(self, _: web.Request) -> web.Response:
        return json_answer({"alive": True})

    async def readiness(self, _: web.Request) -> web.Response:
        kafka = await self._reachable()
        health = Health(ready=kafka and not self._guard.stopping, kafka=kafka, outcomes=await self._checked())
        return json_answer(health.model_dump(), status=200 if health.ready else 503)

    async def describe(self, _: web.Request) -> web.Response:
        return web.Response(text=self._document, content_type="application/json")

    async def _checked(self) -> bool:
        try:
            async with asyncio.timeout(ASK_S_MAX):
                await self._check()
            return True
        except (Unavailable, TimeoutError):
            return False


def about_routes(ready: str) -> tuple[Route, ...]:
    """What About serves. ready: what the process can do when it is."""
    return (
        public("/healthz", "alive", "This process answers.", {200: None}),
        public("/readyz", "readiness", ready, {200: Health, 503: Health}),
        public("/openapi.json", "describe", "This document.", {200: None}),
    )


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(value, ensure_ascii=False)
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
