"""Kubernetes manifests of the pools: workers that can be scaled, and the rule that scales them (infra/k8s/pools.yaml).

Enters: the pools (streams/pools). Leaves: YAML: for each pool a StatefulSet of workers on one GPU each, and a KEDA
ScaledObject that makes an HPA of it. Pure. Guaranteed: a pool's lane has workers of its own, so that neither scales for
the other; a worker's slot is its pod's index, so that it keeps its partitions over a restart; a pod counts as started
only when its model is loaded, warm and in its group; a pool never has more workers than partitions.

The signal is `aios_work_queued_seconds` summed over the pool: the seconds that one worker would need for what waits.
KEDA divides it by `threshold`: the seconds that one accepts, half of the pool's P95 objective. A worker takes a minute
to load, so what is scaled down waits DOWN_S first; the signal lives in the workers, so one of them stays.
Rejected: scaling on consumer lag (records are no measure of work: measures.py), on GPU utilisation (a full batch and an
overload look the same), scaling to nothing (nobody would be there to say that work has come).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import yaml

from aios.streams.pool_files import Pool

IMAGE = "aios-inference-gpu"
METRICS_PORT = 9400
LOAD_S_MAX = 600  # of a large model on a cold node; a start-up probe gives up then
PROBE_S = 5
GRACE_S = 60  # DRAIN_S_MAX of the worker, and what the engine needs to end
DOWN_S = 600
WORKERS_MAX = 16
SHARED = "/dev/shm"  # noqa: S108 - where devices of one model pass tensors; a container's own is 64 MiB
HEAD = """\
# The pools' workers on Kubernetes, and what scales them: made by `aios pools --kubernetes`, compared by a test.
# Needs KEDA 2.x, a Prometheus that scrapes annotated pods, the config map `aios` (AIOS_* settings: Kafka, registry,
# Redis) and the image of infra/containers/inference-gpu.Containerfile.
"""


def manifests(pools: Iterable[Pool]) -> str:
    """The whole file."""
    documents = [document for pool in pools for document in (_workers(pool), _scaling(pool))]
    return HEAD + "---\n" + yaml.safe_dump_all(documents, sort_keys=False, width=110)


def accepted_s(pool: Pool) -> float:
    """Seconds of work that may wait for a worker: half of what an answer may take at P95."""
    return max(0.5, pool.objective.p95_ms / 2000)


def _name(pool: Pool) -> str:
    return f"aios-{pool.pool.replace('.', '-').replace('_', '-')}"


def _workers(pool: Pool) -> dict[str, Any]:
    name = _name(pool)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": _labels(pool)},
        "spec": {
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": _labels(pool)},
            "template": {
                "metadata": {
                    "labels": _labels(pool),
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)},
                },
                "spec": {
                    "terminationGracePeriodSeconds": GRACE_S,
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
                    "containers": [_container(pool)],
                    "volumes": [
                        {"name": "home", "emptyDir": {}},
                        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
                    ],
                },
            },
        },
    }


def _container(pool: Pool) -> dict[str, Any]:
    index = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    settings = {
        "AIOS_HOME": "/home/aios/system",
        "AIOS_INFERENCE__LANES": json.dumps([pool.lane]),
        "AIOS_INFERENCE__LOAD_S_MAX": str(LOAD_S_MAX),
        "AIOS_METRICS__HOST": "0.0.0.0",  # noqa: S104 - the pod's own network
        "AIOS_METRICS__PORT": str(METRICS_PORT),
    }
    serving = f"/home/aios/system/run/serving/{pool.process}.$SLOT"
    return {
        "name": "worker",
        "image": IMAGE,
        "args": [pool.process, "--slot", "$(SLOT)"],
        "envFrom": [{"configMapRef": {"name": "aios"}}],
        "env": [
            {"name": "SLOT", "valueFrom": index},
            *({"name": name, "value": value} for name, value in settings.items()),
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "startupProbe": _probe(serving, failures=LOAD_S_MAX // PROBE_S),
        "readinessProbe": _probe(serving, failures=1),
        "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}, "requests": {"cpu": "2", "memory": "8Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "home", "mountPath": "/home/aios/system"}, {"name": "shm", "mountPath": SHARED}],
    }


def _probe(file: str, *, failures: int) -> dict[str, Any]:
    """A hung engine needs none: its worker's watchdog ends the process."""
    command = ["sh", "-c", f"test -f {file}"]
    return {"exec": {"command": command}, "periodSeconds": PROBE_S, "failureThreshold": failures}


def _scaling(pool: Pool) -> dict[str, Any]:
    query = f'sum(aios_work_queued_seconds{{pool="{pool.pool}"}})'
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
                        "query": query,
                        "threshold": f"{accepted_s(pool):g}",
                    },
                }
            ],
        },
    }


def _labels(pool: Pool) -> dict[str, str]:
    return {"app": "aios", "aios/process": pool.process, "aios/lane": str(pool.lane)}
