"""`aios workflow check|show`: validate workflow files, and draw one.

In: files, or nothing for the shipped ones. Out: one line `file:line: problem` for each mistake (exit 1), or the
steps with every way on. Needs no running system.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from aios.infra.output import NOT_FOUND
from aios.processors import workflow_files
from aios.processors.workflow import Emit, Infer, Review, Rule, Workflow


@click.group("workflow")
def group() -> None:
    """Validate and draw workflows."""


@group.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check workflows as a stage would when it starts. FILES or folders; default: the shipped ones."""
    paths = [path for each in files or (workflow_files.FOLDER,) for path in _expand(each)]
    if not paths:
        raise click.ClickException("there is no .yaml file")
    wrong = 0
    for path in paths:
        workflow, problems = workflow_files.read(path)
        wrong += len(problems)
        for problem in problems:
            click.echo(problem, err=True)
        if workflow is not None:
            click.echo(
                f"{path}: {workflow.reference} is sound: {len(workflow.steps)} steps, {len(workflow.samples)} samples"
            )
    if wrong:
        raise click.ClickException(f"{wrong} problem{'s' if wrong > 1 else ''}")


@group.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def show(name: str | None, as_json: bool) -> None:
    """Draw a workflow, `name` or `name@version` (default: list them)."""
    workflows = list(workflow_files.shipped())
    if name is not None:
        workflows = [each for each in workflows if name in (each.reference, each.workflow)][-1:]
        if not workflows:
            click.echo(f"Error: there is no workflow {name}; `aios workflow show` lists them", err=True)
            raise click.exceptions.Exit(NOT_FOUND)
    if as_json:
        click.echo(json.dumps([_plain(each) for each in workflows], indent=2, ensure_ascii=False))
    elif name is None:
        for each in workflows:
            click.echo(f"{each.reference}  takes {each.input}  owner {each.owner}")
    else:
        _draw(workflows[0])


def _expand(path: Path) -> list[Path]:
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def _draw(workflow: Workflow) -> None:
    click.echo(f"{workflow.reference}, owner {workflow.owner}, takes {workflow.input}\n{workflow.about}")
    owed = workflow.objectives
    click.echo(
        f"P95 at most {owed.interactive_p95_s:g} s interactive, {owed.bulk_p95_s:g} s bulk; "
        f"at least {owed.without_person_min:.0%} without a person"
    )
    for name, step in workflow.steps.items():
        click.echo(f"\n{name} ({type(step.kind).__name__.lower()})")
        ways = list(_ways(step.kind))
        for number, (when, target, reason) in enumerate(ways, start=1):
            branch = "└─" if number == len(ways) else "├─"
            click.echo(f"  {branch} {when} ─▶ {target}{f' [{reason}]' if reason else ''}")


def _ways(kind: Infer | Rule | Review | Emit) -> Iterator[tuple[str, str, str]]:
    """Condition, target and reason of every way on."""
    match kind:
        case Infer():
            prompt = f" with {kind.prompt}" if kind.prompt else ""
            yield f"{kind.model}{prompt} answered", kind.then, ""
            yield "failed, expired or silent", kind.on_error.then, kind.on_error.reason or ""
        case Rule():
            for row in kind.first_of:
                yield row.when.source, row.then, row.reason or ""
            yield "otherwise", kind.otherwise.then, kind.otherwise.reason or ""
        case Review():
            yield "a person decided", kind.then, ""
            yield f"nobody within {kind.expires_h} h", kind.on_expiry.then, kind.on_expiry.reason or ""
        case Emit():
            yield f"by {kind.decided_by.source}", f"■ {kind.outcome}", ""


def _plain(workflow: Workflow) -> dict[str, object]:
    return {
        "workflow": workflow.workflow,
        "version": workflow.version,
        "owner": workflow.owner,
        "about": workflow.about,
        "input": workflow.input,
        "objectives": workflow.objectives.model_dump(),
        "policy": workflow.policy,
        "steps": {
            name: {
                "kind": type(step.kind).__name__.lower(),
                "ways": [{"when": when, "to": to, "reason": reason} for when, to, reason in _ways(step.kind)],
            }
            for name, step in workflow.steps.items()
        },
    }
