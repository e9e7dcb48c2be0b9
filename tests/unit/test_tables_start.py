"""Tables that start side by side."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aios.streams import reference
from aios.streams.errors import Unavailable

WAIT_S_MAX = 10.0


class Table:
    """Starts when every one of them is at it; what is wrong is raised at once, before the others are through."""

    def __init__(self, together: threading.Barrier, failed: threading.Event, wrong: str = "") -> None:
        self._together, self._failed, self._wrong = together, failed, wrong
        self.is_through = False

    def start(self) -> None:
        self._together.wait(WAIT_S_MAX)
        if self._wrong:
            self._failed.set()
            raise Unavailable(self._wrong)
        assert self._failed.wait(WAIT_S_MAX)
        self.is_through = True


def test_when_one_cannot_be_read_none_is_starting_any_more() -> None:
    """Whoever closes them closes none that is at work; what the first of them said is raised."""
    together, failed = threading.Barrier(4), threading.Event()
    tables = [Table(together, failed, wrong) for wrong in ("", "the second", "", "the fourth")]
    with pytest.raises(Unavailable, match="the second"):
        asyncio.run(reference.start(*tables))
    assert [table.is_through for table in tables] == [True, False, True, False]
