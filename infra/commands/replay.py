"""`aios replay plan|approve|run|pause|resume|abort|status|list`: jobs that bring dead letters back.

Enters: filters, a job's id or its beginning. Leaves: what the operations server says, and commands to it. A job is an
object of its own: it goes on whether or not anybody looks at it here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aios.dlq.commands import Action, short
from aios.dlq.index_layout import Outcome
from aios.dlq.jobs import JobState
from aios.infra import client
from aios.infra.client import Server
from aios.infra.commands.operations import (
    JSON,
    TOKEN,
    WHY,
    act,
    approver,
    at,
    filters,
    operator,
    paged,
    patch_of,
)
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail, one, rows

POLL_S = 0.3
DRY_RUN_S_MAX = 600.0  # a dry run reads every record that it is about
SHOWN = 50  # jobs, or letters of one outcome, unless more are asked for
KNOWN_S_MAX = 10.0  # until the server has heard of a job that was planned
ALIVE_S_MAX = 120.0  # a running job without any progress
LIST = ("job", "state", "what", "done", "of", "planned_by", "approved_by", "planned_at")
REPORTED = ("fails again", "skips", "for example")
RESULTS = ("id", "outcome", "reason", "to", "at")
OVER = (JobState.DONE, JobState.ABORTED)
OUTCOMES = click.option("--results", is_flag=True, help="Each letter, with what became of it and where it went.")


@click.group("replay")
def group() -> None:
    """Replay jobs: bring dead letters back, or give many up.

    A job is planned by one principal, approved by another, and then run. Planning makes a dry run over the records.
    """


@group.command()
@filters
@click.option(
    "--missed",
    is_flag=True,
    help="Events on input topics with neither case, refusal nor dead letter, that wait for no retry."
    " Takes --since, --until, --key and --tenant only.",
)
@click.option("--all", "everything", is_flag=True, help="No filter: every dead letter that waits.")
@click.option("--discard", is_flag=True, help="Give them up instead of returning them.")
@click.option("--patch", help="RFC 6902 for all that the filter selects, as JSON, or @FILE.")
@click.option("--rate", type=click.IntRange(min=0), default=0, help="Records a second; 0: as fast as it goes.")
@click.option("--cap", type=click.IntRange(min=0), default=0, help="Most records to return; 0: no bound.")
@click.option("--order", type=click.Choice(["oldest", "newest"]), default="oldest", show_default=True)
@click.option("--dry-run", is_flag=True, help="Report what would happen, and keep no job.")
@WHY
@TOKEN
@JSON
def plan(
    *,
    wanted: dict[str, Any],
    missed: bool,
    everything: bool,
    discard: bool,
    patch: str | None,
    rate: int,
    cap: int,
    order: str,
    dry_run: bool,
    why: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Plan a job, and report by group what it would do."""
    if not (wanted or missed or everything):
        fail("say which: filters, --id, --missed or --all", USAGE)
    body: dict[str, Any] = {
        "kind": "missed" if missed else "letters",
        "action": "discard" if discard else "replay",
        "filter": wanted,
        "rate_per_s": rate,
        "cap": cap,
        "order": order,
        "reason": why,
    }
    if patch is not None:
        body["edit"] = patch_of(patch)
    server = operator(token_file)
    job_id = act(server, "/v1/replays", body)["object_id"]
    try:
        job = _tried(server, job_id)
    finally:
        if dry_run:
            _give_up(server, job_id)
    if as_json:
        one(job, as_json=True)
        return
    _report(job)
    if not dry_run:
        click.echo(f"\njob {job_id}; another principal approves it: aios replay approve {short(job_id)}")


@group.command()
@click.argument("job_id", metavar="JOB")
@WHY
@TOKEN
@JSON
def approve(job_id: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let a job run that somebody else planned. Takes an approver."""
    said = _job_act(approver(token_file), job_id, "approve", why)
    _done(said, f"approved: aios replay run {short(said['object_id'])}", as_json)


@group.command()
@click.argument("job_id", metavar="JOB")
@click.option("--detach", is_flag=True, help="Start it and return; `aios replay status` shows how far it is.")
@WHY
@TOKEN
@JSON
def run(job_id: str, detach: bool, why: str, token_file: Path | None, as_json: bool) -> None:
    """Start an approved job, and show how far it is until it ends. Ctrl-C leaves it running."""
    server = operator(token_file)
    said = _job_act(server, job_id, "run", why)
    if detach:
        _done(said, f"runs: aios replay status {short(said['object_id'])}", as_json)
        return
    _finish(_watched(server, said), as_json)


@group.command()
@click.argument("job_id", metavar="JOB")
@WHY
@TOKEN
@JSON
def pause(job_id: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let a running job rest."""
    said = _job_act(operator(token_file), job_id, "pause", why)
    _done(said, f"paused: aios replay resume {short(said['object_id'])}", as_json)


@group.command()
@click.argument("job_id", metavar="JOB")
@click.option("--detach", is_flag=True, help="Return at once.")
@WHY
@TOKEN
@JSON
def resume(job_id: str, detach: bool, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let a paused job go on, and show how far it is until it ends."""
    server = operator(token_file)
    said = _job_act(server, job_id, "resume", why)
    if detach:
        _done(said, "goes on", as_json)
        return
    _finish(_watched(server, said), as_json)


@group.command()
@click.argument("job_id", metavar="JOB")
@WHY
@TOKEN
@JSON
def abort(job_id: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """End a job for good; what it has returned stays returned."""
    _done(_job_act(operator(token_file), job_id, "abort", why), "aborted", as_json)


@group.command()
@click.argument("job_id", metavar="JOB")
@OUTCOMES
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="With --results: these alone.")
@click.option("--limit", type=click.IntRange(min=1), help=f"With --results: of each; {SHOWN}, with --json all.")
@click.option("--cursor", default="", help="With --outcome: of the page before.")
@TOKEN
@JSON
def status(
    *,
    job_id: str,
    results: bool,
    outcome: str | None,
    limit: int | None,
    cursor: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """A job: its plan, how far it is, and what became of the letters.

    With --results --json: `letters`, and in `cursors` by outcome where the next page begins, if --limit left any.
    """
    if cursor and not (results and outcome):
        fail("--cursor is of one outcome: give --results --outcome too", USAGE)
    server = operator(token_file)
    job = _job(server, job_id)
    if results:
        job |= _letters(server, job["job_id"], [outcome] if outcome else list(Outcome), _most(limit, as_json), cursor)
    if as_json:
        one(job, as_json=True)
        return
    one(_told(job), as_json=False)
    _report(job)
    if results:
        click.echo()
        shown = [each | {"id": short(each["letter_id"]), "at": at(each["at"])} for each in job["letters"]]
        rows(shown, RESULTS, as_json=False, none="No letter so far.")
        for name, after in job["cursors"].items():
            click.echo(f"… more may be {name}: --outcome {name} --cursor {after}")


@group.command("list")
@click.option("--state", type=click.Choice([each.value for each in JobState]))
@click.option("--limit", type=click.IntRange(min=1), help=f"So many at most; {SHOWN}, with --json all.")
@TOKEN
@JSON
def list_(state: str | None, limit: int | None, token_file: Path | None, as_json: bool) -> None:
    """Jobs, newest first.

    Dry runs, and other drafts that were given up, are listed with --state aborted alone.
    """
    most = _most(limit, as_json)
    found, cursor = paged(operator(token_file), "/v1/replays", "jobs", most, state=state)
    if state is None:
        found = [each for each in found if each["approved_by"] or each["state"] != JobState.ABORTED]
    rows(found if as_json else [_row(each) for each in found], LIST, as_json=as_json, none="No such jobs.")
    if cursor:
        click.echo(f"Looked at the newest {most}; there may be more: raise --limit.", err=True)


def _most(limit: int | None, as_json: bool) -> int:
    """How many to ask for; 0: all."""
    return limit or (0 if as_json else SHOWN)


def _letters(server: Server, job_id: str, outcomes: list[str], most: int, cursor: str) -> dict[str, Any]:
    """What became of the letters, and by outcome where its next page begins."""
    path = f"/v1/replays/{job_id}/results"
    pages = {name: paged(server, path, "letters", most, outcome=name, cursor=cursor) for name in outcomes}
    return {
        "letters": [each for found, _ in pages.values() for each in found],
        "cursors": {name: after for name, (_, after) in pages.items() if after},
    }


def _job(server: Server, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.ask(server, "GET", f"/v1/replays/{quote(job_id, safe='')}")
    return found


def _job_act(server: Server, job_id: str, verb: str, why: str) -> dict[str, Any]:
    return act(server, f"/v1/replays/{quote(job_id, safe='')}/{verb}", {"reason": why})


def _done(said: Mapping[str, Any], words: str, as_json: bool) -> None:
    if as_json:
        one(said, as_json=True)
        return
    click.echo(f"job {said['object_id']}: {words}")


def _tried(server: Server, job_id: str) -> dict[str, Any]:
    """The job, once its dry run has ended; until then people are told how far it is."""
    deadline = time.monotonic() + DRY_RUN_S_MAX
    with Console(stderr=True).status("Dry run") as told:
        while time.monotonic() < deadline:
            found = _known(server, job_id)
            if found is not None:
                report = found["report"]
                if report.get("complete"):
                    return found
                told.update(f"Dry run: looked at {report.get('looked', 0)}, selected {report.get('selected', 0)}")
            time.sleep(POLL_S)
    fail(f"the dry run of job {job_id} has not ended within {DRY_RUN_S_MAX:.0f} s; `aios replay status {job_id}`")


def _give_up(server: Server, job_id: str) -> None:
    """The draft of a dry run, also of one that did not end; the server may not have heard of it yet."""
    deadline = time.monotonic() + KNOWN_S_MAX
    while _known(server, job_id) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    act(server, f"/v1/replays/{job_id}/abort", {"reason": "dry run"})


def _known(server: Server, job_id: str) -> dict[str, Any] | None:
    """The job; None as long as the server has not heard of it."""
    try:
        found: dict[str, Any] = client.asked(server, f"/v1/replays/{job_id}")
    except client.NoAnswer as error:
        if error.status == NOT_FOUND:
            return None
        fail(str(error), error.status)
    return found


def _watched(server: Server, said: Mapping[str, Any]) -> dict[str, Any]:
    """The job, once it has ended or rests; with a bar for people. said: what began it, so a rest before it is over."""
    job_id, since = said["object_id"], said["result"].get("changed_at", 0)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Replaying", total=None, rate=0)
        last, still = -1, time.monotonic()
        while True:
            job = _job(server, job_id)
            now = job["progress"]
            progress.update(task, completed=now["done"], total=now["of"] or None, rate=now["rate_per_s"])
            if job["state"] in OVER or (job["state"] == JobState.PAUSED and job["changed_at"] >= since):
                return job
            if now["done"] != last:
                last, still = now["done"], time.monotonic()
            if time.monotonic() - still > ALIVE_S_MAX:
                fail(f"job {job_id} makes no progress; `aios logs replay` may say why")
            time.sleep(POLL_S)


def _finish(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        one(job, as_json=True)
    else:
        one(_told(job), as_json=False)
        click.echo(f"\nEach letter: aios replay status {short(job['job_id'])} --results")
        if job["action"] == Action.DISCARD and job["replayed"]:
            click.echo("What is parked behind them stays until you return it: aios replay plan --reason parked")
    if job["state"] != JobState.DONE:
        raise click.exceptions.Exit(FAILED)


def _told(job: Mapping[str, Any]) -> dict[str, Any]:
    """What people want to know of a job; empty parts left out."""
    now = job["progress"]
    told = {
        "job": job["job_id"],
        "state": job["state"],
        "stopped because": job["stopped_because"],
        "what": _what(job),
        "why": job["reason"],
        "planned": f"{at(job['planned_at'])} by {job['planned_by']}",
        "approved by": job["approved_by"],
        "run by": job["run_by"],
        "progress": f"{now['done']} of {now['of']}, {now['rate_per_s']}/s"
        + (f", {now['left_s']:.0f} s left" if now["left_s"] is not None else ""),
        "replayed" if job["action"] == "replay" else "discarded": job["replayed"],
        "failed again": job.get("results", {}).get(Outcome.FAILED_AGAIN, ""),
        "skipped": _counts(job["skipped"]),
    }
    return {name: value for name, value in told.items() if value not in ("", None)}


def _what(job: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{name} {_said(name, value)}" for name, value in job["filter"].items()) or "all"
    whom = "missed events" if job["kind"] == "missed" else "dead letters"
    bounds = [f"{job['rate_per_s']}/s" if job["rate_per_s"] else "", f"{job['cap']} at most" if job["cap"] else ""]
    return ", ".join([f"{job['action']} {whom}: {chosen}", *filter(None, bounds), *(["edited"] if job["edit"] else [])])


def _said(name: str, value: Any) -> str:
    if name in ("since", "until"):
        return at(value)
    return (
        f"{len(value)}"
        if isinstance(value, list) and len(value) > 1
        else str(value[0] if isinstance(value, list) else value)
    )


def _report(job: Mapping[str, Any]) -> None:
    report, what = job["report"], "returns" if job["action"] == Action.REPLAY else "discards"
    click.echo(
        f"\ndry run: looked at {report.get('looked', 0)}, selected {report.get('selected', 0)}"
        + (f", {report['undecided']} that the expression says nothing of" if report.get("undecided") else "")
        + (f", left {report['left_out']} parked ones for another job" if report.get("left_out") else "")
        + ("" if report.get("complete") else "; it goes on")
    )
    shown = [
        {
            "group": name,
            what: each["returns"],
            "fails again": _counts(each["fails"]),
            "skips": _counts(each["skips"]),
            "for example": ", ".join(short(one) for one in each["failing"]),
        }
        for name, each in sorted(report.get("groups", {}).items())
    ]
    if shown:
        rows(shown, ("group", what, *REPORTED), as_json=False, none="")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    now = job["progress"]
    times = {"planned_at": at(job["planned_at"]), "job": short(job["job_id"]), "what": _what(job)}
    return {**job, **times, "done": now["done"], "of": now["of"]}
