"""The system `assessment`: holds an application against its documents, and weighs what findings and screenings come to.

Enters: what was read and screened before. Leaves: a comparison with the people to screen; a score with reasons.
Nothing outside changes, so no operation has an effect. A system of its own beside `documents`: what takes milliseconds
never waits behind a scan that takes seconds. It computes in this process, in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aios.processors.connectors.connector import Ask, CallFailed, Failure, Operation, Part, Setup, failure_of
from aios.processors.reading import compare, countries, risk
from aios.processors.reading.compared import Applicant, Comparison, DocumentRead
from aios.processors.reading.implausible import NO_LIMITS, Limits

DOCUMENTS_MAX = 10


class CompareRequest(Part):
    """limits: of the workflow's policy; without, what no policy can allow is found all the same."""

    applicant: Applicant
    documents: Annotated[tuple[DocumentRead, ...], Field(max_length=DOCUMENTS_MAX)]
    limits: Limits = NO_LIMITS


class WeighRequest(Part):
    """screenings: answers of sanctions.screen, one for each of the comparison's subjects, in their order."""

    comparison: Comparison
    screenings: Annotated[tuple[risk.Screened, ...], Field(max_length=compare.SUBJECTS_MAX)]
    points: Mapping[str, int]
    countries_watched: tuple[str, ...] = ()


class Assessment:
    """See the module."""

    operations: Mapping[str, Operation] = {
        "compare": Operation(request=CompareRequest, response=Comparison, response_contract="comparison.v1"),
        "weigh": Operation(request=WeighRequest, response=risk.Risk, response_contract="risk.v1"),
    }

    def __init__(self, setup: Setup) -> None:
        del setup  # it needs nothing of the deployment

    async def open(self) -> None:
        """Countries are read now, not in the first call."""
        await asyncio.to_thread(countries.code, "")

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        del ask
        if isinstance(request, CompareRequest):
            today = datetime.now(UTC).date().isoformat()
            return await asyncio.to_thread(compare.compare, request.applicant, request.documents, today, request.limits)
        if isinstance(request, WeighRequest):
            return risk.weigh(request.comparison, request.screenings, request.points, request.countries_watched)
        raise CallFailed(Failure.PERMANENT, "unknown_operation", f"assessment cannot be asked to {operation}")

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:
        """Nothing has effects here."""
        del operation, request, ask
        return None

    def classify(self, error: Exception) -> Failure:
        return failure_of(error)

    async def close(self) -> None:
        """Nothing is open."""
