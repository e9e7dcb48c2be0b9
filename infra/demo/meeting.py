"""`aios demo meeting`: requests in plain words through a running system and a real calendar server, and what came out.

Enters: a home in which nothing runs. Leaves: printed tables: of each request what became of it and why, told on each
participant's clock; of the calendars what stands in them, counted at the server. Guaranteed: the server is Radicale, a
child of the demo, and is away for AWAY_S while requests are under way; holds that are left, entries that stand twice,
are missing, or stand though the meeting was called off, and requests that came to a person are counted, and any of them
is a failure; a request that does not come to rest in SETTLE_S_MAX is one too. No model is asked by meeting.schedule:
the engines are drills.
"""

from __future__ import annotations

import asyncio
import csv
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import ClientSession
from rich.console import Console
from rich.table import Table

from aios.infra.demo import diaries, run
from aios.infra.local.radicale import Radicale
from aios.infra.output import fail
from aios.infra.running import Running, running
from aios.streams import tenants

WORKFLOW = "meeting.schedule"
DATA = Path(__file__).parent / "data"
REAL = 60  # of the real requests
AWAY_S = 6.0
SETTLE_S_MAX = 300.0
POLL_S = 0.5
AT_ONCE = 8
WAITS = ("booked", "waiting_for_answer", "waiting_for_person")
USER, PASSWORD = "DEMO_CALENDAR_USER", "DEMO_CALENDAR_PASSWORD"


@dataclass(frozen=True, slots=True)
class Request:
    """told: what its case is told afterwards, one after the other: kind and words."""

    organiser: str
    text: str
    told: tuple[tuple[str, str], ...] = ()


CHANGED, CLARIFIED = "meeting_changed", "meeting_clarified"
NEXT = (
    f"case list --workflow {WORKFLOW}",
    "case explain CASE",
    f'case tell CASE {CHANGED} --set "text=move it to Friday"',
)  # what to do with a system that is kept
REQUESTS = (
    Request("ben.weiss", "Schedule an hour with Ana and the Berlin team early next week, not before 9 their time"),
    Request("ben.weiss", "Schedule a meeting with Ana López next Thursday at 10am", ((CHANGED, "move it to 11am"),)),
    Request("eva.krause", "Set up a meeting with Ben Weiß next Tuesday at 10am"),  # his focus time
    Request("ana.lopez", "Plan a meeting with the platform team next week"),
    Request("cleo.kim", "Schedule a meeting with Ravi Menon next Wednesday"),  # their days do not meet
    Request("mia.ward", "Schedule a meeting with Ana tomorrow at 3pm"),  # the middle of the night in Madrid
    Request("ben.weiss", "Schedule a meeting with Lisa next Friday at 11am", ((CLARIFIED, "Ana López"),)),
    Request("eva.krause", "Plan lunch with Ben Weiß next Monday at noon", ((CHANGED, "cancel the meeting"),)),
    Request("ravi.menon", "Remind me to call my grandma this Sunday"),
    Request("ravi.menon", "What do I have tomorrow?"),
    Request("ana.lopez", "Cancel my dentist appointment"),
    Request("ben.weiss", "Schedule a meeting with Eva Krause next Wednesday at 2pm"),
    Request("ana.lopez", "Schedule a meeting with Eva Krause next Wednesday at 2pm"),  # the same hour of hers
)


@dataclass(slots=True)
class Course:
    """One request on its way. seen: the case as the gateway last showed it. told: how much it was told."""

    request: Request
    case: str
    seen: dict[str, Any]
    told: int = 0

    @property
    def at_rest(self) -> bool:
        return bool(self.seen.get("decided_at")) or self.seen.get("status") in WAITS


def demo(*, keep: bool) -> None:
    """Raises click's Exit when something did not come to rest, or something runs here already."""
    console = Console()
    run.free_home()
    with TemporaryDirectory(prefix="aios-calendars-") as folder, _server(console, Path(folder)) as server:
        own = {
            "AIOS_CONNECTORS__OPTIONS": json.dumps(
                {"calendars": {"url": server.url, "directory": str(DATA / "people.yaml")}}
            ),
            "AIOS_CONNECTORS__SECRETS": json.dumps(
                {"calendars": {"user": f"env:{USER}", "password": f"env:{PASSWORD}"}}
            ),
            USER: server.user,
            PASSWORD: server.password,
            "AIOS_INFERENCE__ENGINE": "echo",
        }
        with run.system(console, keep=False, **own):
            _work(console, running(), server)
            if keep:
                _stay(console, server)


@contextmanager
def _server(console: Console, folder: Path) -> Iterator[Radicale]:
    console.rule("a calendar server, and what stands in its calendars")
    server = Radicale(folder)
    server.start()
    try:
        count = asyncio.run(diaries.fill(server, DATA / "people.yaml", datetime.now(UTC).date()))
        console.print(f"Radicale at {server.url}: {count} entries of six people and three rooms", highlight=False)
        yield server
    finally:
        server.stop()


def _work(console: Console, found: Running, server: Radicale) -> None:
    asked = [*REQUESTS, *_real()]
    console.rule(f"{len(asked)} requests in plain words, {REAL} of them real ones")
    courses = asyncio.run(_through(console, found, server, asked))
    _show(console, courses)
    entries = asyncio.run(diaries.entries(server, DATA / "people.yaml", datetime.now(UTC).date()))
    _judge(console, courses, entries)


async def _through(console: Console, found: Running, server: Radicale, asked: Sequence[Request]) -> list[Course]:
    key = tenants.kept_key(found.settings.home, found.settings.default_tenant)
    async with ClientSession(found.gateway, headers={"Authorization": f"Bearer {key}"}) as client:
        courses = await _send(client, asked)
        server.stop()
        console.print(f"handed in; now the calendar server is away for {AWAY_S:.0f} s", highlight=False)
        await asyncio.sleep(AWAY_S)
        server.start()
        await _settle(console, client, courses)
        for course in courses:
            while course.told < len(course.request.told) and not course.seen.get("decided_at"):
                await _tell(client, course)
                await _settle(console, client, [course])
        return courses


async def _send(client: ClientSession, asked: Sequence[Request]) -> list[Course]:
    name, room = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}", asyncio.Semaphore(AT_ONCE)

    async def send(number: int, request: Request) -> Course:
        body = {"organiser": request.organiser, "text": request.text}
        async with (
            room,
            client.post(
                f"/v1/workflows/{WORKFLOW}/cases", json=body, headers={"Idempotency-Key": f"{name}-{number}"}
            ) as answer,
        ):
            said = await answer.json(content_type=None)
            if answer.status not in (200, 202):
                fail(f"{request.text!r} was not taken: {said.get('detail', said)}")
            return Course(request, str(said["case_id"]), {})

    return list(await asyncio.gather(*(send(number, request) for number, request in enumerate(asked))))


async def _settle(console: Console, client: ClientSession, courses: Sequence[Course]) -> None:
    """Until every case is decided, booked or waits for an answer."""
    deadline, said = time.monotonic() + SETTLE_S_MAX, 0.0
    while True:
        for course in courses:
            if not course.at_rest:
                async with client.get(f"/v1/cases/{course.case}") as answer:
                    if answer.status == 200:
                        course.seen = await answer.json()
        rest = sum(course.at_rest for course in courses)
        if rest == len(courses):
            return
        if time.monotonic() > deadline:
            open_ones = [course.request.text for course in courses if not course.at_rest]
            fail(f"{len(open_ones)} requests did not come to rest within {SETTLE_S_MAX:.0f} s: {open_ones[:3]}")
        if time.monotonic() > said and len(courses) > 1:
            said = time.monotonic() + 5.0
            console.print(f"{rest} of {len(courses)} at rest", highlight=False)
        await asyncio.sleep(POLL_S)


async def _tell(client: ClientSession, course: Course) -> None:
    kind, words = course.request.told[course.told]
    body = {"kind": kind, "body": {"text": words}}
    async with client.post(f"/v1/cases/{course.case}/events", json=body) as answer:
        if answer.status != 202:
            fail(f"{course.request.text!r} could not be told {words!r}: {await answer.text()}")
    before = len(course.seen.get("timeline", ()))
    deadline = time.monotonic() + SETTLE_S_MAX
    course.told += 1
    while time.monotonic() < deadline:
        async with client.get(f"/v1/cases/{course.case}") as answer:
            course.seen = await answer.json()
        if len(course.seen.get("timeline", ())) > before:
            return
        await asyncio.sleep(POLL_S)
    fail(f"{course.request.text!r} did not hear {words!r}")


def _real() -> list[Request]:
    with (DATA / "calendar_requests.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    return [Request("mia.ward", text) for text in rows[:: max(1, len(rows) // REAL)][:REAL]]


def _show(console: Console, courses: Sequence[Course]) -> None:
    table = Table("request", "became", "because", "told", show_lines=True)
    for course in courses[: len(REQUESTS)]:
        told = "".join(f"\n⟶ {words}" for _, words in course.request.told[: course.told])
        table.add_row(
            f"[b]{course.request.organiser}[/b]: {course.request.text}{told}",
            _became(course),
            ", ".join(course.seen.get("reasons") or _reasons(course)),
            _words(course),
        )
    console.print(table)
    real = Counter(_became(course) for course in courses[len(REQUESTS) :])
    console.print(f"the {REAL} real ones: {', '.join(f'{word} {count}' for word, count in real.most_common())}")
    first = courses[0]
    console.rule("why this slot: what each participant is told")
    for one in _said(first).get("why", ()):
        console.print(f"[b]{one['person']}[/b] ({one['zone']})")
        for sentence in one["sentences"]:
            console.print(f"   {sentence}", highlight=False, soft_wrap=True)


def _became(course: Course) -> str:
    return str(course.seen.get("outcome") or course.seen.get("status") or "open")


def _said(course: Course) -> Mapping[str, Any]:
    """What the case says while it waits."""
    for move in reversed(course.seen.get("timeline", ())):
        detail = move.get("detail") or {}
        detail = json.loads(detail) if isinstance(detail, str) else detail
        if move.get("transition") == "waiting" and "says" in detail:
            says: Mapping[str, Any] = detail["says"]
            return says
    return {}


def _reasons(course: Course) -> list[str]:
    moves = (move.get("detail") or {} for move in course.seen.get("timeline", ()))
    details = [json.loads(one) if isinstance(one, str) else one for one in moves]
    return list(dict.fromkeys(reason for one in details for reason in one.get("reasons", ())))


def _words(course: Course) -> str:
    says = _said(course)
    return str(course.seen.get("summary") or says.get("slot") or says.get("question") or "")


def _judge(console: Console, courses: Sequence[Course], entries: Sequence[diaries.Entry]) -> None:
    """Counted at the server: nothing held, nothing twice, nobody bothered."""
    ours = [one for one in entries if one.case]
    holds = [one for one in ours if not one.is_confirmed]
    twice = [key for key, count in Counter((one.calendar, one.case) for one in ours).items() if count > 1]
    booked = {course.case for course in courses if course.seen.get("status") == "booked"}
    missing = booked - {one.case for one in ours}
    left = {course.case for course in courses if _became(course) == "called_off"} & {one.case for one in ours}
    people = [course for course in courses if course.seen.get("status") == "waiting_for_person"]
    console.rule("counted at the calendar server")
    console.print(f"bookings that stand: {len({one.case for one in ours})}, in {len(ours)} calendar entries")
    console.print(f"holds left behind: {len(holds)}; bookings that stand twice in a calendar: {len(twice)}")
    console.print(f"booked cases without an entry: {len(missing)}; called off, and still in a calendar: {len(left)}")
    console.print(f"requests that came to a person: {len(people)}")
    if holds or twice or missing or left or people:
        fail("something was left behind, stands twice, is missing or bothered somebody")


def _stay(console: Console, server: Radicale) -> None:
    console.rule("it runs until Ctrl-C; what next")
    for what in (
        *(f"{run.own_aios()} {words}" for words in NEXT),
        f"any calendar program at {server.url}/aios/, account {server.user}, password {server.password}",
    ):
        console.print(f"  {what}", highlight=False, markup=False, soft_wrap=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        return
