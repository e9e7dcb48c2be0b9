"""What every request passes before it is served: bounds, the API key or token, the caller's rate.

Enters: a request. Leaves: whose it is and its body, or a Problem. Guaranteed: requests in flight, body bytes, the time
to send them, the bodies that one caller sends at once, the requests that wait and each caller's rate are bounded; every
answer is problem+json when it is not the one asked for, is measured, and tells nothing of what failed inside. The
tenant comes from its key alone, the principal from its token; no other header is believed. Rejected: compressed bodies
(a bomb is decided by the sender), rates by address (a tenant is who pays).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from aiohttp import web
from prometheus_client import Counter as Counted
from prometheus_client import Gauge, Histogram

from aios.schemas.models import PrincipalRegistered, TenantRegistered
from aios.streams import signing
from aios.streams.config import EndpointSettings, secret
from aios.streams.errors import ConfigError, SchemaMismatch, Unavailable
from aios.streams.http.problem import Problem, of_http, of_mismatch
from aios.streams.principals import Role

BODY_S_MAX = 10.0  # to send a body
BURST_S = 1.0  # a caller that was quiet may send this many seconds of its rate at once
BUSY_RETRY_S = 1
WAITING_SHARE = 0.5  # of the requests in flight: the rest stays free for those that do not wait
WAITING_OWN_SHARE = 0.5  # of those that wait: requests of one tenant
BODIES_SHARE = 0.5  # of the requests in flight: bodies of one caller that are on their way at once
CALLER = web.RequestKey("caller", tuple[str, str])  # kind and name, as the rate has it
UNKNOWN = ("", "")  # all who say who they are with the body itself, in its signature
JSON = "application/json"

Owner = TypeVar("Owner")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOOK = Histogram("aios_http_request_seconds", "From the first byte to the answer.", ["route", "status"])
REJECTED = Counted("aios_http_rejected", "Requests not served, by reason.", ["reason"])
IN_FLIGHT = Gauge("aios_http_requests_in_flight", "Requests being served.")

log = logging.getLogger(__name__)


class KeyHolders(Protocol):
    """Whose key is it; TenantTable in service."""

    def by_key(self, api_key: str) -> TenantRegistered | None: ...


class TokenHolders(Protocol):
    """Whose token is it; PrincipalTable in service."""

    def by_token(self, token: str) -> PrincipalRegistered | None: ...


class Limits(Protocol):
    """The section of the settings that a server has."""

    @property
    def body_bytes_max(self) -> int: ...
    @property
    def requests_in_flight_max(self) -> int: ...
    @property
    def rate_per_s_max(self) -> int: ...


class Bucket:
    """A token bucket: rate_per_s tokens a second, BURST_S of them at once."""

    def __init__(self, rate_per_s: int, now_s: float) -> None:
        self._rate = rate_per_s
        self._tokens = rate_per_s * BURST_S
        self._at = now_s

    def take(self, now_s: float) -> float:
        """Take a token: 0.0, or the seconds until there is one."""
        self._tokens = min(self._rate * BURST_S, self._tokens + (now_s - self._at) * self._rate)
        self._at = now_s
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


@contextmanager
def taken(places: Counter[Owner], owner: Owner) -> Iterator[None]:
    """One more place is this owner's meanwhile; who has none is forgotten."""
    places[owner] += 1
    try:
        yield
    finally:
        places[owner] -= 1
        places += Counter()


class Guard:
    """One per process, for servers whose callers are principals. clock: monotonic seconds."""

    def __init__(self, limits: Limits, principals: TokenHolders, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._principals = principals
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}  # of registered callers only
        self._bodies: Counter[tuple[str, str]] = Counter()  # on their way, by caller
        self.in_flight = 0
        self._waiting: Counter[str] = Counter()  # for their decision, by tenant
        self.stopping = False

    @web.middleware
    async def answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware: whatever happens, one measured answer in one form."""
        started = self._clock()
        response = await self._answer(request, handler)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        TOOK.labels(route, str(response.status)).observe(self._clock() - started)
        return response

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Count a request as in flight. Raises Problem when there are too many, or the process is leaving."""
        if self.stopping:
            raise Problem("stopping", "this process is leaving; send again", headers=_retry_after(BUSY_RETRY_S))
        if self.in_flight >= self._limits.requests_in_flight_max:
            raise Problem("busy", "too many requests in flight; send again", headers=_retry_after(BUSY_RETRY_S))
        self.in_flight += 1
        IN_FLIGHT.set(self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1
            IN_FLIGHT.set(self.in_flight)

    def may_wait(self, tenant: str) -> bool:
        """Whether one more request of this tenant may stay in flight to wait for its decision."""
        most = max(1, int(self._limits.requests_in_flight_max * WAITING_SHARE))
        own = max(1, int(most * WAITING_OWN_SHARE))
        return self._waiting.total() < most and self._waiting[tenant] < own

    def waiting(self, tenant: str) -> AbstractContextManager[None]:
        """From when a request of this tenant may wait until it waits no more."""
        return taken(self._waiting, tenant)

    def principal(self, request: web.Request, *roles: Role) -> PrincipalRegistered:
        """The principal whose token the request carries, within its rate. roles: it must have one of them.

        Raises Problem.
        """
        found = self._principals.by_token(bearer(request))
        if found is None:
            raise _unknown("token of a principal", "aios principal add NAME --role ROLE")
        request[CALLER] = ("principal", found.name)
        self._within_rate("principal", found.name)
        if not set(roles) & set(found.roles):
            raise Problem("forbidden", f"this needs the role {' or '.join(roles)}; `aios principal add` gives roles")
        return found

    def _within_rate(self, kind: str, name: str) -> None:
        bucket = self._buckets.get((kind, name))
        if bucket is None:
            bucket = self._buckets[kind, name] = Bucket(self._limits.rate_per_s_max, self._clock())
        if wait := bucket.take(self._clock()):
            raise Problem(
                "too_many_requests",
                f"over {self._limits.rate_per_s_max} requests a second of this {kind}",
                headers=_retry_after(math.ceil(wait)),
            )

    async def body(self, request: web.Request, *, larger: str = "") -> bytes:
        """The bytes of a JSON body. larger: what becomes of one over the bound, as a sentence's end. Raises Problem."""
        too_large = Problem("too_large", f"the body is over {self._limits.body_bytes_max} bytes{larger}")
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise Problem(
                "unsupported_media_type", "send the body without Content-Encoding", headers={"Accept-Encoding": ""}
            )
        if request.content_type != JSON or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
            raise Problem("unsupported_media_type", f"send Content-Type: {JSON}", headers={"Accept": JSON})
        if (request.content_length or 0) > self._limits.body_bytes_max:
            raise too_large
        try:
            with self._on_its_way(request.get(CALLER, UNKNOWN)):
                async with asyncio.timeout(BODY_S_MAX):
                    return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except TimeoutError:
            raise Problem("too_slow", f"the body did not arrive within {BODY_S_MAX:.0f} s") from None

    def _on_its_way(self, caller: tuple[str, str]) -> AbstractContextManager[None]:
        """Of a body that is there already nothing is seen: who sends fast may have every place. Raises Problem."""
        own = max(1, int(self._limits.requests_in_flight_max * BODIES_SHARE))
        if self._bodies[caller] >= own:
            why = f"{own} bodies of this caller are on their way, the most; send again when one is there"
            raise Problem("too_many_requests", why, headers=_retry_after(BUSY_RETRY_S))
        return taken(self._bodies, caller)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return refuse(problem)
        except web.HTTPException as error:
            return refuse(of_http(error))
        except SchemaMismatch as error:
            return refuse(of_mismatch(error))
        except (Unavailable, ConfigError) as error:
            log.warning("a request was not served: %s", error)
            why = "what this needs does not answer at this moment; nothing is lost, send again"
            return refuse(Problem("unavailable", why, headers=_retry_after(BUSY_RETRY_S)))
        except Exception as error:  # noqa: BLE001 - a caller gets an answer whatever breaks; the text may hold payload
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "nowhere"
            log.error("a request failed: %s at %s", type(error).__name__, where)  # noqa: TRY400 - see above
            return refuse(Problem("internal", "this is a fault of this process; its log has the place"))


class TenantGuard(Guard):
    """Of a server that tenants call too."""

    def __init__(
        self,
        limits: Limits,
        tenants: KeyHolders,
        principals: TokenHolders,
        clock: Callable[[], float] = time.monotonic,
        *,
        endpoints: Mapping[str, EndpointSettings] | None = None,
    ) -> None:
        """endpoints: of the settings, who may tell cases by webhook."""
        super().__init__(limits, principals, clock)
        self._tenants = tenants
        self._endpoints = endpoints or {}

    def tenant(self, request: web.Request) -> str:
        """The tenant whose key the request carries, within its rate. Raises Problem."""
        found = self._tenants.by_key(bearer(request))
        if found is None:
            raise _unknown("API key of a tenant", "aios tenant add NAME")
        request[CALLER] = ("tenant", found.tenant)
        self._within_rate("tenant", found.tenant)
        return found.tenant

    def reviewer(self, request: web.Request) -> PrincipalRegistered:
        """The principal who decides. Raises Problem."""
        return self.principal(request, Role.REVIEWER)

    def reader(self, request: web.Request) -> tuple[str, ...]:
        """Of which tenants questions may be read: of the key's own, or the reviewer's; () is all. Raises Problem."""
        if self._tenants.by_key(bearer(request)) is not None:
            return (self.tenant(request),)
        return self.reviewer(request).tenants

    def person(self, request: web.Request) -> str:
        """The name of the principal who asks, of one that was let in; empty for a tenant's program."""
        found = self._principals.by_token(bearer(request))
        return found.name if found is not None else ""

    def owner(self, request: web.Request) -> tuple[tuple[str, ...], str]:
        """Whose cases may be cancelled (() is all), and who cancels as the decision names it. Raises Problem."""
        if self._tenants.by_key(bearer(request)) is not None:
            return (self.tenant(request),), "producer"
        operator = self.principal(request, Role.OPERATOR)
        return operator.tenants, f"operator:{operator.name}"

    def sender(self, request: web.Request) -> str:
        """The endpoint that the path names; whether it is its sender says signed(). Raises Problem."""
        name = request.match_info["endpoint"]
        if name not in self._endpoints:
            raise _unsigned("no sender signs here under this name; see connectors.endpoints")
        return name

    def signed(self, name: str, request: web.Request, body: bytes) -> EndpointSettings:
        """The endpoint, once its signature over the body is verified, within its rate. Raises Problem."""
        endpoint = self._endpoints[name]
        why = signing.refusal(secret(endpoint.secret), request.headers, body, int(time.time()))
        if why:
            raise _unsigned(f"the message is not believed: {why}")
        self._within_rate("endpoint", name)
        return endpoint


def bearer(request: web.Request) -> str:
    """What a request says who it is, empty if nothing."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _unknown(what: str, command: str) -> Problem:
    return Problem(
        "unauthorized",
        f"send Authorization: Bearer <{what}>; `{command}` makes one",
        headers={"WWW-Authenticate": 'Bearer realm="aios"'},
    )


def _unsigned(why: str) -> Problem:
    return Problem("unauthorized", why, headers={"WWW-Authenticate": 'Webhook-Signature realm="aios"'})


def refuse(problem: Problem) -> web.Response:
    """The answer, counted."""
    REJECTED.labels(problem.reason).inc()
    return problem.response()


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(max(1, seconds))}
