"""What scales the pools: made from their files, on seconds of work queued."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from aios.inference_workers import measures
from aios.infra import pool_manifests, stage_manifests
from aios.processors.cases import queues
from aios.streams import config, installed, topics
from aios.streams.config import Settings
from aios.streams.pool_files import EngineOptions, Pool

FILE = Path(__file__).parents[2] / "infra" / "k8s" / "pools.yaml"
ALL = [document for document in yaml.safe_load_all(FILE.read_text(encoding="utf-8")) if document]


def of(kind: str, pool: Pool) -> dict[str, Any]:
    (found,) = [
        each
        for each in ALL
        if each["kind"] == kind
        and each["metadata"]["labels"] == {"app": "aios", "aios/process": pool.process, "aios/lane": pool.lane}
    ]
    return found


def test_the_shipped_manifests_are_those_of_the_shipped_pools() -> None:
    """`aios pools --kubernetes > infra/k8s/pools.yaml` after a change of either."""
    assert FILE.read_text(encoding="utf-8") == pool_manifests.manifests(installed.pools().values())


@pytest.mark.parametrize(
    ("engine", "options", "gpus"),
    [
        ("vllm", {}, 1),
        ("vllm", {"tensor_parallel": 4}, 4),
        ("openai", {}, 0),
        ("echo", {}, 0),
    ],
)
def test_a_worker_has_the_gpus_that_its_engine_computes_on(
    engine: str, options: dict[str, Any], gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as share one model; what asks elsewhere has none, nor the image that is made for them."""
    changed = {"engine": engine, "engine_options": EngineOptions.model_validate(options)}
    pools = {name: pool.model_copy(update=changed) for name, pool in installed.pools().items()}
    for made in yaml.safe_load_all(pool_manifests.manifests(pools.values())):
        if made is not None and made["kind"] == "StatefulSet":
            (container,) = made["spec"]["template"]["spec"]["containers"]
            assert container["resources"]["limits"].get("nvidia.com/gpu", 0) == gpus
            assert ("gpu" in container["image"]) == bool(gpus)
    monkeypatch.setattr(installed, "pools", lambda: pools)
    services = yaml.safe_load(stage_manifests.compose())["services"]
    for process in {pool.process for pool in pools.values()}:
        devices = services[process].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
        assert [each["count"] for each in devices] == ([gpus] if gpus else [])
        assert ("profiles" in services[process]) == ("gpu" in services[process]["image"]) == bool(gpus)


@pytest.mark.parametrize("pool", installed.pools().values(), ids=str)
def test_a_pool_is_scaled_on_a_metric_that_its_workers_tell(pool: Pool) -> None:
    """The query names metrics that exist, of its pool: of workers, and of plan, where a backlog stands; more workers
    than partitions are never asked for.
    """
    measures.Measures(pool)
    queues.Queues([pool.pool])
    scaled = of("ScaledObject", pool)["spec"]
    (trigger,) = scaled["triggers"]
    named = re.findall(r"(aios_\w+)\{([^}]*)\}", trigger["metadata"]["query"])
    assert {labels for _, labels in named} == {f'pool="{pool.pool}"'}
    assert {"aios_work_queued_seconds", "aios_turns_waiting"} < {name for name, _ in named}
    for name, _ in named:
        assert REGISTRY.get_sample_value(name, {"pool": pool.pool}) is not None
    assert float(trigger["metadata"]["threshold"]) * 1000 <= pool.objective.p95_ms
    assert scaled["maxReplicaCount"] <= topics.inference_requested(pool.pool).partitions(6)
    assert scaled["scaleTargetRef"]["name"] == of("StatefulSet", pool)["metadata"]["name"]


@pytest.mark.parametrize("pool", installed.pools().values(), ids=str)
def test_a_worker_is_started_with_settings_that_exist(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the manifest sets is read: its lane alone, and the port that Prometheus is told."""
    (container,) = of("StatefulSet", pool)["spec"]["template"]["spec"]["containers"]
    for each in container["env"]:
        if "value" in each:
            monkeypatch.setenv(each["name"], each["value"])
    config.load.cache_clear()
    try:
        settings: Settings = config.load()
    finally:
        config.load.cache_clear()
    assert settings.inference.lanes == (pool.lane,)
    assert settings.metrics.port == container["ports"][0]["containerPort"]
    assert container["args"][0] == pool.process


def test_a_start_up_probe_waits_as_long_as_a_model_may_load() -> None:
    for pool in installed.pools().values():
        (container,) = of("StatefulSet", pool)["spec"]["template"]["spec"]["containers"]
        probe = container["startupProbe"]
        environment = {each["name"]: each.get("value", "") for each in container["env"]}
        assert probe["periodSeconds"] * probe["failureThreshold"] >= int(environment["AIOS_INFERENCE__LOAD_S_MAX"])
