"""Reads workflow files, and says in which line of which file something is wrong.

In: a folder of YAML files, or the texts of deployed ones. Out: Workflows, by name, version and input contract.
Guaranteed: a folder with any problem in any file is refused whole, with one line `file:line:column: what is wrong` a
problem; of what is deployed while the system runs (Live), what another stage has seen is known here before it is
denied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aios.processors.connectors import registry
from aios.processors.language import autonomy, contract_files, policy_files, workflow_names
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import Workflow, asks
from aios.processors.language.workflow_check import check, form
from aios.schemas.models import WorkflowDeployed
from aios.streams import config, inputs, mistakes, prompt_files, yaml_text
from aios.streams.activations import PERMILLE, RETIRED
from aios.streams.deployments import Catalogue, Deployments, Entry, input_of
from aios.streams.errors import ConfigError
from aios.streams.inputs import Input
from aios.streams.topics import Topic

FOLDER = Path(__file__).parents[1] / "workflows"
FILE_BYTES_MAX = 1 << 20
PLAIN = frozenset({"policy", "samples", "examples"})  # keys of values that expressions see, where no date is one
CASES = ".cases.yaml"  # how the file beside a workflow ends that holds recorded cases of it

log = logging.getLogger(__name__)


class Workflows:
    """A set of workflows that stays as it is; every version that a case may still run on.

    taken: input contracts that this release does not ship, by name. mode: how far every new case decides alone;
    without, as its workflow's file says.
    """

    def __init__(self, workflows: Iterable[Workflow], taken: Mapping[str, Input] | None = None, mode: str = "") -> None:
        self._versions: dict[tuple[str, int], Workflow] = {}
        self._latest: dict[str, Workflow] = {}
        self._taken = taken or {}
        self._mode = mode
        for each in sorted(workflows, key=lambda w: w.version):
            if (each.workflow, each.version) in self._versions:
                raise ConfigError(f"two files hold {each.reference}")
            self._versions[each.workflow, each.version] = each
            self._latest[each.workflow] = each
        inputs_of = [each.input for each in self._latest.values()]
        if len(set(inputs_of)) != len(inputs_of):
            raise ConfigError("two workflows take the same input contract; each needs its own")

    def __iter__(self) -> Iterator[Workflow]:
        return iter(self._versions.values())

    def latest(self, name: str) -> Workflow | None:
        """The version that new cases take; None: there is no such workflow, or it takes none."""
        return self._latest.get(name)

    def retired(self, name: str) -> bool:  # noqa: ARG002 - of those that are deployed
        """Whether it is known, and takes no new cases."""
        return False

    def autonomy(self, workflow: Workflow) -> tuple[str, int]:
        """How far new cases decide alone, and which permille of them."""
        return (self._mode, PERMILLE) if self._mode else autonomy.of_file(workflow)

    def of_input(self, contract: str) -> Workflow | None:
        """The newest version of the workflow that takes these events."""
        return next((each for each in self._latest.values() if each.input == contract), None)

    def entry(self, contract: str) -> Entry | None:
        """Who takes the events of this contract; None: nobody."""
        found = self.of_input(contract)
        if found is None:
            return None
        taken = self._taken.get(contract)
        return Entry(found.workflow, inputs.shipped(contract) if taken is None else taken, open=True)

    def at(self, name: str, version: int) -> Workflow:
        """Raises ConfigError: an open case runs on a version that this deploy no longer has."""
        try:
            return self._versions[name, version]
        except KeyError as error:
            raise ConfigError(
                f"open cases run on {name}@{version}, which this deploy lacks; put {name}@{version}.yaml back"
            ) from error


class Live(Workflows):
    """The shipped workflows and those that are deployed while the system runs, as they are at this moment.

    Guaranteed: what another stage can have seen of the tables is known here before it is denied. deployments: started
    by whoever owns it. A version's file never changes, so each is read once.
    """

    def __init__(self, shipped_ones: Workflows, deployments: Deployments) -> None:
        super().__init__(shipped_ones)
        self._deployments = deployments
        self._catalogue = Catalogue(deployments)
        self._shipped = dict(self._versions)
        self._deployed: dict[str, Workflow] = {}

    def __iter__(self) -> Iterator[Workflow]:
        names = [(told.workflow, told.version) for told in self._deployments.deployed.all().values()]
        return iter([self.at(*each) for each in sorted({*names, *self._shipped})])

    def latest(self, name: str) -> Workflow | None:
        """As it is now. Raises Unavailable, ConfigError for a version that this release cannot read."""
        told = self._deployments.activated.get(name)
        if told is None and name not in self._latest:
            self._deployments.catch_up()
            told = self._deployments.activated.get(name)
        if told is None:
            return self._latest.get(name)
        return None if told.version == RETIRED else self.at(name, told.version)

    def retired(self, name: str) -> bool:
        told = self._deployments.activated.get(name)
        return told is not None and told.version == RETIRED

    def autonomy(self, workflow: Workflow) -> tuple[str, int]:
        """As activated last, else as its file says."""
        told = self._deployments.activated.get(workflow.workflow)
        return autonomy.of_file(workflow) if told is None else (told.autonomy, told.auto_permille)

    def of_input(self, contract: str) -> Workflow | None:
        found = self._catalogue.entry(contract)
        return self.latest(found.workflow) if found is not None else None

    def entry(self, contract: str) -> Entry | None:
        return self._catalogue.entry(contract)

    def topics(self) -> tuple[Topic, ...]:
        """Where events of any of them may come."""
        return self._catalogue.topics()

    def at(self, name: str, version: int) -> Workflow:
        """Raises ConfigError: nobody deployed it, or this release cannot read it; Unavailable."""
        reference = f"{name}@{version}"
        found = self._deployed.get(reference)
        if found is not None:
            return found
        told = self._deployments.deployed.get(reference)
        if told is None and (name, version) in self._shipped:
            return self._shipped[name, version]
        if told is None:
            self._deployments.catch_up()
            told = self._deployments.deployed.get(reference)
        if told is None:
            raise ConfigError(f"cases run on {reference}, which nobody deployed here; deploy that version again")
        self._deployed[reference] = found = of_deployed(told).workflow
        for why in unfit(found):
            log.error("%s: %s; its cases go on by `on_error`. Deploy a version that is fine", reference, why)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A workflow without a mistake, the text it was read from, and what it takes."""

    workflow: Workflow
    text: str
    input: Input


@lru_cache(maxsize=1)
def shipped() -> Workflows:
    """The workflows beside this code; tests walk them, so that no process does at its start. Raises ConfigError."""
    return load(FOLDER, walked=True)


def load(folder: Path, *, walked: bool = False) -> Workflows:
    """Every workflow of a folder. Raises ConfigError naming file, line and a hint for each problem.

    walked: as read_text.
    """
    found: list[Sound] = []
    problems: list[str] = []
    for path in files_of(folder):
        sound, wrong = read_file(path, walked=walked)
        problems += wrong
        found += [sound] if sound is not None else []
    if problems:
        raise ConfigError("\n".join(problems))
    if not found:
        raise ConfigError(f"there is no workflow in {folder}")
    return Workflows([one.workflow for one in found], {one.input.contract: one.input for one in found})


def files_of(folder: Path) -> list[Path]:
    """The workflow files of a folder: not the recorded cases beside them, nor the settings."""
    every = (*folder.glob("*.yaml"), *folder.glob("*.yml"))  # the latter are told what they should be called
    return sorted(path for path in every if not path.name.endswith(CASES) and path.name != config.FILE)


def read(path: Path) -> tuple[Workflow | None, list[str]]:
    """One file: the workflow, or one line `file:line:column: problem` for everything wrong with it."""
    found, wrong = read_file(path)
    return (found.workflow if found is not None else None), wrong


def read_file(path: Path, *, walked: bool = False) -> tuple[Sound | None, list[str]]:
    """As read, with text and input contract: one of this release, else `<contract>.avsc` beside the file.

    NAME@1.yaml beside NAME.yaml is kept for the cases that began with it.
    """
    if path.suffix == ".yml":
        return None, [f"{path}: a workflow's file, and what stands beside it, ends in .yaml: rename it"]
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return None, [f"{path}: {error.strerror}"]
    except UnicodeDecodeError:
        return None, [f"{path}:1:1: not UTF-8 text"]
    found, problems = read_text(
        text,
        str(path),
        lambda contract: contract_files.beside(path.parent, contract),
        walked=walked,
        kept="@" in path.stem and path.with_name(f"{path.stem.partition('@')[0]}.yaml").is_file(),
    )
    if found is not None and path.stem not in (found.workflow.workflow, found.workflow.reference):
        named = found.workflow
        return None, [f"{path}:1:1: this file must be named {named.workflow}.yaml or {named.reference}.yaml"]
    return found, problems


def of_deployed(told: WorkflowDeployed) -> Sound:
    """A deployed version, walked with its samples when it came. Raises ConfigError when it cannot be read here."""
    name = f"{told.workflow}@{told.version}"
    found, problems = read_text(told.definition, name, lambda _contract: input_of(told), walked=True)
    if found is None:
        raise ConfigError("this release of AIOS cannot read a deployed workflow: " + "; ".join(problems))
    try:
        _load_named(found.workflow)
    except ConfigError as error:
        raise ConfigError(f"this release of AIOS lacks what {name} names: {error}") from error
    return found


def unpassed(workflow: Workflow) -> list[str]:
    """Why new cases may not take it: prompts that it names by version and that have not passed. A line each."""
    named = {ask.prompt for _, ask in questions(workflow)}
    return [why for each in sorted(filter(None, named)) if "@" in each and (why := prompt_files.unpassed(each))]


def unfit(workflow: Workflow) -> list[str]:
    """Models that it names and that cannot answer it: such steps go to their `on_error`. A line each."""
    return sorted({says for _, ask in questions(workflow) for _, says in workflow_names.unfit(ask)})


def questions(workflow: Workflow) -> Iterator[tuple[str, Question]]:
    """What it asks models, by step."""
    for name, step in workflow.steps.items():
        yield from ((name, ask) for ask in asks(step.kind) if isinstance(ask, Question))


def _load_named(workflow: Workflow) -> None:
    """Policies, prompts and operations that it names are here, before a case comes to them. Raises ConfigError."""
    for step in workflow.steps.values():
        for ask in asks(step.kind):
            if isinstance(ask, Call):
                registry.operation(ask.system, ask.operation)
                continue
            for reference in (*ask.guards.before, *ask.guards.after):
                policy_files.load(reference)
            if ask.prompt and "@" not in ask.prompt:
                prompt_files.newest(ask.prompt)


def read_text(
    text: str, where: str, contract_of: Callable[[str], Input], *, walked: bool = False, kept: bool = False
) -> tuple[Sound | None, list[str]]:
    """where: how the problems name it. contract_of: the input contract of that name, or ConfigError. walked: it is
    known to hold over its samples. kept: for cases that began with it alone.
    """
    if len(text) > FILE_BYTES_MAX:
        return None, [f"{where}:1:1: over {FILE_BYTES_MAX} characters"]
    try:
        root, said = yaml_text.read(text)
    except yaml_text.Unreadable as error:
        return None, [f"{where}:{each}" for each in error.problems]
    if not isinstance(root, yaml.MappingNode):
        return None, [f"{where}:1:1: a workflow is a mapping"]
    if not walked and (otherwise := list(yaml_text.misread(root, PLAIN))):
        return None, [f"{where}:{each}" for each in otherwise]
    return _validate(where, text, root, said, contract_of, walked=walked, kept=kept)


def _validate(
    where: str,
    text: str,
    root: yaml.Node,
    said: Any,
    contract_of: Callable[[str], Input],
    *,
    walked: bool,
    kept: bool,
) -> tuple[Sound | None, list[str]]:
    try:
        workflow = Workflow.model_validate(said)
    except ValidationError as error:
        return None, mistakes.lines(where, root, error)
    try:
        taken = contract_of(workflow.input)
    except contract_files.Misread as error:
        return None, error.problems
    except ConfigError as error:
        return None, [mistakes.line(where, root, ("input",), says) for says in str(error).splitlines()]
    found = form(workflow, taken) if walked else check(workflow, taken, kept=kept)
    problems = [mistakes.line(where, root, each.place, each.says) for each in found]
    return (None, problems) if problems else (Sound(workflow=workflow, text=text, input=taken), [])
