"""Why a name may be an entry's, in sentences that a reviewer reads.

Enters: what was written, and a hit. Leaves: plain sentences, the weightiest first: what agrees, how it differs, what
is left over, the birth date, the entry's own. Guaranteed: pure; every number that the score was made of has a sentence,
and no sentence claims more than was compared.
"""

from __future__ import annotations

from collections.abc import Iterator

from aios.processors.screening.entries import Kind
from aios.processors.screening.index import Asked, Hit
from aios.processors.screening.names import parts
from aios.processors.screening.small_words import light
from aios.processors.screening.vocabulary import How

KINDS = {
    Kind.INDIVIDUAL: "a person",
    Kind.ENTITY: "an organisation",
    Kind.VESSEL: "a ship",
    Kind.AIRCRAFT: "an aircraft",
}


def sentences(asked: Asked, hit: Hit) -> tuple[str, ...]:
    """Why `asked` may be the hit's entry."""
    return tuple(_sentences(asked, hit))


def _sentences(asked: Asked, hit: Hit) -> Iterator[str]:
    written = [part.text.title() for part in parts(asked.name)]
    listed = [part.text.title() for part in parts(hit.name)]
    found = hit.alignment
    whole = not found.extra and not found.missing
    same = [_words(listed, pair.places) for pair in found.pairs if pair.how is How.SAME]
    if whole and len(same) == len(found.pairs):
        yield f"the same name as '{hit.name}'" if not found.swapped else f"the same parts as '{hit.name}'"
    elif same:
        yield f"{_and(same)} agree{'s' if len(same) == 1 else ''}"
    if found.swapped:
        yield "the parts stand in another order"
    for pair in found.pairs:
        yield from _spelled(" ".join(written[pair.first : pair.behind]), _words(listed, pair.places), pair.how)
    missing = [listed[place] for place in found.missing if not light(listed[place].lower())]
    if missing:
        yield f"the list also has {_and(missing)}, not written here"
    extra = [written[place] for place in found.extra if not light(written[place].lower())]
    if extra:
        yield f"{_and(extra)} {'is' if len(extra) == 1 else 'are'} not in the list's name"
    if hit.birth.sentence:
        yield hit.birth.sentence
    if hit.name != hit.entry.names[0]:
        yield f"'{hit.name}' is an alias of '{hit.entry.names[0]}'"
    if asked.kind is not None and asked.kind is not hit.entry.kind:
        yield f"the entry is {KINDS[hit.entry.kind]}, {KINDS[asked.kind]} was asked for"


def _spelled(ours: str, theirs: str, how: How) -> Iterator[str]:
    match how:
        case How.SOUND:
            yield f"'{ours}' for '{theirs}': another spelling of the same sound"
        case How.BARE:
            yield f"'{theirs}' has the consonants that were written"
        case How.TYPO:
            yield f"'{ours}' for '{theirs}': a slip away"
        case How.PREFIX:
            yield f"'{ours}' is the beginning of '{theirs}'"
        case How.ACRONYM:
            yield f"'{ours.upper()}' are the first letters of '{theirs}'"
        case How.INITIAL:
            yield f"'{ours}' and '{theirs}': an initial"


def _words(listed: list[str], places: tuple[int, ...]) -> str:
    return " ".join(listed[place] for place in places)


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
