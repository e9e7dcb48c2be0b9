"""The handlers of operations that are about dead letters: lists, scans, one letter, what is done to it.

Enters: a request that passed the guard, and its principal. Leaves: what the index and the records say, and commands.
Guaranteed: as api.py, of which this is a room.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from aiohttp import web

from aios.dlq import entries, filters, letter_states
from aios.dlq.commands import Command, Kind, LetterCommand
from aios.dlq.decide import HINTS
from aios.dlq.entries import Ambiguous, Entry, Group, Progress
from aios.dlq.filters import Filter
from aios.dlq.index import LISTED_MAX
from aios.dlq.index_layout import State
from aios.dlq.operations import asked
from aios.dlq.operations.neighbours import Edits, Index, Records, Roads, Tenants
from aios.dlq.operations.routes import ApproveEdit, Edit, Why
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason
from aios.schemas.models import AuditRecorded, PrincipalRegistered
from aios.streams import carrying, ingest
from aios.streams.errors import AiosError, Unavailable
from aios.streams.http import query
from aios.streams.http.about import json_answer
from aios.streams.http.guard import BUSY_RETRY_S, Guard
from aios.streams.http.problem import Problem
from aios.streams.record import Where
from aios.streams.topics import AUDIT_RECORDED
from aios.streams.wall_clock import wall_ms

SOURCE = "/aios/operations"
SHOWN, SEARCHED = "personal_fields_shown", "personal_fields_searched"  # transitions in the audit
LETTERS = "dead-letters"  # what was searched, in the audit
NOWHERE: Where = ("", -1, -1)
Line = tuple[str, Any]  # of JSON: what it is, and what it says
WAITING_S = 5.0  # for another's scan, until it says again that it waits


class LettersApi(ABC):
    """The handlers."""

    _guard: Guard
    _codec: Codec
    _index: Index
    _records: Records
    _edits: Edits
    _roads: Roads
    _scanning: asyncio.Lock

    async def groups(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        wanted, states = await self._filter(request, who)
        if wanted.expression:
            raise Problem("invalid_query", "where: reads the records, which /v1/dead-letters/groups/scan does")
        found = await self._index.groups(wanted, states=states, tenants=_tenants(who))
        return json_answer([_group(one) for one in found])

    async def letters(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        wanted, states = await self._filter(request, who)
        if wanted.expression:
            raise Problem("invalid_query", "where: reads the records, which /v1/dead-letters/scan does")
        page = await self._index.page(
            wanted,
            states=states,
            tenants=_tenants(who),
            limit=query.limit(request, LISTED_MAX),
            cursor=asked.cursor(request, asked.BY_TIME),
        )
        total = await self._index.count(wanted, states=states, tenants=_tenants(who))
        return json_answer({"letters": [one.plain() for one in page.entries], "cursor": page.cursor, "total": total})

    async def scan(self, request: web.Request, who: PrincipalRegistered) -> web.StreamResponse:
        wanted, states = await self._scanned(request, who)
        return await _lines(request, self._letters_met(wanted, states, who, query.limit(request, LISTED_MAX)))

    async def groups_scan(self, request: web.Request, who: PrincipalRegistered) -> web.StreamResponse:
        wanted, states = await self._scanned(request, who)
        return await _lines(request, self._groups_met(wanted, states, who))

    async def show(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        entry = await self._letter(request, who)
        personal = asked.flag(request, "personal")
        if personal:
            await self._audit_shown(entry, who)
        edit = self._edits.edit(entry.letter.id)
        edit = edit if edit is not None and edit.generation == entry.letter.generation else None
        found = await asyncio.to_thread(
            self._records.show, entry, edit.edit if edit is not None else None, personal=personal
        )
        if found is None:
            raise Problem("not_found", "this dead letter has just aged out")
        shown, edited = found
        said = entry.plain() | _hint(entry.letter.reason) | {"shown": asdict(shown), "edit": None}
        if edit is not None and edited is not None:
            said["edit"] = {
                "by": edit.edited_by,
                "approved_by": edit.approved_by,
                "quarantined": letter_states.unfreed(entry.letter, edit),
                "hash_before": edit.edit_hash_before,
                "hash_after": hashlib.sha256(edit.edit or b"").hexdigest(),
                "shown": asdict(edited),
            }
        return json_answer(said)

    async def edit(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        body: Edit = ingest.read_body(await self._guard.body(request), Edit)
        if (body.patch is None) == (body.value_base64 is None):
            raise Problem("invalid_body", "give either patch or value_base64")
        entry = await self._letter(request, who)
        patch = ids.canonical(body.patch) if body.patch is not None else ""
        value = asked.unpacked(body.value_base64) if body.value_base64 is not None else None
        return await self._letter_command(request, who, entry, Kind.EDIT, body.reason, patch=patch, value=value)

    async def approve_edit(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        body: ApproveEdit = ingest.read_body(await self._guard.body(request), ApproveEdit)
        entry = await self._letter(request, who)
        return await self._letter_command(
            request, who, entry, Kind.APPROVE_EDIT, body.reason, hash_after=body.hash_after
        )

    async def discard(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._simple(request, who, Kind.DISCARD)

    async def restore(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._simple(request, who, Kind.RESTORE)

    async def free(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._simple(request, who, Kind.FREE)

    async def _simple(self, request: web.Request, who: PrincipalRegistered, kind: Kind) -> web.Response:
        body: Why = ingest.read_body(await self._guard.body(request), Why)
        return await self._letter_command(request, who, await self._letter(request, who), kind, body.reason)

    async def _letter_command(
        self,
        request: web.Request,
        who: PrincipalRegistered,
        entry: Entry,
        kind: Kind,
        reason: str,
        *,
        patch: str = "",
        hash_after: str = "",
        value: bytes | None = None,
    ) -> web.Response:
        letter = entry.letter
        command = LetterCommand(
            kind=kind, place=letter.place, generation=letter.generation, patch=patch, hash_after=hash_after
        )
        return await self._command(
            request, who, command, object_id=letter.id, reason=reason, tenant=letter.tenant, value=value
        )

    # ── parts ──

    @abstractmethod
    async def _command(
        self,
        request: web.Request,
        who: PrincipalRegistered,
        command: Command,
        *,
        object_id: str,
        reason: str,
        tenant: str,
        value: bytes | None = None,
    ) -> web.Response:
        """Ask for it, and answer with what became of it. Raises Problem."""

    async def _audit_shown(self, entry: Entry, who: PrincipalRegistered) -> None:
        """Raises Problem."""
        letter = entry.letter
        detail = {"dead_letter_id": letter.id, "generation": letter.generation, "group": letter.group}
        await self._audit(SHOWN, letter.id, letter.tenant, who, detail, letter.place)

    async def _scanned(self, request: web.Request, who: PrincipalRegistered) -> tuple[Filter, Collection[State]]:
        """What is looked for. To ask about what is not shown is to have it shown, bit by bit. Raises Problem."""
        wanted, states = await self._filter(request, who)
        if wanted.needs_record:
            await self._audit(SEARCHED, LETTERS, wanted.tenant, who, {"filter": wanted.json()}, NOWHERE)
        return wanted, states

    async def _audit(  # noqa: PLR0917 - the parts of a record
        self, transition: str, what: str, tenant: str, who: PrincipalRegistered, detail: Mapping[str, Any], place: Where
    ) -> None:
        """Returns when the broker has it. Raises Problem."""
        now_ms = wall_ms()
        topic, partition, offset = place
        event = AuditRecorded(
            audit_id=ids.derive(transition, what, who.name, str(uuid.uuid4())),
            case_id=what,
            tenant=tenant,
            workflow="",
            case_seq=0,
            transition=transition,
            actor=who.name,
            detail=ids.canonical(detail),
            input_topic=topic,
            input_partition=partition,
            input_offset=offset,
            at=now_ms,
        )
        out = carrying.outgoing(
            self._codec,
            AUDIT_RECORDED,
            event,
            key=what,
            event_id=event.audit_id,
            source=SOURCE,
            subject=what,
            tenant=tenant,
            time_ms=now_ms,
        )
        try:
            await self._roads.deliver(out)
        except AiosError:
            why = "the audit does not take it that personal fields are shown, so they are not; ask again"
            raise Problem("not_acknowledged", why, headers={"Retry-After": str(BUSY_RETRY_S)}) from None

    async def _filter(self, request: web.Request, who: PrincipalRegistered) -> tuple[Filter, Collection[State]]:
        query = request.query
        given = {name: query[name] for name in ("group", "reason", "fingerprint", "tenant", "key") if query.get(name)}
        times = {name: asked.moment_ms(request, name) for name in ("since", "until") if query.get(name)}
        whole = [(await self._found(one, who)).letter.id for one in query.getall("id", ())]
        said = given | times | {"ids": whole, "expression": query.get("where", "")}
        return asked.refusing(lambda: filters.of(said), "invalid_query"), asked.states(request)

    async def _scan(
        self, wanted: Filter, states: Collection[State], who: PrincipalRegistered
    ) -> AsyncGenerator[Entry | Progress]:
        """One at a time; who waits for another's hears that nothing has been read yet."""
        while True:
            try:
                async with asyncio.timeout(WAITING_S):
                    await self._scanning.acquire()
                break
            except TimeoutError:
                yield Progress(0, 0, 0, 0, 0)
        try:
            source = self._records.source()
            async for one in self._index.scan(wanted, source, states=states, tenants=_tenants(who)):
                yield one
        finally:
            self._scanning.release()

    async def _letters_met(
        self, wanted: Filter, states: Collection[State], who: PrincipalRegistered, limit: int
    ) -> AsyncGenerator[Line]:
        """Each as soon as it is found."""
        found = 0
        async with aclosing(self._scan(wanted, states, who)) as said:
            async for one in said:
                if isinstance(one, Progress):
                    yield "progress", asdict(one)
                    continue
                yield "letter", one.plain()
                found += 1
                if found >= limit:
                    break
        yield "end", {"found": found, "more": found >= limit}

    async def _groups_met(
        self, wanted: Filter, states: Collection[State], who: PrincipalRegistered
    ) -> AsyncGenerator[Line]:
        """Once all letters are read."""
        found: dict[entries.Kind, Group] = {}
        async with aclosing(self._scan(wanted, states, who)) as said:
            async for one in said:
                if isinstance(one, Progress):
                    yield "progress", asdict(one)
                else:
                    entries.count(found, one)
        for group in entries.ordered(found):
            yield "group", _group(group)
        yield "end", {"found": len(found), "more": False}

    async def _letter(self, request: web.Request, who: PrincipalRegistered) -> Entry:
        return await self._found(request.match_info["letter_id"], who)

    async def _found(self, letter_id: str, who: PrincipalRegistered) -> Entry:
        """By its id or the beginning of one. Raises Problem."""
        asked.check_id(letter_id)
        try:
            entry = await self._index.get(letter_id, tenants=_tenants(who))
        except Ambiguous as error:
            raise Problem("ambiguous_id", str(error)) from None
        if entry is None:
            raise Problem("not_found", "there is no such dead letter; `aios dlq list --state all` shows them")
        return entry


def _tenants(who: PrincipalRegistered) -> Tenants:
    return who.tenants or None


def _hint(reason: str) -> dict[str, str]:
    """What to do, for people, and of which class it is."""
    if reason not in set(Reason):
        return {"class": "", "hint": ""}
    hint = HINTS[Reason(reason)]
    return {"class": str(hint.kind), "hint": hint.hint}


def _group(one: Group) -> dict[str, Any]:
    return asdict(one) | _hint(one.reason)


async def _lines(request: web.Request, lines: AsyncGenerator[Line]) -> web.StreamResponse:
    """Begins to answer before it knows the end: an error behind the first line ends the lines with `error`.

    What it says is never silent for long, whatever it finds: callers give up what does not say a byte.
    """
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await answer.prepare(request)
    try:
        async with aclosing(lines) as said:
            async for line in said:
                await _write(answer, line)
    except Unavailable:
        await _write(answer, ("error", {"detail": "what this needs does not answer at this moment; ask again"}))
    await answer.write_eof()
    return answer


async def _write(answer: web.StreamResponse, line: Line) -> None:
    name, said = line
    await answer.write(json.dumps({name: said}, ensure_ascii=False).encode() + b"\n")
