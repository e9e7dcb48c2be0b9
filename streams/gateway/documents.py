"""POST /v1/documents: what is too large for a case's body is handed in before it, and named in it (claim check).

Enters: bytes, as they are. Leaves: a reference to put into `reference` of a document of a case. Guaranteed: a 201 means
that they are on the disk; the same bytes of the same tenant have the same reference, so that sending again does no
harm; they are bounded while they arrive, in size and in time, and never held whole in memory. Rejected: multipart (one
document a request needs none), a name or type of the document here (it is the case that says what it is called).

A document that arrives holds a place, and they are few: ARRIVING_SHARE of the requests in flight, of these
TENANT_SHARE for one tenant. It keeps its place only while it comes at BYTES_PER_S_MIN, START_S given, so that the
slowest holds one for 138 s. What no case needs any more is forgotten by each gateway, every SWEEP_EVERY_S.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AbstractContextManager, suppress
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from aios.streams.config import GatewaySettings
from aios.streams.document_store import (
    BY_REFERENCE_FROM,
    BYTES_MAX,
    RETENTION_DAYS,
    Arriving,
    QuotaUsedUp,
    Store,
    TooLarge,
)
from aios.streams.errors import Unavailable
from aios.streams.http.about import json_answer
from aios.streams.http.guard import taken
from aios.streams.http.openapi import Route
from aios.streams.http.problem import Problem

START_S = 10.0
BYTES_PER_S_MIN = 128 << 10  # 16 MiB within START_S and 128 s
ARRIVING_SHARE = 1 / 16  # of the requests in flight
TENANT_SHARE = 1 / 8  # of those
SWEEP_EVERY_S = 3600.0
PIECE_BYTES = 256 << 10

log = logging.getLogger(__name__)


class DocumentKept(BaseModel):
    """Kept for RETENTION_DAYS after it was last handed in."""

    reference: str = Field(pattern="^sha256:[0-9a-f]{64}$")
    bytes: int


ROUTE = Route(
    method="POST",
    path="/v1/documents",
    name="keep_document",
    does=f"Hand in a document's bytes, up to {BYTES_MAX >> 20} MiB, any type; a case names it by the reference."
    f" Kept for {RETENTION_DAYS} days after it was last handed in.",
    raw=True,
    answers={201: DocumentKept},
    refuses=("invalid_body", "quota_used_up", "too_large", "too_slow", "unsupported_media_type"),
)


class DocumentsApi:
    """The handler; part of the gateway's Api. _documents: None: this server keeps none."""

    _documents: Store | None = None
    _limits: GatewaySettings
    _arriving: Counter[str]  # by tenant

    async def keep_document(self, request: web.Request, tenant: Any) -> web.Response:
        if self._documents is None:
            raise Problem("unavailable", "this gateway keeps no documents")
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise Problem("unsupported_media_type", "send the document without Content-Encoding")
        if (request.content_length or 0) > BYTES_MAX:
            raise Problem("too_large", f"a document has at most {BYTES_MAX} bytes")
        with self._place(tenant):
            return await _kept(request, self._documents.new(tenant))

    def _place(self, tenant: str) -> AbstractContextManager[None]:
        """Raises Problem when all are taken."""
        places = max(1, int(self._limits.requests_in_flight_max * ARRIVING_SHARE))
        own = max(1, int(places * TENANT_SHARE))
        again = {"Retry-After": "1"}
        if self._arriving[tenant] >= own:
            why = f"{own} documents of this tenant arrive at this moment, the most; send again when one is there"
            raise Problem("too_many_requests", why, headers=again)
        if self._arriving.total() >= places:
            raise Problem("busy", f"{places} documents arrive at this moment, the most; send again", headers=again)
        return taken(self._arriving, tenant)


async def sweeping(store: Store, stop: asyncio.Event, every_s: float = SWEEP_EVERY_S) -> None:
    """Forget what is kept for longer than it need be, until stop."""
    while not stop.is_set():
        try:
            gone = await asyncio.to_thread(store.sweep, RETENTION_DAYS * 86_400.0, lambda: not stop.is_set())
            if gone:
                log.info("%d documents forgotten, handed in more than %d days ago", gone, RETENTION_DAYS)
        except Unavailable as error:
            log.warning("documents are kept for longer than they need be: %s", error)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stop.wait()


async def _kept(request: web.Request, part: Arriving) -> web.Response:
    try:
        size = await _arrived(request, part)
        if not size:
            raise Problem("invalid_body", "there is nothing in the body")
        reference = await asyncio.to_thread(part.keep)
    except TooLarge as error:
        raise Problem("too_large", str(error)) from None
    except QuotaUsedUp as error:
        raise Problem("quota_used_up", f"{error}; {_INSTEAD}") from None
    finally:
        await asyncio.to_thread(part.drop)
    return json_answer(DocumentKept(reference=reference, bytes=size).model_dump(), status=201)


_INSTEAD = (
    f"up to {BY_REFERENCE_FROM >> 10} KiB it may stand in the case itself; what is kept already may be sent again;"
    f" room comes as documents are forgotten, {RETENTION_DAYS} days after they were last handed in, or when an operator"
    " raises documents.tenant_bytes_max or documents.tenant_count_max"
)


async def _arrived(request: web.Request, part: Arriving) -> int:
    """Its bytes. Raises Problem when they come too slowly."""
    size, began = 0, asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(START_S) as limit:
            async for piece in request.content.iter_chunked(PIECE_BYTES):
                await asyncio.to_thread(part.write, piece)
                size += len(piece)
                limit.reschedule(began + START_S + size / BYTES_PER_S_MIN)
    except TimeoutError:
        why = f"the document did not come at {BYTES_PER_S_MIN >> 10} KiB a second, {START_S:.0f} s given to begin with"
        raise Problem("too_slow", why) from None
    return size
