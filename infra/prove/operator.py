"""An operator who never rests: while a matrix runs, dead letters are replayed by jobs that another principal approves.

Enters: a running system with the two principals of its home. Leaves: replay jobs, one after the other, so that the
stage that runs them has work whenever somebody kills it. Guaranteed: what the system refuses or does not answer ends
nothing; jobs are small, and a letter that was returned twice is quarantined by the product itself.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios.streams import credentials, principals
from aios.streams.topology import ADMIT
from aios.streams.wall_clock import wall_ms

EVERY_S = 1.0
LETTERS_MAX = 20  # of one job
ASK_S_MAX = 10.0


class Operator:
    """Works from start() to close(). url: of the operators' HTTP."""

    def __init__(self, home: Path, url: str) -> None:
        self._url = url
        self._tokens = {name: credentials.kept(principals.token_file(home, name)) for name in ("operator", "approver")}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="operator", daemon=True)
        self.jobs = 0
        self.answered: list[int] = []  # Unix ms, one an answer

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self._job()
            except (OSError, ValueError, KeyError):
                continue  # away, or not in a state for it: there is another moment

    def _job(self) -> None:
        plan = {"reason": "a drill", "filter": {"group": ADMIT.group}, "cap": LETTERS_MAX}  # bytes name no tenant
        job = self._ask("operator", "/v1/replays", plan)["object_id"]
        self._ask("approver", f"/v1/replays/{job}/approve", {"reason": "a drill"})
        self._ask("operator", f"/v1/replays/{job}/run", {"reason": "a drill"})
        self.jobs += 1

    def _ask(self, who: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - of the system under test
            self._url + path,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._tokens[who]}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=ASK_S_MAX) as answer:  # noqa: S310 - same
            said: dict[str, Any] = json.load(answer)
        self.answered.append(wall_ms())
        return said
