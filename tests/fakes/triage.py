"""Workflows without the newest document.triage: a plain course of two models and a person, to test mechanics with."""

from __future__ import annotations

from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Workflows

VERSION = 2


def plain() -> Workflows:
    """Those that are shipped, but of document.triage none after VERSION."""
    shipped = workflow_files.shipped()
    return Workflows(each for each in shipped if each.workflow != "document.triage" or each.version <= VERSION)
