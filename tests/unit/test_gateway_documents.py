"""POST /v1/documents: handed in before a case, named in it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aios.streams.config import GatewaySettings
from aios.streams.document_store import BY_REFERENCE_FROM, BYTES_MAX, FolderStore, Quota
from aios.streams.gateway import documents
from aios.streams.gateway.documents import ROUTE, sweeping
from aios.streams.http import serve
from aios.streams.http.openapi import document
from tests.fakes.gateway import KEYS, Served, served

OTHER = "globex"


def handed_in(folder: Path, content: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    async def ask() -> tuple[int, dict[str, object]]:
        async with served(documents=FolderStore(folder)) as gateway:
            told = {"Authorization": f"Bearer {KEYS['acme']}", **headers}
            async with gateway.client.post(
                f"{gateway.url}/v1/documents", data=io.BytesIO(content), headers=told
            ) as answer:
                return answer.status, await answer.json(content_type=None)

    return asyncio.run(ask())


def test_a_document_larger_than_any_body_is_kept_under_its_hash(tmp_path: Path) -> None:
    """Two megabytes in pieces: 201, and the store has these bytes for this tenant alone; again is the same."""
    content = bytes(range(256)) * 8192
    status, answer = handed_in(tmp_path, content)
    assert (status, answer["bytes"]) == (201, len(content))
    assert answer["reference"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert FolderStore(tmp_path).get("acme", str(answer["reference"])) == content
    assert not FolderStore(tmp_path).has(OTHER, str(answer["reference"]))
    assert handed_in(tmp_path, content) == (status, answer)


def test_a_case_with_too_large_a_document_is_told_the_way_for_it() -> None:
    """By the field's bound, and by the whole body's, whether its length was told or not; other bodies are not."""

    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        yield body

    async def test() -> None:
        async with served() as gateway:
            content = "QUJD" * (BY_REFERENCE_FROM // 3 + 2)
            one = {"applicant_name": "Ann", "documents": [{"name": "scan.pdf", "content": content}]}
            async with gateway.post(one, workflow="kyc.review") as answer:
                (wrong,) = (await answer.json(content_type=None))["errors"]
            assert (answer.status, wrong["field"]) == (422, "documents[0].content")
            assert "POST /v1/documents" in wrong["says"]
            body = json.dumps({**one, "documents": one["documents"] * 2}).encode()
            for sent_as in (body, in_pieces(body)):
                path, headers = "/v1/workflows/kyc.review/cases", {"Content-Type": "application/json"}
                async with gateway.request("POST", path, data=sent_as, headers=headers) as answer:
                    told = await answer.json(content_type=None)
                assert (answer.status, told["type"]) == (413, "urn:aios:problem:too_large")
                assert "POST /v1/documents" in told["detail"]
            async with gateway.post({"text": "x" * (600 << 10)}) as answer:
                told = await answer.json(content_type=None)
            assert (answer.status, "POST /v1/documents" in told["detail"]) == (413, False)

    asyncio.run(test())


def test_nothing_too_much_and_compressed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their reasons, and nothing stays on the disk."""
    monkeypatch.setattr(serve, "LINGER_S", 0.1)
    assert handed_in(tmp_path, b"")[0] == 422
    assert handed_in(tmp_path, bytes(BYTES_MAX + 1))[0] == 413
    assert handed_in(tmp_path, b"x", **{"Content-Encoding": "gzip"})[0] == 415
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_over_its_quota_a_tenant_is_told_what_to_do(tmp_path: Path) -> None:
    """409 with both bounds, and how room comes; what is kept already is taken again, others have their own."""

    async def test() -> None:
        async with served(documents=FolderStore(tmp_path, Quota(bytes_max=100, count_max=2))) as gateway:
            assert [await sent(gateway, content) for content in (b"a" * 40, b"b" * 40)] == [201, 201]
            async with gateway.request("POST", "/v1/documents", data=b"c") as answer:
                told = await answer.json(content_type=None)
            assert (answer.status, told["type"]) == (409, "urn:aios:problem:quota_used_up")
            for said in (
                "2 documents of at most 2",
                "80 bytes of at most 100",
                "31 days",
                "documents.tenant_bytes_max",
            ):
                assert said in told["detail"]
            assert await sent(gateway, b"a" * 40) == 201
            assert await sent(gateway, b"c", tenant=OTHER) == 201
        assert not list(tmp_path.glob("*/in/*"))

    asyncio.run(test())


def test_a_document_that_hardly_comes_loses_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 once it is behind the slowest rate, however much it had sent; nothing of it stays, and the place is free."""
    monkeypatch.setattr(documents, "START_S", 0.05)

    async def test() -> None:
        async with served(documents=FolderStore(tmp_path)) as gateway:
            async with gateway.request("POST", "/v1/documents", data=hanging(asyncio.Event())) as answer:
                told = await answer.json(content_type=None)
            assert (answer.status, told["type"]) == (408, "urn:aios:problem:too_slow")
            assert gateway.api._arriving.total() == 0
        assert not list(tmp_path.glob("*/in/*"))

    asyncio.run(test())


def test_a_tenant_that_sends_slowly_takes_no_place_of_another(tmp_path: Path) -> None:
    """It has an eighth of the places: its next one is told to come later, another tenant's is taken."""

    async def test() -> None:
        async with served(limits(places=8), documents=FolderStore(tmp_path)) as gateway, one_arrives(gateway):
            assert await sent(gateway, b"x") == 429
            assert await sent(gateway, b"x", tenant=OTHER) == 201

    asyncio.run(test())


def test_documents_that_arrive_leave_places_for_everything_else(tmp_path: Path) -> None:
    """Where all places of documents are taken another one is told to come later, and a case is accepted."""

    async def test() -> None:
        async with served(limits(places=1), documents=FolderStore(tmp_path)) as gateway, one_arrives(gateway):
            assert await sent(gateway, b"x", tenant=OTHER) == 503
            async with gateway.post({"text": "Where is my card?"}) as answer:
                assert answer.status == 202

    asyncio.run(test())


def test_the_gateway_forgets_what_is_old_by_itself(tmp_path: Path) -> None:
    """In rounds, until it is asked to stop; what came lately stays."""

    async def test() -> None:
        store, stop = FolderStore(tmp_path), asyncio.Event()
        old, new = store.put("acme", b"old"), store.put("acme", b"new")
        running = asyncio.create_task(sweeping(store, stop, every_s=0.01))
        (path,) = (path for path in tmp_path.glob("*/*/*") if path.name == old.removeprefix("sha256:"))
        os.utime(path, (0, 0))
        await until(lambda: not store.has("acme", old))
        stop.set()
        await running
        assert store.has("acme", new)

    asyncio.run(test())


def limits(*, places: int) -> GatewaySettings:
    return GatewaySettings(requests_in_flight_max=int(places / documents.ARRIVING_SHARE))


async def sent(gateway: Served, content: bytes, tenant: str = "acme") -> int:
    async with gateway.request("POST", "/v1/documents", data=content, tenant=tenant) as answer:
        return int(answer.status)


async def hanging(whole: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"first"
    await whole.wait()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 - a folder and another task tell nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def one_arrives(gateway: Served) -> AsyncIterator[None]:
    """A document of acme's is on its way, and comes whole in the end."""
    whole = asyncio.Event()

    async def send() -> int:
        async with gateway.request("POST", "/v1/documents", data=hanging(whole)) as answer:
            return int(answer.status)

    sending = asyncio.create_task(send())
    await until(lambda: gateway.api._arriving["acme"] > 0)
    yield
    whole.set()
    assert await sending == 201


def test_without_a_key_nothing_is_taken(tmp_path: Path) -> None:
    """401, as everywhere."""
    assert handed_in(tmp_path, b"x", Authorization="Bearer nobody")[0] == 401


def test_the_description_says_that_bytes_are_taken() -> None:
    """So that a client made from it sends them."""
    told = document([ROUTE], title="t", version="1", path_values={})
    body = told["paths"]["/v1/documents"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/octet-stream"]
