"""What runs on Kubernetes and in compose: all that `aios up` starts, nothing forgotten, no secret in the open."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from aios.infra import pods, pool_manifests, stage_manifests
from aios.infra.local import supervisor
from aios.infra.local.system import ALONE, SERVERS
from aios.streams import acls, config, topology
from aios.streams.config import SECRET_PROPERTIES, InferenceSettings, Settings

INFRA = Path(__file__).parents[2] / "infra"
K8S = {
    file.name: [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]
    for file in sorted((INFRA / "k8s").glob("*.yaml"))
}
BASE = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))
STAGES = yaml.safe_load((INFRA / "compose.stages.yaml").read_text(encoding="utf-8"))
SETTINGS: Mapping[str, str] = K8S["settings.yaml"][0]["data"]


def workloads() -> Iterator[dict[str, Any]]:
    for document in (each for documents in K8S.values() for each in documents):
        if document["kind"] == "StatefulSet":
            yield document


def container(workload: Mapping[str, Any]) -> dict[str, Any]:
    (one,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(one)


def test_the_shipped_manifests_are_those_of_the_topology() -> None:
    """`aios topology --format kubernetes > infra/k8s/stages.yaml`, the same for compose, after a change of either."""
    assert (INFRA / "k8s" / "stages.yaml").read_text(encoding="utf-8") == stage_manifests.kubernetes()
    assert (INFRA / "compose.stages.yaml").read_text(encoding="utf-8") == stage_manifests.compose()


def test_every_process_of_aios_up_stands_in_both() -> None:
    """Each is started by its name; one that is forgotten, or is no process any more, fails here."""
    assert {container(one)["args"][0] for one in workloads()} == set(topology.PROCESSES)
    started = {name: one["command"][0] for name, one in STAGES["services"].items() if "command" in one}
    assert started == {name: name for name in topology.PROCESSES}


def test_what_there_may_be_one_of_has_one_replica() -> None:
    for one in workloads():
        process = container(one)["args"][0]
        if process in ALONE and process not in SERVERS:
            assert one["spec"]["replicas"] == 1


def test_all_connectors_hash_correspondence_under_one_key() -> None:
    """Each has a home of its own, and one that made a key of its own there would find nothing of the others'."""
    named = json.loads(SETTINGS["AIOS_CONNECTORS__SECRETS"])["correspondence"]
    assert named == {"key": f"file:{pods.SECRETS}/correspondence-key"}


def test_who_shares_documents_or_the_lake_mounts_the_same_volume() -> None:
    """Gateway and connectors find each other's documents, the lake and the letters' archive are one folder."""
    claims: dict[str, set[str]] = {}
    for one in workloads():
        for volume in one["spec"]["template"]["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                claims.setdefault(claim, set()).add(container(one)["args"][0])
    assert claims == {"aios-documents": {"gateway", "connectors"}, "aios-lake": {"lake", "letters"}}
    assert set(claims) == {
        one["metadata"]["name"] for one in K8S["stages.yaml"] if one["kind"] == "PersistentVolumeClaim"
    }
    mounted = {
        name: [each.partition(":")[0] for each in one.get("volumes", ())] for name, one in STAGES["services"].items()
    }
    assert mounted["gateway"][1:] == mounted["connectors"][1:] == ["documents"]
    assert mounted["lake"][1:] == mounted["letters"][1:] == ["lake"]


@pytest.mark.parametrize("process", topology.PROCESSES)
def test_a_process_starts_with_settings_that_exist(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config map and what is its own are read as settings, of every workload of it and of its service."""
    given = [
        {one["name"]: one["value"] for one in container(each)["env"] if "value" in one} | SETTINGS
        for each in workloads()
        if container(each)["args"][0] == process
    ]
    for environment in (*given, STAGES["services"][process]["environment"]):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            config.load.cache_clear()
            settings: Settings = config.load()
        assert settings.kafka.bootstrap_servers
        if process in SERVERS:
            assert (settings.gateway if process == "gateway" else settings.operations).port == 8080


def test_secrets_are_files_that_every_pod_mounts() -> None:
    """No value of a secret stands in a manifest: only where it lies."""
    properties = json.loads(SETTINGS["AIOS_KAFKA__PROPERTIES"])
    named = [properties[name] for name in SECRET_PROPERTIES & properties.keys()]
    named += [each for one in json.loads(SETTINGS["AIOS_CONNECTORS__SECRETS"]).values() for each in one.values()]
    assert named
    assert all(each.startswith(f"file:{pods.SECRETS}/") for each in named)
    for one in (each for documents in K8S.values() for each in documents):
        assert one["kind"] != "Secret"
        if one["kind"] in ("StatefulSet", "Job"):
            process = one["spec"]["template"]["metadata"]["labels"]["aios/process"]
            assert pods.secrets(process) in one["spec"]["template"]["spec"]["volumes"]
            assert pods.SECRET_MOUNT in container(one)["volumeMounts"]
            assert container(one)["envFrom"] == pods.FROM_CONFIG


def test_each_process_is_the_user_for_whom_rules_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Kafka, by settings that its pod has: the shared ones name nobody. Its password is in a secret of its name."""
    named = set()
    for one in workloads():
        labels = one["spec"]["template"]["metadata"]["labels"]
        with monkeypatch.context() as patch:
            for each in container(one)["env"]:
                if "value" in each:
                    patch.setenv(each["name"], each["value"])
            for name, value in SETTINGS.items():
                patch.setenv(name, value)
            config.load.cache_clear()
            user = config.load().kafka.properties["sasl.username"]
        assert user == f"aios-{container(one)['args'][0]}"
        assert user in str(pods.secrets(labels["aios/process"]))
        named.add(f"User:{user}")
    assert named == set(re.findall(r"User:\S+", acls.script(topology.STAGES)))
    assert "sasl.username" not in SETTINGS["AIOS_KAFKA__PROPERTIES"]


@pytest.mark.parametrize("index", ["0", "1"])
def test_a_probe_asks_for_the_file_that_its_own_process_writes(index: str, tmp_path: Path) -> None:
    """In every pod, whatever its index is: as infra/stage.py names the file, by the container's own arguments."""
    for one in workloads():
        process, _, slot = container(one)["args"]
        serving = tmp_path / "run" / "serving" / f"{process}.{slot.replace('$(SLOT)', index)}"
        serving.parent.mkdir(parents=True, exist_ok=True)
        for kind in ("startupProbe", "readinessProbe"):
            probe = container(one)[kind]
            if "httpGet" in probe:
                assert (process, probe["httpGet"]["path"]) in {(server, "/readyz") for server in SERVERS}
                continue
            shell, flag, script = probe["exec"]["command"]
            command = [shell, flag, script.replace(pods.HOME, str(tmp_path))]
            serving.unlink(missing_ok=True)
            assert subprocess.run(command, env={"SLOT": index}, check=False).returncode == 1
            serving.touch()
            assert subprocess.run(command, env={"SLOT": index}, check=False).returncode == 0, script


def test_nobody_is_ended_while_topics_are_read_again() -> None:
    """An emptied Valkey, a changelog of many cases: who is killed in it would begin anew, and never be ready."""
    for one in workloads():
        if container(one)["args"][0] in stage_manifests.STAGES:
            probe = container(one)["startupProbe"]
            assert probe["failureThreshold"] * probe["periodSeconds"] >= 3600


def test_a_server_answers_until_nobody_sends_to_its_pod_any_more() -> None:
    """From SIGTERM on it refuses what is new, which a rolling update would show to callers; then it has its time."""
    for one in workloads():
        process, leaves = container(one)["args"][0], container(one).get("lifecycle")
        assert (leaves is not None) == (process in SERVERS)
        if leaves is not None:
            assert leaves["preStop"]["exec"]["command"] == ["sleep", str(stage_manifests.LEAVING_S)]
            grace_s = one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace_s > stage_manifests.LEAVING_S + supervisor.STOP_S_MAX


def test_compose_shows_each_server_on_a_port_of_loopback() -> None:
    """Its own, and none that the broker, the registry or Redis has."""
    given = [
        each for one in (*STAGES["services"].values(), *BASE["services"].values()) for each in one.get("ports", ())
    ]
    assert all(each.startswith("127.0.0.1:") for each in given)
    assert len({each.split(":")[1] for each in given}) == len(given)
    assert {name for name, one in STAGES["services"].items() if "ports" in one} == set(SERVERS)


def test_compose_waits_for_topics_and_for_what_they_stand_on() -> None:
    """Every stage after the one that makes topics and contracts; that one after services of compose.yaml."""
    for process in topology.PROCESSES:
        waits = STAGES["services"][process]["depends_on"]
        assert waits == {stage_manifests.PREPARE: {"condition": "service_completed_successfully"}}
    assert set(STAGES["services"][stage_manifests.PREPARE]["depends_on"]) == set(BASE["services"])
    assert STAGES["name"] == BASE["name"]


def test_the_engines_in_compose_fit_beside_each_other() -> None:
    """All of them have the one GPU that Docker gives: of its memory no more than 0.9, and as long to load as pods."""
    engines = [InferenceSettings.model_validate(each) for each in engines_of_compose().values()]
    assert len(engines) == 2
    assert sum(each.gpu_memory_share for each in engines) <= 0.9
    assert {each.load_s_max for each in engines} == {pool_manifests.LOAD_S_MAX}


def engines_of_compose() -> dict[str, dict[str, str]]:
    """By service with a GPU: its settings `inference`."""
    prefix = "AIOS_INFERENCE__"
    return {
        name: {
            key.removeprefix(prefix).lower(): value
            for key, value in one["environment"].items()
            if key.startswith(prefix)
        }
        for name, one in STAGES["services"].items()
        if "deploy" in one
    }


def test_what_kafka_keeps_in_compose_outlives_its_container() -> None:
    """The image's own place is in /tmp: topics and contracts would go when a container is made anew."""
    kafka = BASE["services"]["kafka"]
    assert kafka["volumes"] == [f"kafka:{kafka['environment']['KAFKA_LOG_DIRS']}"]


def test_images_are_built_from_files_that_are_there() -> None:
    for one in STAGES["services"].values():
        assert (INFRA / ".." / one["build"]["dockerfile"]).is_file()
