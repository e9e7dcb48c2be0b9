"""gateway: HTTP in. Cases and people's decisions enter the topics here, outcomes are read back.

Enters: requests with a tenant's API key, a reviewer's or an operator's token. Leaves: events of the workflows' input
contracts, review.decided.v1, case.cancelled.v1 and case.told.v1; JSON. Guaranteed: a 2xx means that the broker has the
record; a repeat of a request is the same case; a tenant sees its own cases and nobody else's; who decided is whose
token it was; whoever waits is answered in time, with what is known by then; a workflow that is deployed is served
without a restart. What is read comes from the outcome store alone; without it cases are still accepted, only nobody
can wait or read. No transport security: put a proxy that speaks TLS in front of it wherever it listens on more than
loopback.
Rejected: asking the stages (they are scaled and restarted alone), keeping cases here (there may be many gateways),
refusing a repeat for certain (plan is the judge; the 409 of this process is its best knowledge).

    routes.py        every route and its models    ../ingest.py        bytes → event, or what is wrong
    api.py           what each route does          ../http/guard.py    bounds, API keys, tokens, rates
    case_reading.py  /v1/cases, read               ../http/problem.py  every refusal
    reviews.py       questions to people           ../http/openapi.py  /openapi.json
    documents.py     POST /v1/documents            ../http/serve.py    ports, and whether Kafka answers
    cases.py         what answers say of a case    ../http/console.py  how a page is served
    page/            the page for people
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import reference, waiting
from aios.streams.config import Settings
from aios.streams.deployments import Catalogue, Deployments
from aios.streams.document_store import kept_here
from aios.streams.gateway.api import Api
from aios.streams.gateway.documents import sweeping
from aios.streams.http.guard import TenantGuard
from aios.streams.http.serve import Reach, serve
from aios.streams.kafka import Delivery
from aios.streams.outcome_store import OutcomeStore
from aios.streams.principals import PrincipalTable
from aios.streams.tenants import TenantTable
from aios.streams.topology import GATEWAY


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop; then refuse what is new and answer what is in hand. Raises Unavailable when it cannot start."""
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    tenants, principals = TenantTable(settings.kafka, codec), PrincipalTable(settings.kafka, codec)
    deployments = Deployments(settings.kafka, codec)
    circuits = waiting.circuits(settings.kafka, codec)
    outcomes = OutcomeStore(settings.redis.url, circuits=lambda: circuits.all().values())
    delivery = Delivery(
        settings.kafka, client_id=f"{GATEWAY.group}.{slot}", deliver_s_max=float(settings.gateway.deliver_s_max)
    )
    try:
        await asyncio.to_thread(codec.warm, GATEWAY.writes)
        await reference.start(tenants, principals, deployments, circuits)
        guard = TenantGuard(settings.gateway, tenants, principals, endpoints=settings.connectors.endpoints)
        reach = Reach(settings.kafka, GATEWAY.writes[0].name)
        documents = kept_here(settings)
        api = Api(
            settings.gateway,
            guard,
            codec=codec,
            roads=delivery,
            outcomes=outcomes,
            reachable=reach,
            catalogue=Catalogue(deployments),
            documents=documents,
        )
        host, port = settings.gateway.host, settings.gateway.port
        await asyncio.gather(
            serve(api, "gateway", host=host, port=port, home=settings.home, slot=slot, stop=stop, ready=ready),
            sweeping(documents, stop),
        )
    finally:
        await asyncio.to_thread(delivery.close)
        await asyncio.to_thread(tenants.close)
        await asyncio.to_thread(principals.close)
        await asyncio.to_thread(deployments.close)
        await asyncio.to_thread(circuits.close)
        await outcomes.close()
        registry.close()
