"""Kubernetes manifests of the pools: workers that can be scaled, and the rule that scales them (infra/k8s/pools.yaml).

Enters: the pools (streams/installed.py). Leaves: YAML: for each pool a StatefulSet of workers, each on as many GPUs as
its file says (tensor_parallel; one where it says nothing, none where a server elsewhere computes, or nothing does), and
a KEDA ScaledObject that makes an HPA of it. Pure. Guaranteed: a pool's lane has workers of its own, so that neither
scales for the other; a worker's slot is its pod's index, so that it keeps its partitions over a restart; a pod counts
as started only when its model is loaded, warm and in its group; a pool never has more workers than partitions.

The signal is the seconds that one worker would need for what waits: `aios_work_queued_seconds` of the pool's workers,
which is what stands in its topic, and what waits for its turn in plan (`aios_turns_waiting`), where all of a tenant's
backlog stands but `tenant_outstanding_max`, at the workers' measured rate. KEDA divides it by `threshold`: the seconds
that one accepts, half of the pool's P95 objective. A worker takes a minute to load, so what is scaled down waits DOWN_S
first; the rate lives in the workers, so one of them stays.
Rejected: scaling on consumer lag (records are no measure of work: measures.py), on GPU utilisation (a full batch and an
overload look the same), scaling to nothing (nobody would be there to say that work has come).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aios.infra import pods
from aios.streams.pool_files import Pool

LOAD_S_MAX = 600  # of a large model on a cold node; a start-up probe gives up then
DOWN_S = 600
WORKERS_MAX = 16
SHARED = "/dev/shm"  # noqa: S108 - where devices of one model pass tensors; a container's own is 64 MiB
HEAD = """\
# The pools' workers on Kubernetes, and what scales them: made by `aios pools --kubernetes`, compared by a test.
# Needs KEDA 2.x, a Prometheus that scrapes annotated pods, settings.yaml beside this file and the image of
# infra/containers/inference-gpu.Containerfile. All other stages: stages.yaml.
"""


def manifests(pools: Iterable[Pool]) -> str:
    """The whole file."""
    documents = [document for pool in pools for document in (_workers(pool), _scaling(pool))]
    return pods.written(HEAD, documents)


def accepted_s(pool: Pool) -> float:
    """Seconds of work that may wait for a worker: half of what an answer may take at P95."""
    return max(0.5, pool.objective.p95_ms / 2000)


def _name(pool: Pool) -> str:
    return f"aios-{pool.pool.replace('.', '-').replace('_', '-')}"


def _workers(pool: Pool) -> dict[str, Any]:
    name = _name(pool)
    shared = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": _labels(pool)},
        "spec": {
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": _labels(pool)},
            "template": pods.template(
                _labels(pool),
                _container(pool),
                [{"name": "home", "emptyDir": {}}, *([shared] if pool.devices else [])],
            ),
        },
    }


def _container(pool: Pool) -> dict[str, Any]:
    settings = {"AIOS_INFERENCE__LANES": json.dumps([pool.lane]), "AIOS_INFERENCE__LOAD_S_MAX": str(LOAD_S_MAX)}
    return {
        "name": "worker",
        "image": pods.GPU_IMAGE if pool.devices else pods.IMAGE,
        "args": [pool.process, "--slot", pods.SLOT],
        "envFrom": pods.FROM_CONFIG,
        "env": pods.environment(pool.process, settings),
        "ports": [{"name": "metrics", "containerPort": pods.METRICS_PORT}],
        "startupProbe": pods.probe(pool.process, pods.SLOT, failures=LOAD_S_MAX // pods.PROBE_S),
        "readinessProbe": pods.probe(pool.process, pods.SLOT, failures=1),
        "resources": _resources(pool),
        "securityContext": pods.NOTHING_MORE,
        "volumeMounts": [
            pods.HOME_MOUNT,
            *([{"name": "shm", "mountPath": SHARED}] if pool.devices else []),
            pods.SECRET_MOUNT,
        ],
    }


def _resources(pool: Pool) -> dict[str, Any]:
    if not pool.devices:
        return {"limits": {"memory": "4Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}
    limits = {"nvidia.com/gpu": pool.devices, "memory": "16Gi"}
    return {"limits": limits, "requests": {"cpu": "2", "memory": "8Gi"}}


def query(pool: Pool) -> str:
    """Seconds of one worker's work. Without a plan that tells, what the workers see alone."""
    of = f'{{pool="{pool.pool}"}}'
    behind = f"sum(aios_turns_waiting{of}) / avg(aios_answers_per_second{of})"
    return f"sum(aios_work_queued_seconds{of}) + ({behind} or vector(0))"


def _scaling(pool: Pool) -> dict[str, Any]:
    down = {"stabilizationWindowSeconds": DOWN_S, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": _name(pool), "labels": _labels(pool)},
        "spec": {
            "scaleTargetRef": {"kind": "StatefulSet", "name": _name(pool)},
            "minReplicaCount": 1,
            "maxReplicaCount": WORKERS_MAX,
            "pollingInterval": 10,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": down}}},
            "triggers": [
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": {
                        "serverAddress": "http://prometheus:9090",
                        "query": query(pool),
                        "threshold": f"{accepted_s(pool):g}",
                    },
                }
            ],
        },
    }


def _labels(pool: Pool) -> dict[str, str]:
    return {"app": "aios", "aios/process": pool.process, "aios/lane": str(pool.lane)}
