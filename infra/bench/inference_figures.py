"""The figures of `aios bench inference` as tables and as a plot. Pure.

In: what inference.py measured. Out: medians and ratios, rows with their columns, panels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from aios.infra.bench.plot import Bars, Lines

Table = tuple[str, Sequence[str], Sequence[Mapping[str, Any]]]
WAYS = {"offline": "LLM offline", "pool": "our pool"}


def rates(found: Mapping[str, Sequence[float]], at_once: Sequence[int]) -> dict[str, Any]:
    """Medians by way, and their ratios. found: requests a second of each round, by `what/at once` or `what`.

    gain: from what the engine alone does one at a time to the most at once; gain_share: ours ÷ the engine's own. Both
    from the same start: a path that is slow at one would else seem to gain more.
    """
    per_s = {name: round(median(each), 2) for name, each in found.items()}
    least, most = at_once[0], at_once[-1]
    gains = {what: per_s[f"{what}/{most}"] / per_s[f"engine/{least}"] for what in ("engine", "kafka")}
    return {
        "per_s": per_s,
        "range": {name: [round(min(each), 2), round(max(each), 2)] for name, each in found.items()},
        "eta": round(per_s["pool"] / per_s["offline"], 3),
        "eta_rounds": [round(pool / alone, 3) for pool, alone in zip(found["pool"], found["offline"], strict=True)],
        "gain": {what: round(gain, 2) for what, gain in gains.items()},
        "gain_share": round(gains["kafka"] / gains["engine"], 3),
    }


def prefix(found: Mapping[str, Any]) -> dict[str, Any]:
    """Medians by way. gain: how many times as much the engine does in a second, alike together, in each round."""
    before, after = found["ways"].values()
    return {
        "requests": found["requests"],
        "room_tokens": found["room_tokens"],
        "ways": {
            way: {name: round(median(one[name] for one in each), 3) for name in each[0]}
            for way, each in found["ways"].items()
        },
        "gain_rounds": [round(a["busy_s"] / b["busy_s"], 2) for a, b in zip(before, after, strict=True)],
        "gain_cpu": round(median(a["cpu_s"] / b["cpu_s"] for a, b in zip(before, after, strict=True)), 2),
    }


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """(title, columns, rows) of each part that was measured."""
    for process, each in found.get("rates", {}).items():
        yield _concurrency(process, each)
        yield _ways(process, each)
    if "lanes" in found:
        yield _lanes(found["lanes"])
    if "prefix" in found:
        yield _prefix(found["prefix"])
    if "path" in found:
        yield (
            "Where each millisecond goes, from the caller to his answer",
            ("part", "cases", "mean", "p50", "p95", "p99"),
            found["path"]["parts"],
        )
        added = [
            {"adds": name, "ms": ms, "direct": found["path"]["direct_ms"][name]}
            for name, ms in found["path"]["adds_ms"].items()
        ]
        yield _adds(found["path"]), ("adds", "ms", "direct"), added


def panels(found: Mapping[str, Any]) -> list[Lines | Bars]:
    """The same, to look at."""
    drawn: list[Lines | Bars] = []
    for process, each in found.get("rates", {}).items():
        xs = _at_once(each)
        drawn.append(
            Lines(
                title=f"{process}: requests a second by how many are at work at once",
                unit="requests/s",
                xs=xs,
                series={
                    "the engine alone": [each["per_s"][f"engine/{x}"] for x in xs],
                    "through Kafka": [each["per_s"][f"kafka/{x}"] for x in xs],
                },
            )
        )
        drawn.append(Bars(title=f"{process}: ways to work through a topic", unit="requests/s", bars=_by_way(each)))
    if "lanes" in found:
        bars = {
            f"{how}: {name}": ms["p99"]
            for how, each in found["lanes"].items()
            for name, ms in each["interactive_ms"].items()
        }
        drawn.append(Bars(title="P99 of who waits", unit="ms", bars=bars))
    if "prefix" in found:
        bars = {way: each["busy_s"] for way, each in found["prefix"]["ways"].items()}
        drawn.append(Bars(title="Requests of twelve beginnings: the engine's time", unit="s", bars=bars))
    if "path" in found:
        parts = {row["part"]: row["mean"] for row in found["path"]["parts"]}
        drawn.append(Bars(title="Where each millisecond goes (means)", unit="ms", bars=parts))
    return drawn


def _at_once(each: Mapping[str, Any]) -> list[int]:
    return sorted(int(name.partition("/")[2]) for name in each["per_s"] if name.startswith("kafka/"))


def _by_way(each: Mapping[str, Any]) -> dict[str, float]:
    per_s = each["per_s"]
    loops = {f"loop, {n} by {n}" if n > 1 else "loop, one by one": per_s[f"loop/{n}"] for n in _loops(each)}
    return {**loops, **{label: per_s[name] for name, label in WAYS.items()}}


def _loops(each: Mapping[str, Any]) -> list[int]:
    return sorted(int(name.partition("/")[2]) for name in each["per_s"] if name.startswith("loop/"))


def _concurrency(process: str, each: Mapping[str, Any]) -> Table:
    rows = [
        {
            "at once": at_once,
            "engine alone/s": each["per_s"][f"engine/{at_once}"],
            "through Kafka/s": each["per_s"][f"kafka/{at_once}"],
            "share": round(each["per_s"][f"kafka/{at_once}"] / each["per_s"][f"engine/{at_once}"], 2),
        }
        for at_once in _at_once(each)
    ]
    gain = each["gain"]
    title = (
        f"{process}: the engine's own gain {gain['engine']}, through Kafka {gain['kafka']}: {each['gain_share']} of it"
    )
    return title, tuple(rows[0]), rows


def _ways(process: str, each: Mapping[str, Any]) -> Table:
    offline = each["per_s"]["offline"]
    rows = [
        {"way": way, "per_s": per_s, "of offline": round(per_s / offline, 2)} for way, per_s in _by_way(each).items()
    ]
    return f"{process}: η = {each['eta']} (rounds: {', '.join(map(str, each['eta_rounds']))})", tuple(rows[0]), rows


def _adds(path: Mapping[str, Any]) -> str:
    persons = path["persons"]
    title = f"What the whole path adds to a direct call, ms ({path['cases']} decided cases, {path['late']} of them late"
    return f"{title}; {persons['cases']} went to people" + (f": P50 {persons['p50']})" if "p50" in persons else ")")


def _lanes(found: Mapping[str, Any]) -> Table:
    rows = [
        {
            "workers": how,
            "requests": each["interactive_requests"],
            "P99 alone": each["interactive_ms"]["alone"]["p99"],
            "P99 with bulk": each["interactive_ms"]["with bulk"]["p99"],
            "ratio": each["p99_ratio"],
            "P50 alone": each["interactive_ms"]["alone"]["p50"],
            "P50 with bulk": each["interactive_ms"]["with bulk"]["p50"],
            "bulk alone/s": each["bulk_per_s"]["alone"],
            "with who waits": each["bulk_per_s"]["with who waits"],
            "share": each["bulk_share"],
        }
        for how, each in found.items()
    ]
    return "Who waits, and bulk (ms, requests/s)", tuple(rows[0]), rows


def _prefix(found: Mapping[str, Any]) -> Table:
    rows = [
        {
            "order": way,
            "engine s": each["busy_s"],
            "CPU s": each["cpu_s"],
            "prompt tokens found": each["found"],
        }
        for way, each in found["ways"].items()
    ]
    rounds = ", ".join(map(str, found["gain_rounds"]))
    title = (
        f"{found['requests']} requests of twelve beginnings, room for {found['room_tokens']} tokens: engine time alike "
        f"together {rounds} times less, CPU time {found['gain_cpu']} times"
    )
    return title, tuple(rows[0]), rows
