"""Where a command to a model stands in its pool's topic: by tenant and slot, not by case.

Enters: the tenant and the case of a command. Leaves: its key. Guaranteed: the commands of one tenant lie in at most
SLOTS partitions of a pool's topic, whatever its cases are, and those of one case in one; so a worker that is fair to
partitions is fair to tenants, and a backlog of one tenant stands in none of the partitions that are others' alone.
Which case a command is of says its value, and the header `ce_subject` to who does not read the value; how urgent it is
and which version it asks say headers too, so that workers choose among commands that they have not read yet, and that
it is known of one that nobody reads any more whose engine it has ended.

Rejected: the tenant alone as key (one tenant could keep one worker busy at most), the case id (each tenant's backlog
lies before everybody's next command in every partition).
"""

from __future__ import annotations

from aios.streams.partitioner import murmur2
from aios.streams.record import Headers

SLOTS = 8  # of a tenant
_SUBJECT = "ce_subject"
DEADLINE, PRIORITY = "aios-deadline", "aios-priority"  # headers: Unix ms; lower is earlier
MODEL = "aios-model"  # header: name@version

PRIORITY_MAX = 1_000  # of a command, either side of 0; each step is as good as a deadline of a second earlier


def key_of(tenant: str, case_id: str) -> bytes:
    """Under which a command of this case stands."""
    return f"{tenant}/{murmur2(case_id.encode()) % SLOTS}".encode()


def headers(deadline_at: int, priority: int, model: str) -> Headers:
    """What is said of a command beside its value."""
    return (DEADLINE, str(deadline_at).encode()), (PRIORITY, str(priority).encode()), (MODEL, model.encode())


def case_of(headers: Headers) -> str:
    """The case of a command, or of what has become of it; empty if no header says it."""
    return next((value.decode("utf-8", "replace") for name, value in headers if name == _SUBJECT and value), "")
