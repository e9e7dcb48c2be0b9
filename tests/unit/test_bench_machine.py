"""What stands beside figures that are kept: the machine, its GPUs, and what its engines were told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aios.infra.bench import machine

GPU = "NVIDIA H200, 143771 MiB, 570.86.15"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver's, where it would be."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def kept(folder: Path) -> dict[str, Any]:
    machine.keep_in(folder, "figures", "aios bench", {"per_s": 1})
    return dict(json.loads((folder / "figures.json").read_text(encoding="utf-8")))


def says(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)


def test_figures_of_gpus_name_them_and_their_driver(tool: Path, tmp_path: Path) -> None:
    """Each of several, in the driver's order."""
    says(tool, f"echo '{GPU}'; echo '{GPU}'")
    assert kept(tmp_path)["machine"]["gpus"] == [GPU, GPU]


@pytest.mark.parametrize("script", [None, "exit 9", "true"], ids=["no tool", "no driver", "no GPU"])
def test_a_machine_of_cpus_names_none(tool: Path, script: str | None) -> None:
    if script is not None:
        says(tool, script)
    assert "gpus" not in machine.describe()


def test_figures_keep_what_their_engines_were_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A figure of 256 seats is none of 32; whose server, which key and which tenants is nobody's business."""
    assert "environment" not in kept(tmp_path)
    told = {"AIOS_INFERENCE__SEQUENCES_MAX": "256", "AIOS_INFERENCE__ENGINE_MODE": "subprocess"}
    private = {"URL": "http://gpu-1/v1", "API_KEY": "env:KEY", "TENANT_WEIGHTS": "{}", "TENANT_WEIGHTS__BANK": "2"}
    for name, value in (told | {f"AIOS_INFERENCE__{name}": value for name, value in private.items()}).items():
        monkeypatch.setenv(name, value)
    found = kept(tmp_path)
    assert (found["environment"], found["per_s"]) == (told, 1)
