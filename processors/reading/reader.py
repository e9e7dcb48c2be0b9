"""Documents to pages and facts: text is decoded here, everything else is a child's work, who may die of it.

In: bytes, and the time they may take. Out: what they are and their pages, what these say, or the problem with them: a
stranger's text can keep a search for facts busy for hours, so that is a child's work too. Guaranteed: bytes
are bounded before anything looks at them; what they are is told by themselves, not by their name or declared type; a
child that hangs or dies is ended, and the document that did it has a problem, not the caller. One document at a time in
each child, and scans in one of their own: what takes milliseconds does not wait behind what takes seconds. Of one event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from aios.processors.reading import kinds
from aios.processors.reading.extract import NOTHING_STATED, Read
from aios.processors.reading.fact import Fact
from aios.processors.reading.problem import Problem
from aios.processors.reading.source import Page
from aios.processors.reading.stated import Stated

BYTES_MAX = 16 << 20  # of a document
TEXT_BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = 4 << 20  # a line of the child
START_S_MAX = 60.0
FACTS_S_MAX = 20.0  # of one document's text; a page takes milliseconds
DEATHS_MAX = 2  # the first may be the machine's doing; a document over which two children died has done it
PDF_WITHIN = 1024  # bytes before its mark, as readers allow
NO_TEXT = frozenset({"Cc", "Cn"})  # controls, and what is no character; spaces and joiners of any script are text
NOTHING = Read(kinds.Document.OTHER, ())
_MEDIA = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}


@dataclass(frozen=True, slots=True)
class Document:
    """media_type: as the bytes say. problem: then there are no pages."""

    media_type: str
    pages: tuple[Page, ...]
    problem: Problem = Problem.NONE


class Reader:
    """See the module."""

    def __init__(self) -> None:
        self._quick = _Room()
        self._slow = _Room()

    async def read(self, content: bytes, *, s_max: float) -> Document:
        """Returns within s_max a child, the time that children need to start, and that of the documents before it."""
        if len(content) > BYTES_MAX:
            return Document("", (), Problem.TOO_LARGE)
        head = content[:PDF_WITHIN]
        if b"%PDF-" in head:
            answer = await self._quick.ask("pdf", content, s_max)
            if answer.get("scanned"):
                answer = await self._slow.ask("scan", content, s_max)
            return _document("application/pdf", answer)
        for mark, media_type in _MEDIA.items():
            if content.startswith(mark):
                return _document(media_type, await self._slow.ask("picture", content, s_max))
        return await asyncio.to_thread(of_text, content)

    async def facts(
        self, opened: Document, stated: Stated = NOTHING_STATED, *, s_max: float = FACTS_S_MAX
    ) -> tuple[Document, Read]:
        """What its pages say; where that takes too long, the document has this problem, and no pages.

        stated: what the application says, which is looked for in it.
        """
        if not opened.pages:
            return opened, NOTHING
        pages = json.dumps([[page.number, page.text, page.by_ocr] for page in opened.pages]).encode()
        answer = await self._quick.ask("facts", pages, s_max, stated=astuple(stated))
        if "problem" in answer:
            return replace(opened, pages=(), problem=Problem(answer["problem"])), NOTHING
        found = tuple(Fact.model_validate(fact) for fact in answer["facts"])
        return opened, Read(kinds.Document(answer["kind"]), found)

    async def close(self) -> None:
        """End the children."""
        await self._quick.close()
        await self._slow.close()


def _document(media_type: str, answer: Mapping[str, Any]) -> Document:
    problem = Problem(answer.get("problem", ""))
    pages = tuple(Page(number, text, by_ocr) for number, text, by_ocr in answer.get("pages", ()))
    if not problem and not any(page.text.strip() for page in pages):
        problem = Problem.EMPTY
    return Document(media_type, () if problem else pages, problem)


class _Room:
    """A child, started when first needed; who asks waits for those before him."""

    def __init__(self) -> None:
        self.child: _Child | None = None
        self._one = asyncio.Lock()

    async def ask(self, what: str, content: bytes, s_max: float, **more: Any) -> dict[str, Any]:
        async with self._one:
            for _ in range(DEATHS_MAX):
                answer = await self._asked(what, content, s_max, more)
                if answer is not None:
                    return answer
        return {"problem": Problem.TOO_SLOW.value}

    async def close(self) -> None:
        if self.child is not None:
            await self.child.end()
        self.child = None

    async def _asked(self, what: str, content: bytes, s_max: float, more: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.child is None or not self.child.lives:
            self.child = await _Child.start()
        try:
            return await self.child.ask(what, content, s_max, more)
        except BaseException:  # cancelled in the middle of an answer: the next one would get it
            await self.close()
            raise


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # start() asks for both as pipes
        assert process.stdout is not None
        self._process, self._requests, self._answers = process, process.stdin, process.stdout

    @classmethod
    async def start(cls) -> _Child:
        """Raises OSError and TimeoutError: then it is the machine's fault, and the call's error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aios.processors.reading.child",
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=ANSWER_BYTES_MAX,
            env={**_environment(), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"},
        )
        child = cls(process)
        try:
            async with asyncio.timeout(START_S_MAX):
                ready = await child._answers.readline()
            if not ready:
                raise OSError("the process that reads documents does not start")
        except BaseException:
            await child.end()
            raise
        return child

    @property
    def lives(self) -> bool:
        return self._process.returncode is None

    async def ask(
        self, what: str, content: bytes, s_max: float, more: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Its answer; None: it died over it. One that gives none in time is ended: that is the document's problem."""
        line = json.dumps({"what": what, "bytes": len(content), **(more or {})}).encode() + b"\n"
        try:
            async with asyncio.timeout(s_max):
                self._requests.write(line + content)
                await self._requests.drain()
                answer = await self._answers.readline()
            if answer:
                return dict(json.loads(answer))
        except TimeoutError:
            await self.end()
            return {"problem": Problem.TOO_SLOW.value}
        except (ConnectionError, ValueError):
            pass  # a pipe without a reader, or half a line: it has died
        await self.end()
        return None

    async def end(self) -> None:
        if self.lives:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()


def _environment() -> dict[str, str]:
    """Nothing but what a Python needs: the child gets no setting, and so no secret."""
    kept: Sequence[str] = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


def of_text(content: bytes) -> Document:
    """Plain text in UTF-8, UTF-16 with its mark, or else Windows' western code page."""
    if len(content) > TEXT_BYTES_MAX:
        return Document("text/plain", (), Problem.TOO_LARGE)
    text = _decoded(content)
    if text is None:
        return Document("", (), Problem.UNSUPPORTED)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    pages = tuple(Page(number, page) for number, page in enumerate(text.split("\f"), start=1))
    if not text.strip():
        return Document("text/plain", (), Problem.EMPTY)
    return Document("text/plain", pages)


def _decoded(content: bytes) -> str | None:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif b"\x00" in content:
        return None
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        none = sum(unicodedata.category(character) in NO_TEXT and character not in "\n\r\t\f" for character in text)
        return text if none <= len(text) // 100 else None
    return None
