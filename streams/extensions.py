"""A team's own files, beside those of the release: `extensions.folder` of the settings.

Enters: the folder of a kind of file that ships (systems, pools, policies, prompts). Leaves: where files of that kind
are: there, and in the folder of that name in the team's. Guaranteed: nothing of the release is replaced: a name that
ships is refused in the team's folder, with both paths, and so is a file that would never be read. Of models a team may
have further versions, and model_files.py says which it refuses.

Rejected: a later file that wins (what a decision was made by would depend on the machine); one folder for each kind (a
team has one repository, and stages that do not read the same are told so by nobody).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from aios.streams.errors import ConfigError

YAML = ".yaml"


def beside(shipped: Path, own: Path | None) -> tuple[Path, ...]:
    """The release's folder, and the team's of that name, which may not be there yet. own: the setting."""
    return (shipped,) if own is None else (shipped, own / shipped.name)


@lru_cache(maxsize=64)
def folders(shipped: Path, own: Path | None) -> tuple[Path, ...]:
    """The same. Raises ConfigError, a line for each file that may not stand in the team's. Judged once, so that no file
    that comes while a process runs stops it.
    """
    found = beside(shipped, own)
    there = [path for folder in found[1:] if folder.is_dir() for path in sorted(folder.iterdir())]
    if wrong := [why for path in there for why in refused(path, shipped)]:
        raise ConfigError("\n".join(wrong))
    return found


def refused(path: Path, shipped: Path) -> Iterator[str]:
    """Why this file or folder may not stand beside those that ship. A line each."""
    if path.suffix == ".yml":
        yield f"{path}:1:1: a file that ends in .yml is not read: name it {path.stem}{YAML}"
    taken = next((each for each in shipped.iterdir() if name_of(each) == name_of(path)), None)
    if taken is not None and not path.samefile(taken):
        yield f"{path}:1:1: {name_of(path)} ships with this release, in {taken}, and is not replaced: take another name"


def name_of(path: Path) -> str:
    """Of a system, a pool, a policy in any version (and its cases), or a prompt, whose versions are in a folder."""
    return path.name.removesuffix(YAML).partition("@")[0]
