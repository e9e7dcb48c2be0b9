"""/v1/cases: a tenant's cases listed, shown and explained over HTTP; part of the gateway's Api.

Enters: a tenant's key, a case. Leaves: what the outcome store says of it. Guaranteed: a tenant sees its own cases
alone; a case that was accepted here and that no stage has seen yet is `accepted`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from aios.streams import explanation
from aios.streams.gateway.cases import Recent
from aios.streams.http import query
from aios.streams.http.about import json_answer
from aios.streams.http.problem import Problem
from aios.streams.outcome_views import ACCEPTED, CaseView

CASES_MAX = 200  # that one answer lists


class Cases(Protocol):
    """OutcomeStore in service. Every call raises Unavailable when it does not answer."""

    async def status(self, case_id: str, tenant: str | None) -> CaseView | None: ...
    async def timeline(self, case_id: str, tenant: str) -> Sequence[Mapping[str, Any]]: ...
    async def list_cases(self, *, tenant: str, status: str, workflow: str, limit: int) -> Sequence[CaseView]: ...


class CasesApi:
    """The handlers."""

    _outcomes: Cases
    _recent: Recent

    async def list_cases(self, request: web.Request, tenant: str) -> web.Response:
        found = await self._outcomes.list_cases(
            tenant=tenant,
            status=request.query.get("status", ""),
            workflow=request.query.get("workflow", ""),
            limit=query.limit(request, CASES_MAX),
        )
        return json_answer([one.plain() for one in found])

    async def show_case(self, request: web.Request, tenant: str) -> web.Response:
        view = await self._known(request, tenant)
        return json_answer({**view.plain(), "timeline": list(await self._outcomes.timeline(view.case_id, tenant))})

    async def explain_case(self, request: web.Request, tenant: str) -> web.Response:
        view = await self._known(request, tenant)
        return json_answer(asdict(explanation.of_case(view, await self._outcomes.timeline(view.case_id, tenant))))

    async def _known(self, request: web.Request, tenant: str) -> CaseView:
        """Raises Problem."""
        case_id = request.match_info["case_id"]
        view = await self._outcomes.status(case_id, tenant)
        if view is not None:
            return view
        if self._recent.known(case_id, tenant):
            return CaseView(case_id=case_id, tenant=tenant, status=ACCEPTED)
        raise Problem("not_found", "this tenant has no such case")
