"""What the gateway's answers say of a case, and what it still knows of those that it has just accepted."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import BaseModel

RECENT_MAX = 50_000  # names of which this process remembers something


class Links(BaseModel):
    case: str


class Recent:
    """What this process accepted lately: for a case the hash of its body, for a question the answer's id."""

    def __init__(self, at_most: int = RECENT_MAX) -> None:
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._at_most = at_most

    def note(self, name: str, tenant: str, value: str) -> None:
        """The first value of a name stays; the oldest name is forgotten."""
        self._known.setdefault(name, (tenant, value))
        if len(self._known) > self._at_most:
            self._known.popitem(last=False)

    def value(self, name: str) -> str | None:
        known = self._known.get(name)
        return known[1] if known else None

    def known(self, name: str, tenant: str) -> bool:
        known = self._known.get(name)
        return known is not None and known[0] == tenant


def case_url(case_id: str) -> str:
    return f"/v1/cases/{case_id}"
