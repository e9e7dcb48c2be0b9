"""An operator who never rests: while a matrix runs, dead letters are replayed, discarded and mended, one turn after the
other, and another principal approves what needs two.

Enters: a running system with the two principals of its home. Leaves: replay jobs, letters that are given up, letters
with other bytes, which the next job returns, so that the stages that carry this out, archive and index it have work
whenever somebody kills them. Guaranteed: what the system refuses or does not answer ends nothing; jobs are small, and
a letter that was returned twice is quarantined by the product itself.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import urllib.parse
import urllib.request
from collections.abc import Mapping
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any

from aios.infra.prove.load import Bodies
from aios.infra.prove.reading import Registry
from aios.streams import credentials, principals
from aios.streams.topology import ADMIT
from aios.streams.wall_clock import wall_ms

EVERY_S = 1.0
LETTERS_MAX = 20  # of one job, and of one list
ASK_S_MAX = 10.0
WHY = {"reason": "a drill"}
MENDED = "What I meant to send: my card has not arrived."
LETTERS = "/v1/dead-letters"


class Asking:
    """What the two principals of a home ask of operations. Its calls raise OSError, ValueError or KeyError."""

    def __init__(self, home: Path, url: str) -> None:
        self._url = url
        self._tokens = {name: credentials.kept(principals.token_file(home, name)) for name in ("operator", "approver")}
        self.answered: list[int] = []  # Unix ms, one an answer

    def letters(self) -> list[dict[str, Any]]:
        """Those of admit that wait for an operator, the newest. Only of bytes that it read: these name no tenant."""
        query = urllib.parse.urlencode({"group": ADMIT.group, "limit": LETTERS_MAX})
        found: list[dict[str, Any]] = self._ask("operator", f"{LETTERS}?{query}")["letters"]
        return found

    def replay(self) -> None:
        """A job: planned, approved by another, run."""
        plan = {**WHY, "filter": {"group": ADMIT.group}, "cap": LETTERS_MAX}
        job = self._ask("operator", "/v1/replays", plan)["object_id"]
        self._ask("approver", f"/v1/replays/{job}/approve", WHY)
        self._ask("operator", f"/v1/replays/{job}/run", WHY)

    def discard(self, letter: Mapping[str, Any]) -> str:
        """Its id, once it is given up; what was asked and is not answered yet is a KeyError."""
        said: str = self._ask("operator", f"{LETTERS}/{letter['id']}/discard", WHY)["object_id"]
        return said

    def mend(self, letter: Mapping[str, Any], value: bytes) -> None:
        """Other bytes, approved by another, who also lets it return where returning had not helped."""
        path = f"{LETTERS}/{letter['id']}"
        self._ask("operator", f"{path}/edit", {**WHY, "value_base64": base64.b64encode(value).decode()})
        self._ask("approver", f"{path}/approve", {**WHY, "hash_after": sha256(value).hexdigest()})
        if letter["state"] == "quarantined":
            self._ask("approver", f"{path}/free", WHY)

    def _ask(self, who: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """body: of a command; without one it is a question."""
        request = urllib.request.Request(  # noqa: S310 - of the system under test
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._tokens[who]}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=ASK_S_MAX) as answer:  # noqa: S310 - same
            said: dict[str, Any] = json.load(answer)
        self.answered.append(wall_ms())
        return said


class Operator:
    """Works from start() to close(). url: of the operators' HTTP; registry: of what a mended letter is written with."""

    def __init__(self, home: Path, url: str, registry: str) -> None:
        self._asking = Asking(home, url)
        self._registry = registry
        self._mended = b""
        self._chance = random.Random(1)  # noqa: S311 - a drill, not a secret
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="operator", daemon=True)
        self.jobs = self.discarded = self.mended = 0

    @property
    def answered(self) -> list[int]:
        """Unix ms, one an answer."""
        return self._asking.answered

    def start(self) -> None:
        """Raises Unavailable."""
        self._mended = Bodies(Registry(self._registry)).encode(MENDED)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def said(self) -> str:
        return f"{self.jobs} replay jobs, {self.discarded} letters discarded, {self.mended} mended"

    def _work(self) -> None:
        turns = cycle((self._replay, self._discard, self._replay, self._mend))
        while not self._stop.wait(EVERY_S):
            try:
                next(turns)()
            except (OSError, ValueError, KeyError):
                continue  # away, or not in a state for it: there is another moment

    def _replay(self) -> None:
        self._asking.replay()
        self.jobs += 1

    def _discard(self) -> None:
        if letters := self._asking.letters():
            self._asking.discard(self._chance.choice(letters))
            self.discarded += 1

    def _mend(self) -> None:
        if letters := [one for one in self._asking.letters() if one["state"] != "edited"]:
            self._asking.mend(self._chance.choice(letters), self._mended)
            self.mended += 1
