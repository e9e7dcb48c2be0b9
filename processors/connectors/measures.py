"""What the connectors count: calls by what became of them, how long they take, who waits, and the circuit."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from aios.processors.connectors.circuit import State
from aios.processors.connectors.gate import Gate
from aios.streams.metrics import SECONDS

CALLS = Counter("aios_connector_calls", "Calls of an outside system, by what became of them.", ["system", "outcome"])
CALL = Histogram("aios_connector_call_seconds", "One call of an outside system.", ["system"], buckets=SECONDS)
ANSWERS = Counter("aios_connector_answers", "Commands answered.", ["system", "status"])
RECONCILED = Counter("aios_connector_reconciled", "Effects that had been done before a crash.", ["system"])
WAITING = Gauge("aios_connector_waiting", "Commands in hand that wait to call.", ["system"])
CALLING = Gauge("aios_connector_calling", "Calls under way.", ["system"])
QUEUED = Gauge("aios_connector_queued_records", "Commands of the system that are not finished.", ["system"])
CIRCUIT = Gauge("aios_connector_circuit", "0 closed, 1 half-open, 2 open, as this process sees it.", ["system"])
ENDPOINTS_AWAY = Gauge("aios_connector_endpoints_away", "Endpoints of a system that are away.", ["system"])
ASIDE = Counter("aios_connector_aside", "Commands put off because their endpoint is away.", ["system"])
_LEVELS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


def look(system: str, gate: Gate, queued: int) -> None:
    """What is so at this moment."""
    WAITING.labels(system).set(gate.waiting)
    CALLING.labels(system).set(gate.calls)
    QUEUED.labels(system).set(queued)
    ENDPOINTS_AWAY.labels(system).set(gate.away)
    CIRCUIT.labels(system).set(_LEVELS[gate.circuit.state])
