"""`aios system list|check`: outside systems, of the release and of a team's own folder.

Enters: the systems that are installed here (streams/installed.py), or files; needs no running system. Leaves: a row a
system; of `check` one line `file:line:column: problem` for each mistake (exit 1), also for a file that is in the
folder already and stops everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from aios.infra import output
from aios.infra.output import FAILED, fail
from aios.infra.running import load_settings
from aios.processors.connectors import registry
from aios.streams import extensions, installed, mistakes, part_file, system_files
from aios.streams.errors import ConfigError
from aios.streams.system_files import System

JSON = click.option("--json", "as_json", is_flag=True, help="For scripts.")
COLUMNS = ("system", "connector", "operations", "at", "from", "does")


@click.group("system")
def group() -> None:
    """Outside systems: list, check."""


@group.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Every system, what it can be asked, and which file says so."""
    try:
        there = installed.systems()
        shipped = system_files.read(system_files.FOLDER)
        found = [
            {
                "system": system.system,
                "connector": system.connector,
                "operations": list(registry.operations_of(system)),
                "at": _url(system),
                "from": "shipped" if system.system in shipped else "own folder",
                "does": system.does,
            }
            for system in there.values()
        ]
    except ConfigError as error:
        fail(str(error))
    output.rows(found, COLUMNS, as_json=as_json, none="there are no systems")


@group.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check files of systems as they are read at a start. FILES or folders."""
    paths = [path for each in files for path in (sorted(each.glob("*.y*ml")) if each.is_dir() else [each])]
    if not paths:
        fail("there is no .yaml file")
    problems = [says for path in paths for says in _checked(path)]
    for says in problems:
        click.echo(says, err=True)
    if problems:
        raise click.exceptions.Exit(FAILED)


def _checked(path: Path) -> Iterator[str]:
    """All that is wrong with it; what is fine is said."""
    system, root, problems = part_file.read(path, System, "system")
    problems += extensions.refused(path, system_files.FOLDER)
    if system is not None and root is not None:
        problems += [mistakes.line(str(path), root, (key,), says) for key, says in registry.wrong(system)]
    yield from problems
    if system is None or problems:
        return
    says = f"{path}: {system.system} is fine, it can be asked to {', '.join(registry.operations_of(system))}"
    lost = system.connector == "http" and not _url(system)
    where = f"; where it is stands nowhere yet: connectors.options.{system.system}.url in aios.yaml"
    click.echo(says + (where if lost else ""))


def _url(system: System) -> str:
    """Where it is, as this deployment says or its file; empty: neither does."""
    options = {**system.options, **load_settings().connectors.options.get(system.system, {})}
    return str(options.get("url", ""))
