"""Guardrails: what a policy says of a text before a model reads it, and of an answer before a workflow uses it. Pure.

In: a policy (policy_files.py), the text or the answer, and for answers the text that the model had read. Out: a
Verdict. Guaranteed: nothing is changed but what a policy masks; what cannot be judged (too long, of no known form) is
refused, because a guard that gives up lets everything pass; a verdict's evidence names rules, counts and places, never
the words, so that it may stand in the audit.

A guard is a net of plain rules. It holds back known attacks, personal data and invented facts; it does not know
whether a sentence is true, and a text that is written to slip through will. What an answer may do is bounded elsewhere
too: by its contract, by the workflow's rules, by people.

    verdict = guarding.judge(policy_files.load("no_injection@1"), text)                 # before
    verdict = guarding.judge(policy_files.load("facts_in_source@1"), answer, source)    # after; answer: its fields
    if verdict.refused: …on_error…                   # verdict.said is what goes on; verdict.evidence() the audit's
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import re2

from aios.processors.cases import facts
from aios.processors.language import policy_files
from aios.processors.language.policy_files import Case, Policy, Rule
from aios.streams import shapes

JUDGED_CHARS_MAX = 200_000  # as much as a step may read; more is refused
LANGUAGE_CHARS = 1_000  # of a text's beginning tell its language
PLACES_MAX = 20  # told of one rule
MASK = "[removed]"
UNJUDGEABLE = "unjudgeable"  # the rule that is broken when a policy cannot judge

PASSED, NOTED, MASKED, REFUSED = "passed", "noted", "masked", "refused"
_RANK = {"note": NOTED, "mask": MASKED, "refuse": REFUSED}

Place = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """What one rule found. then: refuse, mask or note. places: first and last+1 characters, where there are any."""

    rule: str
    says: str
    then: str
    found: int
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a policy says. said: the text or answer as it may go on; as it came, where it is refused."""

    policy: str
    digest: str
    at: str
    breaches: tuple[Breach, ...]
    said: Any

    @property
    def result(self) -> str:
        """passed, noted, masked or refused: the worst of the breaches."""
        for then in ("refuse", "mask", "note"):
            if any(breach.then == then for breach in self.breaches):
                return _RANK[then]
        return PASSED

    @property
    def refused(self) -> bool:
        return self.result == REFUSED

    @property
    def noted(self) -> tuple[str, ...]:
        """What is only recorded, by policy and rule, for the rules of a workflow: `urgent.deadline`."""
        name = self.policy.partition("@")[0]
        return tuple(f"{name}.{breach.rule}" for breach in self.breaches if breach.then == "note")

    def evidence(self) -> dict[str, Any]:
        """For the audit: what was judged by what, and what was found; nothing of the text itself."""
        told = [
            {"rule": each.rule, "says": each.says, "then": each.then, "found": each.found}
            | ({"places": [list(place) for place in each.places]} if each.places else {})
            for each in self.breaches
        ]
        return {
            "policy": self.policy,
            "policy_digest": self.digest[:16],
            "at": self.at,
            "verdict": self.result,
            "breaches": told,
        }


def judge(policy: Policy, said: Any, source: str = "") -> Verdict:
    """said: the text, of a policy that stands before a model; else the answer: a text, or its fields by name."""
    leaves = list(_leaves(said))
    texts = list(map(_written, leaves))
    if sum(map(len, texts)) > JUDGED_CHARS_MAX or len(source) > JUDGED_CHARS_MAX:
        return _verdict(policy, said, (_unjudgeable(f"over {JUDGED_CHARS_MAX} characters"),))
    if policy.at == "before" and not isinstance(said, str):
        return _verdict(policy, said, (_unjudgeable("no text"),))
    found = tuple(breach for name, rule in policy.rules.items() if (breach := _breach(name, rule, said, texts, source)))
    if not _masks(found):
        return _verdict(policy, said, found)
    if any(_would_mask(policy, text) for leaf, text in zip(leaves, texts, strict=True) if not isinstance(leaf, str)):
        return _verdict(policy, said, (*found, _unjudgeable("a number, which nothing can stand for")))
    return _verdict(policy, _masked(policy, said), found)


def said_in(policy: Policy, case: Case) -> Any:
    """What a case beside a policy gives it to judge."""
    return case.answer if policy.at == "after" else (case.text or "") * case.repeat


def _verdict(policy: Policy, said: Any, breaches: tuple[Breach, ...]) -> Verdict:
    return Verdict(policy=policy.reference, digest=policy.digest, at=policy.at, breaches=breaches, said=said)


def _unjudgeable(why: str) -> Breach:
    return Breach(rule=UNJUDGEABLE, says=f"what the policy cannot judge it refuses: {why}", then="refuse", found=1)


def _masks(breaches: tuple[Breach, ...]) -> bool:
    return any(each.then == "mask" for each in breaches) and all(each.then != "refuse" for each in breaches)


def _would_mask(policy: Policy, text: str) -> bool:
    masking = (rule for rule in policy.rules.values() if rule.then == "mask")
    return any(True for rule in masking for _ in _FINDERS[rule.kind](rule, text, "", text))


def _breach(name: str, rule: Rule, said: Any, texts: list[str], source: str) -> Breach | None:
    """texts: every text of what was said, one that is empty where there is none (a vector); places are told where it
    is one text.
    """
    found, places = 0, []
    for text in texts or [""]:
        here = list(_FINDERS[rule.kind](rule, text, source, said))
        found += len(here)
        places += here if isinstance(said, str) else []
        if rule.kind in _OF_THE_WHOLE:
            break
    if not found:
        return None
    return Breach(rule=name, says=rule.says, then=rule.then, found=found, places=tuple(sorted(places)[:PLACES_MAX]))


def _never(rule: Rule, text: str, _source: str, _said: Any) -> Iterator[Place]:
    """As it is written, and as it reads: a pattern is not slipped past by letters of another width or by spacing."""
    places = sorted({found.span() for one in _compiled(rule.never or ()) for found in one.finditer(text)})
    yield from places
    read = _as_read(text)
    if not places and read != _ordinary(text) and any(one.search(read) for one in _compiled(rule.never or ())):
        yield 0, len(text)


def _invisible(rule: Rule, text: str, _source: str, _said: Any) -> Iterator[Place]:
    places = [found.span() for found in INVISIBLE.finditer(text)]
    if len(places) > (rule.invisible_max or 0):
        yield from places


def _chars(rule: Rule, text: str, _source: str, _said: Any) -> Iterator[Place]:
    if rule.chars is not None and not rule.chars.min <= len(text) <= rule.chars.max:
        yield 0, len(text)


def _words(rule: Rule, text: str, _source: str, _said: Any) -> Iterator[Place]:
    if rule.words is not None and not rule.words.min <= len(text.split()) <= rule.words.max:
        yield 0, len(text)


def _language(rule: Rule, text: str, _source: str, _said: Any) -> Iterator[Place]:
    spec = rule.languages
    read = " ".join(text.split())[:LANGUAGE_CHARS]
    if spec is None or len(read) < spec.chars_min:
        return
    language, sure = _identifier().classify(read)
    if round(sure, 2) >= spec.sure_min and language not in spec.allowed:
        yield 0, len(text)


def _personal(rule: Rule, text: str, _source: str, _said: Any) -> Iterator[Place]:
    yield from sorted({place for kind in rule.personal or () for place in PERSONAL[kind](text)})


def _facts(rule: Rule, text: str, source: str, said: Any) -> Iterator[Place]:
    """`values` is about the texts of an object; a sentence of a model's own stands in no source."""
    extracted = isinstance(said, Mapping) and "object" in said
    kinds = tuple(kind for kind in rule.facts or () if kind != "values" or extracted)
    yield from (each.place for each in facts.missing(kinds, text, source))


def _about(rule: Rule, text: str, source: str, said: Any) -> Iterator[Place]:
    whole = text if isinstance(said, str) else "\n".join(map(_written, _leaves(said)))
    if facts.share_from(whole, source) < (rule.words_from_source_min or 0):
        yield 0, len(text)


def _shape(rule: Rule, text: str, _source: str, said: Any) -> Iterator[Place]:
    answer = said.get("object", said) if isinstance(said, Mapping) else said
    yield from ((0, len(text)) for _ in shapes.problems(shapes.complete(rule.shape), answer))


_Finder = Callable[[Rule, str, str, Any], Iterator[Place]]
_FINDERS: Mapping[str, _Finder] = {
    "never": _never,
    "invisible_max": _invisible,
    "chars": _chars,
    "words": _words,
    "languages": _language,
    "personal": _personal,
    "facts": _facts,
    "words_from_source_min": _about,
    "shape": _shape,
}
_OF_THE_WHOLE = ("words_from_source_min", "shape")  # judged once, however many texts an answer has

INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
)
SPACED = re.compile(r"\b(?:\w[ .\-_*]){3,}\w\b")  # i g n o r e
LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏ", "aeopcyxijsdhl")  # Cyrillic letters that read as Latin ones

_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_SOCIAL = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_TELEPHONE = re.compile(
    r"(?<![\w$€£.,-])(?<!\d[ .-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)|\d{2,4})[ .-]\d{3,4}[ .-]\d{3,4}(?!\w)(?![ .-]?\d)"
)


def _cards(text: str) -> Iterator[Place]:
    """Numbers that satisfy the check sum of cards."""
    for found in _CARD.finditer(text):
        digits = [int(one) for one in found[0] if one.isdigit()]
        doubled = (sum(divmod(2 * one, 10)) for one in digits[-2::-2])
        if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1:
            yield found.span()


def _ibans(text: str) -> Iterator[Place]:
    """ISO 13616: the check digits must be right. What follows one without a gap is left out of it."""
    for found in _IBAN.finditer(text):
        words = found[0].split(" ")
        for count in range(len(words), 0, -1):
            taken = " ".join(words[:count])
            written = taken.replace(" ", "")
            moved = written[4:] + written[:4]
            if 15 <= len(written) <= 34 and int("".join(str(int(one, 36)) for one in moved)) % 97 == 1:
                yield found.start(), found.start() + len(taken)
                break


PERSONAL: Mapping[str, Callable[[str], Iterator[Place]]] = {
    "card": _cards,
    "iban": _ibans,
    "social_security": lambda text: (found.span() for found in _SOCIAL.finditer(text)),
    "mail": lambda text: (found.span() for found in _MAIL.finditer(text)),
    "telephone": lambda text: (found.span() for found in _TELEPHONE.finditer(text)),
}


def _ordinary(text: str) -> str:
    return " ".join(text.lower().split())


@lru_cache(maxsize=4)  # the rules of a policy ask for the same text
def _as_read(text: str) -> str:
    """What a reader, or a model, takes it for: one width, no invisible characters, no letters spaced out."""
    folded = INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).lower().translate(LOOKALIKES)
    return " ".join(SPACED.sub(lambda found: re.sub(r"[ .\-_*]", "", found[0]), folded).split())


def _masked(policy: Policy, said: Any) -> Any:
    """What was said with everything replaced that a masking rule finds."""
    if isinstance(said, str):
        for rule in policy.rules.values():
            if rule.then == "mask":
                said = _without(said, list(_FINDERS[rule.kind](rule, said, "", said)))
        return said
    if isinstance(said, Mapping):
        return {name: _masked(policy, value) for name, value in said.items()}
    return [_masked(policy, value) for value in said] if isinstance(said, list | tuple) else said


def _without(text: str, places: list[Place]) -> str:
    kept, at = [], 0
    for start, end in sorted(places):
        if start >= at:
            kept += [text[at:start], MASK]
        at = max(at, end)
    return "".join((*kept, text[at:]))


def _leaves(said: Any, *, figures: bool = False) -> Iterator[str | int | float]:
    """Every text of an answer, names of fields left out; of an object that a model filled also its numbers."""
    if isinstance(said, str):
        yield said
    elif isinstance(said, Mapping):
        for name, value in said.items():
            yield from _leaves(value, figures=figures or name == "object")
    elif isinstance(said, list | tuple):
        for value in said:
            yield from _leaves(value, figures=figures)
    elif figures and isinstance(said, int | float) and not isinstance(said, bool):
        yield said


def _written(leaf: str | float) -> str:
    """A number with all its figures, and without an exponent."""
    return f"{Decimal(str(leaf)).normalize():f}" if isinstance(leaf, float) else str(leaf)


@lru_cache(maxsize=512)
def _compiled(patterns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(re2.compile(one, policy_files.options()) for one in patterns)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Of languages; 90 MB, so only where a policy asks for it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
