"""Replay jobs, and edits that wait, as the stage that keeps them last said: read from its changelog.

Enters: aios.replay.state. Leaves: every job, and every letter whose edit has not returned yet, in memory.
Guaranteed: what is shown has been committed; it follows within moments. Rejected: jobs in the index (it may be empty
while it is rebuilt, and then nobody could stop a job).
"""

from __future__ import annotations

from aios.dlq import jobs, letter_states
from aios.dlq.letter_states import LetterState
from aios.schemas.codec import Codec
from aios.schemas.models import LetterRemembered, ReplayRemembered
from aios.streams.config import KafkaSettings
from aios.streams.reference import ReferenceTable
from aios.streams.topology import REPLAY

_JOB, _LETTER = jobs.job_key(""), letter_states.letter_key("")


class JobTable(ReferenceTable[ReplayRemembered]):
    """By job id, with job()."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        assert REPLAY.changelog is not None
        super().__init__(
            kafka,
            codec,
            REPLAY.changelog,
            ReplayRemembered,
            name_of=lambda job: jobs.job_key(job.job_id).decode(),
            mine=lambda key: key.startswith(_JOB),
        )

    def newest(self) -> list[ReplayRemembered]:
        return sorted(self.all().values(), key=lambda job: (-job.planned_at, job.job_id))

    def beginning(self, job_id: str) -> list[ReplayRemembered]:
        """Whose ids begin so; the one alone whose id it is."""
        exact = self.get(jobs.job_key(job_id).decode())
        return [exact] if exact is not None else [one for one in self.newest() if one.job_id.startswith(job_id)]


class EditTable(ReferenceTable[LetterRemembered]):
    """By letter id, with edit()."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        assert REPLAY.changelog is not None
        super().__init__(
            kafka,
            codec,
            REPLAY.changelog,
            LetterRemembered,
            name_of=lambda letter: letter_states.letter_key(letter.letter_id).decode(),
            mine=lambda key: key.startswith(_LETTER),
            kept=lambda letter: letter.state == LetterState.EDITED and letter.edit is not None,
        )

    def edit(self, letter_id: str) -> LetterRemembered | None:
        """The edit that waits for approval, or to be replayed."""
        return self.get(letter_states.letter_key(letter_id).decode())
