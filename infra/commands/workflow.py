"""`aios workflow check|show|test|schema`: validate workflow files, draw them, run their recorded cases.

In: files, or nothing for the shipped ones. Out: one line `file:line:column: problem` for each mistake (exit 1); the
steps with every way on, in the terminal or as SVG; of each recorded case what came of it. These need no running
system. What brings a workflow to one, or moves its cases there, is workflow_acts.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aios.infra import deploying, drawing
from aios.infra.commands import workflow_acts
from aios.infra.commands.operations import JSON
from aios.infra.output import FAILED, NOT_FOUND, fail
from aios.infra.ways import boxes, head
from aios.processors.cases import case_files, limited, workflow_cases
from aios.processors.language import workflow_files, workflow_schema
from aios.processors.language.workflow import Workflow
from aios.streams import installed
from aios.streams.errors import ConfigError


@click.group("workflow")
def group() -> None:
    """Workflows: check, show, test, schema, list, diff, deploy, activate, autonomy, cancel, migrate."""


for _act in (
    workflow_acts.list_,
    workflow_acts.diff,
    workflow_acts.deploy,
    workflow_acts.activate,
    workflow_acts.autonomy,
    workflow_acts.cancel,
    workflow_acts.migrate,
):
    group.add_command(_act)


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
        wrong += bool(problems)
        if workflow is not None:
            unsigned = "" if workflow.signed_off else "; nobody has signed it off yet, so it cannot be deployed"
            click.echo(f"{path}: {workflow.reference} is fine, {len(workflow.steps)} steps{unsigned}")
            for warned in limited.warnings(workflow, installed.pools()):
                click.echo(f"{path}: {warned}", err=True)
        for problem in problems:
            click.echo(problem, err=True)
    if wrong:
        raise click.exceptions.Exit(FAILED)


@group.command()
@click.argument("name", required=False)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write the picture there.")
@JSON
def show(name: str | None, svg: Path | None, as_json: bool) -> None:
    """Draw a workflow. NAME, NAME@VERSION or a file; default: list the shipped ones."""
    found = [_file(Path(name))] if name is not None and name.endswith(".yaml") else list(workflow_files.shipped())
    if name is not None and not name.endswith(".yaml"):
        found = [each for each in found if name in (each.reference, each.workflow)][-1:]
        if not found:
            fail(f"there is no workflow {name}; `aios workflow show` lists them", NOT_FOUND)
    if svg is not None:
        if name is None:
            fail("--svg draws one workflow: name it")
        svg.write_text(drawing.svg(found[0]), encoding="utf-8")
        click.echo(f"{svg}: {found[0].reference}")
    elif as_json:
        click.echo(json.dumps([plain(each) for each in found], indent=2, ensure_ascii=False))
    elif name is None:
        for each in found:
            click.echo(f"{each.reference}  takes {each.input}  owner {each.owner}")
    else:
        _draw(found[0])


@group.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@JSON
def test(files: tuple[Path, ...], as_json: bool) -> None:
    """Run the recorded cases beside workflows. With the answers that NAME.cases.yaml gives; FILES or folders.

    Default: the shipped ones. Exit 1 when one came out in another way.
    """
    paths = [path for each in files or (workflow_files.FOLDER,) for path in _expand(each)]
    if not files:
        paths = [path for path in paths if case_files.file_of(path).is_file()]
    told = [_tested(path, quiet=as_json) for path in paths]
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    if any(each["wrong"] for one in told for each in one["cases"]) or any("problem" in one for one in told):
        raise click.exceptions.Exit(FAILED)


@group.command()
@click.option("--write", is_flag=True, help="Into the file beside the shipped workflows, for who changes the language.")
def schema(write: bool) -> None:
    """The language as a JSON Schema, for editors. A workflow's first line: `# yaml-language-server: $schema=FILE`."""
    if write:
        workflow_schema.FILE.write_text(workflow_schema.text(), encoding="utf-8")
        click.echo(str(workflow_schema.FILE))
    else:
        click.echo(workflow_schema.text(), nl=False)


def _tested(path: Path, *, quiet: bool) -> dict[str, Any]:
    """What came of a file's cases; told for people unless quiet."""
    try:
        judged = deploying.judge(path)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return {"file": str(path), "problem": str(error), "cases": []}
    missing = workflow_cases.unvisited(judged.sound.workflow, judged.ran)
    if not quiet:
        for one in judged.ran:
            click.echo(f"{'✗' if one.wrong else '✓'} {one.name}: {one.came or 'nothing came'}")
            for line in one.wrong:
                click.echo(f"    {line}")
        said = f"{judged.tests.passed} of {judged.tests.all} cases of {judged.sound.workflow.reference} are as recorded"
        click.echo(said + (f"; no case goes through {', '.join(missing)}" if missing else ""))
    return {
        "file": str(path),
        "workflow": judged.sound.workflow.reference,
        "cases": [{"name": one.name, "came": one.came, "wrong": list(one.wrong)} for one in judged.ran],
        "unvisited": missing,
    }


def _expand(path: Path) -> list[Path]:
    return workflow_files.files_of(path) if path.is_dir() else [path]


def _file(path: Path) -> Workflow:
    workflow, problems = workflow_files.read(path)
    if workflow is None:
        fail("\n".join(problems))
    return workflow


def _draw(workflow: Workflow) -> None:
    click.echo(f"{workflow.reference}, owner {workflow.owner}, takes {workflow.input}\n{workflow.about}")
    for line in head(workflow):
        click.echo(line)
    for name, box in boxes(workflow).items():
        click.echo(f"\n{name} ({box.kind}): {box.does}{f'; guarded {box.guards}' if box.guards else ''}")
        for number, way in enumerate(box.ways, start=1):
            branch = "└─" if number == len(box.ways) else "├─"
            click.echo(f"  {branch} {way.when} ─▶ {way.to}{f' [{way.reason}]' if way.reason else ''}")


def plain(workflow: Workflow) -> dict[str, object]:
    """For scripts."""
    return {
        "workflow": workflow.workflow,
        "version": workflow.version,
        "owner": workflow.owner,
        "cost_centre": workflow.cost_centre,
        "about": workflow.about,
        "input": workflow.input,
        "objectives": workflow.objectives.model_dump(),
        "signed_off": None if workflow.signed_off is None else workflow.signed_off.model_dump(mode="json"),
        "autonomy": None if workflow.autonomy is None else workflow.autonomy.model_dump(mode="json"),
        "budget": None if workflow.budget is None else workflow.budget.model_dump(mode="json"),
        "policy": workflow.policy,
        "steps": {
            name: {
                "kind": box.kind,
                "does": box.does,
                "guards": box.guards,
                "ways": [way._asdict() for way in box.ways],
            }
            for name, box in boxes(workflow).items()
            if name in workflow.steps
        },
    }
