"""CalDAV against a server that answers as real ones may: in parts, and by names of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aios.processors.connectors.caldav import CalDav
from aios.processors.connectors.connector import CallFailed, Failure

SPAN = (1_800_000_000, 1_800_086_400)
OK, AWAY, MORE = "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 507 Insufficient Storage"


def told(href: str, status: str = OK, data: str = "BEGIN:VCALENDAR") -> str:
    prop = f"<D:prop><D:getetag>1</D:getetag><C:calendar-data>{data}</C:calendar-data></D:prop>"
    return (
        f"<D:response><D:href>{href}</D:href><D:propstat>{prop}<D:status>{status}</D:status></D:propstat></D:response>"
    )


def only(href: str, status: str) -> str:
    return f"<D:response><D:href>{href}</D:href><D:status>{status}</D:status></D:response>"


@asynccontextmanager
async def server(*responses: str) -> AsyncIterator[tuple[CalDav, list[str]]]:
    """A client, and the paths that the server was asked for beside the span."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        if request.method == "REPORT":
            body = f'<D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">{"".join(responses)}'
            return web.Response(status=207, text=f"{body}</D:multistatus>")
        asked.append(request.raw_path)
        return web.Response(text="BEGIN:VCALENDAR")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    made = TestServer(app)
    await made.start_server()
    dav = CalDav(str(made.make_url("/")), "", "")
    try:
        yield dav, asked
    finally:
        await dav.close()
        await made.close()


@pytest.mark.parametrize(
    "part", [only("/ben/", MORE), told("/ben/b.ics", AWAY), told("/ben/b.ics", data=""), only("/ben/b.ics", OK)]
)
def test_a_calendar_that_is_told_in_part_is_not_free(part: str) -> None:
    """Too many objects (RFC 4791, 7.8), or one that is not shown: an error that names whose, never free time."""

    async def work() -> CallFailed:
        async with server(told("/ben/a.ics"), part) as (dav, _):
            with pytest.raises(CallFailed) as failed:
                await dav.span("ben", SPAN)
            return failed.value

    failed = asyncio.run(work())
    assert (failed.failure, failed.word, "ben" in str(failed)) == (Failure.PERMANENT, "unreadable", True)


def test_an_object_that_went_meanwhile_is_none() -> None:
    async def work() -> list[str]:
        async with server(told("/ben/a.ics"), only("/ben/b.ics", AWAY)) as (dav, _):
            return [one.uid for one in await dav.span("ben", SPAN)]

    assert asyncio.run(work()) == ["a"]


@pytest.mark.parametrize(
    "path",
    ["/ben/7ab%40google.com.ics", "/ben/event-17", "/ben/a%20b%2Fc.ics", "/ben/%2Fodd.ics", "/ben/plain.ics"],
)
def test_what_a_server_names_is_asked_for_by_that_name(path: str) -> None:
    """With an @ as others make them, with a slash, and without .ics."""

    async def work() -> list[str]:
        async with server(told(path)) as (dav, asked):
            (found,) = await dav.span("ben", SPAN)
            await dav.get("ben", found.uid)
            await dav.put("ben", found.uid, found.text, etag=found.etag)
            await dav.delete("ben", found.uid, etag=found.etag)
            return asked

    assert [segments(one) for one in asyncio.run(work())] == [segments(path)] * 3


def segments(path: str) -> list[str]:
    return [unquote(one) for one in path.split("/")]
