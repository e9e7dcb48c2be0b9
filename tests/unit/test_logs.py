"""What a process says: one JSON object a line, with the case, without payload."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from aios.streams import logs, metrics, tracing
from aios.streams.errors import Unavailable

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LOGGER = logging.getLogger("aios.test")


def said(message: str, *args: Any, **more: Any) -> dict[str, Any]:
    error = more.pop("error", None)
    trace = (type(error), error, error.__traceback__) if error else None
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, "f", 1, message, args, trace, extra=more)
    line = logs.JsonLines("plan", 2).format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_line_says_who_when_what_and_of_which_case() -> None:
    """The case and trace where they are known; the trace also from the span it was said in."""
    line = said("settled %d\nrecords", 3, case_id="c1", trace_id="t1", unknown="not kept")
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "process": "plan",
        "slot": 2,
        "logger": "aios.test",
        "msg": "settled 3\nrecords",
        "case_id": "c1",
        "trace_id": "t1",
    }
    with tracing.span("s", GIVEN):
        assert said("x")["trace_id"] == GIVEN.split("-")[1]
    assert "trace_id" not in said("x")


def test_an_error_is_told_by_class_and_place() -> None:
    """Its text only if it is ours or the system's: others quote what they could not read."""
    foreign = said("failed", error=raised(ValueError("a customer's letter")))["error"]
    assert (foreign["type"], "text" in foreign) == ("ValueError", False)
    assert foreign["at"][0].endswith(" raised")
    assert said("failed", error=raised(Unavailable("Kafka is away")))["error"]["text"] == "Kafka is away"
    assert "No such file" in said("failed", error=raised(FileNotFoundError(2, "No such file", "/x")))["error"]["text"]


@pytest.mark.parametrize("message", ["%d of %s", "%(name)s", "%", "x" * 100_000])
def test_a_wrong_or_endless_message_is_still_one_bounded_line(message: str) -> None:
    """Logging never breaks what it reports on."""
    assert len(said(message, "letter")["msg"]) <= logs.MESSAGE_CHARS_MAX


SCRIPT = """
import logging, warnings
from aios.streams import logs
logs.start("admit", 1)
logging.getLogger("aios.x").info("ours")
logging.getLogger("aios.x").debug("too fine")
logging.getLogger("faust").info("theirs")
logging.getLogger("faust").warning("theirs, important")
warnings.warn("old")
"""


def test_a_process_logs_to_standard_error_alone() -> None:
    """Ours from info on, others' from warning on, Python's warnings too."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["msg"] for line in lines][:2] == ["ours", "theirs, important"]
    assert "old" in lines[2]["msg"]
    assert {(line["process"], line["slot"]) for line in lines} == {("admit", 1)}
    assert done.stdout == ""


def test_metrics_are_read_on_a_loopback_port_of_its_own() -> None:
    """Each process has a free one; what was counted is there."""
    ports = {metrics.serve(), metrics.serve()}
    assert len(ports) == 2
    metrics.SETTLED.labels("test", "t.v1", "done").inc()
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert 'aios_records_settled_total{stage="test",topic="t.v1",verdict="done"} 1.0' in answer.read().decode()
