"""POST /v1/documents: handed in before a case, named in it."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path

from aios.streams.document_store import BYTES_MAX, FolderStore
from aios.streams.http_documents import ROUTE
from aios.streams.openapi import document
from tests.fakes.gateway import KEYS, served

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


def test_nothing_too_much_and_compressed_are_refused(tmp_path: Path) -> None:
    """With their reasons, and nothing stays on the disk."""
    assert handed_in(tmp_path, b"")[0] == 422
    assert handed_in(tmp_path, bytes(BYTES_MAX + 1))[0] == 413
    assert handed_in(tmp_path, b"x", **{"Content-Encoding": "gzip"})[0] == 415
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_a_key_nothing_is_taken(tmp_path: Path) -> None:
    """401, as everywhere."""
    assert handed_in(tmp_path, b"x", Authorization="Bearer nobody")[0] == 401


def test_the_description_says_that_bytes_are_taken() -> None:
    """So that a client made from it sends them."""
    told = document([ROUTE], title="t", version="1", path_values={})
    body = told["paths"]["/v1/documents"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/octet-stream"]
