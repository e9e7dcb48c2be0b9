"""What is deployed and active, in memory, as streams/deployments.py has it."""

from __future__ import annotations

from typing import Any, cast

from aios.processors.language.workflow_files import Sound
from aios.schemas.models import WorkflowActivated, WorkflowDeployed
from aios.streams.deployments import Deployments


class _Table(dict[str, Any]):
    def all(self) -> dict[str, Any]:
        return dict(self)


class Tables:
    """asked: how often it was to be read to its end."""

    def __init__(self) -> None:
        self.deployed, self.activated = _Table(), _Table()
        self.changes, self.asked = 0, 0

    @property
    def given(self) -> Deployments:
        """For what follows the real ones."""
        return cast(Deployments, self)

    def catch_up(self) -> None:
        self.asked += 1

    def put(self, one: Sound, *, version: int | None = None, mode: str = "auto", permille: int = 1000) -> None:
        """version: that new cases take, else its own."""
        told = deployed(one)
        self.deployed[f"{told.workflow}@{told.version}"] = told
        self.activated[told.workflow] = WorkflowActivated(
            workflow=told.workflow,
            version=told.version if version is None else version,
            autonomy=mode,
            auto_permille=permille,
            reason="",
            by="",
            activated_at=0,
        )
        self.changes += 1


def deployed(one: Sound) -> WorkflowDeployed:
    return WorkflowDeployed(
        workflow=one.workflow.workflow,
        version=one.workflow.version,
        definition=one.text,
        input_schema=one.input.schema.text,
        definition_hash="",
        tests="{}",
        reason="",
        by="ada",
        deployed_at=0,
    )
