"""An event as the record that carries it.

Enters: an event, its topic, key and envelope (tracing.py). Leaves: what is to be delivered. Guaranteed: nothing but
what the topic's contract allows. Rejected: key, source and tenant read off the event (each stage writes under its own
name, and a few topics are keyed by something else than their event's own id).
"""

from __future__ import annotations

from aios.schemas.codec import Codec
from aios.schemas.models import Event
from aios.streams import tracing
from aios.streams.record import Outgoing
from aios.streams.topics import Topic


def outgoing(
    codec: Codec,
    topic: Topic,
    event: Event,
    *,
    key: str | bytes,
    event_id: str,
    source: str,
    subject: str,
    tenant: str,
    time_ms: int,
    traceparent: str = "",
    partition: int | None = None,
) -> Outgoing:
    """The envelope's words are those of tracing.envelope. partition: where the key alone does not say it.

    Raises SchemaMismatch, Unavailable, as the codec does.
    """
    headers = tracing.envelope(
        event,
        event_id=event_id,
        source=source,
        subject=subject,
        tenant=tenant,
        traceparent=traceparent,
        time_ms=time_ms,
    )
    raw = key if isinstance(key, bytes) else key.encode()
    return Outgoing(topic.name, raw, codec.encode(topic, event), headers, partition)
