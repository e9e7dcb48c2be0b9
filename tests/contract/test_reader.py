"""Reading strangers' files with the real PDFium and the real OCR engine, each in its child process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF
from PIL import ExifTags, Image, ImageDraw, ImageFont

from aios.infra.demo import applicants, papers
from aios.infra.demo.sheets import SHEETS
from aios.processors.connectors.connector import Ask, Setup
from aios.processors.connectors.documents import Documents, ReadRequest
from aios.processors.reading.extract import extract
from aios.processors.reading.problem import Problem
from aios.processors.reading.reader import BYTES_MAX, DEATHS_MAX, Document, Reader, _Child
from aios.streams import installed
from aios.streams.config import Settings
from aios.streams.document_store import FolderStore
from tests.stopping import stop

S_MAX = 120.0
SHEET = next(sheet for sheet in SHEETS if sheet.paper == "passport")
PERSON = applicants.drawn(1, 5, "a", scans=False)[0].person
PAPER = papers.write(SHEET, PERSON, applicants.ON, random.Random(5))
PDF = papers.as_pdf(PAPER)


def reading(ask: Callable[[Reader], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        reader = Reader()
        try:
            return await ask(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


def read(content: bytes) -> Document:
    found = reading(lambda reader: reader.read(content, s_max=S_MAX))
    assert isinstance(found, Document)
    return found


def test_a_pdf_says_what_its_text_says() -> None:
    """The facts of a passport as PDF are those of the same passport as text."""
    of_pdf = {(fact.kind, fact.value) for fact in extract(read(PDF).pages).facts}
    of_text = {(fact.kind, fact.value) for fact in extract(read(papers.as_text(PAPER).encode()).pages).facts}
    assert of_pdf == of_text
    assert ("birth_date", PERSON.born.isoformat()) in of_pdf


def many_pages(count: int) -> bytes:
    pdf = FPDF()
    for _ in range(count):
        pdf.add_page()
    return bytes(pdf.output())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (papers.as_pdf(PAPER, password="secret"), Problem.ENCRYPTED),
        (PDF[: len(PDF) // 3], Problem.BROKEN),
        (b"%PDF-1.7\n%%EOF", Problem.BROKEN),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), Problem.BROKEN),
        (b"PK\x03\x04\x00\x00\x00", Problem.UNSUPPORTED),
        (bytes(BYTES_MAX + 1), Problem.TOO_LARGE),
        (many_pages(61), Problem.TOO_MANY_PAGES),
        (many_pages(1), Problem.EMPTY),
        (b"  \n ", Problem.EMPTY),
    ],
    ids=["encrypted", "cut off", "hollow", "half a picture", "an archive", "huge", "61 pages", "blank", "spaces"],
)
def test_what_cannot_be_read_says_why(content: bytes, problem: Problem) -> None:
    """One word of a closed list, no pages, and the reader goes on."""
    found = read(content)
    assert (found.problem, found.pages) == (problem, ())


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    """A small PNG of 400 megapixels: too large, told within the time."""
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 1 << 20
    assert read(bomb.getvalue()).problem == Problem.TOO_LARGE


def test_a_picture_is_read_and_says_that_it_was_one() -> None:
    """Three lines as PNG: name and birth date with their places, less sure than from text."""
    picture = Image.new("L", (900, 170), 255)
    font = ImageFont.load_default(size=30)
    for number, line in enumerate(("Surname: BELLAMY", "Given names: ANN MARIE", "Date of birth: 03 MAY 1980")):
        ImageDraw.Draw(picture).text((30, 15 + 50 * number), line, 0, font=font)
    content = io.BytesIO()
    picture.save(content, "PNG")
    found = read(content.getvalue())
    assert found.pages[0].by_ocr
    facts = {fact.kind.value: fact for fact in extract(found.pages).facts}
    assert facts["name"].value == "ANN MARIE BELLAMY"
    assert facts["birth_date"].value == "1980-05-03"
    assert facts["name"].sure < 0.95


def test_a_picture_is_read_as_people_see_it() -> None:
    """Turned by the camera, which says so, beside other tags that are damaged or not; drawn on nothing, as on paper."""
    font = ImageFont.load_default(size=30)
    drawn = Image.new("RGBA", (900, 170), (0, 0, 0, 0))
    for number, line in enumerate(("Surname: BELLAMY", "Given names: ANN MARIE", "Date of birth: 03 MAY 1980")):
        ImageDraw.Draw(drawn).text((30, 15 + 50 * number), line, "black", font=font)
    paper = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("L")
    held = Image.Exif()
    held[ExifTags.Base.Orientation] = 6
    held[ExifTags.Base.Make] = "Camera"
    damaged = held.tobytes().replace(b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02")
    assert damaged != held.tobytes()

    def kept(picture: Image.Image, kind: str, **more: Any) -> bytes:
        content = io.BytesIO()
        picture.save(content, kind, **more)
        return content.getvalue()

    turned = paper.rotate(90, expand=True)
    pictures = [
        kept(turned, "JPEG", exif=held),
        kept(turned, "JPEG", exif=damaged),
        kept(turned, "TIFF", exif=held),
        kept(drawn, "PNG"),
    ]

    async def each(reader: Reader) -> list[str]:
        found = [await reader.read(one, s_max=S_MAX) for one in pictures]
        return ["".join(page.text for page in one.pages) for one in found]

    for text in reading(each):
        assert "Date of birth: 03 MAY 1980" in text


def test_a_child_that_is_killed_or_hangs_costs_no_other_document() -> None:
    """Killed between two documents: the next is read by another. Stopped in one: that one's time is over, no more."""

    async def ask(reader: Reader) -> list[Problem]:
        found = []
        for end, s_max in ((lambda pid: os.kill(pid, signal.SIGKILL), S_MAX), (stop, 0.5)):
            assert not (await reader.read(PDF, s_max=S_MAX)).problem
            child = reader._quick.child
            assert child is not None
            end(child._process.pid)
            found.append((await reader.read(PDF, s_max=s_max)).problem)
        found.append((await reader.read(PDF, s_max=S_MAX)).problem)
        return found

    assert reading(ask) == [Problem.NONE, Problem.TOO_SLOW, Problem.NONE]


def test_a_document_over_which_children_die_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second death is the document's; nothing hangs, and the next document is read."""
    starts = []
    start = _Child.start

    async def doomed() -> _Child:
        child = await start()
        starts.append(child)
        if len(starts) <= DEATHS_MAX:
            os.kill(child._process.pid, signal.SIGKILL)
        return child

    monkeypatch.setattr(_Child, "start", staticmethod(doomed))

    async def ask(reader: Reader) -> list[Problem]:
        return [(await reader.read(PDF, s_max=S_MAX)).problem for _ in range(2)]

    assert reading(ask) == [Problem.TOO_SLOW, Problem.NONE]
    assert len(starts) == DEATHS_MAX + 1


def test_the_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment it gets what a Python needs, and nothing of the deployment."""
    monkeypatch.setenv("AIOS_TOKEN", "secret")

    async def ask(reader: Reader) -> bytes:
        await reader.read(PDF, s_max=S_MAX)
        child = reader._quick.child
        assert child is not None
        return Path(f"/proc/{child._process.pid}/environ").read_bytes()

    assert b"AIOS_" not in reading(ask)


@asynccontextmanager
async def documents(folder: Path) -> AsyncIterator[Documents]:
    settings = Settings(home=folder)
    connector = Documents(Setup(system=installed.systems()["documents"], settings=settings, options={}))
    try:
        yield connector
    finally:
        await connector.close()


def answered(folder: Path, request: ReadRequest) -> Any:
    async def run() -> Any:
        async with documents(folder) as connector:
            ask = Ask(request_id="r", idempotency_key="k", tenant="demo", deadline_s=S_MAX)
            return await connector.call("read", request, ask)

    return asyncio.run(run())


def test_the_connector_reads_by_reference_and_only_what_is_the_tenants(tmp_path: Path) -> None:
    """What was handed in is read under its reference; another tenant's, or nobody's, is not found; changed bytes are
    told apart.
    """
    store = FolderStore(tmp_path / "documents")
    mine, others = store.put("demo", PDF), store.put("other", PDF + b"\n")
    found = answered(tmp_path, ReadRequest(name="p.pdf", reference=mine))
    assert (found.problem, found.birth_date, found.media_type) == ("", PERSON.born.isoformat(), "application/pdf")
    assert found.sha256 == mine.removeprefix("sha256:")
    assert answered(tmp_path, ReadRequest(name="p.pdf", reference=others)).problem == "not_found"
    (path,) = (tmp_path / "documents").rglob(mine.removeprefix("sha256:"))
    path.write_bytes(PDF + b"%")
    assert answered(tmp_path, ReadRequest(name="p.pdf", reference=mine)).problem == "differs"


@pytest.mark.parametrize("content", ["***", "JVBERi0\u00e9", "a"])
def test_the_connector_answers_what_is_no_base64(content: str, tmp_path: Path) -> None:
    """As a broken document, not as an error of ours."""
    assert answered(tmp_path, ReadRequest(name="p.pdf", content=content)).problem == "broken"


def test_base64_is_read_in_lines_too(tmp_path: Path) -> None:
    """As the command base64 and mail write it."""
    found = answered(tmp_path, ReadRequest(name="p.pdf", content=base64.encodebytes(PDF).decode()))
    assert (found.problem, found.sha256) == ("", hashlib.sha256(PDF).hexdigest())


@pytest.mark.parametrize("unit", ["a", "born 1.1.1980\n", "my address is 12 High Street, London\n"])
def test_no_text_keeps_the_search_for_facts_busy(unit: str) -> None:
    """One word of 100,000 letters, and thousands of sentences that say something, are read within the bound."""

    async def ask(reader: Reader) -> Document:
        opened = await reader.read((unit * (100_000 // len(unit))).encode(), s_max=S_MAX)
        return (await reader.facts(opened, s_max=S_MAX))[0]

    assert reading(ask).problem is Problem.NONE


def test_facts_that_take_too_long_are_the_documents_problem_and_the_next_one_is_read() -> None:
    async def ask(reader: Reader) -> tuple[Any, Any]:
        opened = await reader.read(papers.as_text(PAPER).encode(), s_max=S_MAX)
        return await reader.facts(opened, s_max=0.0), await reader.facts(opened, s_max=S_MAX)

    (late, nothing), (opened, found) = reading(ask)
    assert (late.problem, late.pages, nothing.facts) == (Problem.TOO_SLOW, (), ())
    assert (opened.problem, found) == (Problem.NONE, extract(opened.pages))


BUSY = r"""
import asyncio, json
from aios.processors.reading.reader import _Child

async def main():
    child = await _Child.start()
    pages = json.dumps([[1, "1. A 2. B 3. 01.01.1980 4a. 01.01.2010 " * 10_000, False]]).encode()
    line = json.dumps({"what": "facts", "bytes": len(pages)}).encode()
    child._process.stdin.write(line + b"\n" + pages)
    await child._process.stdin.drain()
    print(child._process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_child_in_the_middle_of_a_document_ends_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 30.0
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, f"{child} goes on"
        time.sleep(0.05)
