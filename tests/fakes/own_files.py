"""A team's own files: those of the page that teaches them, and a process that has read the release's already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aios.processors.language import policy_files, workflow_files
from aios.streams import config, extensions, installed

READ_ONCE = (
    config.load,
    extensions.folders,
    installed.pools,
    installed.systems,
    policy_files.load,
)
PAGE = (workflow_files.FOLDER / "README.md").read_text(encoding="utf-8")
FIRST, _, OWN = PAGE.partition("\n## 6. ")  # a workflow; a system, a policy and a prompt


def blocks(part: str) -> dict[str, str]:
    """The files that a part of the page shows, by name."""
    return dict(re.findall(r"^```(?:yaml|json) (\S+)\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL))


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Texts by path in the folder, which is returned."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@contextmanager
def read_anew() -> Iterator[None]:
    """What a process reads once is read again inside, and after. What was declared at import stays (topology.py)."""
    for each in READ_ONCE:
        each.cache_clear()
    try:
        yield
    finally:
        for each in READ_ONCE:
            each.cache_clear()
