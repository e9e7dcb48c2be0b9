"""Three Kafka nodes on one machine, each also behind a proxy: what a broker's death and a bad network need.

Enters: a folder. Leaves: `direct`, an address list for whoever watches, and `proxied`, one for whoever is watched.
Guaranteed: records have three copies and are acknowledged by two (Kafka's own topics too); a node that was killed
comes back with its data at the same ports; the processes die with their parent.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from aios.infra.local import ports
from aios.infra.local.broker import Broker, Quorum, cluster_id, node_ports
from aios.infra.prove.proxy import Proxy
from aios.streams.errors import Unavailable

NODES = 3
READY_S_MAX = 180.0  # three JVMs start at once, beside a whole system
POLL_S = 0.2
ASK_S_MAX = 2.0


class Cluster:
    """Not running until start()."""

    def __init__(self, folder: Path, nodes: int = NODES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folders = {number: folder / str(number) for number in range(1, nodes + 1)}
        own = {number: node_ports(each, proxied=True) for number, each in folders.items()}
        proxies = ports.remembered(folder / "ports.json", [f"proxy{number}" for number in folders])
        mark = folder / "cluster"
        if not mark.is_file():
            mark.write_text(cluster_id(), encoding="ascii")
        quorum = Quorum(
            cluster=mark.read_text(encoding="ascii"),
            controllers={number: each["controller"] for number, each in own.items()},
            proxies={number: proxies[f"proxy{number}"] for number in folders},
        )
        self.brokers = {number: Broker(each, number=number, quorum=quorum) for number, each in folders.items()}
        self.proxy = Proxy({quorum.proxies[number]: own[number]["proxied"] for number in folders})
        self.direct = ",".join(broker.address for broker in self.brokers.values())
        self.proxied = ",".join(f"{ports.LOOPBACK}:{port}" for port in quorum.proxies.values())
        self._admin = AdminClient({"bootstrap.servers": self.direct, "log_level": 0, "socket.timeout.ms": 5_000})

    def start(self) -> None:
        """Raises Unavailable."""
        for broker in self.brokers.values():
            broker.launch()
        self.proxy.start()
        self.wait_ready()

    def stop(self) -> None:
        for broker in self.brokers.values():
            broker.stop(signal.SIGKILL)  # two of three would wait for each other
        self.proxy.close()

    def kill(self, number: int) -> None:
        self.brokers[number].stop(signal.SIGKILL)

    def restore(self) -> None:
        """Run again what was killed, and wait until every partition has all its copies. Raises Unavailable."""
        for broker in self.brokers.values():
            if broker.pid is None:
                broker.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until every node serves and no copy is behind. Raises Unavailable."""
        deadline = time.monotonic() + READY_S_MAX
        while not self._is_whole():
            if time.monotonic() > deadline:
                raise Unavailable(f"the brokers were not whole again within {READY_S_MAX:.0f} s")
            time.sleep(POLL_S)

    def leader_of(self, topic: str, partition: int) -> int:
        """The node that leads a partition now. Raises Unavailable."""
        described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ASK_S_MAX)[topic]
        try:
            leader: int = described.result(ASK_S_MAX).partitions[partition].leader.id
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"no leader of {topic}/{partition}: {error}") from error
        return leader

    def in_sync(self, topic: str) -> set[int]:
        """The nodes that are counted on for any of its partitions. Raises Unavailable."""
        try:
            partitions = self._admin.list_topics(topic, timeout=ASK_S_MAX).topics[topic].partitions
        except KafkaException as error:
            raise Unavailable(f"nobody tells of {topic}: {error}") from error
        return {node for partition in partitions.values() for node in partition.isrs}

    def coordinator_of(self, group: str) -> int:
        """The node that coordinates a group. Raises Unavailable."""
        asked = self._admin.describe_consumer_groups([group], request_timeout=ASK_S_MAX)[group]
        try:
            node: int = asked.result(ASK_S_MAX).coordinator.id
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"{group} has no coordinator: {error}") from error
        return node

    def _is_whole(self) -> bool:
        try:
            found = self._admin.list_topics(timeout=ASK_S_MAX)
        except KafkaException:
            return False
        partitions = [part for topic in found.topics.values() for part in topic.partitions.values()]
        return len(found.brokers) == len(self.brokers) and all(
            part.leader >= 0 and len(part.isrs) == len(part.replicas) for part in partitions
        )
