"""What the gateway's answers say of a case, and what it still knows of those that it has just accepted."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from pydantic import BaseModel

from aios.streams.topics import RETENTION_MS

RECENT_MAX = 50_000  # names of which this process remembers something


class Links(BaseModel):
    case: str


class Recent:
    """What this process accepted lately: for a case the hash of its body, for a question the answer's id.

    age_s_max: after so long it is forgotten; as plan forgets a case, whose key may then be used again.
    """

    def __init__(self, at_most: int = RECENT_MAX, *, age_s_max: float = RETENTION_MS / 1000) -> None:
        self._known: OrderedDict[str, tuple[str, str, float]] = OrderedDict()
        self._at_most = at_most
        self._age_s_max = age_s_max

    def note(self, name: str, tenant: str, value: str) -> None:
        """The first value of a name stays; the oldest name is forgotten."""
        if self.value(name) is not None:
            return
        self._known[name] = tenant, value, monotonic()
        self._known.move_to_end(name)
        if len(self._known) > self._at_most:
            self._known.popitem(last=False)

    def value(self, name: str) -> str | None:
        known = self._of(name)
        return known[1] if known is not None else None

    def known(self, name: str, tenant: str) -> bool:
        known = self._of(name)
        return known is not None and known[0] == tenant

    def _of(self, name: str) -> tuple[str, str, float] | None:
        known = self._known.get(name)
        return known if known is not None and monotonic() - known[2] < self._age_s_max else None


def case_url(case_id: str) -> str:
    return f"/v1/cases/{case_id}"
