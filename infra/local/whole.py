"""A small file of JSON that is whole at any moment: written beside, then put in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(file: Path, said: Mapping[str, Any]) -> None:
    """Whoever reads it meanwhile, or after a death in between, has what it said before. Raises OSError."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(dict(said)), encoding="utf-8")
    part.replace(file)
