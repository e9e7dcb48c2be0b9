"""A CalDAV server (RFC 4791), as far as calendars need it: read a span, read, put and delete one object.

Enters: paths of calendars, uids, iCalendar text. Leaves: objects with their etags. Guaranteed: a request that a server
fails or loses is asked TRIES_MAX times in all, since each is idempotent by its condition, and a booking is a dozen of
them: of ten that fail once in four, the dozen would succeed together once in thirty tries; then, and where the server
is not there or asks to come later, the error goes up, and the shell has the say. Every error says whether something may
have been written; `put` writes only what was promised to be there (a
new object, or the one with this etag); an answer larger than the bound is not read on, and one that leaves an object
out is no answer: what is not told would be free time; redirects are not followed; what a server names itself is asked
for by that name.

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
from urllib.parse import quote, unquote

import aiohttp

from aios.processors.connectors.connector import TOO_LARGE, CallFailed, Failure
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
GONE = frozenset({404, 410})
BARE = "/"  # before a name that does not end in .ics: none has one of its own there


@dataclass(frozen=True, slots=True)
class Object:
    """uid: its name on the server without .ics, which of ours is the uid; or behind BARE a name that has none."""

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
            return tuple(_objects(raw, calendar))
        except ET.ParseError as error:
            raise CallFailed(Failure.TRANSIENT, "answer_broken", "the answer is no multi-status") from error

    async def get(self, calendar: str, uid: str) -> Object | None:
        """One object; None: it is not there. Raises CallFailed."""
        status, raw, headers = await self._send("GET", self._place(calendar, uid), {})
        if status in GONE:
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
        name = uid.removeprefix(BARE) if uid.startswith(BARE) else f"{uid}.ics"
        return f"{self._url}/{quote(calendar)}/{quote(name, safe='')}"

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
                        raise CallFailed(Failure.PERMANENT, TOO_LARGE, "a calendar is too large to be read")
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


def _objects(raw: bytes, calendar: str) -> list[Object]:
    """Raises CallFailed where the answer does not say all: RFC 4791, 7.8, lets a server leave out what is too much."""
    found = []
    for response in ET.fromstring(raw).iter(f"{DAV}response"):  # noqa: S314 - expat bounds what entities come to
        if _status(response) in GONE:
            continue  # it went while the answer was written
        told = next((one for one in response.iterfind(f"{DAV}propstat") if _status(one) == 200), response)
        text = told.findtext(f"{DAV}prop/{CAL}calendar-data")
        if not text:
            raise CallFailed(
                Failure.PERMANENT, "unreadable", f"the server does not tell all of the calendar {calendar}"
            )
        name = _name(response.findtext(f"{DAV}href") or "")
        found.append(Object(name, told.findtext(f"{DAV}prop/{DAV}getetag") or "", text))
    return found


def _status(said: ET.Element) -> int:
    """Of a line such as `HTTP/1.1 200 OK`; 0: none."""
    words = (said.findtext(f"{DAV}status") or "").split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _name(href: str) -> str:
    name = unquote(href.rstrip("/").rpartition("/")[2])
    return name.removesuffix(".ics") if name.endswith(".ics") and not name.startswith(BARE) else f"{BARE}{name}"


def _again_s(header: str) -> float:
    try:
        return min(max(0.0, float(header)), RETRY_AFTER_S_MAX)
    except ValueError:
        return 0.0
