"""What an operator may do with one dead letter: edit, approve an edit, discard, restore, free.

Enters: a command, and the very record it is about, compared by id and generation. Leaves: in the turn, what is
remembered of the letter, letter.changed.v1, audit.recorded.v1. Guaranteed: what has been done already is answered as
done and changes nothing; whoever edits does not approve; an edit keeps tenant, idempotency key and event id; nothing
is done to a letter that has failed again since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aios.dlq import edits, envelope, letter_states
from aios.dlq.commands import Kind, LetterCommand, Principals, Problem, Refused, allowed, other_eyes, wrong_state
from aios.dlq.dead_letter import DeadLetter, letter_of
from aios.dlq.letter_states import LetterState
from aios.processors.replaying.guard import Guard
from aios.processors.replaying.records import Records
from aios.processors.replaying.turn import Turn
from aios.schemas.codec import Codec
from aios.schemas.models import OperationRequested
from aios.streams.record import Record


class Letters:
    """See the module. partitions: of a family."""

    def __init__(self, codec: Codec, principals: Principals, records: Records, guard: Guard, partitions: int) -> None:
        self._codec = codec
        self._principals = principals
        self._records = records
        self._guard = guard
        self._partitions = partitions

    def act(self, command: LetterCommand, request: OperationRequested, turn: Turn) -> Mapping[str, Any]:
        """What the answer says. Raises Refused, Unavailable."""
        letter, record = self._stands(command, request.object_id)
        allowed(self._principals, request.principal, command.kind, frozenset({letter.tenant}))
        known = turn.letter(letter.id)
        if known is not None and known.generation > letter.generation:
            raise Refused(Problem.CHANGED, "it has come back and failed again since; look at it once more")
        match command.kind:
            case Kind.EDIT:
                return self._edit(command, request, letter, record, turn)
            case Kind.APPROVE_EDIT:
                return self._approve_edit(command, request, letter, turn)
            case Kind.DISCARD:
                return self._discard(request, letter, record, turn)
            case Kind.RESTORE:
                return self._restore(request, letter, record, turn)
            case _:
                return self._free(request, letter, turn)

    def _stands(self, command: LetterCommand, letter_id: str) -> tuple[DeadLetter, Record]:
        """The letter that is meant, and its record. Raises Refused, Unavailable."""
        topic, partition, _ = command.place
        if topic not in letter_states.STAGES:
            raise Refused(Problem.NOT_FOUND, "that is no dead-letter topic of this system")
        if partition >= letter_states.STAGES[topic].dead_letters.partitions(self._partitions):
            raise Refused(Problem.NOT_FOUND, "the topic has no such partition")
        record = self._records.fetch(command.place)
        letter = letter_of(record) if record is not None else None
        if record is None or letter is None or letter.id != letter_id:
            raise Refused(Problem.NOT_FOUND, "the dead letter is not there (any more): its time was up")
        if letter.generation != command.generation:
            raise Refused(Problem.CHANGED, "it has failed again since; look at it once more")
        return letter, record

    def _edit(
        self, command: LetterCommand, request: OperationRequested, letter: DeadLetter, record: Record, turn: Turn
    ) -> Mapping[str, Any]:
        known = turn.letter(letter.id)
        _expect(letter, turn, LetterState.OPEN, LetterState.EDITED, LetterState.QUARANTINED)
        whole, topic = self._records.original(letter, record), edits.topic_of(letter.orig_topic)
        if whole is None:
            raise Refused(Problem.NOT_FOUND, "its bytes were left where it failed, and are not there any more")
        if request.value is not None:
            edited = edits.checked(self._codec, topic, request.value)
        elif self._guard.is_deadly(letter):
            raise Refused(Problem.DOES_NOT_FIT, "who decodes it ends by it: give replacement bytes")
        else:
            patch = command.patch
            edited = self._guard.decoding(letter, lambda: edits.patched(self._codec, topic, whole.value, patch))
        self._records.check_kept(letter, whole, edited)
        before, after = envelope.sha256(whole.value), envelope.sha256(edited)
        told = {"state": LetterState.EDITED, "hash_before": before, "hash_after": after}
        same = known is not None and known.edit == edited and known.edited_by == request.principal
        if same and letter_states.state_of(letter, known) is LetterState.EDITED:
            return told
        turn.keep_letter(
            letter_states.remembered(
                letter,
                known,
                state=LetterState.EDITED,
                edit=edited,
                edit_hash_before=before,
                edited_by=request.principal,
                approved_by="",
                changed_at=turn.now_ms,
            )
        )
        self._say(letter, "edited", request, turn, state=LetterState.EDITED, before=before, after=after)
        return told

    def _approve_edit(
        self, command: LetterCommand, request: OperationRequested, letter: DeadLetter, turn: Turn
    ) -> Mapping[str, Any]:
        known = turn.letter(letter.id)
        _expect(letter, turn, LetterState.EDITED)
        if known is None:
            raise Refused(Problem.WRONG_STATE, "there is no edit")
        after = envelope.sha256(known.edit)
        if command.hash_after != after:
            raise Refused(Problem.CHANGED, "the edit is another one by now; look at it before you approve it")
        other_eyes(request.principal, known.edited_by)
        told = {"state": LetterState.EDITED, "hash_after": after, "approved_by": known.approved_by or request.principal}
        if known.approved_by:
            return told
        turn.keep_letter(replace(known, approved_by=request.principal, changed_at=turn.now_ms))
        before = known.edit_hash_before
        self._say(letter, "edit_approved", request, turn, state=LetterState.EDITED, before=before, after=after)
        return told

    def _discard(
        self, request: OperationRequested, letter: DeadLetter, record: Record, turn: Turn
    ) -> Mapping[str, Any]:
        known = turn.letter(letter.id)
        if letter_states.state_of(letter, known) is not LetterState.DISCARDED:
            _expect(letter, turn, LetterState.OPEN, LetterState.EDITED, LetterState.QUARANTINED)
            act = request.command_id
            turn.discard(letter, record.key, known, act=act, by=request.principal, reason=request.reason)
        return {"state": LetterState.DISCARDED} | ({"parked_key": letter.key} if letter.ordinal >= 0 else {})

    def _restore(
        self, request: OperationRequested, letter: DeadLetter, record: Record, turn: Turn
    ) -> Mapping[str, Any]:
        known = turn.letter(letter.id)
        state = letter_states.state_of(letter, known)
        if known is not None and known.restored and state in (LetterState.OPEN, LetterState.QUARANTINED):
            return {"state": state}
        _expect(letter, turn, LetterState.DISCARDED)
        if self._records.original(letter, record) is None:
            raise Refused(Problem.NOT_FOUND, "its bytes were left where it failed, and are not there any more")
        state = LetterState.QUARANTINED if letter_states.unfreed(letter, known) else LetterState.OPEN
        turn.keep_letter(letter_states.remembered(letter, known, state=state, restored=True, changed_at=turn.now_ms))
        self._say(letter, "restored", request, turn, state=state)
        return {"state": state}

    def _free(self, request: OperationRequested, letter: DeadLetter, turn: Turn) -> Mapping[str, Any]:
        known = turn.letter(letter.id)
        state = letter_states.state_of(letter, known)
        if known is not None and known.generation == letter.generation and known.freed:
            return {"state": state}
        if not (state is LetterState.EDITED and letter_states.unfreed(letter, known)):
            _expect(letter, turn, LetterState.QUARANTINED)
            state = LetterState.OPEN
        turn.keep_letter(letter_states.remembered(letter, known, state=state, freed=True, changed_at=turn.now_ms))
        self._say(letter, "freed", request, turn, state=state)
        return {"state": state}

    def _say(
        self,
        letter: DeadLetter,
        transition: str,
        request: OperationRequested,
        turn: Turn,
        *,
        state: str,
        before: str = "",
        after: str = "",
    ) -> None:
        act, by = f"{transition}.{request.command_id}", request.principal
        turn.changed(letter, state, act=act, reason=request.reason, before=before, after=after, by=by)
        detail = {"why": request.reason, "sha256_before": before, "sha256": after}
        turn.audited(letter, transition, act=act, by=by, detail={name: said for name, said in detail.items() if said})


def _expect(letter: DeadLetter, turn: Turn, *states: LetterState) -> None:
    state = letter_states.state_of(letter, turn.letter(letter.id))
    if state not in states:
        raise wrong_state(letter.id, state, *states)
