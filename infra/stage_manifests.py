"""Manifests of every process that is no pool: for Kubernetes (infra/k8s/stages.yaml), and all for compose.

Enters: the topology's processes. Leaves: YAML. Pure. Guaranteed: whatever `aios up` starts stands here, since both go
over topology.PROCESSES; a process of a consumer group has its slot from its pod's index and keeps its home over a
restart (the audit's chain, marks of what was read, deaths that were counted); what several share (documents, the lake)
lies on volumes that all of them mount; what there may be one of has one replica; a Job makes topics and contracts
before anybody needs them, and again after an upgrade.

Not here: Kafka, the registry and Valkey, which have operators and charts of their own; TLS in front of the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios.infra import pods
from aios.infra.local.system import ALONE, POOLS, SERVERS
from aios.infra.pods import HOME
from aios.infra.pool_manifests import LOAD_S_MAX
from aios.streams import installed, topology

PREPARE = "prepare"  # the job's name
HTTP_PORT = 8080
LOOPBACK_PORTS = {"gateway": HTTP_PORT, "operations": 8082}  # in compose; the registry has the one between
START_S_MAX = 3600  # to be ready: a state, or all that Valkey held, is read again; who is ended in it begins anew
GPU_PERCENT = 90  # of the one GPU in compose, for all engines: what each process takes beside vLLM's share is not in it
LEAVING_S = 5  # a server answers on, until every proxy knows that its pod leaves
REPLICAS = 2
FOLDERS = "/var/lib/aios"  # documents and published lists: whoever hands them in and whoever reads them share it
SHARED: Mapping[str, tuple[str, str]] = {
    "gateway": ("documents", FOLDERS),
    "connectors": ("documents", FOLDERS),
    "lake": ("lake", f"{HOME}/lake"),
    "letters": ("lake", f"{HOME}/lake"),
}
"""Of each process that shares a volume: which, and where it is mounted."""

VOLUMES = tuple(dict.fromkeys(name for name, _ in SHARED.values()))
STAGES = tuple(process for process in topology.PROCESSES if process not in POOLS)
HEAD = """\
# Every stage but the pools (pools.yaml) on Kubernetes: made by `aios topology --format kubernetes`, compared by a test.
# Needs Kubernetes 1.28 or later, settings.yaml beside this file, the image of infra/containers/pipeline.Containerfile,
# and a storage class whose volumes several pods may write to. A first tenant: `aios tenant add NAME` in any pod,
# as a user who may WRITE tenant.registered.v1 and audit.recorded.v1 (AIOS_KAFKA__USER); who operates, likewise:
# `aios principal add NAME --role ROLE`, principal.registered.v1. Their commands ask the services here, by
# OPERATIONS=http://aios-operations, GATEWAY=http://aios-gateway and AIOS_TOKEN.
# A job is never changed: before this file is applied anew, `kubectl delete job aios-prepare --ignore-not-found`.
"""
COMPOSE_HEAD = """\
# Every stage as a container, beside the broker, registry and Redis of compose.yaml: made by
# `aios topology --format compose`, compared by a test.
#   docker compose -f infra/compose.yaml -f infra/compose.stages.yaml up -d --build
# The pools need a GPU, which they share, and NVIDIA's container toolkit: --profile gpu. A first tenant, and who
# operates: with `exec gateway aios tenant add NAME` and `exec gateway aios principal add NAME --role ROLE`; then
#   GATEWAY=http://127.0.0.1:8080 OPERATIONS=http://127.0.0.1:8082 AIOS_TOKEN=… .venv/bin/aios dlq groups
# There is no calendar server here: meetings wait until AIOS_CONNECTORS__OPTIONS of `connectors` names one,
# {"calendars": {"url": "https://…", "directory": "/opt/aios/infra/demo/data/people.yaml"}}, and
# AIOS_CONNECTORS__SECRETS its account, as in infra/k8s/settings.yaml.
"""
STANDS_ON = ("kafka", "registry", "redis")  # services of compose.yaml
ADDRESSES = {
    "AIOS_KAFKA__BOOTSTRAP_SERVERS": "kafka:29092",
    "AIOS_REGISTRY__URL": "http://registry:8080/apis/ccompat/v7",
    "AIOS_REDIS__URL": "redis://redis:6379/0",
}


def kubernetes() -> str:
    """The whole file."""
    return pods.written(HEAD, _documents())


def compose() -> str:
    """The whole file."""
    services = {PREPARE: _service(PREPARE), **{process: _service(process) for process in topology.PROCESSES}}
    names = (*(f"home-{process}" for process in topology.PROCESSES), *VOLUMES)
    volumes: dict[str, dict[str, str]] = {name: {} for name in names}
    return pods.written(COMPOSE_HEAD, [{"name": "aios", "services": services, "volumes": volumes}])


# ── Kubernetes ──


def _documents() -> Iterator[dict[str, Any]]:
    for name in VOLUMES:
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"aios-{name}", "labels": {"app": "aios"}},
            "spec": _claim("ReadWriteMany", "100Gi"),
        }
    yield _job()
    for process in STAGES:
        yield _workload(process)
        if process in SERVERS:
            yield {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"aios-{process}", "labels": _labels(process)},
                "spec": {"selector": _labels(process), "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
            }


def _job() -> dict[str, Any]:
    container = {
        "name": PREPARE,
        "image": pods.IMAGE,
        "command": ["python", "-m", "aios.infra.prepare"],
        "envFrom": pods.FROM_CONFIG,
        "env": [{"name": "AIOS_KAFKA__USER", "value": pods.user(PREPARE)}],
        "securityContext": pods.NOTHING_MORE,
        "volumeMounts": [pods.SECRET_MOUNT],
    }
    template = pods.template(_labels(PREPARE), container, [])
    del template["metadata"]["annotations"]  # it tells no metrics
    template["spec"]["restartPolicy"] = "OnFailure"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "aios-prepare", "labels": _labels(PREPARE)},
        "spec": {"backoffLimit": 10, "ttlSecondsAfterFinished": 3600, "template": template},
    }


def _workload(process: str) -> dict[str, Any]:
    name, labels = f"aios-{process}", _labels(process)
    volumes = []
    if process in SHARED:
        volume, _ = SHARED[process]
        volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": f"aios-{volume}"}})
    of_its_own = {"metadata": {"name": "home"}, "spec": _claim("ReadWriteOnce", "10Gi")}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "serviceName": name,
            "replicas": 1 if process in ALONE and process not in SERVERS else REPLICAS,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": pods.template(labels, _container(process), volumes),
            "volumeClaimTemplates": [of_its_own],
        },
    }


def _container(process: str) -> dict[str, Any]:
    settings, ports = _own(process), [{"name": "metrics", "containerPort": pods.METRICS_PORT}]
    ready = pods.probe(process, _slot(process), failures=1)
    if process in SERVERS:
        ports.insert(0, {"name": "http", "containerPort": HTTP_PORT})
        get = {"path": "/readyz", "port": "http"}
        ready = {"httpGet": get, "periodSeconds": pods.PROBE_S, "failureThreshold": 1}
    mounts = [{"name": SHARED[process][0], "mountPath": SHARED[process][1]}] if process in SHARED else []
    leaving = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVING_S)]}}}}
    return {
        "name": process,
        "image": pods.IMAGE,
        "args": [process, "--slot", _slot(process)],
        "envFrom": pods.FROM_CONFIG,
        "env": pods.environment(process, settings),
        "ports": ports,
        "startupProbe": pods.probe(process, _slot(process), failures=START_S_MAX // pods.PROBE_S),
        "readinessProbe": ready,
        **(leaving if process in SERVERS else {}),
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": pods.NOTHING_MORE,
        "volumeMounts": [pods.HOME_MOUNT, *mounts, pods.SECRET_MOUNT],
    }


def _own(process: str) -> dict[str, str]:
    own = {}
    if process in SHARED and SHARED[process][1] == FOLDERS:
        own["AIOS_DOCUMENTS__FOLDER"] = f"{FOLDERS}/documents"
    if process in SERVERS:
        own |= {
            f"AIOS_{process.upper()}__HOST": "0.0.0.0",  # noqa: S104 - the pod's own network
            f"AIOS_{process.upper()}__PORT": str(HTTP_PORT),
        }
    return own


def _slot(process: str) -> str:
    """A server is slot 0 in every pod: the port that is set is slot 0's, and it has no place in a group to keep."""
    return "0" if process in SERVERS else pods.SLOT


def _claim(mode: str, size: str) -> dict[str, Any]:
    return {"accessModes": [mode], "resources": {"requests": {"storage": size}}}


def _labels(process: str) -> dict[str, str]:
    return {"app": "aios", "aios/process": process}


# ── compose ──


def _service(process: str) -> dict[str, Any]:
    devices = _devices(process)
    own = {**_own(process), **(_engine() if devices else {})}
    image, file = (pods.GPU_IMAGE, "inference-gpu") if devices else (pods.IMAGE, "pipeline")
    service: dict[str, Any] = {
        "image": image,
        "build": {"context": "..", "dockerfile": f"infra/containers/{file}.Containerfile"},
        "environment": {**ADDRESSES, **({} if process == PREPARE else {"AIOS_HOME": HOME, **own})},
        "restart": "on-failure" if process == PREPARE else "unless-stopped",
    }
    if process == PREPARE:
        service["entrypoint"] = ["python", "-m", "aios.infra.prepare"]
        service["depends_on"] = {name: {"condition": "service_started"} for name in STANDS_ON}
        return service
    mounts = [f"{SHARED[process][0]}:{SHARED[process][1]}"] if process in SHARED else []
    service |= {
        "command": [process, "--slot", "0"],
        "volumes": [f"home-{process}:{HOME}", *mounts],
        "stop_grace_period": f"{pods.GRACE_S}s",
        "depends_on": {PREPARE: {"condition": "service_completed_successfully"}},
    }
    if process in SERVERS:
        service["ports"] = [f"127.0.0.1:{LOOPBACK_PORTS[process]}:{HTTP_PORT}"]
    if devices:
        device = {"driver": "nvidia", "count": devices, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
        service["ipc"] = "host"
        service["profiles"] = ["gpu"]
    return service


def _engine() -> dict[str, str]:
    """Of a process that computes on a GPU. Docker gives each the same one, so that all engines share it."""
    engines = sum(_devices(process) > 0 for process in POOLS)
    return {
        "AIOS_INFERENCE__GPU_MEMORY_SHARE": f"{GPU_PERCENT // engines / 100:g}",
        "AIOS_INFERENCE__LOAD_S_MAX": str(LOAD_S_MAX),
    }


def _devices(process: str) -> int:
    """GPUs that it computes on."""
    return max((pool.devices for pool in installed.pools().values() if pool.process == process), default=0)
