"""What goes on beside the faults of a round: its load, the verifier at work, and whoever waits for a stage to go on.

Enters: a running system. Leaves: a load that was sent, what was found meanwhile, seconds. Guaranteed: what ends a load
is raised by end(), in the thread that asks, and what is wrong with the verifier by into(); what could not be seen is
said, and is no finding.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from confluent_kafka import KafkaException

from aios.infra.prove import load, verify
from aios.infra.prove.findings import Findings
from aios.infra.prove.journal import Kind
from aios.infra.prove.judged import Judged
from aios.infra.prove.reading import Eyes
from aios.infra.prove.stand import Stand, stages_of
from aios.streams.errors import AiosError, Unavailable

RATE_PER_S = 8.0  # leaves room on two cores: how soon a stage goes on says nothing of a machine that is full
AGAIN_S_MAX = 60.0
LANDED_S = 0.3  # until a commit has landed that was on its way; no process starts within it
POLL_S = 0.1


class Loading:
    """The load of a round, in a thread of its own."""

    def __init__(self, stand: Stand, folder: Path, mix: Mapping[Kind, float]) -> None:
        self._stop = threading.Event()
        self._sent: load.Sent | None = None
        self._error: Exception | None = None
        self._arguments = (stand.addresses, folder, mix)
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Raises what ended it, if it did not end well."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def said(self) -> str:
        sent = self._sent
        return "nothing was sent" if sent is None else f"{sent.total} events sent, {sent.acked} acknowledged"

    def _run(self) -> None:
        addresses, folder, mix = self._arguments
        try:
            self._sent = load.run(addresses, folder, rate_per_s=RATE_PER_S, mix=mix, http_share=0.3, stop=self._stop)
        except Exception as error:  # noqa: BLE001 - end() raises it
            self._error = error


class Looking:
    """The verifier at work while things break, in a thread of its own. What it needs may be away: then it says so.

    One look a round: it takes up to 8 s where all cores are busy, and how soon a stage goes on is measured beside it.
    """

    def __init__(self, stand: Stand, folder: Path, say: Callable[[str], None]) -> None:
        self._arguments = (stand.addresses, folder)
        self._say = say
        self._found: Findings | None = None
        self._missed = ""
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="looking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def into(self, judged: Judged) -> None:
        """Wait for it, and add what it found. Raises what ended it, unless something was away."""
        if self._thread.ident is None:
            return
        self._thread.join()
        if self._error is not None:
            raise self._error
        judged.unseen = self._missed
        if self._found is None:
            return
        judged.seen_running = self._found.accepted
        for law, count in self._found.violations.items():
            judged.violations[f"{law} while it ran"] = count
            judged.examples += [f"{law} while it ran: {each}" for each in self._found.examples[law][:3]]

    def _run(self) -> None:
        addresses, folder = self._arguments
        try:
            self._found = verify.check(addresses, folder, drained=False)
        except (AiosError, OSError, KafkaException) as error:
            self._missed = str(error)
            self._say(f"  not judged while it ran: {error}")
        except Exception as error:  # noqa: BLE001 - into() raises it
            self._error = error


class Watched:
    """Sees a stage go on: its groups commit further than where they stood.

    Of a stage without a group, and of all together, what callers and cases saw is told afterwards: nothing to see here.
    """

    def __init__(self, stand: Stand, process: str) -> None:
        self._eyes = Eyes(stand.addresses)
        self._places = {
            stage.group: self._eyes.places(topic.name for topic in stage.inputs)
            for stage in stages_of(process)
            if stage.reads
        }
        self._before = -1
        self._began = 0.0
        self.seconds: float | None = None

    def begin(self) -> None:
        self._began = time.monotonic()
        if not self._places:
            return
        time.sleep(LANDED_S)
        self._before = self._committed()

    def again(self) -> None:
        """Wait for it, AGAIN_S_MAX at most: what is late shall still be measured."""
        if not self._places or not self._began:
            return
        deadline = time.monotonic() + AGAIN_S_MAX
        while time.monotonic() < deadline:
            now = self._committed()
            if self._before < 0:
                self._before = now
            elif now > self._before:
                self.seconds = time.monotonic() - self._began
                return
            time.sleep(POLL_S)

    def _committed(self) -> int:
        """-1: Kafka does not say."""
        try:
            asked = (self._eyes.committed(group, places) for group, places in self._places.items())
            return sum(sum(found.values()) for found in asked)
        except Unavailable:
            return -1
