"""The registry's endpoints: Confluent's REST protocol, version 1.

Enters: requests of any client that speaks it. Leaves: answers and error codes, content type CONTENT_TYPE.
Guaranteed: reads are answered from the catalogue at once; a change is answered when it stands in the topic
(registry_log.py). Booleans of the query may be written True or true; bodies are bounded.
404 answers what is not served, /associations/… among it, from which clients take that subjects are named by topic.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from aios.infra.local.registry_catalogue import Catalogue, Version, incompatibilities
from aios.infra.local.registry_log import SchemaLog
from aios.infra.local.registry_protocol import AVRO, Candidate, Refusal, candidate, level_of, mode_of, subject_name
from aios.schemas.safety import Json
from aios.streams.errors import AiosError, Fenced

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
BODY_BYTES_MAX = 1 << 20
ANY_CONTEXT = ":*:"  # before a subject's prefix: there is one context here

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The endpoints."""

    def __init__(self, catalogue: Catalogue, log_: SchemaLog) -> None:
        self._catalogue = catalogue
        self._log = log_

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_errors], client_max_size=BODY_BYTES_MAX)
        subject = "/subjects/{subject}"
        version = f"{subject}/versions/{{version}}"
        app.add_routes(
            [
                web.get("/", self._root),
                web.get("/contexts", self._contexts),
                web.get("/schemas/types", self._types),
                web.get(r"/schemas/ids/{id:\d{1,10}}", self._by_id),
                web.get(r"/schemas/ids/{id:\d{1,10}}/schema", self._by_id_text),
                web.get(r"/schemas/ids/{id:\d{1,10}}/subjects", self._id_subjects),
                web.get(r"/schemas/ids/{id:\d{1,10}}/versions", self._id_versions),
                web.get("/subjects", self._subjects),
                web.post(subject, self._find),
                web.delete(subject, self._delete_subject),
                web.get(f"{subject}/versions", self._versions),
                web.post(f"{subject}/versions", self._register),
                web.get(version, self._version),
                web.delete(version, self._delete_version),
                web.get(f"{version}/schema", self._version_text),
                web.get(f"{version}/referencedby", self._referenced_by),
                web.post(f"/compatibility{subject}/versions", self._compatible),
                web.post(f"/compatibility{version}", self._compatible),
                *_both("/config", self._level, self._set_level, self._drop_level),
                *_both("/mode", self._mode, self._set_mode, self._drop_mode),
            ]
        )
        return app

    # ── reads ──

    async def _root(self, _: web.Request) -> web.Response:
        return _answer({})

    async def _contexts(self, _: web.Request) -> web.Response:
        return _answer(["."])

    async def _types(self, _: web.Request) -> web.Response:
        return _answer([AVRO])

    async def _by_id(self, request: web.Request) -> web.Response:
        return _answer(self._catalogue.by_id(_id(request)).body())

    async def _by_id_text(self, request: web.Request) -> web.Response:
        return _answer(json.loads(self._catalogue.by_id(_id(request)).text))

    async def _id_subjects(self, request: web.Request) -> web.Response:
        places = self._catalogue.places(_id(request), deleted=_flag(request, "deleted"))
        wanted = request.query.get("subject")
        return _page(request, sorted({v.subject for v in places if wanted in (None, v.subject)}))

    async def _id_versions(self, request: web.Request) -> web.Response:
        places = self._catalogue.places(_id(request), deleted=_flag(request, "deleted"))
        wanted = request.query.get("subject")
        found = [{"subject": v.subject, "version": v.number} for v in places if wanted in (None, v.subject)]
        return _page(request, found)

    async def _subjects(self, request: web.Request) -> web.Response:
        prefix = request.query.get("subjectPrefix", "").removeprefix(ANY_CONTEXT)
        found = self._catalogue.subjects(
            prefix=prefix, deleted=_flag(request, "deleted"), deleted_only=_flag(request, "deleted_only")
        )
        return _page(request, found)

    async def _versions(self, request: web.Request) -> web.Response:
        found = self._catalogue.numbers(
            _subject(request), deleted=_flag(request, "deleted"), deleted_only=_flag(request, "deleted_only")
        )
        return _page(request, found)

    async def _version(self, request: web.Request) -> web.Response:
        return _answer(self._version_of(request).shown())

    async def _version_text(self, request: web.Request) -> web.Response:
        return _answer(json.loads(self._version_of(request).text))

    async def _referenced_by(self, request: web.Request) -> web.Response:
        self._version_of(request)
        return _answer([])  # references are refused when a schema is registered

    async def _find(self, request: web.Request) -> web.Response:
        wanted = await _candidate(request)
        found = self._catalogue.find(_subject(request), wanted, deleted=_flag(request, "deleted"))
        return _answer(found.shown())

    async def _compatible(self, request: web.Request) -> web.Response:
        subject, new = _subject(request), await _candidate(request)
        number = request.match_info.get("version")
        old = self._catalogue.live(subject) if number is None else (self._catalogue.version(subject, number),)
        found = await asyncio.to_thread(incompatibilities, new, old, self._catalogue.level(subject))
        messages = {"messages": found} if _flag(request, "verbose") else {}
        return _answer({"is_compatible": not found, **messages})

    async def _level(self, request: web.Request) -> web.Response:
        level = self._catalogue.level(_subject_or_all(request), or_global=_flag(request, "defaultToGlobal"))
        return _answer({"compatibilityLevel": level})

    async def _mode(self, request: web.Request) -> web.Response:
        mode = self._catalogue.mode(_subject_or_all(request), or_global=_flag(request, "defaultToGlobal"))
        return _answer({"mode": mode})

    # ── changes: each within a turn of the topic ──

    async def _register(self, request: web.Request) -> web.Response:
        subject, new = _subject(request), await _candidate(request)
        async with self._log.turn():
            known = self._catalogue.known(subject, new)
            if known is not None:
                return _answer({"id": known})
            level = self._catalogue.level(subject)
            found = await asyncio.to_thread(incompatibilities, new, self._catalogue.live(subject), level)
            if found:
                why = f'Schema being registered is incompatible with an earlier schema for subject "{subject}"'
                raise Refusal(409, 409, f"{why} ({level}): {'; '.join(found)}")
            schema_id, changes = self._catalogue.registration(subject, new)
            await self._log.append(changes)
        return _answer({"id": schema_id})

    async def _delete_subject(self, request: web.Request) -> web.Response:
        async with self._log.turn():
            numbers, changes = self._catalogue.subject_deletion(
                _subject(request), permanent=_flag(request, "permanent")
            )
            await self._log.append(changes)
        return _answer(numbers)

    async def _delete_version(self, request: web.Request) -> web.Response:
        async with self._log.turn():
            number, changes = self._catalogue.version_deletion(
                _subject(request), request.match_info["version"], permanent=_flag(request, "permanent")
            )
            await self._log.append(changes)
        return _answer(number)

    async def _set_level(self, request: web.Request) -> web.Response:
        subject, level = _subject_or_all(request), level_of(await _body(request))
        async with self._log.turn():
            await self._log.append(self._catalogue.level_change(subject, level))
        return _answer({"compatibility": level})

    async def _drop_level(self, request: web.Request) -> web.Response:
        subject = _subject_or_all(request)
        async with self._log.turn():
            level = self._catalogue.level(subject, or_global=False)
            await self._log.append(self._catalogue.level_change(subject, None))
        return _answer({"compatibilityLevel": level})

    async def _set_mode(self, request: web.Request) -> web.Response:
        subject, mode = _subject_or_all(request), mode_of(await _body(request))
        async with self._log.turn():
            await self._log.append(self._catalogue.mode_change(subject, mode))
        return _answer({"mode": mode})

    async def _drop_mode(self, request: web.Request) -> web.Response:
        subject = _subject_or_all(request)
        async with self._log.turn():
            mode = self._catalogue.mode(subject, or_global=False)
            await self._log.append(self._catalogue.mode_change(subject, None))
        return _answer({"mode": mode})

    def _version_of(self, request: web.Request) -> Version:
        number = request.match_info["version"]
        return self._catalogue.version(_subject(request), number, deleted=_flag(request, "deleted"))


def _both(path: str, get: Handler, put: Handler, delete: Handler) -> list[web.RouteDef]:
    """The same three for everything and for a subject."""
    paths = (path, f"{path}/{{subject}}")
    return [route for at in paths for route in (web.get(at, get), web.put(at, put), web.delete(at, delete))]


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as error:
        return _failure(error.status, error.code, error.message)
    except web.HTTPException as error:
        return _failure(error.status, error.status, f"HTTP {error.status} {error.reason}")
    except Fenced as error:
        return _failure(500, 50004, f"{error}; this one is leaving")
    except AiosError as error:
        return _failure(500, 50001, f"Error in the backend data store: {error}")
    except Exception:  # a defect of ours must not close the connection without an answer
        log.exception("%s %s failed", request.method, request.path)
        return _failure(500, 50001, "Error in the registry itself; its log says more")


def _answer(value: Json, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, content_type=CONTENT_TYPE)


def _failure(status: int, code: int, message: str) -> web.Response:
    return _answer({"error_code": code, "message": message}, status)


def _page(request: web.Request, found: list[Any]) -> web.Response:
    """As `offset` and `limit` of the query say; a negative limit is none."""
    try:
        offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", -1))
    except ValueError as error:
        raise Refusal(400, 400, "`offset` and `limit` must be numbers") from error
    found = found[max(offset, 0) :]
    return _answer(found if limit < 0 else found[:limit])


def _flag(request: web.Request, name: str) -> bool:
    """Clients write true as well as True."""
    return request.query.get(name, "").lower() == "true"


def _subject(request: web.Request) -> str:
    return subject_name(request.match_info["subject"])


def _subject_or_all(request: web.Request) -> str | None:
    return _subject(request) if "subject" in request.match_info else None


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


async def _body(request: web.Request) -> Mapping[str, Json]:
    """Raises Refusal, or aiohttp's 413 above BODY_BYTES_MAX."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, 400, "the body is no JSON") from error
    if not isinstance(body, dict):
        raise Refusal(400, 400, "the body must be a JSON object")
    return body


async def _candidate(request: web.Request) -> Candidate:
    return candidate(await _body(request))
