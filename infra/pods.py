"""What all processes have in common on Kubernetes: who they run as, where they keep things, how they say they serve.

Enters: a process of the topology, its image, and what is its own. Leaves: parts of manifests, as plain values. Pure.
Guaranteed: settings come from the config map `aios`; a secret is never among them: it is a file of the secret `aios`,
mounted in SECRETS, and settings name it (`file:/run/secrets/aios/calendars-password`); each process has a name and a
password of its own in Kafka, the latter in the secret `aios-<process>`; a pod is ready when its stage is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

IMAGE, GPU_IMAGE = "aios-pipeline", "aios-inference-gpu"  # infra/containers
HOME = "/home/aios/system"
SECRETS = "/run/secrets/aios"
METRICS_PORT = 9400
PROBE_S = 5
GRACE_S = 60  # to hand back what is in hand (DRAIN_S_MAX of a worker), and to end
SLOT = "$(SLOT)"  # in a container's arguments: its pod's index
INDEX = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
FROM_CONFIG = [{"configMapRef": {"name": "aios"}}]
NOTHING_MORE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SECRET_MOUNT = {"name": "secrets", "mountPath": SECRETS, "readOnly": True}
HOME_MOUNT = {"name": "home", "mountPath": HOME}


def environment(process: str, settings: Mapping[str, str]) -> list[dict[str, Any]]:
    """SLOT, so that a process that starts again has its place, its partitions and its fences; then its own settings."""
    own = {
        "AIOS_HOME": HOME,
        "AIOS_KAFKA__USER": user(process),
        **settings,
        "AIOS_METRICS__HOST": "0.0.0.0",  # noqa: S104 - the pod's own network
        "AIOS_METRICS__PORT": str(METRICS_PORT),
    }
    return [{"name": "SLOT", "valueFrom": INDEX}, *({"name": name, "value": value} for name, value in own.items())]


def user(process: str) -> str:
    """Its name in Kafka: the principal of `aios topology --format acls`."""
    return f"aios-{process}"


def secrets(process: str) -> dict[str, Any]:
    """What all share, and what is its own: its password in Kafka."""
    named = [{"secret": {"name": name, "optional": True}} for name in ("aios", user(process))]
    return {"name": "secrets", "projected": {"sources": named}}


def template(labels: Mapping[str, str], container: Mapping[str, Any], volumes: Iterable[Any]) -> dict[str, Any]:
    """Of one container."""
    return {
        "metadata": {
            "labels": dict(labels),
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)},
        },
        "spec": {
            "terminationGracePeriodSeconds": GRACE_S,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
            "containers": [dict(container)],
            "volumes": [*volumes, secrets(labels["aios/process"])],
        },
    }


def probe(process: str, slot: str, *, failures: int) -> dict[str, Any]:
    """Whether it serves: infra/stage.py says so in a file. A hung process needs none: it ends itself.

    slot: as its arguments have it; a command of a probe is no argument of a container, so its shell looks SLOT up.
    """
    number = "$SLOT" if slot == SLOT else slot
    command = ["sh", "-c", f"test -f {HOME}/run/serving/{process}.{number}"]
    return {"exec": {"command": command}, "periodSeconds": PROBE_S, "failureThreshold": failures}


def written(head: str, documents: Iterable[Mapping[str, Any]]) -> str:
    """As YAML, every value where it is said: no anchors."""
    return head + "---\n" + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=110)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - yaml names it
        return True
