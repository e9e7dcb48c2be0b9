"""Every endpoint and error code of the subset, in plain HTTP."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
import requests

from aios.infra.local.registry_api import BODY_BYTES_MAX
from aios.infra.local.registry_catalogue import VERSIONS_MAX, Catalogue
from aios.infra.local.registry_protocol import Refusal, candidate
from aios.schemas.safety import TEXT_BYTES_MAX
from tests.contract.conftest import Http


def record(*fields: str, **more: Any) -> dict[str, Any]:
    """A request's body: a record whose first field is required, the others not."""
    listed = [{"name": name, "type": "int"} | ({"default": 0} if i else {}) for i, name in enumerate(fields)]
    return {"schema": json.dumps({"type": "record", "name": "R", "fields": listed, **more})}


ONE, TWO, OTHER = record("a"), record("a", "b"), record("z")
TREE = {"schema": '{"type":"record","name":"T","fields":[{"name":"next","type":["null","T"]}]}'}
NULLS = {"schema": '{"type":"array","items":"null"}'}
NONE = "/subjects/no-such-subject"


@pytest.fixture
def at(ask: Http, unique: str) -> str:
    """Path of a subject with two versions."""
    for body in (ONE, TWO):
        assert ask("POST", f"/subjects/{unique}/versions", body)[0] == 200
    return f"/subjects/{unique}"


def test_the_root_answers_when_it_is_ready(ask: Http) -> None:
    """And lists nothing."""
    assert ask("GET", "/") == (200, {})


def test_answers_have_the_shapes_of_the_protocol(ask: Http, at: str, unique: str) -> None:
    """Also where two endpoints name the same thing differently."""
    status, first = ask("POST", f"{at}/versions?normalize=False", {**ONE, "schemaType": "AVRO", "references": []})
    assert (status, set(first)) == (200, {"id"})
    text = json.dumps(json.loads(ONE["schema"]), separators=(",", ":"))
    version = {"subject": unique, "id": first["id"], "version": 1, "schema": text}
    assert ask("GET", f"{at}/versions/1") == (200, version)
    assert ask("POST", at, ONE) == (200, version)
    assert ask("GET", f"{at}/versions/latest")[1]["version"] == 2
    assert ask("GET", f"{at}/versions/-1")[1]["version"] == 2
    assert ask("GET", f"{at}/versions/1/schema") == (200, json.loads(text))
    assert ask("GET", f"{at}/versions/1/referencedby") == (200, [])
    assert ask("GET", f"/schemas/ids/{first['id']}?subject={unique}") == (200, {"schema": text})
    assert ask("GET", f"/schemas/ids/{first['id']}/schema") == (200, json.loads(text))
    assert ask("GET", f"/schemas/ids/{first['id']}/versions?subject={unique}")[1] == [{"subject": unique, "version": 1}]
    assert ask("PUT", f"/config/{unique}", {"compatibility": "full"}) == (200, {"compatibility": "FULL"})
    assert ask("GET", f"/config/{unique}") == (200, {"compatibilityLevel": "FULL"})
    assert ask("DELETE", f"/config/{unique}") == (200, {"compatibilityLevel": "FULL"})
    assert ask("GET", f"/config/{unique}?defaultToGlobal=true") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})
    assert ask("GET", f"/mode/{unique}?defaultToGlobal=TRUE") == (200, {"mode": "READWRITE"})
    assert ask("POST", f"/compatibility{at}/versions/latest", TWO) == (200, {"is_compatible": True})
    verbose = ask("POST", f"/compatibility{at}/versions?verbose=True", OTHER)[1]
    assert verbose["is_compatible"] is False
    assert verbose["messages"]


def test_lists_are_cut_into_pages(ask: Http, unique: str) -> None:
    """offset, limit and prefix; a negative limit is none; nonsense is refused."""
    names = [f"{unique}-{number}" for number in range(4)]
    for name in names:
        ask("POST", f"/subjects/{name}/versions", ONE)
    assert ask("GET", f"/subjects?subjectPrefix={unique}&offset=1&limit=2")[1] == names[1:3]
    assert ask("GET", f"/subjects?subjectPrefix=:*:{unique}&limit=-1")[1] == names
    assert ask.code("GET", "/subjects?limit=x") == (400, 400)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", f"{NONE}/versions", None, 40401),
        ("GET", f"{NONE}/versions/latest", None, 40401),
        ("GET", f"{NONE}/versions/1", None, 40401),
        ("POST", NONE, ONE, 40401),
        ("DELETE", NONE, None, 40401),
        ("DELETE", f"{NONE}/versions/1", None, 40401),
        ("DELETE", f"{NONE}?permanent=true", None, 40401),
        ("POST", f"/compatibility{NONE}/versions/latest", ONE, 40401),
        ("GET", "/schemas/ids/2147483647", None, 40403),
        ("GET", "/schemas/ids/2147483647/versions", None, 40403),
        ("GET", "/schemas/ids/9999999999/subjects", None, 40403),
        ("GET", "/config/no-such-subject", None, 40408),
        ("DELETE", "/config/no-such-subject", None, 40408),
        ("GET", "/mode/no-such-subject", None, 40409),
        ("DELETE", "/mode/no-such-subject", None, 40409),
        ("POST", f"{NONE}/versions", {"schema": "{"}, 42201),
        ("POST", f"{NONE}/versions", {"schema": '"nope"'}, 42201),
        ("POST", f"{NONE}/versions", {}, 42201),
        ("POST", f"{NONE}/versions", {"schema": 7}, 42201),
        ("POST", f"{NONE}/versions", TREE, 42201),
        ("POST", f"{NONE}/versions", NULLS, 42201),
        ("POST", f"{NONE}/versions", {**ONE, "schemaType": "PROTOBUF"}, 42201),
        ("POST", f"{NONE}/versions", {**ONE, "references": [{"name": "a", "subject": "b", "version": 1}]}, 42201),
        ("POST", f"{NONE}/versions", {**ONE, "metadata": []}, 42201),
        ("POST", f"{NONE}/versions", {"schema": '{"type":"int","doc":"\\ud800"}'}, 42201),
        ("POST", f"{NONE}/versions", {"schema": '{"type":"int","x":' + "[" * 900 + "]" * 900 + "}"}, 42201),
        ("POST", NONE, TREE, 42201),
        ("POST", f"/compatibility{NONE}/versions", TREE, 42201),
        ("GET", f"{NONE}/versions/0", None, 42202),
        ("GET", f"{NONE}/versions/x", None, 42202),
        ("GET", f"{NONE}/versions/99999999999999999999", None, 42202),
        ("PUT", "/config/no-such-subject", {"compatibility": "SOME"}, 42203),
        ("PUT", "/config/no-such-subject", {}, 42203),
        ("PUT", "/config/no-such-subject", {"compatibility": "FULL", "alias": "other"}, 422),
        ("PUT", "/mode/no-such-subject", {"mode": "IMPORT"}, 42204),
        ("POST", f"{NONE}/versions", {**ONE, "id": 7}, 42205),
        ("POST", f"{NONE}/versions", {**ONE, "version": 7}, 42205),
        ("POST", "/subjects/:.context:s/versions", ONE, 42208),
        ("POST", f"/subjects/{quote('a' * 256)}/versions", ONE, 42208),
        ("POST", "/subjects/a%0Ab/versions", ONE, 42208),
        ("POST", f"{NONE}/versions", {"schema": '"' + "x" * TEXT_BYTES_MAX + '"'}, 42209),
        ("POST", f"{NONE}/versions", {**ONE, "metadata": {"properties": {"x": "y" * 950_000}}}, 42209),
        ("POST", f"{NONE}/versions", {**ONE, "ruleSet": []}, 42210),
        ("POST", f"{NONE}/versions", {**ONE, "ruleSet": {"domainRules": [{"name": "r"}]}}, 42210),
        ("POST", f"{NONE}/versions", {**ONE, "ruleSet": {"domainRules": ["r"]}}, 42210),
        ("POST", f"{NONE}/versions", {**ONE, "ruleSet": {"migrationRules": [{"kind": "TRANSFORM"}]}}, 42210),
        ("POST", f"{NONE}/versions", b"\xff{", 400),
        ("POST", f"{NONE}/versions", "[" * 100_000, 400),
        ("POST", f"{NONE}/versions", "[]", 400),
        ("POST", f"{NONE}/versions", b" " * (BODY_BYTES_MAX + 1), 413),
        ("GET", "/associations/resources/-/topic?resourceType=topic&associationType=value", None, 404),
        ("GET", "/schemas/guids/x", None, 404),
        ("PATCH", "/config", None, 405),
    ],
)
def test_every_refusal_has_its_code(ask: Http, method: str, path: str, body: Any, code: int) -> None:
    """The HTTP status is the code's first three digits; the answer's content type is the protocol's."""
    assert ask.code(method, path, body) == (int(str(code)[:3]), code)


def test_what_was_refused_left_nothing(ask: Http) -> None:
    """No subject came to be, and no id was spent."""
    assert ask.code("GET", f"{NONE}/versions?deleted=true") == (404, 40401)


def test_refusals_of_a_subject_that_exists(ask: Http, at: str, unique: str) -> None:
    """Wrong versions, incompatible schemas, and deletes in the wrong order."""
    assert ask.code("GET", f"{at}/versions/3") == (404, 40402)
    assert ask.code("DELETE", f"{at}/versions/3") == (404, 40402)
    assert ask.code("POST", f"/compatibility{at}/versions/3", ONE) == (404, 40402)
    assert ask.code("POST", at, OTHER) == (404, 40403)
    assert ask.code("POST", f"{at}/versions", OTHER) == (409, 409)
    assert ask.code("DELETE", f"{at}/versions/1?permanent=true") == (404, 40407)
    assert ask("DELETE", f"{at}/versions/1") == (200, 1)
    assert ask.code("DELETE", f"{at}/versions/1") == (404, 40406)
    assert ask("DELETE", f"{at}/versions/1?permanent=True") == (200, 1)
    assert ask.code("DELETE", f"{at}?permanent=true") == (404, 40405)
    ask("PUT", f"/config/{unique}", {"compatibility": "NONE"})
    assert ask("DELETE", at) == (200, [2])
    assert ask.code("GET", f"/config/{unique}") == (404, 40408)
    assert ask.code("DELETE", at) == (404, 40404)
    assert ask.code("POST", at, TWO) == (404, 40401)
    assert ask("POST", f"{at}?deleted=True", TWO)[0] == 200
    ask("PUT", f"/mode/{unique}", {"mode": "readonly"})
    assert ask.code("DELETE", f"{at}?permanent=true") == (422, 42205)
    assert ask.code("PUT", f"/config/{unique}", {"compatibility": "NONE"}) == (422, 42205)
    ask("DELETE", f"/mode/{unique}")
    assert ask("DELETE", f"{at}?permanent=true") == (200, [2])


def test_it_listens_on_loopback_only(ask: Http) -> None:
    """Another address of this machine refuses the connection."""
    port = ask.url.rsplit(":", 1)[1]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.2:{port}/", timeout=2)


# ── the catalogue: records of other servers, and bounds ──


def _catalogue(*records: tuple[Any, Any]) -> Catalogue:
    catalogue = Catalogue()
    for key, value in records:
        catalogue.apply(json.dumps(key).encode(), None if value is None else json.dumps(value).encode())
    return catalogue


def _schema(subject: str, version: int, schema_id: int, text: str = '"int"', **more: Any) -> tuple[Any, Any]:
    key = {"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}
    return key, {"subject": subject, "version": version, "id": schema_id, "schema": text, "deleted": False, **more}


def test_records_of_other_servers_are_read() -> None:
    """All key types; what is unknown or broken is passed over."""
    catalogue = _catalogue(
        ({"keytype": "NOOP", "magic": 0}, None),
        _schema("s", 1, 4),
        _schema("s", 2, 9, '"long"', md5Bytes="x"),
        _schema("t", 1, 5, '{"type":"record","name":"T","fields":[{"name":"n","type":"Other"}]}', references=[{}]),
        ({"keytype": "CONFIG", "subject": None, "magic": 0}, {"subject": None, "compatibilityLevel": "BACKWARD"}),
        ({"keytype": "CONFIG", "subject": "s", "magic": 0}, {"subject": "s", "compatibilityLevel": "NONE"}),
        ({"keytype": "MODE", "subject": "s", "magic": 0}, {"subject": "s", "mode": "READONLY"}),
        ({"keytype": "MODE", "subject": "t", "magic": 0}, {"subject": "t", "mode": "IMPORT"}),
        ({"keytype": "CONTEXT", "tenant": "x", "magic": 0}, {}),
        ({"keytype": "DELETE_SUBJECT", "subject": "s", "magic": 0}, {"subject": "s", "version": 1}),
        ({"keytype": "SCHEMA", "subject": "broken"}, {}),
        ([], None),
    )
    catalogue.apply(b"\xff", b"\xff")
    catalogue.apply(None, None)
    assert (catalogue.numbers("s"), catalogue.numbers("s", deleted=True)) == ([2], [1, 2])
    assert (catalogue.level("s"), catalogue.level("t"), catalogue.mode("s")) == ("NONE", "BACKWARD", "READONLY")
    assert catalogue.mode("t") == "READWRITE"
    assert catalogue.by_id(5).body()["references"] == [{}]
    assert (catalogue.highest_id, catalogue.subjects()) == (9, ["s", "t"])


def test_a_schema_with_two_ids_of_another_server_loses_neither() -> None:
    """Where the first is gone for good, the second one's later records count."""
    catalogue = _catalogue(_schema("s", 1, 4), _schema("t", 1, 5), (_schema("s", 1, 4)[0], None))
    assert catalogue.by_id(5).subject == "t"
    catalogue.apply(*catalogue.version_deletion("t", "1", permanent=False)[1][0])
    assert (catalogue.numbers("t", deleted=True), catalogue.by_id(5).deleted) == ([1], True)


def test_records_are_written_as_confluents_server_writes_them() -> None:
    """Byte for byte the same keys, so that the topic's compaction sees one record; the value with all its fields."""
    catalogue = _catalogue(_schema("s", 1, 4))
    schema_id, [(key, value)] = catalogue.registration("s", candidate(ONE))
    assert key == b'{"keytype":"SCHEMA","subject":"s","version":2,"magic":1}'
    said = json.loads(value or b"")
    assert (said["subject"], said["version"], said["id"], said["deleted"]) == ("s", 2, schema_id, False)
    assert catalogue.level_change(None, None)[0] == (b'{"keytype":"CONFIG","subject":null,"magic":0}', None)
    assert catalogue.opening("w")[0][0] == b'{"keytype":"NOOP","magic":0}'


def test_the_highest_id_is_remembered_with_the_permanent_delete_itself() -> None:
    """In the same transaction: once the schema's record is gone, this is all that knows of its id."""
    catalogue = _catalogue(_schema("s", 1, 41, deleted=True))
    _, changes = catalogue.version_deletion("s", "1", permanent=True)
    after = Catalogue()
    for key, value in changes:
        after.apply(key, value)
    assert after.registration("s", candidate(ONE))[0] == 42


def test_a_subject_has_a_bounded_number_of_versions() -> None:
    """Each new one is compared with all the others."""
    catalogue = _catalogue(_schema("s", VERSIONS_MAX, 1, '"long"'))
    with pytest.raises(Refusal) as caught:
        catalogue.registration("s", candidate(ONE))
    assert caught.value.code == 42205
