"""What a customer wrote before is found again: the same letter, changed a little, and no other one."""

from __future__ import annotations

import asyncio
import csv
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.infra import demo
from aios.processors.connectors import correspondence
from aios.processors.connectors.connector import Ask, Failure, Setup
from aios.processors.connectors.correspondence import KEY_PLACE, RECALL, TEXTS_MAX, Correspondence, Earlier, Written
from aios.streams import installed
from aios.streams.config import ConnectorsSettings, RedisSettings, Settings
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.outcome_store import OutcomeStore
from aios.streams.outcome_views import CaseView

LETTERS = Path(demo.__file__).parent / "data" / "signals.csv"
JOINED_MIN = 0.6  # of document.triage@4
WORDS = st.lists(st.sampled_from(["card", "fee", "bank", "money", "call", "loan", "XXXX", "back"]), max_size=400)


def texts() -> list[str]:
    with LETTERS.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file) if len(row["text"].split()) >= 30]


def sent_again(text: str, draw: Random) -> str:
    """As people send a letter again: typed anew with mistakes, something before it, something behind it."""
    words = text.split()
    for _ in range(max(1, len(words) // 60)):
        at = draw.randrange(len(words))
        words[at] = draw.choice(["teh", words[at][:-1] or "a", words[at] + "s", ""])
    before = draw.choice(["", "Hello, I wrote to you two weeks ago and nobody answered. "])
    behind = draw.choice(["", " Please answer this time."])
    return (
        f"{before}{' '.join(filter(None, words))}{behind}".upper()
        if draw.random() < 0.1
        else " ".join([before, *filter(None, words), behind])
    )


def alike(one: str, other: str) -> float:
    return correspondence.similarity(correspondence.sketch_of(one), correspondence.sketch_of(other))


def test_letters_that_are_sent_again_are_known_again() -> None:
    """Each real letter, twenty times changed a little, with a fixed seed: 0.97 and more of them are joined."""
    draw = Random(6)
    tried = [alike(text, sent_again(text, draw)) >= JOINED_MIN for text in texts() for _ in range(20)]
    share = sum(tried) / len(tried)
    print(f"{len(tried)} letters sent again, {share:.4f} known again")
    assert share >= 0.97


def test_letters_that_are_alike_are_one_form_and_no_chance() -> None:
    """Of all pairs of real letters of different people those alone are alike that share fifteen words in a row: forms
    from the web, which is why only letters of the same customer are compared.
    """
    read = [correspondence.facts.plain(text).split() for text in texts()]
    sketches = [correspondence.sketch_of(" ".join(words)) for words in read]
    runs = [{tuple(words[at : at + 15]) for at in range(len(words) - 14)} for words in read]
    pairs = [(a, b) for a in range(len(read)) for b in range(a)]
    joined = [pair for pair in pairs if correspondence.similarity(*(sketches[each] for each in pair)) >= JOINED_MIN]
    print(f"{len(pairs)} pairs of letters, {len(joined)} alike")
    assert [pair for pair in joined if not runs[pair[0]] & runs[pair[1]]] == []


@given(WORDS, WORDS)
def test_likeness_is_a_share_the_same_both_ways_and_whole_with_itself(one: list[str], other: list[str]) -> None:
    a, b = " ".join(one), " ".join(other)
    assert 0 <= alike(a, b) == alike(b, a) <= 1
    assert alike(a, a) == (1.0 if one else 0.0)


@given(WORDS, WORDS)
def test_of_short_texts_likeness_is_exact(one: list[str], other: list[str]) -> None:
    """Up to SKETCH_MAX rows of words it is the Jaccard share, and no estimate."""

    def rows(words: list[str]) -> set[str]:
        plain = correspondence.facts.plain(" ".join(words)).split()
        return {" ".join(plain[at : at + 3]) for at in range(max(1, len(plain) - 2))} - {""}

    a, b = rows(one), rows(other)
    if len(a | b) <= correspondence.SKETCH_MAX:
        assert alike(" ".join(one), " ".join(other)) == pytest.approx(len(a & b) / len(a | b) if a | b else 0.0)


@given(WORDS)
def test_a_sketch_is_kept_as_it_is(words: list[str]) -> None:
    sketch = correspondence.sketch_of(" ".join(words))
    assert correspondence.unpacked(correspondence.packed(sketch)) == sketch
    assert len(sketch) <= correspondence.SKETCH_MAX


def setup_of(home: Path, **connectors: Any) -> Setup:
    settings = Settings(home=home, connectors=ConnectorsSettings(**connectors))
    return Setup(system=installed.systems()["correspondence"], settings=settings, options={})


def test_without_the_homes_key_neither_names_nor_words_can_be_looked_up(tmp_path: Path) -> None:
    """Two homes hash the same customer and the same words to other things; one home, and its processes, to the same."""
    ours = [correspondence.key_of(setup_of(tmp_path / "ours")) for _ in range(2)]
    others = correspondence.key_of(setup_of(tmp_path / "others"))
    assert ours[0] == ours[1] != others
    assert (tmp_path / "ours" / correspondence.KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "ours").iterdir()] == [correspondence.KEY_FILE]
    number, words = "+44 20 7946 0991", "you took two fees from me"
    for one, other in ((ours[0], others), (ours[0], b"")):
        names = [correspondence.keys_of("acme", number, key) for key in (one, other)]
        assert not set(names[0]) & set(names[1])
        assert not {*correspondence.sketch_of(words, one)} & {*correspondence.sketch_of(words, other)}


def test_a_deployment_of_many_machines_names_one_key_for_all(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of-all-machines")
    secrets = {"correspondence": {"key": f"file:{tmp_path / 'secret'}"}}
    homes = [tmp_path / "one", tmp_path / "other"]
    assert len({correspondence.key_of(setup_of(home, secrets=secrets)) for home in homes}) == 1
    assert not homes[0].exists()


def nowhere(home: Path) -> Setup:
    """Whose Valkey is not there."""
    setup = setup_of(home)
    return replace(
        setup, settings=setup.settings.model_copy(update={"redis": RedisSettings(url="redis://127.0.0.1:1")})
    )


def shared(rows: int, of: int) -> list[int]:
    """A sketch that shares so many of ten rows with 0..9."""
    return [*range(rows), *range(100 * of, 100 * of + 10 - rows)]


def test_of_earlier_letters_the_nearest_come_first_and_of_equals_the_earliest() -> None:
    known = [(f"c{number}", number, shared(rows, number + 1)) for number, rows in enumerate([5, 9, 0, 9])]
    found = correspondence.nearest(shared(10, 0), known)
    assert [one.case_id for one in found] == ["c1", "c3", "c0"]


READ = ("open", "routed")


@pytest.mark.parametrize(
    ("became", "among", "finds"),
    [
        (["expired", "routed", "routed"], READ, ("c1", "routed")),  # the nearest was read by nobody, the next one was
        (["open", "routed", "routed"], READ, ("c0", "open")),
        (["joined", "refused", "routed"], READ, ("c0", "joined")),  # c2 is too far: what is nearest is told
        (["", "cancelled", "routed"], READ, ("c0", "")),  # of the nearest nobody knows
        (["expired", "routed", "routed"], (), ("c0", "")),  # as older versions ask: whatever became of it
    ],
)
def test_a_letter_that_somebody_reads_goes_before_a_nearer_one_that_nobody_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: list[str], among: tuple[str, ...], finds: tuple[str, str]
) -> None:
    """As far as it is near enough."""
    told = [(f"c{number}", number, shared(rows, number + 1)) for number, rows in enumerate([9, 8, 3])]
    asked: list[str] = []

    class Cases:
        """What became of each; the last is never asked about where it is too far."""

        async def status(self, case_id: str, tenant: str | None) -> CaseView | None:
            asked.append(case_id)
            word = became[int(case_id[1:])]
            if not word:
                return None
            decided = 0 if word == "open" else 1
            status = "waiting_for_person" if word == "open" else "decided"
            outcome = "" if word == "open" else word
            return CaseView(case_id=case_id, tenant=tenant or "", status=status, outcome=outcome, decided_at=decided)

        async def close(self) -> None:
            """Nothing is open."""

    async def keep(keys: list[str], args: list[str]) -> list[tuple[str, int, str]]:
        assert len(keys) == len(args) == 2
        return [(case, at, correspondence.packed(sketch)) for case, at, sketch in told]

    async def test() -> Earlier:
        connector = Correspondence(nowhere(tmp_path))
        await connector._cases.close()
        connector._cases, connector._keep = Cases(), keep  # type: ignore[assignment]
        request = Written(customer="anna", text=TEXT, among=among, same_min=0.6)
        try:
            return cast(Earlier, await connector.call(RECALL, request, ask("c9")))
        finally:
            await connector.close()

    monkeypatch.setattr(correspondence, "sketch_of", lambda text, key: shared(10, 0))
    found = asyncio.run(test())
    assert (found.case_id, found.became) == finds
    assert "c2" not in asked
    assert bool(asked) == bool(among)


def test_where_outcomes_are_not_to_be_had_the_command_is_tried_again(tmp_path: Path) -> None:
    """A Valkey that is not rebuilt yet says of no case that nobody read it."""

    async def test() -> Failure:
        connector = Correspondence(nowhere(tmp_path))
        try:
            return connector.classify(Unavailable("not rebuilt yet"))
        finally:
            await connector.close()

    assert asyncio.run(test()) is Failure.TRANSIENT


# With a real Valkey

TEXT = "You took two overdraft fees from my savings account although there was enough money in it. Give them back."


def test_a_machine_with_another_key_says_so_instead_of_finding_nothing(tmp_path: Path) -> None:
    """The first to come says under which key is kept; the same key is let in, another one is told what to do."""

    class Kept:
        """What Valkey keeps."""

        def __init__(self) -> None:
            self.values: dict[str, str] = {}

        async def set(self, name: str, value: str, *, nx: bool) -> None:
            assert nx
            self.values.setdefault(name, value)

        async def get(self, name: str) -> str | None:
            return self.values.get(name)

        async def ping(self) -> None:
            """It is there."""

    async def test() -> None:
        kept = Kept()
        for home in ("ours", "ours", "others"):
            opened = Correspondence(nowhere(tmp_path / home))
            await opened.close()
            opened._redis = kept  # type: ignore[assignment]
            if home == "ours":
                await opened.open()
                continue
            with pytest.raises(ConfigError, match="give all machines one"):
                await opened.open()

    asyncio.run(test())


def ask(case: str, tenant: str = "acme") -> Ask:
    return Ask(request_id=case, idempotency_key=case, tenant=tenant, case_id=case, deadline_s=5)


def with_valkey(url: str, test: Callable[[Callable[..., Awaitable[Earlier]]], Awaitable[None]]) -> None:
    async def within() -> None:
        system = installed.systems()["correspondence"]
        settings = Settings(redis=RedisSettings(url=url), home=Path(home))
        connector = Correspondence(Setup(system=system, settings=settings, options={}))

        async def recall(case: str, text: str, customer: str, tenant: str = "acme", **more: Any) -> Any:
            return await connector.call(RECALL, Written(customer=customer, text=text, **more), ask(case, tenant))

        try:
            await connector._redis.delete(KEY_PLACE)  # each test has a home, and so a key, of its own
            await connector.open()
            await test(recall)
        finally:
            await connector.close()

    with tempfile.TemporaryDirectory() as home:
        asyncio.run(within())


@pytest.mark.broker
def test_a_second_letter_finds_the_first_and_a_repeat_finds_the_same(valkey_url: str) -> None:
    """The first finds nothing, also when its command is tried again after the second came."""

    async def test(recall: Callable[..., Awaitable[Earlier]]) -> None:
        assert (await recall("c1", TEXT, "anna")).case_id == ""
        second = await recall("c2", TEXT + " Please.", "anna")
        assert second.case_id == "c1"
        assert second.similarity > 0.8
        assert (await recall("c1", TEXT, "anna")).case_id == ""
        assert await recall("c2", TEXT + " Please.", "anna") == second
        assert (await recall("c3", TEXT, "anna")) == Earlier(case_id="c1", similarity=1.0, came_at=second.came_at)

    with_valkey(valkey_url, test)


@pytest.mark.broker
def test_what_others_wrote_is_not_compared(valkey_url: str) -> None:
    """Another customer, another tenant, nobody's name."""

    async def test(recall: Callable[..., Awaitable[Earlier]]) -> None:
        await recall("c1", TEXT, "boris")
        for customer, tenant in (("boris", "globex"), ("carla", "acme"), ("", "acme"), ("", "acme")):
            assert (await recall(f"{customer}/{tenant}", TEXT, customer, tenant)).case_id == ""

    with_valkey(valkey_url, test)


@pytest.mark.broker
def test_of_letters_at_the_same_time_one_is_the_earlier(valkey_url: str) -> None:
    """However many come at once, one finds nothing, and nobody finds one that came after."""

    async def test(recall: Callable[..., Awaitable[Earlier]]) -> None:
        found = await asyncio.gather(*(recall(f"c{number}", TEXT, "dora") for number in range(20)))
        assert sum(one.case_id == "" for one in found) == 1
        first = next(f"c{number}" for number, one in enumerate(found) if not one.case_id)
        assert {one.case_id for one in found} == {"", first}

    with_valkey(valkey_url, test)


@pytest.mark.broker
def test_what_became_of_the_earlier_case_is_what_the_outcomes_say(valkey_url: str) -> None:
    """An event that the gateway has taken is open."""

    async def test(recall: Callable[..., Awaitable[Earlier]]) -> None:
        store = OutcomeStore(valkey_url)
        try:
            await recall("of-fred-1", TEXT, "fred")
            await store.note_accepted("of-fred-1", "acme")
        finally:
            await store.close()
        found = await recall("of-fred-2", TEXT, "fred", among=READ, same_min=0.6)
        assert (found.case_id, found.similarity, found.became) == ("of-fred-1", 1.0, "open")

    with_valkey(valkey_url, test)


@pytest.mark.broker
def test_of_a_customer_a_bounded_number_is_known(valkey_url: str) -> None:
    async def test(recall: Callable[..., Awaitable[Earlier]]) -> None:
        await recall("a first one", TEXT, "emil")  # of one millisecond the names decide
        for number in range(TEXTS_MAX):
            await recall(f"c{number}", f"letter {number} is about matter {number * 7} alone", "emil")
        assert (await recall("last", TEXT, "emil")).case_id == ""

    with_valkey(valkey_url, test)
