"""Reads workflow files, and says in which line of which file something is wrong.

In: a folder of YAML files. Out: Workflows, by name, version and input contract. Guaranteed: a folder with any
problem in any file is refused whole, with one line `file:line: what is wrong` a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from aios.processors.workflow import Workflow
from aios.processors.workflow_check import Place, check
from aios.streams.errors import ConfigError

FOLDER = Path(__file__).parent / "workflows"
FILE_BYTES_MAX = 1 << 20


class Workflows:
    """The workflows of this deploy; every version that a case may still run on."""

    def __init__(self, workflows: Iterable[Workflow]) -> None:
        self._versions: dict[tuple[str, int], Workflow] = {}
        self._latest: dict[str, Workflow] = {}
        for each in sorted(workflows, key=lambda w: w.version):
            if (each.workflow, each.version) in self._versions:
                raise ConfigError(f"two files hold {each.reference}")
            self._versions[each.workflow, each.version] = each
            self._latest[each.workflow] = each
        inputs = [each.input for each in self._latest.values()]
        if len(set(inputs)) != len(inputs):
            raise ConfigError("two workflows take the same input contract; each needs its own")

    def __iter__(self) -> Iterator[Workflow]:
        return iter(self._versions.values())

    def latest(self, name: str) -> Workflow | None:
        return self._latest.get(name)

    def of_input(self, contract: str) -> Workflow | None:
        """The newest version of the workflow that takes these events."""
        return next((each for each in self._latest.values() if each.input == contract), None)

    def at(self, name: str, version: int) -> Workflow:
        """Raises ConfigError: an open case runs on a version that this deploy no longer has."""
        try:
            return self._versions[name, version]
        except KeyError as error:
            raise ConfigError(
                f"open cases run on {name}@{version}, which this deploy lacks; put {name}@{version}.yaml back"
            ) from error


@lru_cache(maxsize=1)
def shipped() -> Workflows:
    """The workflows beside this code. Raises ConfigError."""
    return load(FOLDER)


def load(folder: Path) -> Workflows:
    """Every workflow of a folder. Raises ConfigError naming file, line and a hint for each problem."""
    found: list[Workflow] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        workflow, wrong = read(path)
        problems += wrong
        found += [workflow] if workflow is not None else []
    if problems:
        raise ConfigError("\n".join(problems))
    if not found:
        raise ConfigError(f"there is no workflow in {folder}")
    return Workflows(found)


def read(path: Path) -> tuple[Workflow | None, list[str]]:
    """One file: the workflow, or one line `file:line: problem` for everything wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > FILE_BYTES_MAX:
            return None, [f"{path}:1: over {FILE_BYTES_MAX} characters"]
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        return None, [f"{path}: {error.strerror}"]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        return None, [f"{path}:{mark.line + 1 if mark else 1}: {getattr(error, 'problem', None) or 'not UTF-8 text'}"]
    if not isinstance(root, yaml.MappingNode):
        return None, [f"{path}:1: a workflow is a mapping"]
    if doubled := list(_doubled_keys(root)):
        return None, [f"{path}:{line}: the key {key} stands here a second time" for key, line in doubled]
    return _validate(path, text, root)


def _validate(path: Path, text: str, root: yaml.Node) -> tuple[Workflow | None, list[str]]:
    try:
        workflow = Workflow.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        return None, [
            f"{path}:{_line(root, [*each['loc'], *_key(each.get('ctx'))])}: {_where(each['loc'])}{_plain(each['msg'])}"
            for each in error.errors(include_url=False)
        ]
    problems = [f"{path}:{_line(root, each.place)}: {_where(each.place)}{each.says}" for each in check(workflow)]
    if path.stem not in (workflow.workflow, workflow.reference):
        problems.append(f"{path}:1: this file must be named {workflow.workflow}.yaml or {workflow.reference}.yaml")
    return (None, problems) if problems else (workflow, [])


def _doubled_keys(node: yaml.Node) -> Iterator[tuple[str, int]]:
    """YAML itself would silently keep the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _doubled_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _doubled_keys(item)


def _line(root: yaml.Node, place: Sequence[str | int]) -> int:
    """1-based line of the deepest key of the place that the file has."""
    node, line = root, root.start_mark.line
    for key in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(key)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line
    return line + 1


def _key(context: dict[str, object] | None) -> list[str]:
    return [str(context["key"])] if context and "key" in context else []


def _where(place: Place) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""


def _plain(message: str) -> str:
    """The problem in one line: without pydantic's prefix and CEL's drawing."""
    return message.removeprefix("Value error, ").partition("\n")[0]
