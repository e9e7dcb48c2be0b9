"""The simulated worlds: the product holds in them, a seed is a world, and mistakes are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import cast

import pytest
from click.testing import CliRunner

from aios.dlq import envelope
from aios.infra.output import FAILED
from aios.infra.prove.simulation import commands, mutations, simulate
from aios.infra.prove.simulation.check import ATTEMPTS, Judge
from aios.infra.prove.simulation.loop import Loop
from aios.infra.prove.simulation.world import Group, Process, Violated, World
from aios.streams import topology
from aios.streams.record import Outgoing, headers_of

SEEDS = (*range(8), 14)  # in 14 a lane was once at work after it was revoked
FOUND_EARLY = {
    "no skip below the position": 5,
    "timers that end who fires them": 2,
    "dead letter outside the transaction": 3,
    "ack before finish": 2,
    "an effect without an intent": 4,
    "a question that is not asked": 3,
    "a question that comes too early": 4,
    "a limit that nobody looks at": 2,
    "an answer that costs nothing": 1,
}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_done_twice_in_a_world_of_faults(seed: int) -> None:
    """Crashes, zombies, rebalances, clocks: every invariant holds, with enough of everything to mean something."""
    result = simulate.run(seed)
    assert not result.violated
    assert not result.is_thin
    assert result.counts["effects"] >= 1  # at the outside system


@pytest.mark.parametrize(
    ("happened", "violated", "status"),
    [((300, 5), "", 0), ((299, 5), "", FAILED), ((300, 4), "", FAILED), ((9, 1), "lost: k", FAILED)],
    ids=["enough", "few records", "few crashes", "ended early"],
)
@pytest.mark.parametrize("asked", [["--seeds", "7..7"], ["--seed", "7"]], ids=["many", "one"])
def test_a_seed_in_which_too_little_happened_proves_nothing(
    happened: tuple[int, int], violated: str, status: int, asked: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error, as a violation is; and whatever came out, what is not reached is said."""
    records, crashes = happened
    result = simulate.Result(7, violated, "", records, Counter(crash=crashes), Counter())
    monkeypatch.setattr(simulate, "run", lambda *_, **__: result)
    ended = CliRunner().invoke(commands.simulate, asked)
    assert ended.exit_code == status
    assert ("seed 7 proves nothing" in ended.stdout) == (bool(status) and not violated)
    assert all(f"- {each}" in ended.stdout for each in simulate.NOT_REACHED)


def test_a_seed_is_the_same_world_in_another_process() -> None:
    """Same seed, same events, same hash, however Python's own hashes fall."""
    code = "from aios.infra.prove.simulation import simulate; print(simulate.run(3).trace)"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hashes in ("1", "2")
    }
    assert traces == {simulate.run(3).trace + "\n"}


@pytest.mark.parametrize(("name", "tries"), FOUND_EARLY.items())
def test_a_mistake_in_the_product_is_found(name: str, tries: int) -> None:
    """With the mistake a seed breaks an invariant; without it the same seed holds."""
    mutation = next(one for one in mutations.MUTATIONS if one.name == name)
    hunt = mutations.hunt(mutation, range(tries))
    assert hunt.seed is not None
    assert not simulate.run(hunt.seed).violated


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda one: one.name)
def test_no_mutation_is_stale(mutation: mutations.Mutation) -> None:
    """The text that it replaces stands in the product."""
    with mutations.mutated(mutation):
        pass


def test_a_returned_command_may_not_be_committed_because_it_was_settled_before_it_returned() -> None:
    """To wait for a retry settles the try that failed, and no other."""
    codec, _ = simulate.shared()
    world = World(1, topology.all_topics(), simulate.PARTITIONS)
    judge = Judge(world, codec, simulate.PLACES, {}, limits={})
    pool, tier = topology.POOLS[0], topology.RETRY.reads[0]
    asked = world.cluster.append(Outgoing(pool.reads[0].name, b"demo", b"a command"))
    group = Group(world, pool.group, (pool.reads[0].name, pool.retries.name), simulate.PARTITIONS)
    place = {"orig.topic": asked.topic, "orig.partition": str(asked.partition), "orig.offset": str(asked.offset)}
    told = headers_of({f"{envelope.PREFIX}{name}": value for name, value in place.items()} | {ATTEMPTS: "1"})
    waits = headers_of({envelope.RETRY_TARGET: pool.retries.name})
    with pytest.raises(Violated, match="not finished"):
        judge.may_commit(group, asked.topic, asked.partition, 1)
    world.cluster.append(Outgoing(tier.name, b"demo", b"a command", (*told, *waits), 0))
    judge.may_commit(group, asked.topic, asked.partition, 1)
    world.cluster.append(Outgoing(pool.retries.name, b"demo", b"a command", told, 0))
    with pytest.raises(Violated, match="not finished"):
        judge.may_commit(group, pool.retries.name, 0, 1)


def test_what_is_violated_while_a_call_of_the_product_waits_is_told_whatever_the_product_makes_of_it() -> None:
    """A handler that takes every error for its own ends nothing."""
    world = World(1, topology.all_topics(), simulate.PARTITIONS)

    def breaks() -> None:
        raise Violated("lost", "as the test says")

    world.after(1, breaks)
    with suppress(Exception):
        world.wait(2)
    assert world.violated == "lost: as the test says"


@pytest.mark.parametrize("is_alive", [True, False])
def test_what_a_timer_raises_in_a_living_process_is_raised_by_its_turn(is_alive: bool) -> None:
    """Whoever has died is not heard any more."""
    process = SimpleNamespace(monotonic=lambda: 0.0, is_alive=True)
    loop = Loop(cast(Process, process))

    def fails() -> None:
        process.is_alive = is_alive
        raise ValueError("as the test says")

    loop.call_soon(fails)
    with pytest.raises(ValueError, match="as the test says") if is_alive else nullcontext():
        loop.turn()
