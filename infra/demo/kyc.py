"""`aios demo kyc`: applications of real names through a running system, and what came out.

Enters: a home in which nothing runs. Leaves: printed figures, all read from topics; with `keep`, the running system.
Guaranteed: documents over 256 KiB go by reference (POST /v1/documents), the others in the case; figures are counted
against what was drawn, errors are shown with their words; an application that does not come to rest in SETTLE_S_MAX is
a failure with its name. No model is asked by kyc.review, so the engines are drills (`echo`) and load nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientSession
from rich.console import Console
from rich.table import Table

from aios.infra.demo import applicants, run
from aios.infra.demo.applicants import Application
from aios.infra.demo.watch import Seen, Watch
from aios.infra.output import fail
from aios.infra.running import Running, running
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, ReviewRequested
from aios.schemas.registry import RegistrySource
from aios.streams import tenants
from aios.streams.document_store import BY_REFERENCE_FROM
from aios.streams.wall_clock import wall_ms

WORKFLOW = "kyc.review"
OF_EACH = 10  # applications of each set of forms
SETS = "abcdefgh"
SEED = 3
SETTLE_S_MAX = 900.0
POLL_S = 0.3
LINE_S = 5.0
AT_ONCE = 8  # requests
ERRORS_SHOWN = 12
NEXT = ("review list", "review show TASK", "case explain CASE", "list show")  # what to do with a system that is kept


@dataclass(frozen=True, slots=True)
class Sent:
    """By case id; how many documents went by reference."""

    applications: Mapping[str, Application]
    at_ms: Mapping[str, int]
    by_reference: int


def demo(*, keep: bool) -> None:
    """Raises click's Exit when something did not come to rest, or something runs here already."""
    console = Console()
    run.free_home()
    with run.system(console, keep=keep, AIOS_INFERENCE__ENGINE="echo"):
        _work(console, running())
    if keep:
        console.rule("it runs; what next")
        for words in NEXT:
            console.print(f"  {run.own_aios()} {words}", highlight=False)


def _work(console: Console, found: Running) -> None:
    console.rule(f"{len(SETS) * OF_EACH} applications with documents as text, PDF and scans")
    drawn = [one for half in SETS for one in applicants.drawn(OF_EACH, SEED, half)]
    registry = RegistrySource(found.settings.registry.url)
    watch = Watch(found.settings.kafka, Codec(registry))
    try:
        sent = asyncio.run(_send(found, drawn))
        console.print(f"handed in; {sent.by_reference} documents over 256 KiB by reference", highlight=False)
        done = _follow(console, watch, sent)
        _show(console, sent, watch.seen)
        if not done:
            open_ones = [one.key for case, one in sent.applications.items() if not _at_rest(watch.seen, case)]
            fail(f"not everything came to rest within {SETTLE_S_MAX:.0f} s: {', '.join(open_ones[:10])}")
        _explain(console, sent, watch.seen)
    finally:
        watch.close()
        registry.close()


async def _send(found: Running, drawn: Sequence[Application]) -> Sent:
    """Through the gateway, as a bank's own program would."""
    key = tenants.kept_key(found.settings.home, found.settings.default_tenant)
    name = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    room = asyncio.Semaphore(AT_ONCE)
    applications, at_ms, references = {}, {}, 0
    async with ClientSession(found.gateway, headers={"Authorization": f"Bearer {key}"}) as client:

        async def send(application: Application) -> tuple[str, int]:
            async with room:
                body, by_reference = await _body(client, application)
                headers = {"Idempotency-Key": f"{name}-{application.key}"}
                async with client.post(f"/v1/workflows/{WORKFLOW}/cases", json=body, headers=headers) as answer:
                    said = await answer.json(content_type=None)
                    if answer.status not in (200, 202):
                        fail(f"{application.key} was not taken: {said.get('detail', said)}")
                    return str(said["case_id"]), by_reference

        for application, (case, count) in zip(drawn, await asyncio.gather(*map(send, drawn)), strict=True):
            applications[case], at_ms[case] = application, wall_ms()
            references += count
    return Sent(applications, at_ms, references)


async def _body(client: ClientSession, application: Application) -> tuple[dict[str, Any], int]:
    """The case's body, with large documents handed in before; how many these are."""
    body, count = application.plain(), 0
    for document in body["documents"]:
        content = base64.b64decode(document["content"])
        if len(content) > BY_REFERENCE_FROM:
            async with client.post("/v1/documents", data=content) as answer:
                answer.raise_for_status()
                document["reference"], document["content"] = (await answer.json())["reference"], ""
            count += 1
    return body, count


def _at_rest(seen: Seen, case: str) -> bool:
    return case in seen.decided or case in seen.waiting


def _follow(console: Console, watch: Watch, sent: Sent) -> bool:
    deadline, next_line = time.monotonic() + SETTLE_S_MAX, 0.0
    while time.monotonic() < deadline:
        watch.poll(POLL_S)
        rest = watch.seen.at_rest(sent.applications)
        if time.monotonic() >= next_line or rest == len(sent.applications):
            next_line = time.monotonic() + LINE_S
            decided = sum(case in watch.seen.decided for case in sent.applications)
            console.print(f"decided {decided}, before people {rest - decided}, open {len(sent.applications) - rest}")
        if rest == len(sent.applications):
            return True
    return False


def _came(seen: Seen, case: str) -> str:
    decision = seen.decided.get(case)
    if decision is not None:
        return decision.outcome
    return "person" if case in seen.waiting else "open"


def _show(console: Console, sent: Sent, seen: Seen) -> None:
    """Successes and errors, one table."""
    rows: dict[str, Counter[str]] = {}
    for case, application in sent.applications.items():
        came = _came(seen, case)
        row = rows.setdefault(application.kind, Counter())
        row[came] += 1
        row["right"] += came in application.expected
    table = Table("applications", "count", "right", "approved", "returned", "to a person")
    for kind in sorted(rows):
        row = rows[kind]
        count = row["approved"] + row["returned"] + row["person"] + row["open"]
        table.add_row(
            kind, *(str(each) for each in (count, row["right"], row["approved"], row["returned"], row["person"]))
        )
    console.print(table)
    for line in list(_errors(sent, seen))[:ERRORS_SHOWN]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    reasons = Counter(reason for case in sent.applications if (t := seen.waiting.get(case)) for reason in t.reasons)
    console.print(
        f"why people are asked: {', '.join(f'{name} {n}' for name, n in reasons.most_common())}", highlight=False
    )
    took = sorted(seen.settled_ms[case] - at for case, at in sent.at_ms.items() if case in seen.settled_ms)
    if took:
        console.print(
            f"from handing in to decision or person: P50 {took[len(took) // 2] / 1000:.1f} s,"
            f" longest {took[-1] / 1000:.1f} s, all handed in at once, scans read one after the other",
            highlight=False,
        )


def _errors(sent: Sent, seen: Seen) -> Iterator[str]:
    for case, application in sent.applications.items():
        came = _came(seen, case)
        if came not in application.expected:
            told: CaseDecided | ReviewRequested | None = seen.decided.get(case) or seen.waiting.get(case)
            reasons = ", ".join(told.reasons) if told is not None else "open"
            wanted = " or ".join(application.expected)
            yield f"wrong: {application.key} ({application.kind}): {came} ({reasons}), right is {wanted}"


def _explain(console: Console, sent: Sent, seen: Seen) -> None:
    """What a specialist sees of a hit, and why one case was decided."""
    asked = next(
        (seen.waiting[case] for case, one in sent.applications.items() if one.entry and case in seen.waiting), None
    )
    if asked is not None:
        evidence = json.loads(asked.evidence or "{}")
        console.rule(f"before {asked.people} people: {evidence.get('score')} points")
        for hit in evidence.get("hits", ())[:2]:
            console.print(
                f"{hit['screened']} is like {hit['name']} (entry {hit['entry']}, {hit['score']:.0f})", markup=False
            )
            for reason in hit["reasons"]:
                console.print(f"  {reason}", markup=False, highlight=False, soft_wrap=True)
    decided = next((case for case in sent.applications if case in seen.decided), None)
    if decided is not None:
        console.rule("why one was decided")
        subprocess.run([*run.AIOS, "case", "explain", decided], check=False)
