"""murmur2, as Java's and librdkafka's `murmur2_random` place a key: the one partitioner of every topic here.

Enters: a key and a partition count. Leaves: the partition. Guaranteed: equal to org.apache.kafka's
Utils.murmur2 (tests/unit/test_partitioner.py holds vectors computed by Java itself).
Rejected: librdkafka's default (CRC32), which agrees with Java's clients for one key in nine.
"""

from __future__ import annotations

SEED = 0x9747B28C
MIX = 0x5BD1E995
MASK = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, 0..partitions-1."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Unsigned 32 bits."""
    length = len(data)
    h = (SEED ^ length) & MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * MIX & MASK
        k = (k ^ (k >> 24)) * MIX & MASK
        h = (h * MIX & MASK) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * MIX & MASK
    h = (h ^ (h >> 13)) * MIX & MASK
    return h ^ (h >> 15)
