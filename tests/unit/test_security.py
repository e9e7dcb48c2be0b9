"""What librdkafka's property names become for Faust."""

from __future__ import annotations

import ssl

import pytest
from confluent_kafka import Producer
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from aios.streams.config import KafkaSettings, client
from aios.streams.errors import ConfigError
from aios.streams.security import faust_credentials, ssl_context


def settings(**properties: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers="h:1", properties={name.replace("_", "."): value for name, value in properties.items()}
    )


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"security_protocol": "TLS"}, "security.protocol"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "sasl.mechanism"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}, "OAUTHBEARER"),
        ({"security_protocol": "SSL", "ssl_keystore_location": "x.p12"}, "ssl.keystore.location"),
        ({"security_protocol": "SSL", "ssl_ca_location": "/no/such/file"}, "ssl.ca.location"),
        ({"security_protocol": "SSL", "ssl_certificate_location": "/no/such/file"}, "ssl.certificate.location"),
    ],
)
def test_what_faust_cannot_follow_is_refused_by_name(given: dict[str, str], names: str) -> None:
    """Never left out silently."""
    with pytest.raises(ConfigError, match=names):
        faust_credentials(settings(**given))


def test_each_protocol_has_its_credentials() -> None:
    """And verification is on unless it is switched off."""
    assert faust_credentials(settings(client_rack="r1")) is None
    scram = faust_credentials(settings(security_protocol="sasl_plaintext", sasl_mechanism="SCRAM-SHA-512"))
    assert credentials_to_aiokafka_auth(scram)["sasl_mechanism"] == "SCRAM-SHA-512"
    assert credentials_to_aiokafka_auth(scram)["security_protocol"] == "SASL_PLAINTEXT"
    for switch, verify, names in (
        ({}, ssl.CERT_REQUIRED, True),
        ({"ssl_endpoint_identification_algorithm": "none"}, ssl.CERT_REQUIRED, False),
        ({"enable_ssl_certificate_verification": "false"}, ssl.CERT_NONE, False),
    ):
        tls = credentials_to_aiokafka_auth(faust_credentials(settings(security_protocol="SSL", **switch)))
        assert tls["security_protocol"] == "SSL"
        assert (tls["ssl_context"].verify_mode, tls["ssl_context"].check_hostname) == (verify, names)


@pytest.mark.parametrize(
    ("said", "is_on"),
    [("true", True), ("TRUE", True), ("1", True), ("t", True), ("false", False), ("F", False), ("0", False)],
)
def test_verification_is_on_wherever_librdkafka_has_it_on(said: str, is_on: bool) -> None:
    """In every way of saying so that it takes: no stage is silently less secure than another."""
    given = settings(security_protocol="SSL", enable_ssl_certificate_verification=said)
    Producer(client(given, log_level=0))
    context = ssl_context(given)
    assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (is_on, is_on)
