"""`aios policy list|show|test|measure`: guardrails, and whether they do what their cases say.

Enters: the files of the release and of a team's own folder, or one elsewhere; needs no running system. Leaves: tables;
of `test` an exit code that a build can stop at: 1 where a text that must pass is held back, or one that must be stopped
goes on. `show` also judges a text that is given to it, and says where in it something was found.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from aios.infra import output
from aios.infra.commands.operations import JSON
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.processors.cases import guarding
from aios.processors.cases.guarding import Verdict
from aios.processors.language import policy_files, workflow_files
from aios.processors.language.policy_files import Cases, Policy
from aios.processors.language.questions import Question
from aios.processors.language.workflow import asks
from aios.streams.errors import ConfigError

MUST = {"passes": guarding.PASSED, "notes": guarding.NOTED, "masks": guarding.MASKED, "stops": guarding.REFUSED}
TEXT_SHOWN = 60  # characters around what was found


@click.group("policy")
def group() -> None:
    """Guardrails: list, show, test, measure."""


@group.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Every version, and who uses it."""
    used = _used()
    found = [
        {
            "policy": one.reference,
            "at": one.at,
            "rules": list(one.rules),
            "used by": used.get(one.reference, []),
            "owner": one.owner,
            "about": one.about,
        }
        for one in map(policy_files.load, policy_files.known())
    ]
    columns = ("policy", "at", "used by", "rules", "owner", "about")
    output.rows(found, columns, as_json=as_json, none="there are no policies")


@group.command()
@click.argument("reference")
@click.option("--text", default=None, help="Judge this text; `-`: what stands on standard input.")
@click.option("--source", default="", help="What the model had read, for a policy that stands after one.")
@JSON
def show(reference: str, text: str | None, source: str, as_json: bool) -> None:
    """A policy, or what it says of a text."""
    policy = _known(reference)
    if text is not None:
        text = sys.stdin.read() if text == "-" else text
        said: Any = text if policy.at == "before" else {"text": text}
        _say(guarding.judge(policy, said, source), text, as_json=as_json)
        return
    if as_json:
        output.one(policy.model_dump(mode="json", exclude_none=True), as_json=True)
        return
    click.echo(f"{policy.reference}, {policy.at} a model, owner {policy.owner}\n{policy.about}\n")
    found = [
        {"rule": name, "then": rule.then, "finds": rule.says, "by": f"{rule.kind} {_short(getattr(rule, rule.kind))}"}
        for name, rule in policy.rules.items()
    ]
    output.rows(found, ("rule", "then", "finds", "by"), as_json=False, none="")


@group.command()
@click.argument("references", nargs=-1)
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A policy that is not part of this deploy yet; its cases stand beside it.",
)
@JSON
def test(references: tuple[str, ...], path: Path | None, as_json: bool) -> None:
    """Judge every case of the policies.

    REFERENCES: NAME@VERSION, default all. Exit code 1 when one does not do what it must.
    """
    pairs = [_beside(path)] if path is not None else [(_known(one), None) for one in references or policy_files.known()]
    found: list[dict[str, Any]] = []
    for policy, cases in pairs:
        try:
            found += _tried(policy, cases or policy_files.cases(policy.reference))
        except ConfigError as error:
            fail(str(error))
    wrong = [one for one in found if one["problem"]]
    if as_json:
        output.rows(found, (), as_json=True, none="")
    else:
        if wrong:
            output.rows(wrong, ("policy", "case", "must", "was", "problem"), as_json=False, none="")
        for policy, _ in pairs:
            of_it = [one for one in found if one["policy"] == policy.reference]
            stopped = sum(one["must"] != guarding.PASSED for one in of_it)
            failed = sum(bool(one["problem"]) for one in of_it)
            says = "as its cases say" if not failed else f"{failed} CASES ARE NOT AS THEY MUST BE"
            click.echo(f"{policy.reference}: {len(of_it) - stopped} must pass, {stopped} must not: {says}")
    if wrong:
        raise click.exceptions.Exit(FAILED)


@group.command()
@click.argument("reference")
@click.option("--on", "path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--label", required=True, help="The column that says `yes` where the policy must find something.")
@click.option("--half", default="", help="Only rows whose column `half` says this.")
@click.option("--misses", is_flag=True, help="Print every text that it is wrong about.")
@JSON
def measure(*, reference: str, path: Path, label: str, half: str, misses: bool, as_json: bool) -> None:
    """How well it finds what people labelled.

    A CSV file with the columns text and LABEL; with --misses every text that it is wrong about.
    """
    policy = _known(reference)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            given = [row for row in csv.DictReader(file) if half in ("", row.get("half", ""))]
    except (UnicodeDecodeError, csv.Error) as error:
        fail(f"{path} is no CSV file in UTF-8: {error}", USAGE)
    if not given or label not in given[0] or "text" not in given[0]:
        fail(f"{path} has no rows with the columns text and {label}", USAGE)
    if short := [row for row in given if None in (row["text"], row[label])]:
        fail(f"{path}: {len(short)} rows have no cell for text or {label}", USAGE)
    judged = [(row, guarding.judge(policy, row["text"]), row[label] == "yes") for row in given]
    found = _measured(policy, [(bool(verdict.breaches), truth) for _, verdict, truth in judged])
    wrong = [_wrong(row, verdict, truth) for row, verdict, truth in judged if bool(verdict.breaches) != truth]
    output.one({**found, "misses": wrong} if as_json else found, as_json=as_json)
    if misses and not as_json:
        output.rows(wrong, ("id", "is", "found", "text"), as_json=False, none="it is wrong about none")


def _measured(policy: Policy, pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    """pairs: whether something was found, and whether it should have been."""
    hits = sum(found and truth for found, truth in pairs)
    found, truths = sum(found for found, _ in pairs), sum(truth for _, truth in pairs)
    return {
        "policy": policy.reference,
        "texts": len(pairs),
        "labelled": truths,
        "found": found,
        "recall": round(hits / truths, 3) if truths else None,
        "precision": round(hits / found, 3) if found else None,
        "found_of_others": round((found - hits) / (len(pairs) - truths), 3) if len(pairs) > truths else None,
    }


def _wrong(row: dict[str, str], verdict: Verdict, truth: bool) -> dict[str, Any]:
    places = [row["text"][max(0, start - 20) : end + 20] for each in verdict.breaches for start, end in each.places]
    return {
        "id": row.get("id", ""),
        "is": "yes" if truth else "no",
        "found": [breach.rule for breach in verdict.breaches],
        "text": " ".join((places[0] if places else row["text"][:200]).split()),
    }


def _tried(policy: Policy, cases: Cases) -> Iterator[dict[str, Any]]:
    for group_name, must in MUST.items():
        for case in getattr(cases, group_name):
            verdict = guarding.judge(policy, guarding.said_in(policy, case), case.source)
            rules = [breach.rule for breach in verdict.breaches]
            problem = ""
            if verdict.result != must:
                problem = f"it is {verdict.result}" + (f" by {', '.join(rules)}" if rules else "")
            elif missed := [rule for rule in case.rules if rule not in rules]:
                problem = f"{', '.join(missed)} found nothing"
            elif case.leaves not in (None, verdict.said):
                problem = "what goes on is another text than `leaves`"
            yield {
                "policy": policy.reference,
                "case": case.name,
                "must": must,
                "was": verdict.result,
                "rules": rules,
                "problem": problem,
            }


def _beside(path: Path) -> tuple[Policy, Cases]:
    try:
        policy = policy_files.read(path)
        return policy, policy_files.read_cases(path.with_suffix(".cases.yaml"), policy.reference)
    except ConfigError as error:
        fail(str(error))


def _known(reference: str) -> Policy:
    try:
        return policy_files.load(reference)
    except ConfigError as error:
        fail(str(error), FAILED if reference in policy_files.known() else NOT_FOUND)


def _used() -> dict[str, list[str]]:
    """By policy: the workflows of this deploy whose steps it guards."""
    used: dict[str, list[str]] = {}
    for workflow in workflow_files.shipped():
        asked = [ask for step in workflow.steps.values() for ask in asks(step.kind)]
        guards = [ask.guards for ask in asked if isinstance(ask, Question)]
        for reference in sorted({name for one in guards for name in (*one.before, *one.after)}):
            used.setdefault(reference, []).append(workflow.reference)
    return used


def _say(verdict: Verdict, text: str, *, as_json: bool) -> None:
    if as_json:
        output.one({**verdict.evidence(), "said": verdict.said}, as_json=True)
        return
    click.echo(f"{verdict.policy}: {verdict.result}")
    for breach in verdict.breaches:
        click.echo(f"  {breach.rule} ({breach.then}): {breach.says}, {breach.found} found")
        for start, end in breach.places:
            output.text(f"    {start}-{end}: {text[start:end][:TEXT_SHOWN]}")
    if verdict.result == guarding.MASKED:
        output.text(f"goes on as: {verdict.said if isinstance(verdict.said, str) else verdict.said['text']}")


def _short(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > 3:
        return f"{len(value)} patterns"
    shown = value.model_dump() if hasattr(value, "model_dump") else value
    text = ", ".join(map(str, shown)) if isinstance(shown, tuple) else str(shown)
    return text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"
