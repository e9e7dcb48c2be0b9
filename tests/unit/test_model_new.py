"""The next version of a model as a team makes it: files to fill, which serve nobody until they were judged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aios.inference_workers.classify import save
from aios.inference_workers.engines.echo import EchoEngine, heads
from aios.inference_workers.engines.engine import Embed
from aios.inference_workers.tasks import encoder
from aios.inference_workers.training import labels, unseen
from aios.inference_workers.weights import convert, weights
from aios.inference_workers.worker import Served
from aios.infra import judging
from aios.infra.commands import model
from aios.infra.output import FAILED, NOT_FOUND, USAGE
from aios.schemas.models import ModelActivated
from aios.sinks import audit_chain
from aios.sinks.audit_chain import Line
from aios.streams import activations, installed, model_files
from aios.streams.errors import ConfigError
from aios.streams.model_files import UNSAID
from tests.fakes.engine import FakeEngine, shelf_of
from tests.unit.test_labels import ENOUGH, HEADER, lines

CACHED = (model_files.card, model_files.versions, model_files.heads)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A team's own folder, beside the one that ships."""
    models = tmp_path / "models"
    monkeypatch.setattr(model_files, "FOLDERS", (*model_files.FOLDERS, models))
    monkeypatch.setattr(convert, "CACHE", tmp_path / "cache")
    forget()
    yield models
    forget()


def forget() -> None:
    """As a process that starts again."""
    for cached in CACHED:
        cached.cache_clear()


def aios_model(*arguments: str | Path) -> Result:
    found = CliRunner().invoke(model.group, list(map(str, arguments)))
    forget()
    return found


def say_all(version: Path) -> None:
    """As its makers do."""
    card = version / model_files.CARD
    card.write_text(card.read_text(encoding="utf-8").replace(UNSAID, "ours"), encoding="utf-8")
    forget()


def put_labels(version: Path, head: str = "claims") -> Path:
    path = version / model_files.DATA / head / labels.FILE
    path.parent.mkdir(parents=True)
    path.write_text(HEADER + "\n".join(lines(ENOUGH)), encoding="utf-8")
    return path


def test_the_next_version_begins_with_what_the_last_one_has(own: Path) -> None:
    """Its card but for what only its makers can say, its heads, a place for labels: a draft, in the team's folder."""
    newest = model_files.reference("triage-encoder")
    made = aios_model("new", "triage-encoder", "--from", "triage-encoder@2")
    assert made.exit_code == 0, made.output
    place = own / "triage-encoder" / "3"
    assert model_files.heads("triage-encoder@3") == model_files.heads("triage-encoder@2")
    assert (place / model_files.DATA / "README.md").is_file()
    card, before = model_files.card("triage-encoder@3"), model_files.card("triage-encoder@2")
    assert (card.task, card.weights, card.not_for) == (before.task, before.weights, before.not_for)
    assert card.unsaid == ["data", "limits"]
    assert model_files.drafts() == ["triage-encoder@3"]
    assert model_files.reference("triage-encoder") == newest
    assert "aios model train triage-encoder@3" in made.output
    assert "activate the version that serves" in made.output
    listed = json.loads(aios_model("list", "--json").stdout)
    assert {one["model"]: one["serves"] for one in listed}["triage-encoder@3"] == "nobody, a draft"


def test_a_new_model_has_no_heads_of_another_and_no_pool_yet(own: Path) -> None:
    """The labels of the version that it begins with are copied, and what is missing to serve it is said."""
    aios_model("new", "triage-encoder", "--from", "triage-encoder@2")
    put_labels(own / "triage-encoder" / "3")
    made = aios_model("new", "claims", "--from", "triage-encoder@3")
    assert made.exit_code == 0, made.output
    assert model_files.heads("claims@1") == ()
    assert list(labels.files("claims@1")) == ["claims"]
    assert labels.read(labels.files("claims@1")["claims"]) == labels.read(labels.files("triage-encoder@3")["claims"])
    assert "`model: claims` and `weights: triage-encoder-2`" in made.output
    pool = installed.pools()["classify.bulk"].model_copy(update={"model": "claims"})
    (own / "triage-encoder" / "4" / model_files.DATA).mkdir(parents=True)  # of one that was interrupted
    assert aios_model("new", "triage-encoder", "--from", "triage-encoder@3").exit_code == 0
    with pytest.raises(ConfigError, match="claims@1 is a draft: it serves when its card says all"):
        Served({"bulk": pool}).model  # noqa: B018 - what a worker asks at its start


def test_other_weights_are_a_folder_that_is_read_where_it_lies(own: Path, tmp_path: Path) -> None:
    """Each file with its SHA-256; heads of other vectors do not come along, and the licence is another's."""
    disk = tmp_path / "disk"
    disk.mkdir()
    assert "has no config.json" in aios_model("new", "summariser", "--from", "summariser@1", "--weights", disk).output
    for file in ("config.json", "model.safetensors"):
        (disk / file).write_text(file, encoding="utf-8")
    made = aios_model("new", "summariser", "--from", "summariser@1", "--weights", disk)
    assert made.exit_code == 0, made.output
    assert convert.folder("summariser-2") == disk
    assert weights.of("summariser-2").root == own
    card = model_files.card("summariser@2")
    assert (card.weights, card.licence) == ("summariser-2", UNSAID)
    assert "summariser@2" in model_files.drafts(), "no worker looks for its weights yet"
    assert "`weights: summariser-2` in generate.interactive.yaml, generate.bulk.yaml" in made.output
    assert "aios prompt test PROMPT --model summariser@2" in made.output
    assert aios_model("new", "triage-encoder", "--from", "triage-encoder@2", "--weights", disk).exit_code == 0
    assert model_files.heads("triage-encoder@3") == ()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("new", "Claims", "--from", "triage-encoder@2"), USAGE, "a name is a-z"),
        (("new", "claims", "--from", "triage-encoder@9"), NOT_FOUND, "there is no model triage-encoder@9"),
        (("train", "summariser@1"), 1, "`aios prompt test PROMPT --model summariser@1`"),
        (("evaluate", "summariser@1"), 1, "`aios prompt test PROMPT --model summariser@1`"),
        (("evaluate", "summariser@1", "--through-pipeline"), 1, "aios prompt test PROMPT"),
        (("train", "triage-encoder@1"), 1, "put labels there, or make a version for them: `aios model new"),
        (("train", "triage-encoder@2"), 1, "make the next version (`aios model new"),
    ],
)
def test_what_cannot_be_done_says_what_can(arguments: tuple[str, ...], code: int, says: str) -> None:
    """In one line, without a traceback."""
    found = aios_model(*arguments)
    assert found.exit_code == code
    assert says in found.stderr
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("now", "ever", "says"),
    [
        ((2, 0), [], "triage-encoder@2 serves cases"),
        ((1, 2), [], "triage-encoder@2 serves cases"),
        ((1, 0), [(2, 0), (1, 0)], "triage-encoder@2 was activated"),
        ((1, 0), [(1, 2), (1, 0)], "triage-encoder@2 was activated"),
        ((0, 0), [(2, 0)], "triage-encoder@2 was activated"),
        (None, [], "triage-encoder@2 serves every case, as the newest"),
        ((1, 0), [], ""),
        ((1, 0), [(1, 0)], ""),
        ((3, 0), [(3, 0)], ""),
    ],
)
def test_what_serves_or_was_activated_is_not_trained_again(
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: tuple[int, int] | None,
    ever: list[tuple[int, int]],
    says: str,
) -> None:
    """For all cases or as a canary, as the system that runs here tells; what cannot be known refuses nothing."""
    trained: list[str] = []

    def run(verb: str, name: str) -> dict[str, Any]:
        trained.append(f"{verb} {name}")
        return {"policy": {}}

    @contextmanager
    def connected() -> Iterator[tuple[Any, Any]]:
        yield type("Settings", (), {"kafka": None, "home": own})(), None

    def activated(version: int, canary: int) -> ModelActivated:
        share = 100 if canary else 0
        return ModelActivated(
            model="triage-encoder",
            version=version,
            canary_version=canary,
            canary_permille=share,
            reason="",
            by="",
            activated_at=0,
        )

    def chained(_folder: Path, case_id: str) -> list[Line]:
        found = [line(number, case_id, *each) for number, each in enumerate(ever, start=1)]
        return found or [line(1, f"{case_id}-of-others", 2, 0)]  # those whose id begins so

    monkeypatch.setattr(model, "_run", run)
    assert aios_model("train", "triage-encoder@2", "--again").exit_code == 0, "no system runs"
    monkeypatch.setattr(model, "found_running", lambda: True)
    monkeypatch.setattr(model, "connected", connected)
    monkeypatch.setattr(activations, "read", lambda *_: {"triage-encoder": activated(*now)} if now else {})
    monkeypatch.setattr(audit_chain, "of_case", chained)
    found = aios_model("train", "triage-encoder@2", "--again")
    assert (found.exit_code, len(trained)) == ((1, 1) if says else (0, 2))
    assert says in found.stderr
    assert ("make the next version (`aios model new" in found.stderr) is bool(says)


def line(number: int, case_id: str, version: int, canary: int) -> Line:
    """Of the audit chain: an activation."""
    detail = {"version": version, "canary_version": canary, "canary_permille": 0, "reason": ""}
    event = {"case_id": case_id, "transition": "model_activated", "detail": json.dumps(detail)}
    return Line(Path("chain"), number, number, "", {"event": event})


def test_a_draft_is_trained_before_it_is_judged_and_its_card_says_all_before_it_serves(own: Path) -> None:
    """A version of a new model without labels has nothing to learn from; one without heads nothing to judge."""
    aios_model("new", "claims", "--from", "triage-encoder@2")
    version = own / "claims" / "1"
    assert "put labels there" in aios_model("train", "claims@1").stderr
    put_labels(version, "Claims")
    assert "a head is named in lower-case letters" in aios_model("train", "claims@1").stderr
    (version / "data" / "Claims").rename(version / "data" / "claims")
    assert "has no heads yet: `aios model train claims@1`" in aios_model("evaluate", "claims@1").stderr
    assert "nobody has judged claims@1" in aios_model("activate", "claims@1", "--why", "x").stderr
    (version / model_files.METRICS).write_text('{"policy": {}, "test": {}}', encoding="utf-8")
    forget()
    assert "claims@1" in model_files.drafts()
    said = aios_model("activate", "claims@1", "--why", "x").stderr
    assert "does not say yet: data, limits; say it in" in said
    assert str(version / "card.yaml") in said
    say_all(version)
    assert model_files.reference("claims") == "claims@1"


def test_what_was_judged_is_neither_activated_nor_judged_anew_with_other_heads(own: Path) -> None:
    """Trained anew it has figures of its own, and those are of what it is then."""
    aios_model("new", "claims", "--from", "triage-encoder@2")
    version = own / "claims" / "1"
    say_all(version)
    save(version / model_files.HEADS, {"claims": heads("triage-encoder@2")[0]})
    figures = {"policy": {}, "test": {}, model_files.HEADS_JUDGED: model_files.heads_digest("claims@1")}
    (version / model_files.METRICS).write_text(json.dumps(figures), encoding="utf-8")
    forget()
    assert model_files.changed("claims@1") == ""
    save(version / model_files.HEADS, {"claims": heads("triage-encoder@2")[1]})
    for verb in (("activate", "claims@1", "--why", "x"), ("evaluate", "claims@1")):
        said = aios_model(*verb)
        assert said.exit_code == FAILED
        assert f"{version / model_files.HEADS} is not what claims@1 was judged with" in said.stderr


def test_a_head_with_labels_of_its_own_is_judged_on_their_test_split(own: Path) -> None:
    """Through the pipeline of the pool that serves it, too; the heads it began with as those of the shipped version."""
    aios_model("new", "triage-encoder", "--from", "triage-encoder@2")
    version = own / "triage-encoder" / "3"
    put_labels(version)
    assert "claims" not in unseen.heads("triage-encoder@3"), "it is not trained yet"
    path = version / model_files.HEADS
    path.rename(version / "before.npz")
    put_labels(version, "messages")
    trained = {name: heads("triage-encoder@2")[0] for name in ("claims", "messages", "intents")}
    save(path, trained)
    forget()
    assert unseen.heads("triage-encoder@3") == ["intents", "messages", "claims"]
    for head in ("claims", "messages"):
        found = list(unseen.texts("triage-encoder@3", head))
        assert [label for _, label in found] == ["refund"] * ENOUGH["test", "refund"]
    assert not unseen.calibrated_here("triage-encoder@3", "messages"), "its labels are others now"
    assert unseen.calibrated_here("triage-encoder@2", "messages")
    assert judging.asked_at("triage-encoder@3").name == "inference.classify.bulk.requested.v1"
    with pytest.raises(ConfigError, match="no pool labels with claims"):
        judging.asked_at("claims@1")


def test_a_version_without_heads_makes_vectors_and_labels_nothing(own: Path, tmp_path: Path) -> None:
    """A pool of such a model starts; what asks it for a label is refused alone. The echo has heads of any model."""
    aios_model("new", "claims", "--from", "triage-encoder@2")
    version = own / "claims" / "1"
    (version / model_files.METRICS).write_text("{}", encoding="utf-8")
    say_all(version)
    task = encoder(shelf_of(FakeEngine()), "claims")
    assert task.serves == ("embed",)
    save(version / model_files.HEADS, {"tickets": heads("triage-encoder@2")[0]})
    forget()
    assert encoder(shelf_of(FakeEngine()), "claims").serves == ("classify", "embed")
    assert [head.labels for head in heads("claims@1")] == [heads("triage-encoder@2")[0].labels]
    assert asyncio.run(EchoEngine(heads("claims@1"), tmp_path).embed(Embed(text="hello"))).vector
