"""What the running stages have: files of policies, prompts, models, pools and systems, as each member announces them.

Enters: a member of plan or of a pool, with what it has read (installed.py; the readers of each kind). Leaves:
files.announced.v1, a table by member; and for who deploys, why a member would not find what a workflow names, or would
find something else. Guaranteed: only members that are in their group now are asked; of one that has announced nothing
(an earlier release, or Kafka did not take it) nothing is said.

The topics of systems and pools say the same of all members together, since they are made before these start
(`aios.infra.prepare`); a policy has no topic, and a folder that one machine lacks is seen here alone.
Rejected: asking each process over HTTP (from where a deploy is made, most cannot be reached); one digest of everything
(whoever is refused must know which file to bring).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import AiosError
from aios.schemas.models import FilesAnnounced
from aios.streams import installed, model_files, prompt_files, reference
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.reference import ReferenceTable
from aios.streams.topics import FILES_ANNOUNCED
from aios.streams.wall_clock import wall_ms

LOOK_S = 5.0  # between two looks at what is here
CLOSE_S_MAX = 2.0  # a process that ends does not wait for a Kafka that is away
ANSWER_S_MAX = 10.0
DIGEST_CHARS = 12  # of one that is shown
AGAIN = "give its machine the file that is here, and start it again"

Files = Mapping[str, str]
"""By `kind/name`, the digest of the file; empty where only the name counts."""

NO_FILES: Files = {}

log = logging.getLogger(__name__)


def here(policies: Files = NO_FILES) -> Files:
    """What this process has. policies: digests by name@version (they are read in processors/language).

    A file that cannot be read is not there. Where a system is, and how large a pool, may differ between machines.
    """
    prompts = {name: found for name in prompt_files.known() if (found := _prompt(name))}
    return {
        **{f"policy/{name}": digest for name, digest in policies.items()},
        **{f"prompt/{name}": digest for name, digest in prompts.items()},
        **{f"model/{name}": model_files.digest(name) for name in model_files.known()},
        **{f"pool/{name}": "" for name in installed.pools()},
        **{f"system/{name}": "" for name in installed.systems()},
    }


def _prompt(name: str) -> str:
    try:
        return prompt_files.load(name).digest
    except ConfigError:
        return ""


class Announcer:
    """Says in a thread what members have, from their start on, and again when they have more: files may come while a
    process runs. Whoever cannot say it serves all the same, and tries again.

    members: their instance ids. here: what they have at this moment.
    """

    def __init__(self, kafka: KafkaSettings, codec: Codec, members: Iterable[str], here: Callable[[], Files]) -> None:
        self._kafka = kafka
        self._codec = codec
        self._members = tuple(members)
        self._here = here
        self._said: Files = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="announcing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S_MAX)

    def _follow(self) -> None:
        while True:
            try:
                self._say()
            except (AiosError, OSError) as error:
                log.warning("%s could not announce what it has: %s", ", ".join(self._members), error)
            if self._stop.wait(LOOK_S):
                return

    def _say(self) -> None:
        """Raises AiosError, OSError."""
        found = self._here()
        if found == self._said:
            return
        for member in self._members:
            said = FilesAnnounced(member=member, files=ids.canonical(found), announced_at=wall_ms())
            reference.write(self._kafka, self._codec, FILES_ANNOUNCED, said, name=member, tenant="", seed=said.files)
        self._said = found


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, Files]:
    """By member, also of those that are gone. Raises Unavailable."""
    table = ReferenceTable(kafka, codec, FILES_ANNOUNCED, FilesAnnounced, name_of=lambda told: told.member)
    try:
        table.load()
        return {name: files for name, told in table.all().items() if (files := _files(told))}
    finally:
        table.close()


def _files(told: FilesAnnounced) -> Files:
    try:
        said: Any = json.loads(told.files)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def members(kafka: KafkaSettings, groups: Iterable[str]) -> dict[str, list[str]]:
    """By group, who is in it now. Raises Unavailable."""
    wanted = sorted(set(groups))
    if not wanted:
        return {}
    admin = AdminClient(client(kafka, log_level=0))
    try:
        asked = admin.describe_consumer_groups(wanted, request_timeout=ANSWER_S_MAX)
        found = {group: future.result(ANSWER_S_MAX).members for group, future in asked.items()}
    except KafkaException as error:
        raise Unavailable(f"Kafka does not say who is in {', '.join(wanted)}: {error.args[0]}") from error
    return {group: sorted(one.group_instance_id or one.client_id for one in each) for group, each in found.items()}


def lacking(
    needed: Mapping[str, Files], there: Mapping[str, Iterable[str]], told: Mapping[str, Files]
) -> Iterator[str]:
    """Why members would not find what they need, or find another text; a line each. Pure.

    needed: by group, with the digests that are found here. there: its members. told: what each announced.
    """
    for group, files in sorted(needed.items()):
        for member in there.get(group, ()):
            if member not in told:
                continue
            for name, digest in sorted(files.items()):
                kind, _, what = name.partition("/")
                has = told[member].get(name)
                if has is None:
                    yield f"{kind} {what} is here, and {member} does not have it: {AGAIN}"
                elif digest and has != digest:
                    yield (
                        f"{kind} {what} is another for {member} ({has[:DIGEST_CHARS]}) than here "
                        f"({digest[:DIGEST_CHARS]}): {AGAIN}"
                    )
