"""A small file that is whole at any moment: written beside, then put in its place.

Where a loss of power must not leave an older one, it is not enough: nothing waits for the disk (sinks/audit_chain.py).
"""

from __future__ import annotations

from pathlib import Path


def write(file: Path, text: str) -> None:
    """Whoever reads it meanwhile, or after a death in between, has what it said before. Raises OSError."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
