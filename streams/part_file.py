"""A file that says one thing and is named after it: a pool, an outside system.

Enters: a path. Leaves: the part with the file's nodes, or a line `file:line:column: problem` for everything wrong with
the file by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from aios.streams import mistakes, yaml_text
from aios.streams.part import Part

P = TypeVar("P", bound=Part)


def read(path: Path, kind: type[P], key: str) -> tuple[P | None, yaml.Node | None, list[str]]:
    """key: of the name that the file's own name is."""
    try:
        root, said = yaml_text.read_file(path)
        found = kind.model_validate(said)
    except yaml_text.Unreadable as error:
        return None, None, error.problems
    except ValidationError as error:
        return None, None, mistakes.lines(str(path), root, error)
    if getattr(found, key) != path.stem:
        says = f"the file is named after its {key}, and this one is {path.name}"
        return None, None, [mistakes.line(str(path), root, (key,), says)]
    return found, root, []
