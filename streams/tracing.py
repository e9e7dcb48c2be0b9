"""One trace a case, over all stages: its id travels in every record's `traceparent` header.

Enters: events about to be written, records being worked on. Leaves: the headers of every record (CloudEvents in
binary mode, W3C traceparent), and spans as JSON lines in home/traces, through the OpenTelemetry SDK.
Guaranteed: ids are derived, never random: a record computed again has the same headers, and a case whose producer
sent no trace has the same one in every stage. Whether a trace is kept is decided from its id alone, so that all
stages agree. Attributes hold names and numbers, no payload. A file has a bound, the older half is dropped;
where none can be written, spans are lost and nothing else is.
Rejected: random ids (a replay would write other bytes), the sampled flag of the producer (a stranger could fill the
disk), an exporter over the network as the only way out (one machine has no collector; the SDK takes one beside).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, cast

from aios.schemas.models import Event
from aios.streams.config import Settings
from aios.streams.record import Headers

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

SPEC_VERSION = b"1.0"
CONTENT_TYPE = b"application/avro"
ATTRIBUTE_CHARS_MAX = 256
TIME_MS_MAX = 253_402_300_799_999  # end of the year 9999
KEPT_BELOW_ALL = 1 << 64
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")

Attribute = str | int | float | bool

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tracing:
    """What start() sets for this process. kept_below: of the lower 64 bits of a trace id."""

    process: str = ""
    slot: int = 0
    kept_below: int = KEPT_BELOW_ALL
    tracer: Tracer | None = None


_process = _Tracing()
_current: ContextVar[span | None] = ContextVar("aios_span", default=None)
_writing: ContextVar[span] = ContextVar("aios_span_writing")  # the one whose ids the SDK asks for


def envelope(
    event: Event, *, event_id: str, source: str, subject: str, tenant: str, traceparent: str, time_ms: int
) -> Headers:
    """Headers of a record that carries this event.

    subject: the case id, where there is one; without a valid traceparent the trace is derived from it.
    time_ms: log time, Unix ms. Inside a span of the same trace, the record becomes its child.
    """
    headers = [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event.contract.encode()),
        ("ce_time", _rfc3339(time_ms)),
        ("content-type", CONTENT_TYPE),
        ("traceparent", _onward(traceparent, subject or event_id).encode()),
    ]
    if subject:
        headers.append(("ce_subject", subject.encode()))
    if tenant:
        headers.append(("aios-tenant", tenant.encode()))
    return headers


def new_traceparent(seed: str) -> str:
    """The traceparent of a record that came without one. seed: its case id; the same seed, the same trace."""
    digest = hashlib.blake2b(seed.encode(), digest_size=24, person=b"aios.trace").hexdigest()
    trace_id = digest[:32]
    return f"00-{trace_id}-{digest[32:]}-{_flags(trace_id)}"


def is_kept(trace_id: str) -> bool:
    """Whether the spans of this trace are written; every process with the same sample_ratio answers the same."""
    return int(trace_id[16:], 16) < _process.kept_below


def current_trace() -> str:
    """The trace id of the span this code runs in, empty outside of one."""
    now = _current.get()
    return now.trace_id if now is not None else ""


class span:  # noqa: N801 - reads as a statement: `with span("plan", traceparent, …)`
    """Time one piece of work, as a part of the trace that the record belongs to.

    traceparent: the record's header, empty if it has none: the trace is then the one of the first record written
    inside. attributes: names and numbers that tell this work from any other (topic, partition, offset); never
    payload. Costs little where the trace is not kept: nothing is derived or written.
    """

    __slots__ = ("_attributes", "_began_ns", "_id", "_name", "_noted", "_started_ns", "_token", "parent_id", "trace_id")

    def __init__(self, name: str, traceparent: str = "", **attributes: Attribute) -> None:
        found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        self._name = name
        self._attributes = attributes
        self._noted: dict[str, Attribute] = {}
        self.trace_id, self.parent_id = (found[1], found[2]) if found else ("", "")
        self._id = ""

    @property
    def span_id(self) -> str:
        """Derived from the trace, the name and the attributes."""
        if not self._id:
            seed = f"{self.trace_id}{self.parent_id}{self._name}{self._attributes}"
            self._id = hashlib.blake2b(seed.encode(), digest_size=8, person=b"aios.span").hexdigest()
        return self._id

    def __enter__(self) -> span:
        self._started_ns, self._began_ns = time.time_ns(), time.perf_counter_ns()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        if _process.tracer is not None and self.trace_id and is_kept(self.trace_id):
            self._write(_process.tracer, kind)

    def note(self, **attributes: Attribute) -> None:
        """Add what became known during the work; it is no part of the span's identity."""
        self._noted |= attributes

    def _write(self, tracer: Tracer, kind: type[BaseException] | None) -> None:
        from opentelemetry.trace import StatusCode

        token = _writing.set(self)
        done = tracer.start_span(
            self._name,
            context=_parent(self.trace_id, self.parent_id),
            attributes={name: _bounded(value) for name, value in (self._attributes | self._noted).items()},
            start_time=self._started_ns,
        )
        _writing.reset(token)
        if kind is not None:
            done.set_status(StatusCode.ERROR, kind.__name__)
        done.end(self._started_ns + time.perf_counter_ns() - self._began_ns)


def _parent(trace_id: str, span_id: str) -> Context:
    """The span of another process, as the SDK wants it; empty for the first of a trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if not span_id:
        return Context()
    far = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1))
    return set_span_in_context(NonRecordingSpan(far), Context())


@dataclass(frozen=True, slots=True)
class Span:
    """One span as written. start_ms: Unix ms. error: the class of what was raised, empty if nothing was."""

    trace_id: str
    span_id: str
    parent_id: str
    process: str
    slot: int
    name: str
    start_ms: float
    duration_ms: float
    error: str = ""
    attributes: dict[str, Attribute] = field(default_factory=dict)


def start(settings: Settings, process: str, slot: int = 0) -> None:
    """Keep this process's spans in home/traces/<process>.<slot>.jsonl, as the settings say."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    class Derived(IdGenerator):
        def generate_span_id(self) -> int:
            return int(_writing.get().span_id, 16)

        def generate_trace_id(self) -> int:
            return int(_writing.get().trace_id, 16)

    class Writer(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            lines.write(_as_line(span))

    lines = _Lines(settings.home / "traces" / f"{process}.{slot}.jsonl", settings.tracing.file_bytes_max)
    provider = TracerProvider(
        id_generator=Derived(),
        sampler=ALWAYS_ON,  # is_kept() has decided before a span reaches the SDK
        resource=Resource({"service.name": f"aios.{process}", "service.instance.id": str(slot)}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(Writer())
    _process.process, _process.slot = process, slot
    _process.kept_below = round(settings.tracing.sample_ratio * KEPT_BELOW_ALL)
    _process.tracer = provider.get_tracer("aios")


def read(home: Path, trace_id: str) -> list[Span]:
    """The spans of one trace that the processes of this home wrote, by time. A repeated piece of work stands once."""
    found: dict[str, Span] = {}
    for path in sorted((home / "traces").glob("*.jsonl*")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for one in _parse(line for line in lines if trace_id in line):
                if one.trace_id == trace_id:
                    found[one.span_id] = one
    return sorted(found.values(), key=lambda one: (one.start_ms, one.name))


def _parse(lines: Iterator[str]) -> Iterator[Span]:
    for line in lines:
        try:
            yield Span(**json.loads(line))
        except (ValueError, TypeError):
            continue  # the last line of a process that was killed


class _Lines:
    """A file of lines, each written whole. Over half of the bound, it becomes `<file>.1` and a new one begins.

    What cannot be written (the disk is full, somebody removed the folder) is dropped and said once: the work that is
    traced goes on without.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._half = bytes_max // 2
        self._lock = Lock()
        self._fails = False
        self._fd: int | None = self._opened()
        self._size = os.fstat(self._fd).st_size

    def write(self, line: bytes) -> None:
        with self._lock:
            try:
                self._size += os.write(self._with_room(len(line)), line)
                self._fails = False
            except OSError as error:
                if not self._fails:
                    log.warning("spans are not kept in %s: %s", self._path, error.strerror)
                self._fails = True

    def _with_room(self, size: int) -> int:
        """Descriptor of a file that takes so many bytes more."""
        fd = self._fd
        if fd is not None and self._size + size <= self._half:
            return fd
        if fd is not None:
            self._fd = None  # whatever fails from here on: its number is soon another's
            os.close(fd)
            with suppress(FileNotFoundError):
                self._path.replace(f"{self._path}.1")
        self._fd = fd = self._opened()
        self._size = os.fstat(fd).st_size
        return fd

    def _opened(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _as_line(done: ReadableSpan) -> bytes:
    started, ended = done.start_time or 0, done.end_time or 0
    one = Span(
        trace_id=f"{done.context.trace_id:032x}",
        span_id=f"{done.context.span_id:016x}",
        parent_id=f"{done.parent.span_id:016x}" if done.parent is not None else "",
        process=_process.process,
        slot=_process.slot,
        name=done.name,
        start_ms=started / 1_000_000,
        duration_ms=(ended - started) / 1_000_000,
        error=done.status.description or "",
        attributes=cast(dict[str, Attribute], dict(done.attributes or {})),
    )
    return json.dumps(asdict(one), ensure_ascii=False).encode() + b"\n"


def _onward(traceparent: str, seed: str) -> str:
    """The traceparent for a record written now: as it came, or a child of the span that writes it, if that is kept."""
    now = _current.get()
    found = _ids_in(traceparent)
    if found is not None:
        trace_id, parent_id = found
    elif now is not None and now.trace_id:
        trace_id, parent_id = now.trace_id, now.parent_id or now.span_id
    else:
        traceparent = new_traceparent(seed)
        trace_id, parent_id = traceparent[3:35], traceparent[36:52]
        if now is not None:
            now.trace_id = trace_id
    kept = is_kept(trace_id)
    if kept and now is not None and now.trace_id == trace_id:
        parent_id = now.span_id
    return f"00-{trace_id}-{parent_id}-{'01' if kept else '00'}"


@lru_cache(maxsize=64)
def _ids_in(traceparent: str) -> tuple[str, str] | None:
    """Trace and parent; what one record leads to is several records of the same trace."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else (found[1], found[2])


def _flags(trace_id: str) -> str:
    return "01" if is_kept(trace_id) else "00"


def _bounded(value: Attribute) -> Attribute:
    return value[:ATTRIBUTE_CHARS_MAX] if isinstance(value, str) else value


@lru_cache(maxsize=8)
def _rfc3339(time_ms: int) -> bytes:
    time_ms = min(max(time_ms, 0), TIME_MS_MAX)  # a producer's clock may say anything
    return _second(time_ms // 1000) + b".%03dZ" % (time_ms % 1000)


@lru_cache(maxsize=8)
def _second(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()
