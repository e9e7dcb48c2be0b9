"""One description of how to reach a secured Kafka, for both of its clients.

Enters: kafka.properties in librdkafka's names, which confluent-kafka takes as they are (config.client). Leaves: the
same for Faust, whose transport aiokafka wants objects. Guaranteed: what Faust cannot do as it is written is refused
by name, so that no stage is silently less secure than another.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from aios.streams.config import KafkaSettings, secret
from aios.streams.errors import ConfigError

if TYPE_CHECKING:
    from faust.auth import Credentials

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SWITCHED_OFF = ("false", "f", "0")  # as librdkafka reads it; every other value that it takes is on
TRANSLATED = frozenset(
    {
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
        "enable.ssl.certificate.verification",
    }
)


def faust_credentials(kafka: KafkaSettings) -> Credentials | None:
    """What faust.App takes as `broker_credentials`; None for a Kafka without security.

    Raises ConfigError for a protocol, mechanism or property that Faust's transport cannot follow, and for files
    that cannot be read.
    """
    from faust import auth

    given = kafka.properties
    protocol = given.get("security.protocol", "PLAINTEXT").upper()
    _check(given, protocol)
    if protocol == "PLAINTEXT":
        return None
    context = ssl_context(kafka) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return auth.SSLCredentials(context)
    mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms", "")).upper()
    if mechanism not in MECHANISMS:
        raise ConfigError(f"kafka.properties[sasl.mechanism]: {mechanism or 'missing'}; one of {', '.join(MECHANISMS)}")
    return auth.SASLCredentials(
        username=given.get("sasl.username", ""),
        password=secret(given.get("sasl.password", "")),
        ssl_context=context,
        mechanism=mechanism,
    )


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Python's TLS as librdkafka would do it: the broker's certificate and name are verified unless switched off.

    Raises ConfigError naming the property whose file cannot be read.
    """
    given = kafka.properties
    context = _trusting(given.get("ssl.ca.location"))
    verifies = given.get("enable.ssl.certificate.verification", "true").lower() not in SWITCHED_OFF
    names_peer = given.get("ssl.endpoint.identification.algorithm", "https").lower() != "none"
    context.check_hostname = verifies and names_peer
    if not verifies:
        context.verify_mode = ssl.CERT_NONE
    if "ssl.certificate.location" in given:
        _identify(context, given)
    return context


def _check(given: dict[str, str], protocol: str) -> None:
    """Raises ConfigError."""
    if protocol not in PROTOCOLS:
        raise ConfigError(f"kafka.properties[security.protocol]: {protocol}; one of {', '.join(PROTOCOLS)}")
    secures = {name for name in given if name.startswith(("sasl.", "ssl.", "enable.ssl."))}
    if secures - TRANSLATED:
        raise ConfigError(
            f"kafka.properties: Faust's transport cannot follow {', '.join(sorted(secures - TRANSLATED))}; "
            f"it knows {', '.join(sorted(TRANSLATED))}"
        )


def _trusting(location: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=location)
    except OSError as error:
        raise ConfigError(f"kafka.properties[ssl.ca.location]: {location} cannot be used: {error}") from error


def _identify(context: ssl.SSLContext, given: dict[str, str]) -> None:
    password: Any = secret(given.get("ssl.key.password", "")) or None
    try:
        context.load_cert_chain(given["ssl.certificate.location"], given.get("ssl.key.location"), password)
    except OSError as error:
        raise ConfigError(f"kafka.properties[ssl.certificate.location, ssl.key.location]: {error}") from error
