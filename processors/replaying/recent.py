"""Which command stands behind each idempotency key, of those that were carried out lately.

Enters: requests, and that one was carried out. Leaves: Refused for another command under its key. Guaranteed: of two
commands under one key that two operations processes took at the same moment, one is carried out. Each of those
processes refuses what it knows to be answered (dlq/answers.py), so that this is only for what none of them can know
yet: it is kept in memory, and bounded.
"""

from __future__ import annotations

from collections import OrderedDict

from aios.dlq.commands import key_reused, sha256_of
from aios.schemas.models import OperationRequested

KEPT_MAX = 10_000


class Recent:
    """See the module. Of one process."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, str] = OrderedDict()  # sha256 of the command, by its id

    def expect(self, request: OperationRequested) -> None:
        """That no other command was carried out under its key. Raises Refused."""
        if self._asked.get(request.command_id, asked := sha256_of(request)) != asked:
            raise key_reused()

    def done(self, request: OperationRequested) -> None:
        """It is carried out."""
        self._asked[request.command_id] = sha256_of(request)
        if len(self._asked) > KEPT_MAX:
            self._asked.popitem(last=False)
