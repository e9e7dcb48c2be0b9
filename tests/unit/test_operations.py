"""What operations answers, on a real HTTP server with its neighbours in memory; and its command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse
from click.testing import CliRunner, Result
from pydantic import SecretStr
from rich.status import Status

from aios.dlq import commands
from aios.dlq.entries import LetterOutcome
from aios.dlq.index_layout import Outcome, State
from aios.dlq.letter_states import LetterState
from aios.dlq.operations import letters
from aios.dlq.operations.routes import ROUTES
from aios.dlq.report import Report
from aios.infra import running as running_module
from aios.infra.cli import aios
from aios.infra.commands import dlq
from aios.infra.commands import operations as shared
from aios.infra.commands import replay as replaying
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, USAGE
from aios.infra.running import Running
from aios.schemas import ids
from aios.schemas.models import AuditRecorded, ReplayRemembered
from aios.streams import credentials, principals
from aios.streams.config import OperationsSettings, Settings
from aios.streams.http.openapi import Caller
from aios.streams.http.problem import REASONS
from aios.streams.topics import AUDIT_RECORDED, RETENTION_MS
from aios.streams.wall_clock import wall_ms
from tests.fakes.breakers import open_breaker
from tests.fakes.operations import NOW, Served, entry, job, served, token

ONE, TWO = entry(1).letter.id, entry(2).letter.id
DRAFT = job(1).job_id
PATCH = [{"op": "replace", "path": "/text", "value": "x"}]


def run(test: Callable[[Served], Awaitable[None]], limits: OperationsSettings | None = None) -> None:
    async def within() -> None:
        async with asyncio.timeout(30), served(limits) as operations:
            await test(operations)

    asyncio.run(within())


async def said(response: ClientResponse, status: int = 200) -> Any:
    body = await response.text()
    assert response.status == status, body
    return json.loads(body)


async def problem(response: ClientResponse, reason: str) -> dict[str, Any]:
    assert response.content_type == "application/problem+json", await response.text()
    body: dict[str, Any] = json.loads(await response.text())
    assert (body["type"], response.status) == (f"urn:aios:problem:{reason}", REASONS[reason])
    assert body["detail"]
    return body


def test_every_route_needs_a_token_and_its_role() -> None:
    """401 without a token or with another, before anything is looked at; 403 to whom the role is missing."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        for route in ROUTES:
            path = route.path.replace("{letter_id}", ONE).replace("{job_id}", ONE)
            if route.caller is Caller.NOBODY:
                continue
            for headers in ({}, {"Authorization": "Bearer aios_nobody"}, {"Authorization": token("ann")}):
                async with operations.request(route.method, path, who="", headers=headers) as response:
                    await problem(response, "unauthorized")
            if route.method == "POST":
                for who in ("eve", "rob"):
                    async with operations.post(path, {}, who=who) as response:
                        await problem(response, "forbidden")
        assert operations.stage.asked == []

    run(test)


def test_openapi_describes_what_is_served() -> None:
    """Every route and no other, each refusal of the closed list, every reference resolves."""

    async def test(operations: Served) -> None:
        async with operations.get("/openapi.json", who="") as response:
            document = await said(response)
        described = {(method.upper(), path) for path, of in document["paths"].items() for method in of}
        assert described == {(route.method, route.path) for route in ROUTES}
        names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert {part for part in json.dumps(document).split('"') if part.startswith("#/components")} <= names
        assert set(document["components"]["securitySchemes"]) == {"token"}

    run(test)


@pytest.mark.parametrize(
    "path", ["dead-letters", "dead-letters/groups", "replays", f"replays/{DRAFT}/results", "breakers"]
)
def test_what_a_list_answers_has_the_parts_that_the_openapi_document_names(path: str) -> None:
    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        skipped = LetterOutcome(letter_id=ONE, outcome=Outcome.SKIPPED, reason="", to="", generation=0, at=NOW)
        operations.index.outcomes[Outcome.SKIPPED] = [skipped]
        operations.stage.jobs[DRAFT] = job(1)
        operations.breakers.held["k"] = open_breaker("k")
        async with operations.get("/openapi.json", who="") as response:
            document = await said(response)
        async with operations.get(f"/v1/{path}") as response:
            answer = await said(response)
        get = document["paths"][f"/v1/{path.replace(DRAFT, '{job_id}')}"]["get"]
        told = get["responses"]["200"]["content"]["application/json"]["schema"]
        if isinstance(answer, list):
            told, answer = told["items"], answer[0]
        told = document["components"]["schemas"][told["$ref"].rpartition("/")[2]]
        assert set(told["properties"]) <= set(answer)

    run(test)


def test_a_token_of_one_tenant_shows_nothing_of_another() -> None:
    """Lists, counts, groups, scans, single letters, jobs, breakers; and nothing of theirs is touched."""

    async def test(operations: Served) -> None:
        operations.index.held += [entry(1), entry(2, tenant="globex"), entry(3, tenant="")]
        mine, theirs, alls = job(1, tenant="acme"), job(2, tenant="globex"), job(3)
        operations.stage.jobs |= {each.job_id: each for each in (mine, theirs, alls)}
        for tenant in ("acme", "globex", ""):
            breaker = open_breaker("aios.admit", -1 if tenant else 0, tenant=tenant, at=NOW)
            operations.breakers.held[breaker.key] = breaker
        async with operations.get("/v1/dead-letters", who="oma") as response:
            page = await said(response)
            assert ([each["id"] for each in page["letters"]], page["total"]) == ([ONE], 1)
        async with operations.get("/v1/dead-letters/groups", who="oma") as response:
            assert [each["count"] for each in await said(response)] == [1]
        async with operations.get("/v1/dead-letters?tenant=globex", who="oma") as response:
            assert (await said(response))["letters"] == []
        async with operations.get("/v1/dead-letters/scan?where=true", who="oma") as response:
            assert (await response.text()).count('"letter"') == 1
        for path in (f"/v1/dead-letters/{TWO}", f"/v1/replays/{theirs.job_id}", f"/v1/replays/{alls.job_id}/results"):
            async with operations.get(path, who="oma") as response:
                await problem(response, "not_found")
        async with operations.get(f"/v1/dead-letters?id={TWO}", who="oma") as response:
            await problem(response, "not_found")
        async with operations.get("/v1/replays", who="oma") as response:
            assert [each["job_id"] for each in (await said(response))["jobs"]] == [mine.job_id]
        async with operations.get("/v1/breakers", who="oma") as response:
            assert [each["tenant"] for each in await said(response)] == ["acme"]
        for path, body in (
            (f"/v1/dead-letters/{TWO}/discard", {}),
            (f"/v1/dead-letters/{TWO}/edit", {"patch": PATCH}),
            (f"/v1/replays/{theirs.job_id}/abort", {}),
            ("/v1/breakers/close", {"key": "aios.admit/tenant/globex"}),
        ):
            async with operations.post(path, body, who="oma") as response:
                await problem(response, "not_found")
        for body in ({}, {"filter": {"tenant": "globex"}}):
            async with operations.post("/v1/replays", body, who="oma") as response:
                await problem(response, "forbidden")
        assert operations.stage.asked == []

    run(test)


@pytest.mark.parametrize("name", ["principal", "by", "actor", "name", "approved_by", "edited_by", "tenant"])
def test_no_argument_sets_a_name(name: str) -> None:
    """Refused in every body, ignored as a header; the command has the name of the token."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        for path in (f"/v1/dead-letters/{ONE}/discard", "/v1/replays", f"/v1/dead-letters/{ONE}/edit"):
            async with operations.post(path, {name: "bea"}) as response:
                await problem(response, "invalid_body")
        async with operations.post(f"/v1/dead-letters/{ONE}/discard", {}, headers={f"X-{name}": "bea"}) as response:
            await said(response)
        assert [each.principal for each in operations.stage.asked] == ["ann"]

    run(test)


def test_an_edit_and_a_job_need_two_principals() -> None:
    """Who edited or planned cannot approve, whatever his roles; another token can."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        async with operations.post(f"/v1/dead-letters/{ONE}/edit", {"patch": PATCH}, who="both") as response:
            await said(response)
        async with operations.get(f"/v1/dead-letters/{ONE}", who="bea") as response:
            waiting = (await said(response))["edit"]
        assert (waiting["by"], waiting["approved_by"]) == ("both", "")
        approval = {"hash_after": waiting["hash_after"]}
        for who, reason in (("both", "same_principal"), ("ann", "forbidden")):
            async with operations.post(f"/v1/dead-letters/{ONE}/approve", approval, who=who) as response:
                await problem(response, reason)
        async with operations.post(f"/v1/dead-letters/{ONE}/approve", approval, who="bea") as response:
            assert (await said(response))["status"] == "done"

        async with operations.post("/v1/replays", {"reason": "fixed"}, who="both") as response:
            job_id = (await said(response))["object_id"]
        async with operations.post(f"/v1/replays/{job_id}/run", {}, who="both") as response:
            await problem(response, "wrong_state")
        async with operations.post(f"/v1/replays/{job_id}/approve", {}, who="both") as response:
            await problem(response, "same_principal")
        async with operations.post(f"/v1/replays/{job_id}/approve", {}, who="bea") as response:
            await said(response)
        async with operations.post(f"/v1/replays/{job_id}/run", {}, who="both") as response:
            await said(response)
        async with operations.get(f"/v1/replays/{job_id}") as response:
            found = await said(response)
        assert (found["state"], found["planned_by"], found["approved_by"]) == ("done", "both", "bea")
        assert found["progress"] == {"done": 1, "of": 1, "rate_per_s": 1.0, "left_s": None}

    run(test)


def test_personal_fields_are_shown_once_the_audit_has_it() -> None:
    """Left out unless asked for; asked for, the audit says who; without its acknowledgement nothing is shown."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        async with operations.get(f"/v1/dead-letters/{ONE}", who="eve") as response:
            assert "Jane" not in await response.text()
        assert operations.roads.delivered == []
        async with operations.get(f"/v1/dead-letters/{ONE}?personal=true", who="eve") as response:
            assert (await said(response))["shown"]["value"]["name"] == "Jane"
        (out,) = operations.roads.delivered
        event = operations.codec.decode(out.value, AuditRecorded)
        assert (out.topic, event.actor, event.case_id) == (AUDIT_RECORDED.name, "eve", ONE)
        assert (event.transition, event.tenant) == ("personal_fields_shown", "acme")
        operations.roads.away = True
        async with operations.get(f"/v1/dead-letters/{ONE}?personal=true", who="eve") as response:
            assert "Jane" not in json.dumps(await problem(response, "not_acknowledged"))

    run(test)


@pytest.mark.parametrize("path", ["scan", "groups/scan"])
def test_whoever_searches_what_is_not_shown_is_in_the_audit_before(path: str) -> None:
    """By value or header, one could be read letter by letter; not so by what every list has."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))

        async def searched(where: str) -> ClientResponse:
            async with operations.get(f"/v1/dead-letters/{path}?tenant=acme&where={where}", who="eve") as response:
                await response.read()
                return response

        assert (await searched("letter.attempts%3E0")).ok
        assert operations.roads.delivered == []
        for where in ('value.name=="J"', 'headers["x"]=="y"'):
            assert (await searched(quote(where))).ok
            event = operations.codec.decode(operations.roads.delivered.pop().value, AuditRecorded)
            assert (event.transition, event.actor, event.tenant) == ("personal_fields_searched", "eve", "acme")
            assert json.loads(json.loads(event.detail)["filter"])["expression"] == where
        operations.roads.away = True
        await problem(await searched(quote('value.name=="J"')), "not_acknowledged")

    run(test)


def test_a_command_without_an_answer_can_be_asked_again() -> None:
    """202, and the same Idempotency-Key is the same command; the same key of another principal is another one."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        operations.stage.late = True
        seen = []
        for who in ("ann", "ann", "both"):
            path, headers = f"/v1/dead-letters/{ONE}/discard", {"Idempotency-Key": "k"}
            async with operations.post(path, {}, who=who, headers=headers) as response:
                seen.append((await said(response, 202))["command_id"])
                assert response.headers["Idempotency-Key"] == "k"
        assert seen[0] == seen[1] != seen[2]

    run(test)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v1/dead-letters?limit=0", "invalid_query"),
        ("/v1/dead-letters?limit=1001", "invalid_query"),
        ("/v1/dead-letters?since=yesterday", "invalid_query"),
        ("/v1/dead-letters?state=gone", "invalid_query"),
        ("/v1/dead-letters?reason=bad", "invalid_query"),
        ("/v1/dead-letters?group=aios.nobody", "invalid_query"),
        ("/v1/dead-letters?where=true", "invalid_query"),
        ("/v1/dead-letters/scan?where=this+is+no(", "invalid_query"),
        ("/v1/dead-letters/scan?where=nobody.knows", "invalid_query"),
        ("/v1/dead-letters/scan?where=letter.attemps+%3E+1", "invalid_query"),
        ("/v1/dead-letters/scan?where=true&cursor=x", "invalid_query"),
        ("/v1/dead-letters?cursor=next", "invalid_query"),
        ("/v1/dead-letters?reasn=unknown", "invalid_query"),
        (f"/v1/dead-letters/{ONE}?all=true", "invalid_query"),
        ("/v1/replays?cursor=x", "invalid_query"),
        ("/v1/breakers?state=open", "invalid_query"),
        ("/v1/dead-letters/abc", "not_found"),
        ("/v1/dead-letters/%2e%2e%2f%2e%2e", "not_found"),
        (f"/v1/dead-letters/{ONE}?personal=yes", "invalid_query"),
        ("/v1/replays?state=asleep", "invalid_query"),
        ("/v1/replays/000000", "not_found"),
        ("/v1/nothing", "not_found"),
    ],
)
def test_a_wrong_question_is_named(path: str, reason: str) -> None:
    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        async with operations.get(path) as response:
            await problem(response, reason)

    run(test)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        (f"/v1/dead-letters/{ONE}/edit", {}, "invalid_body"),
        (f"/v1/dead-letters/{ONE}/edit", {"patch": PATCH, "value_base64": "AA=="}, "invalid_body"),
        (f"/v1/dead-letters/{ONE}/edit", {"value_base64": "no base64"}, "invalid_body"),
        (f"/v1/dead-letters/{ONE}/edit", {"value_base64": "A" * 4_000}, "too_large"),
        (f"/v1/dead-letters/{ONE}/free", {}, "forbidden"),
        (f"/v1/dead-letters/{TWO}/discard", {}, "not_found"),
        ("/v1/replays", {"filter": {"reason": "bad"}}, "invalid_body"),
        ("/v1/replays", {"filter": {"regex": ".*"}}, "invalid_body"),
        ("/v1/replays", {"action": "discard", "edit": PATCH}, "refused"),
        ("/v1/replays", {"rate_per_s": -1}, "invalid_body"),
        ("/v1/breakers/close", {"key": "aios.admit/0"}, "not_found"),
    ],
)
def test_a_wrong_command_is_refused_before_it_is_asked(path: str, body: Any, reason: str) -> None:
    """Bodies are bounded, strict, and never reach Kafka when they cannot count."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        async with operations.post(path, body) as response:
            await problem(response, reason)
        assert operations.stage.asked == []

    run(test, OperationsSettings(body_bytes_max=2_048))


@pytest.mark.parametrize(("path", "name"), [(f"/v1/dead-letters/{ONE}/edit", "patch"), ("/v1/replays", "edit")])
def test_a_patch_that_could_not_be_written_again_is_refused(path: str, name: str) -> None:
    """Its values are free JSON; no contract of ours is there to refuse them."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        body = f'{{"{name}": [{{"op": "add", "path": "/text", "value": 1e400}}]}}'.encode()
        headers = {"Content-Type": "application/json"}
        async with operations.request("POST", path, data=body, headers=headers) as response:
            assert "larger than a double holds" in (await problem(response, "invalid_json"))["detail"]
        assert operations.stage.asked == []

    run(test)


def test_a_misspelt_name_is_refused_with_those_there_are() -> None:
    """Of a query and of a letter's field: neither selects everything, nor nothing, in silence."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        async with operations.get("/v1/replays?lmit=1") as response:
            assert "lmit" in (detail := (await problem(response, "invalid_query"))["detail"])
            assert "cursor, limit, state" in detail
        async with operations.get("/v1/dead-letters/scan?where=letter.attemps+%3E+1") as response:
            assert "letter.attemps" in (detail := (await problem(response, "invalid_query"))["detail"])
            assert "attempts" in detail
        async with operations.post("/v1/replays", {"filter": {"expression": "letter.attemps > 1"}}) as response:
            await problem(response, "invalid_body")
        async with operations.post(f"/v1/dead-letters/{ONE}/discard?why=x", {}) as response:
            await problem(response, "invalid_query")
        assert operations.stage.asked == []

    run(test)


def test_a_job_of_an_earlier_release_hides_no_other() -> None:
    """Its filter names a reason that is gone, and an expression that does not compile any more."""

    async def test(operations: Served) -> None:
        old = replace(job(1), filter='{"expression": "letter.", "reason": "gone", "tenant": "demo"}')
        operations.stage.jobs |= {each.job_id: each for each in (old, job(2))}
        async with operations.get("/v1/replays") as response:
            assert [each["job_id"] for each in (await said(response))["jobs"]] == [job(2).job_id, old.job_id]
        async with operations.get(f"/v1/replays/{old.job_id}") as response:
            assert (await said(response))["job_id"] == old.job_id

    run(test)


def test_jobs_come_a_page_at_a_time() -> None:
    """Newest first, those of one moment too, each once; only the state that is asked for."""

    async def test(operations: Served) -> None:
        made = [job(number) for number in range(3)]
        made.append(replace(job(4), planned_at=made[0].planned_at))
        operations.stage.jobs |= {each.job_id: each for each in [*made, job(5, state="done")]}
        seen, cursor = [], ""
        for _ in range(5):
            async with operations.get(f"/v1/replays?state=draft&limit=1&cursor={cursor}") as response:
                page = await said(response)
            seen += [each["job_id"] for each in page["jobs"]]
            cursor = page["cursor"]
        assert (sorted(seen), seen[:2], cursor) == (
            sorted(each.job_id for each in made),
            [made[2].job_id, made[1].job_id],
            "",
        )

    run(test)


@pytest.mark.parametrize("what", ["scan", "groups/scan"])
def test_a_scan_says_how_far_it_is_where_nothing_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line as soon as each batch is read, before the next one is, and while another scan is in front of it."""
    monkeypatch.setattr(letters, "WAITING_S", 0.01)

    async def test(operations: Served) -> None:
        operations.index.held += [entry(number) for number in range(3)]
        for each in operations.index.held:
            operations.index.turns[each.letter.id] = asyncio.Event()
        path = f"/v1/dead-letters/{what}?where=letter.attempts+%3E+1000"
        async with operations.get(path) as response:
            heard = [json.loads(await response.content.readline())]
            async with operations.get(path) as waiting:
                idle = json.loads(await waiting.content.readline())
                for one in sorted(operations.index.held, key=lambda one: -one.letter.written_at):
                    operations.index.turns[one.letter.id].set()
                    heard.append(json.loads(await response.content.readline()))
                end = json.loads(await response.content.readline())
                assert '"end"' in await waiting.text()
        assert idle["progress"]["of"] == 0
        assert [each["progress"]["scanned"] for each in heard] == [0, 1, 2, 3]
        assert end["end"] == {"found": 0, "more": False}

    run(test)


@pytest.mark.parametrize(
    ("took_ms", "state", "left_s"), [(10_000, "running", 10.0), (0, "running", None), (10_000, "paused", None)]
)
def test_a_job_half_done_says_how_long_the_rest_takes(took_ms: int, state: str, left_s: float | None) -> None:
    """By the rate so far: 30 returned and 20 passed over in 10 s leave as long for the 50 others; a cap counts."""

    async def test(operations: Served) -> None:
        one = replace(job(1, state=state), selected=500, cap=100, replayed=30, skipped={"behind": 20}, took_ms=took_ms)
        operations.stage.jobs[one.job_id] = one
        async with operations.get(f"/v1/replays/{one.job_id}") as response:
            progress = (await said(response))["progress"]
        assert (progress["done"], progress["of"], progress["left_s"]) == (50, 100, left_s)

    run(test)


def test_an_index_that_is_away_is_a_503_and_commands_on_jobs_go_on() -> None:
    """Never "not found": nobody is told that his dead letters are gone. A job can be stopped all the same."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1))
        running = job(1, state="running")
        operations.stage.jobs[running.job_id] = running
        operations.index.away = True
        for path in ("/v1/dead-letters", f"/v1/dead-letters/{ONE}", "/v1/dead-letters/groups"):
            async with operations.get(path) as response:
                await problem(response, "unavailable")
        async with operations.post(f"/v1/replays/{running.job_id}/pause", {}) as response:
            await said(response)
        async with operations.get("/readyz", who="") as response:
            assert (await said(response))["outcomes"] is False

    run(test)


# ── the command line ──


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose own principals are ann and bea."""
    settings = Settings(home=tmp_path)
    for own, name in ((principals.OPERATOR, "ann"), (principals.APPROVER, "bea")):
        credentials.keep(principals.token_file(tmp_path, own), token(name))
    monkeypatch.setattr(shared, "load_settings", lambda: settings)
    monkeypatch.setattr(running_module, "load_settings", lambda: settings)
    monkeypatch.delenv("OPERATIONS", raising=False)
    return settings


def commanding(
    home: Settings, monkeypatch: pytest.MonkeyPatch, test: Callable[[Served, Callable[..., Awaitable[Result]]], Any]
) -> None:
    async def within(operations: Served) -> None:
        monkeypatch.setattr(running_module, "found_running", lambda: Running(home, "", operations.url))
        await test(operations, lambda *words: asyncio.to_thread(CliRunner().invoke, aios, words))

    run(within)


def test_the_days_that_are_left_go_by_the_record_however_often_it_failed() -> None:
    """Written again ten days later, it has ten days less; without a time of its own it is as old as its letter."""
    now, day = wall_ms() + 1_000, RETENTION_MS // 30
    for stood, left in ((now - 12 * day, 18), (0, 28), (now - 40 * day, 0)):
        one = replace(entry(1), letter=replace(entry(1).letter, written_at=now - 2 * day, orig_timestamp=stood))
        assert dlq._row(one.plain())["days_left"] == left


def test_a_letter_is_repaired_and_returned_on_the_command_line(
    home: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """groups, list, show, edit, approve, plan, approve, run, status: with the home's two principals by default."""
    file = tmp_path / "repaired"
    file.write_bytes(b"\0repaired")

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.index.held.append(entry(1))
        operations.index.outcomes[Outcome.REPLAYED] = [
            LetterOutcome(
                letter_id=ONE, outcome=Outcome.REPLAYED, reason="", to="aios.admit.retry/2", generation=1, at=NOW
            )
        ]

        async def works(*words: str) -> str:
            result = await command(*words)
            assert result.exit_code == 0, (words, result.output)
            return str(result.stdout)

        assert commands.short(ONE) in await works("dlq", "groups")
        assert commands.short(ONE) in await works("dlq", "list", "--where", "letter.attempts > 0")
        chosen = ("--reason", entry(1).letter.reason, "--state", "open", "--group", entry(1).letter.group)
        assert json.loads(await works("dlq", "list", *chosen, "--json"))["total"] == 1
        shown = await works("dlq", "show", ONE[:8])
        assert "--personal shows it" in shown
        assert "\n  aios.dlq.show:shown:9  raise\n  ValueError\n" in shown
        assert f"{shared.at(entry(1).letter.returns_until)} (0 days left)" in shown
        assert "aios dlq approve" in await works("dlq", "edit", ONE[:8], "--bytes", str(file), "--why", "by hand")
        assert operations.stage.asked[-1].value == b"\0repaired"
        assert "edited by ann, not approved" in await works("dlq", "approve", ONE[:8])
        plan = await works("replay", "plan", "--id", ONE[:8], "--rate", "10", "--why", "repaired")
        assert "dry run: looked at 1, selected 1" in plan
        (made,) = operations.stage.jobs
        assert json.loads(operations.stage.jobs[made].filter) == {"ids": [ONE]}
        await works("replay", "approve", made[:8])
        assert "1 of 1" in await works("replay", "run", made[:8])
        assert "aios.admit.retry/2" in await works("replay", "status", made[:8], "--results")
        assert json.loads(await works("replay", "list", "--state", "done", "--json"))[0]["approved_by"] == "bea"
        only = await works("replay", "status", made[:8], "--results", "--outcome", "replayed", "--json")
        assert len(json.loads(only)["letters"]) == 1
        assert {each.principal for each in operations.stage.asked} == {"ann", "bea"}

    commanding(home, monkeypatch, test)


def test_what_only_a_person_frees_is_shown_with_how(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quarantined, and edited after as many replays; what is open returns by a job."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        for state, generation, says in ((State.OPEN, 1, "replay plan --id"), (State.QUARANTINED, 2, "dlq free")):
            operations.index.held[:] = [entry(1, state=state, generation=generation)]
            assert f"aios {says} {ONE[:8]}" in (await command("dlq", "show", ONE[:8])).stdout
        operations.index.held[:] = [entry(1, state=State.EDITED, generation=2)]
        assert (await command("dlq", "edit", ONE[:8], "--patch", '[{"op": "test"}]')).exit_code == 0
        assert f"aios dlq free {ONE[:8]}" in (await command("dlq", "show", ONE[:8])).stdout

    commanding(home, monkeypatch, test)


def test_a_scan_says_what_it_left_out(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of how many the expression said nothing, and that there may be more: on stderr and in --json."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.index.held += [entry(number) for number in range(1, 6)]
        result = await command("dlq", "list", "--where", "letter.key")
        assert (result.exit_code, "nothing of 5 of 5" in result.stderr) == (0, True), result.output
        result = await command("dlq", "list", "--where", "letter.attempts > 0", "--limit", "3", "--json")
        found = json.loads(result.stdout)
        assert (len(found["letters"]), found["more"], found["unclear"], found["gone"]) == (3, True, 0, 0)
        assert "raise --limit" in result.stderr
        result = await command("dlq", "list", "--where", "letter.attempts > 0", "--limit", "6")
        assert (result.exit_code, result.stderr) == (0, "")

    commanding(home, monkeypatch, test)


def test_groups_by_an_expression_are_read_with_progress(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes; what the expression says nothing of is said on stderr. Without one, at once."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.index.held += [entry(number, generation=number % 2) for number in range(5)]
        result = await command("dlq", "groups", "--where", "letter.generation == 0", "--json")
        assert [each["count"] for each in json.loads(result.stdout)] == [3]
        assert json.loads(result.stdout)[0]["hint"]
        assert [each["count"] for each in json.loads((await command("dlq", "groups", "--json")).stdout)] == [5]
        result = await command("dlq", "groups", "--where", "letter.key")
        assert (result.exit_code, "nothing of 5 of 5" in result.stderr) == (0, True), result.output
        async with operations.get("/v1/dead-letters/groups?where=true") as response:
            assert "groups/scan" in (await problem(response, "invalid_query"))["detail"]

    commanding(home, monkeypatch, test)


def test_a_dry_run_says_how_far_it_is(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it goes on, people hear how many it has looked at and selected."""
    told: list[str] = []
    monkeypatch.setattr(Status, "update", lambda _, words: told.append(words))
    monkeypatch.setattr(replaying, "POLL_S", 0.01)

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        whole = operations.stage.beginning

        def half_done(job_id: str) -> Sequence[ReplayRemembered]:
            if told:
                return whole(job_id)
            goes_on = Report(looked=4_711, selected=12).plain()
            return [replace(one, report=ids.canonical(goes_on)) for one in whole(job_id)]

        operations.stage.beginning = half_done  # type: ignore[method-assign]
        assert (await command("replay", "plan", "--all")).exit_code == 0
        assert told == ["Dry run: looked at 4711, selected 12"]

    commanding(home, monkeypatch, test)


def test_a_list_as_long_as_was_asked_for_may_go_on(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has looked whether it does; a shorter one does not, and says nothing."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.stage.jobs |= {one.job_id: one for one in (job(1), job(2))}
        for most, says in (("2", "there may be more: raise --limit"), ("3", "")):
            result = await command("replay", "list", "--limit", most)
            assert (result.exit_code, says in result.stderr) == (0, True), result.output
            assert bool(result.stderr) == bool(says)

    commanding(home, monkeypatch, test)


def test_every_result_of_a_job_can_be_had(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """--json follows the pages to their end; a table says how the next page is asked for."""
    monkeypatch.setattr(shared, "PAGE_MAX", 2)

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        one = job(1, state="done")
        operations.stage.jobs[one.job_id] = one
        became = {"outcome": Outcome.REPLAYED, "reason": "", "to": "t/0", "generation": 1, "at": NOW}
        letters = [ids.derive("letter", str(number)) for number in range(7)]
        operations.index.outcomes[Outcome.REPLAYED] = [LetterOutcome(letter_id=each, **became) for each in letters]
        status = ("replay", "status", one.job_id, "--results")
        found = json.loads((await command(*status, "--json")).stdout)
        assert ([each["letter_id"] for each in found["letters"]], found["cursors"]) == (letters, {})
        result = await command(*status, "--limit", "3")
        assert "more may be replayed: --outcome replayed --cursor 3" in result.stdout
        wrong = await command(*status, "--outcome", "replayed", "--cursor", "next")
        assert (wrong.exit_code != 0, "cursor: as the page before said it" in wrong.stderr) == (True, True)
        rest = ("--outcome", "replayed", "--cursor", "3", "--limit", "3", "--json")
        found = json.loads((await command(*status, *rest)).stdout)
        assert ([each["letter_id"] for each in found["letters"]], found["cursors"]) == (letters[3:6], {"replayed": "6"})

    commanding(home, monkeypatch, test)


def test_a_dry_run_keeps_no_job(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported and aborted; --missed asks for events instead of dead letters."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        result = await command("replay", "plan", "--missed", "--dry-run", "--json")
        assert json.loads(result.stdout)["kind"] == "missed"
        assert [each.state for each in operations.stage.jobs.values()] == ["aborted"]

    commanding(home, monkeypatch, test)


def test_a_dry_run_that_is_given_up_keeps_no_job(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, or an end that does not come: nobody can approve what is left of it, and the exit code says so."""

    def gone(*_: Any) -> Any:
        raise KeyboardInterrupt

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        for changed, value in (("_tried", gone), ("DRY_RUN_S_MAX", 0.0)):
            with monkeypatch.context() as patch:
                patch.setattr(replaying, changed, value)
                result = await command("replay", "plan", "--all", "--dry-run")
            assert result.exit_code == FAILED
        assert {each.state for each in operations.stage.jobs.values()} == {"aborted"}

    commanding(home, monkeypatch, test)


@pytest.mark.parametrize(("ends", "status"), [("done", 0), ("paused", FAILED), ("aborted", FAILED)])
def test_who_waits_for_a_job_is_told_how_it_ends(
    home: Settings, monkeypatch: pytest.MonkeyPatch, ends: str, status: int
) -> None:
    """Not by the rest from which it goes on, of which the server may still tell; a job that rests is not done."""
    monkeypatch.setattr(replaying, "POLL_S", 0.01)

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        rests = replace(job(1, state="paused"), changed_at=NOW)
        later = replace(rests, state=ends, changed_at=NOW + 9)
        told = [rests] * 4

        def beginning(_: str) -> Sequence[ReplayRemembered]:
            return [told.pop() if told else later]

        monkeypatch.setattr(operations.stage, "beginning", beginning)
        monkeypatch.setattr(operations.stage, "_carry_out", lambda *_: {"changed_at": NOW + 5})
        result = await command("replay", "resume", rests.job_id, "--json")
        assert (json.loads(result.stdout)["state"], result.exit_code, told) == (ends, status, [])

    commanding(home, monkeypatch, test)


def test_who_discards_hears_what_is_parked_behind_it(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that returns it, and only where a key is held."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.index.held.append(entry(1))
        for result, says in (({}, False), ({"parked_key": "a b"}, True)):
            monkeypatch.setattr(operations.stage, "_carry_out", lambda *_, result=result: result)
            said = (await command("dlq", "discard", ONE)).stdout
            assert ("aios replay plan --key 'a b'" in said) == says

    commanding(home, monkeypatch, test)


def test_breakers_are_listed_and_closed(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do, by key."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        breaker = open_breaker("aios.admit", tenant="acme", at=NOW)
        key = breaker.key
        operations.breakers.held[key] = breaker
        assert "Look at the log." in (await command("breaker", "list")).stdout
        assert (await command("breaker", "close", key, "--why", "fixed")).exit_code == 0
        asked = operations.stage.asked[-1]
        assert (asked.kind, asked.object_id, asked.principal, asked.reason) == ("breaker.close", key, "ann", "fixed")

    commanding(home, monkeypatch, test)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("dlq", "show", TWO), NOT_FOUND, "no such dead letter"),
        (("dlq", "edit", ONE), USAGE, "either --patch or --bytes"),
        (("dlq", "edit", ONE, "--patch", "{"), USAGE, "no JSON"),
        (("dlq", "list", "--since", "yesterday"), USAGE, "is no time"),
        (("dlq", "approve", ONE), FAILED, "has no edit that waits"),
        (("dlq", "free", ONE), FAILED, "aios replay plan --id"),
        (("dlq", "list", "--where", "true", "--cursor", "x"), USAGE, "--where has no pages"),
        (("dlq", "list", "--where", "letter.attemps > 1"), FAILED, "there is no letter.attemps"),
        (("replay", "status", ONE, "--results", "--cursor", "x"), USAGE, "--outcome"),
        (("replay", "plan"), USAGE, "say which"),
        (("replay", "run", "00000000"), NOT_FOUND, "no such job"),
        (("replay", "run", DRAFT), FAILED, f"aios replay approve {commands.short(DRAFT)}"),
        (("replay", "pause", DRAFT), FAILED, f"aios replay status {commands.short(DRAFT)}"),
        (("breaker", "close", "x"), NOT_FOUND, "no such breaker"),
    ],
)
def test_mistakes_have_their_exit_codes(
    home: Settings, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int, says: str
) -> None:
    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.index.held.append(entry(1, state=State.OPEN))
        operations.stage.jobs[DRAFT] = job(1)
        result = await command(*words)
        assert (result.exit_code, says in result.stderr) == (status, True), result.output

    commanding(home, monkeypatch, test)


@pytest.mark.parametrize("state", list(LetterState))
def test_every_state_of_a_letter_names_a_command_that_there_is(state: LetterState) -> None:
    """What is refused because of it says how it goes on."""
    _, group, verb, *_ = commands.GOES_ON[state].split()
    assert CliRunner().invoke(aios, [group, verb, "--help"]).exit_code == 0
    assert f"`{commands.GOES_ON[state]} {commands.short(ONE)}`" in str(commands.wrong_state(ONE, state, "another"))


def test_who_asks_is_said_by_file_or_environment(
    home: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--token-file, else AIOS_TOKEN, else the home's own; a token that nobody has says how to get one."""
    file = tmp_path / "token"
    file.write_text(token("both"), encoding="ascii")
    other = home.model_copy(update={"token": SecretStr(token("oma"))})

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        operations.index.held.append(entry(1))
        assert (await command("dlq", "discard", ONE, "--token-file", str(file))).exit_code == 0
        monkeypatch.setattr(shared, "load_settings", lambda: other)
        assert (await command("dlq", "discard", ONE)).exit_code == 0
        assert [each.principal for each in operations.stage.asked] == ["both", "oma"]
        monkeypatch.setattr(shared, "load_settings", lambda: home.model_copy(update={"token": SecretStr("x")}))
        assert "`aios principal add" in (await command("dlq", "list")).stderr

    commanding(home, monkeypatch, test)


def test_a_server_that_is_away_is_said(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, with what starts one."""
    monkeypatch.setattr(running_module, "found_running", lambda: Running(home, "", "http://127.0.0.1:1"))
    assert CliRunner().invoke(aios, ["dlq", "list"]).exit_code == NOT_RUNNING
    monkeypatch.setattr(running_module, "found_running", lambda: Running(home, "", ""))
    assert "`aios up`" in CliRunner().invoke(aios, ["dlq", "list"]).stderr


def test_operations_elsewhere_is_asked_where_none_runs_here(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OPERATIONS says; one that runs here is meant in any case."""

    async def test(operations: Served, command: Callable[..., Awaitable[Result]]) -> None:
        monkeypatch.setenv("OPERATIONS", "http://127.0.0.1:1")
        assert (await command("dlq", "list")).exit_code == 0
        for none in (None, Running(home, "", "")):
            monkeypatch.setattr(running_module, "found_running", lambda none=none: none)
            said = await command("dlq", "list")
            assert (said.exit_code, "http://127.0.0.1:1 does not answer" in said.stderr) == (NOT_RUNNING, True)
            monkeypatch.setenv("OPERATIONS", operations.url)
            assert (await command("dlq", "list")).exit_code == 0
            monkeypatch.setenv("OPERATIONS", "http://127.0.0.1:1")

    commanding(home, monkeypatch, test)


def test_a_file_that_says_who_asks_goes_before_a_key_of_the_environment(home: Settings, tmp_path: Path) -> None:
    """Else a case would be called off in its producer's name."""
    file = tmp_path / "token"
    file.write_text(f"{token('oma')}\n", encoding="ascii")
    url, key = "http://127.0.0.1:1", "aios_k"
    assert shared.gateway(url, file, key).secret == token("oma")
    assert shared.gateway(url, None, key).secret == key
    assert shared.gateway(url, None).secret == token("ann")
