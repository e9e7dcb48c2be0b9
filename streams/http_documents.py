"""POST /v1/documents: what is too large for a case's body is handed in before it, and named in it (claim check).

Enters: bytes, as they are. Leaves: a reference to put into `reference` of a document of a case. Guaranteed: a 201 means
that they are on the disk; the same bytes of the same tenant have the same reference, so that sending again does no
harm; they are bounded while they arrive, in size and in time, and never held whole in memory. Rejected: multipart (one
document a request needs none), a name or type of the document here (it is the case that says what it is called).
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from aios.streams.document_store import BYTES_MAX, RETENTION_DAYS, Arriving, Store, TooLarge
from aios.streams.http_about import json_answer
from aios.streams.http_problem import Problem
from aios.streams.openapi import Route

ARRIVE_S_MAX = 120.0  # 16 MiB at 140 kB/s
PIECE_BYTES = 256 << 10


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
    refuses=("invalid_body", "too_large", "too_slow", "unsupported_media_type"),
)


class DocumentsApi:
    """The handler; part of the gateway's Api. _documents: None: this server keeps none."""

    _documents: Store | None = None

    async def keep_document(self, request: web.Request, tenant: Any) -> web.Response:
        if self._documents is None:
            raise Problem("unavailable", "this gateway keeps no documents")
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise Problem("unsupported_media_type", "send the document without Content-Encoding")
        if (request.content_length or 0) > BYTES_MAX:
            raise Problem("too_large", f"a document has at most {BYTES_MAX} bytes")
        part = self._documents.new(tenant)
        try:
            async with asyncio.timeout(ARRIVE_S_MAX):
                size = await _arrive(request, part)
            if not size:
                raise Problem("invalid_body", "there is nothing in the body")
            reference = await asyncio.to_thread(part.keep)
        except TimeoutError:
            raise Problem("too_slow", f"the document did not arrive within {ARRIVE_S_MAX:.0f} s") from None
        except TooLarge as error:
            raise Problem("too_large", str(error)) from None
        finally:
            await asyncio.to_thread(part.drop)
        return json_answer(DocumentKept(reference=reference, bytes=size).model_dump(), status=201)


async def _arrive(request: web.Request, part: Arriving) -> int:
    size = 0
    async for piece in request.content.iter_chunked(PIECE_BYTES):
        await asyncio.to_thread(part.write, piece)
        size += len(piece)
    return size
