"""A CalDAV server (RFC 4791), as far as calendars need it: read a span, read, put and delete one object.

Enters: paths of calendars, uids, iCalendar text. Leaves: objects with their etags. Guaranteed: a request that a server
fails or loses is asked TRIES_MAX times in all, since each is idempotent by its condition, and a booking is a dozen of
them: of ten that fail once in four, the dozen would succeed together once in thirty tries; then, and where the server
is not there or asks to come later, the error goes up, and the shell has the say. Every error says whether something may
have been written; `put` writes only what was promised to be there (a
new object, or the one with this etag); an answer larger than the bound is not read on; redirects are not followed.

    no connection           transient
    lost behind a request   a read: transient; a write: ambiguous
    401                     transient: this deployment's account is put right while commands wait
    429, 503, 507           transient, after Retry-After
    other 5xx               as a lost connection
    404                     of an object: it is not there; of a calendar: permanent
    412                     something else is there
    else                    permanent

Rejected: the library `caldav` (synchronous, with requests; its retries and its discovery would be a second shell).
"""

from __future__ import annotations

import asyncio
import base64
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp

from aios.processors.connectors.connector import CallFailed, Failure
from aios.processors.meetings.intervals import Stretch

CONNECT_S_MAX = 3.0
ANSWER_BYTES_MAX = 16 << 20  # of one calendar's span
DAV, CAL = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
LATER = frozenset({429, 503, 507})
RETRY_AFTER_S_MAX = 300.0
TRIES_MAX = 3
PAUSE_S = 0.05
FLAPS = frozenset({"connection_lost", "http_500", "http_502", "http_504"})
READS = frozenset({"REPORT", "GET", "PROPFIND"})


@dataclass(frozen=True, slots=True)
class Object:
    """uid: of its href, which is how objects of ours are named."""

    uid: str
    etag: str
    text: str


class CalDav:
    """One server, one account."""

    def __init__(self, url: str, user: str, password: str, *, calls_max: int = 32) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S_MAX),
            connector=aiohttp.TCPConnector(limit=calls_max),
            headers={"Authorization": _basic(user, password)} if user else None,
        )

    async def close(self) -> None:
        await self._session.close()

    async def span(self, calendar: str, span: Stretch) -> tuple[Object, ...]:
        """Every object that has an occurrence in a span. Raises CallFailed."""
        start, end = (f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}" for at in span)
        body = (
            '<?xml version="1.0" encoding="utf-8"?><C:calendar-query xmlns:D="DAV:"'
            ' xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter>'
            '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">'
            f'<C:time-range start="{start}" end="{end}"/>'
            "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
        )
        headers = {"Depth": "1", "Content-Type": "application/xml; charset=utf-8"}
        status, raw, _ = await self._send("REPORT", f"{self._url}/{quote(calendar)}/", headers, body)
        if status != 207:
            raise CallFailed(Failure.PERMANENT, "no_calendar", f"there is no calendar {calendar}")
        try:
            return tuple(_objects(raw))
        except ET.ParseError as error:
            raise CallFailed(Failure.TRANSIENT, "answer_broken", "the answer is no multi-status") from error

    async def get(self, calendar: str, uid: str) -> Object | None:
        """One object; None: it is not there. Raises CallFailed."""
        status, raw, headers = await self._send("GET", self._place(calendar, uid), {})
        if status in (404, 410):
            return None
        return Object(uid, headers.get("ETag", ""), raw.decode("utf-8", "replace"))

    async def put(self, calendar: str, uid: str, text: str, *, etag: str = "") -> bool:
        """Write one object: a new one, or in place of the one with this etag. False: something else is there.

        Raises CallFailed.
        """
        condition = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        headers = {"Content-Type": "text/calendar; charset=utf-8", **condition}
        status, _, _ = await self._send("PUT", self._place(calendar, uid), headers, text)
        if status in (404, 409):
            raise CallFailed(Failure.PERMANENT, "no_calendar", f"there is no calendar {calendar} to write to")
        return status != 412

    async def delete(self, calendar: str, uid: str, *, etag: str = "") -> bool:
        """False: it is not there, or another one. Raises CallFailed."""
        status, _, _ = await self._send("DELETE", self._place(calendar, uid), {"If-Match": etag} if etag else {})
        return status not in (404, 410, 412)

    async def make(self, calendar: str) -> None:
        """An empty calendar, for who sets a server up; one that is there is left as it is. Raises CallFailed."""
        status, _, _ = await self._send("MKCALENDAR", f"{self._url}/{quote(calendar)}/", {})
        if status not in (201, 405, 409):
            raise CallFailed(Failure.PERMANENT, f"http_{status}", f"the calendar {calendar} cannot be made")

    def _place(self, calendar: str, uid: str) -> str:
        return f"{self._url}/{quote(calendar)}/{quote(uid, safe='')}.ics"

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: str = ""
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Of what the table above calls an error, only 404, 409 and 412 come back as a status."""
        for tried in range(1, TRIES_MAX + 1):
            try:
                return await self._sent(method, url, headers, body)
            except CallFailed as error:
                if tried == TRIES_MAX or error.word not in FLAPS:
                    raise
            await asyncio.sleep(PAUSE_S * tried)
        raise AssertionError("unreachable")

    async def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        lost = Failure.TRANSIENT if method in READS else Failure.AMBIGUOUS
        try:
            async with self._session.request(
                method, url, data=body.encode() if body else None, headers=headers, allow_redirects=False
            ) as response:
                raw = bytearray()
                async for chunk in response.content.iter_chunked(1 << 16):
                    raw += chunk
                    if len(raw) > ANSWER_BYTES_MAX:
                        raise CallFailed(Failure.PERMANENT, "answer_too_large", "a calendar is too large to be read")
                _refuse(response, lost)
                return response.status, bytes(raw), response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CallFailed(Failure.TRANSIENT, "no_connection", "the calendar server cannot be reached") from error
        except aiohttp.ClientError as error:
            raise CallFailed(lost, "connection_lost", "the calendar server did not finish its answer") from error


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _refuse(response: aiohttp.ClientResponse, lost: Failure) -> None:
    """Raises CallFailed where the table says so."""
    status = response.status
    again_s = _again_s(response.headers.get("Retry-After", ""))
    if status == 401:
        raise CallFailed(Failure.TRANSIENT, "not_let_in", "the calendar server does not know this account")
    if status == 403:
        raise CallFailed(Failure.PERMANENT, "forbidden", "the calendar server does not let this account do that")
    if status in LATER:
        raise CallFailed(Failure.TRANSIENT, f"http_{status}", "it asks to come again", again_after_s=again_s)
    if status >= 500:
        raise CallFailed(lost, f"http_{status}", "it failed inside", again_after_s=again_s)
    if status >= 300 and status not in (404, 405, 409, 410, 412):
        raise CallFailed(Failure.PERMANENT, f"http_{status}", "it does not take the request as it is")


def _objects(raw: bytes) -> list[Object]:
    found = []
    for response in ET.fromstring(raw).iter(f"{DAV}response"):  # noqa: S314 - expat bounds what entities come to
        text = response.findtext(f".//{CAL}calendar-data")
        if text:
            href = response.findtext(f"{DAV}href") or ""
            name = href.rstrip("/").rpartition("/")[2].removesuffix(".ics")
            found.append(Object(name, response.findtext(f".//{DAV}getetag") or "", text))
    return found


def _again_s(header: str) -> float:
    try:
        return min(max(0.0, float(header)), RETRY_AFTER_S_MAX)
    except ValueError:
        return 0.0
