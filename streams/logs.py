"""Logs: one JSON object a line on standard error, for people with `aios logs` and for any collector.

Enters: the standard logging module. Leaves: {ts, level, process, slot, logger, msg} and, where known, case_id,
trace_id and error. Guaranteed: no payload. A message is what we wrote ourselves; of an exception only its class
and the places in the code are kept, and its text only if it is one of ours or of the operating system, because
other libraries quote what they could not read. A line has a bound.
Rejected: files with rotation of our own (the supervisor keeps what a process says), coloured text (not for machines).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from functools import lru_cache
from types import TracebackType

from confluent_kafka import KafkaException

from aios.schemas.errors import AiosError
from aios.streams import tracing

MESSAGE_CHARS_MAX = 2_000
FRAMES_MAX = 20  # the innermost ones
EXTRAS = ("case_id", "trace_id")
SAFE = (AiosError, OSError, KafkaException)


def start(process: str, slot: int) -> None:
    """Send everything this process logs to standard error as JSON; ours from INFO, others' from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process, slot))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("aios").setLevel(logging.INFO)
    logging.captureWarnings(True)


def who() -> tuple[str, int] | None:
    """What start() was told, for a process that this one starts in its turn; None: it was not called."""
    formatters = (handler.formatter for handler in logging.getLogger().handlers)
    return next((formatter.who for formatter in formatters if isinstance(formatter, JsonLines)), None)


class JsonLines(logging.Formatter):
    """See the module."""

    def __init__(self, process: str, slot: int) -> None:
        super().__init__()
        self.who = process, slot

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        said = {
            "ts": _time(record.created),
            "level": record.levelname.lower(),
            "process": self.who[0],
            "slot": self.who[1],
            "logger": record.name,
            "msg": _message(record),
        }
        said |= {name: str(getattr(record, name)) for name in EXTRAS if getattr(record, name, "")}
        if "trace_id" not in said and tracing.current_trace():
            said["trace_id"] = tracing.current_trace()
        if record.exc_info and record.exc_info[0]:
            said["error"] = _error(*record.exc_info)
        return _ENCODED(said)


_ENCODED = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _time(seconds: float) -> str:
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _message(record: logging.LogRecord) -> str:
    """Never raises: a wrong format string is shown as it is, without its arguments."""
    try:
        return record.getMessage()[:MESSAGE_CHARS_MAX]
    except (TypeError, ValueError, KeyError):
        return str(record.msg)[:MESSAGE_CHARS_MAX]


def _error(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> dict[str, object]:
    frames = traceback.extract_tb(trace)[-FRAMES_MAX:]
    told: dict[str, object] = {
        "type": kind.__qualname__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, SAFE):
        told["text"] = str(error)[:MESSAGE_CHARS_MAX]
    return told
