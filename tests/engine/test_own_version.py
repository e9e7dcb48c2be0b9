"""What a team makes of its own, with the engine that serves: weights on a disk, and heads on labels of theirs."""

from __future__ import annotations

from pathlib import Path

from tests.engine.scripts import found_by


def test_a_folder_on_a_disk_serves_as_its_pool_s_file_says(tmp_path: Path) -> None:
    """Random numbers of two layers, read where they lie; the pool's context and cache are its own; a byte more and the
    next start is refused, as is a model that was trained on no conversation.
    """
    found = found_by("own_version.py", "writes", tmp_path)
    assert found["tokens"] > 0
    assert "more exceed 64" in found["refused"]
    assert 0 < found["room"] <= 32_768, "16 MiB of two layers, where the settings say 256"
    assert "dumb has no chat template" in found["dumb"]
    assert f"{tmp_path / 'disk' / 'model.safetensors'} has SHA-256" in found["changed"]


def test_heads_on_a_team_s_own_labels_are_trained_and_judged(tmp_path: Path) -> None:
    """On weights as they are: the same labels give the same heads; what is judged was not learned; a draft before, it
    serves after.
    """
    found = found_by("own_version.py", "learns", tmp_path)
    first, again, judged = found["said"]
    assert first["digest"] == again["digest"]
    assert judged["figures"] == again["figures"] == first["figures"]
    figures = judged["figures"]["test"]["kinds"]
    assert figures["texts"] == 30
    assert figures["accuracy"] >= 0.95
    assert figures["out_of_scope_auroc"] >= 0.95
    assert found["heads"] == ["kinds"]
    assert "tickets@1" in found["known"]
