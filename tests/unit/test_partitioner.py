"""murmur2 against Java's own answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.streams.partitioner import murmur2, partition_of

# Printed by org.apache.kafka.common.utils.Utils of kafka-clients 4.2.0: murmur2(key), toPositive(murmur2(key)) % 6.
JAVA = [
    ("", 275646681, 3),
    ("ff", 3983499611, 3),
    ("fffe", 1717632651, 3),
    ("fffefd", 998637092, 2),
    ("fffefdfc", 2136149935, 1),
    ("fffefdfcfb", 524068735, 1),
    ("fffefdfcfbfa", 2920128751, 5),
    ("fffefdfcfbfaf9", 4128730949, 3),
    ("fffefdfcfbfaf9f8", 2069784301, 1),
    ("00", 375494588, 2),
    ("00000000", 850957120, 4),
    ("807f807f80", 8573712, 0),
    ("3231", 3321034988, 0),
    ("666f6f626172", 3504634814, 0),
    ("612d6c6974746c652d6269742d6c6f6e672d737472696e67", 3308985760, 2),
    ("612d6c6974746c652d6269742d6c6f6e6765722d737472696e67", 2808662467, 5),
    (
        "6c6b6a683233346c68396669756839307932336f697568736166756a6861646f66323239706872396831396838396838",
        4236069325,
        5,
    ),
    ("36663061336331652d356430622d356335332d396135372d366131663563326437653130", 3418968353, 3),
    ("4772c3bcc39f652c20e4b896e7958c", 946017094, 4),
]


@pytest.mark.parametrize(("key", "hashed", "of_six"), JAVA)
def test_murmur2_is_java_s(key: str, hashed: int, of_six: int) -> None:
    """Every length modulo 4, high bytes, zeros, UTF-8."""
    assert murmur2(bytes.fromhex(key)) == hashed
    assert partition_of(bytes.fromhex(key), 6) == of_six


@given(st.binary(max_size=64), st.integers(1, 1024))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    """Within 0..partitions-1, the same each time."""
    assert partition_of(key, partitions) == partition_of(key, partitions) in range(partitions)
