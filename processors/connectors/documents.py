"""The system `documents`: names, dates and addresses out of documents, with their places.

Enters: a document as text, as bytes in base64, or by reference. Leaves: facts with their places. Nothing outside
changes, so the operation has no effect. Guaranteed: a document that cannot be read is an answer that says why, never an
error: the case goes on with it. Errors are of the store that keeps documents. It computes in children of this
process (processors/reading).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aios.processors.connectors.connector import Ask, CallFailed, Failure, Operation, Part, Setup, failure_of
from aios.processors.reading.compared import DocumentRead
from aios.processors.reading.extract import Read
from aios.processors.reading.fact import Kind
from aios.processors.reading.problem import SENTENCES, Problem
from aios.processors.reading.reader import NOTHING, Reader
from aios.processors.reading.reader import Document as Opened
from aios.processors.reading.stated import Stated
from aios.schemas.errors import Unavailable
from aios.streams.document_store import Differs, NotKept, Store, kept_here

SHARE_OF_TIME = 0.8  # of the try's: what is over is for extracting
FILE_CHARS_MAX = 256


class StatedRequest(Part):
    """What the application says: it is looked for in the document, too."""

    name: str = ""
    birth_date: str = ""
    address: str = ""


class ReadRequest(Part):
    """One of text, content and reference; where there are several, the first of reference, content, text."""

    name: Annotated[str, Field(max_length=FILE_CHARS_MAX)] = ""
    media_type: str = ""
    text: str = ""
    content: str = ""  # base64
    reference: str = ""
    stated: StatedRequest = StatedRequest()


class Documents:
    """See the module."""

    operations: Mapping[str, Operation] = {
        "read": Operation(request=ReadRequest, response=DocumentRead, response_contract="document_read.v1"),
    }

    def __init__(self, setup: Setup) -> None:
        self._store: Store = kept_here(setup.settings)
        self._reader = Reader()

    async def open(self) -> None:
        """Children are started when the first document needs one."""

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        if isinstance(request, ReadRequest):
            return await self._read(request, ask)
        raise CallFailed(Failure.PERMANENT, "unknown_operation", f"documents cannot be asked to {operation}")

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:
        """Nothing has effects here."""
        del operation, request, ask
        return None

    def classify(self, error: Exception) -> Failure:
        return Failure.TRANSIENT if isinstance(error, Unavailable) else failure_of(error)

    async def close(self) -> None:
        await self._reader.close()

    async def _read(self, request: ReadRequest, ask: Ask) -> DocumentRead:
        try:
            content = await self._content(request, ask.tenant)
        except _NotThere as why:
            return answer(request.name, b"", Opened("", (), why.problem), NOTHING)
        opened = await self._reader.read(content, s_max=ask.deadline_s * SHARE_OF_TIME)
        said = Stated(**request.stated.model_dump())
        opened, found = await self._reader.facts(opened, said)
        return answer(request.name, content, opened, found)

    async def _content(self, request: ReadRequest, tenant: str) -> bytes:
        """Raises _NotThere, and Unavailable."""
        if request.reference:
            try:
                return await asyncio.to_thread(self._store.get, tenant, request.reference)
            except NotKept as error:
                raise _NotThere(Problem.NOT_FOUND) from error
            except Differs as error:
                raise _NotThere(Problem.DIFFERS) from error
        if request.content:
            try:
                return base64.b64decode("".join(request.content.split()), validate=True)  # as mail wraps it, too
            except ValueError as error:
                raise _NotThere(Problem.BROKEN) from error
        return request.text.encode()


class _NotThere(Exception):
    """There are no bytes to read, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def answer(file: str, content: bytes, opened: Opened, found: Read) -> DocumentRead:
    """What travels on: facts, the surest of each kind beside them."""
    surest: dict[Kind, str] = {}
    for fact in found.facts:
        surest.setdefault(fact.kind, fact.value)
    return DocumentRead(
        file=file or "document",
        kind=found.kind,
        media_type=opened.media_type,
        sha256=hashlib.sha256(content).hexdigest() if content else "",
        pages=len(opened.pages),
        scanned=sum(page.by_ocr for page in opened.pages),
        facts=found.facts,
        problem=opened.problem,
        says=SENTENCES[opened.problem],
        name=surest.get(Kind.NAME, ""),
        birth_date=surest.get(Kind.BIRTH_DATE, ""),
        nationality=surest.get(Kind.NATIONALITY, ""),
        country=surest.get(Kind.COUNTRY, ""),
        address=surest.get(Kind.ADDRESS, ""),
        document_number=surest.get(Kind.DOCUMENT_NUMBER, ""),
        expires=surest.get(Kind.EXPIRES, ""),
    )
