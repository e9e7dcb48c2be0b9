"""Settings: one file, the environment on top, unknown keys refused; the environment is read here and nowhere else.

File: `aios.yaml` in the current folder, or the path in AIOS_CONFIG. Environment: AIOS_<SECTION>__<NAME>,
e.g. AIOS_KAFKA__BOOTSTRAP_SERVERS. Where kafka.bootstrap_servers, registry.url or redis.url is set, that
part is used and not started; `aios up` sets them for the processes it starts. Secrets are given by
reference only: `file:/run/secrets/x` or `env:NAME`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    DirectoryPath,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from aios.streams import mistakes, yaml_text
from aios.streams.errors import ConfigError
from aios.streams.part import known_keys
from aios.streams.pool_files import (
    CacheMib,
    ContextTokens,
    Devices,
    EngineMode,
    Lane,
    MemoryShare,
    Pool,
    Sequences,
)
from aios.streams.system_files import ENDPOINT

FILE = "aios.yaml"
SECRET_PROPERTIES = frozenset(
    {"sasl.password", "ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.client.secret"}
)
REDIS_SCHEMES = ("redis", "rediss", "unix")  # as redis-py has them


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        return known_keys(cls, data)


class KafkaSettings(Section):
    """bootstrap_servers: host:port, comma separated; empty: a local broker is started.

    properties: client settings in librdkafka's names (security.protocol, sasl.mechanism, sasl.username,
    sasl.password, ssl.ca.location, …); they reach confluent-kafka and Faust alike. Secrets by reference.
    user: the sasl.username of this process, where all others of its settings are shared; empty: that of properties.
    given_up: records of a stateful stage's inputs that were deleted before it read them, and will not come back:
    TOPIC/PARTITION, and the offset below which the stage may go on without them. It has no effect where nothing is
    missing.
    """

    bootstrap_servers: str = ""
    user: str = ""
    properties: dict[str, str] = {}
    given_up: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+/[0-9]+$")], Annotated[int, Field(ge=0)]] = {}
    partitions: Annotated[int, Field(ge=1, le=1024)] = 6  # of every family; fixed when topics are created
    replication_factor: Annotated[int, Field(ge=1, le=7)] = 1

    @model_validator(mode="before")
    @classmethod
    def _as_its_user(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.get("user"):
            return given
        return {**given, "properties": {**given.get("properties", {}), "sasl.username": given["user"]}}

    @model_validator(mode="after")
    def _secrets_by_reference(self) -> KafkaSettings:
        for name in SECRET_PROPERTIES & self.properties.keys():
            if not self.properties[name].startswith(("file:", "env:")):
                raise ValueError(f"properties[{name}] must be a reference: file:/path or env:NAME")
        return self


def _registry_url(url: str) -> str:
    """Of one or several with commas between. Raises ValueError, in words that repeat no password."""
    if url and not all(one.strip().startswith(("http://", "https://")) for one in url.split(",")):
        raise ValueError("no URL of a registry: http://HOST:PORT or https://HOST, USER:PASSWORD@ before the host")
    return url


class RegistrySettings(Section):
    """url: of a Confluent-compatible registry; empty: the local one is started."""

    url: Annotated[str, AfterValidator(_registry_url)] = ""


def _redis_url(url: str) -> str:
    """Raises ValueError where redis-py would, in words of ours: its own repeat a part of what may be a password."""
    try:
        parts = urlsplit(url)
        is_one = not url or (parts.scheme in REDIS_SCHEMES and parts.port != 0)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(
            "no URL of a Redis or Valkey: redis://HOST:PORT/0 or rediss://, a password in it quoted for URLs"
        )
    return url


class RedisSettings(Section):
    """url: redis:// or rediss://; empty: a local Valkey is started."""

    url: Annotated[str, AfterValidator(_redis_url)] = ""


class GatewaySettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: a free one, remembered in AIOS_HOME
    body_bytes_max: Annotated[int, Field(ge=1024, le=1 << 20)] = 512 << 10
    requests_in_flight_max: Annotated[int, Field(ge=1, le=100_000)] = 1024
    rate_per_s_max: Annotated[int, Field(ge=1, le=1_000_000)] = 5_000  # per tenant and gateway process
    wait_s_max: Annotated[int, Field(ge=1, le=30)] = 30
    deliver_s_max: Annotated[int, Field(ge=1, le=60)] = 10  # then 503: the broker did not acknowledge


class OperationsSettings(Section):
    """Of the process that operators ask: dead letters, replay jobs, breakers."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: a free one, remembered in AIOS_HOME
    body_bytes_max: Annotated[int, Field(ge=1024, le=4 << 20)] = 2 << 20  # an edit's bytes, in base64
    requests_in_flight_max: Annotated[int, Field(ge=1, le=10_000)] = 64
    rate_per_s_max: Annotated[int, Field(ge=1, le=10_000)] = 200  # per principal
    answer_s_max: Annotated[int, Field(ge=1, le=60)] = 10  # then 202: the command is in Kafka, its answer is not


class TracingSettings(Section):
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    file_bytes_max: Annotated[int, Field(ge=1 << 16)] = 32 << 20  # per process; the older half is dropped


class InferenceSettings(Section):
    """engine: 'vllm' in a process beside the worker, 'openai' for a server that speaks OpenAI's API at url, or 'echo'
    for drills: no model at all, and every answer says so; empty: as each pool's file says. url, api_key: of the server
    of those pools whose file names none. context_tokens to sequences_max: of those pools whose file does not say it
    (`engine_options`).

    gpu_memory_share: of each GPU that an engine computes on, weights and KV cache together. The engines of one GPU,
    those of canaries among them, may have 0.9 of it in all: two fit as it stands, both shipped ones of `aios up`, or a
    pool's and its canary's; a third needs 0.3, and one that stays alone may have 0.9.
    """

    engine: Literal["", "vllm", "openai", "echo"] = ""
    url: str = ""
    api_key: str = ""  # by reference
    in_flight_max: Annotated[int, Field(ge=0, le=4096)] = 0  # requests of a pool at once; 0: as its file says
    tenant_weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] = {}  # of the tokens; who is not named has 1
    answers_kept_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 7 * 86_400  # known answers cost nothing; 0: none
    answers_kept_max: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000  # in Valkey, of all pools together
    context_tokens: ContextTokens | None = None  # None: 1024 where a model writes, 256 where it encodes
    kv_cache_mib: CacheMib = 256  # on a CPU
    gpu_memory_share: MemoryShare = 0.45
    tensor_parallel: Devices = 1  # devices that share one model
    engine_mode: EngineMode = "in_process"  # inference_workers/engines/engine_arguments.py
    eager: bool | None = None  # None: no compiling on a CPU (a minute of start-up), CUDA graphs on a GPU
    sequences_max: Sequences = 32  # of one batch: the knee on two cores lies at 16-32
    load_s_max: Annotated[int, Field(ge=1, le=3600)] = 120  # import, weights and warm-up; also of start-up probes
    lanes: Annotated[tuple[Lane, ...], Field(min_length=1)] = (Lane.INTERACTIVE, Lane.BULK)  # that a worker serves
    step_s_max: Annotated[int, Field(ge=1)] = 60  # a step that takes longer is a hang: the process ends
    answer_s_max: Annotated[int, Field(ge=1)] = 600  # of a server elsewhere, its queue included; then it is away

    def of(self, pool: Pool) -> InferenceSettings:
        """As the engine of this pool is told them."""
        return self.model_copy(update=pool.engine_options.said())


class EndpointSettings(Section):
    """Who is told by webhook, or who tells us by one. tenant: whose cases; secret: by reference, of 24 bytes or more.

    url: where our messages go; empty: it only tells us.
    """

    tenant: Annotated[str, Field(min_length=1)]
    secret: Annotated[str, Field(pattern=r"^(env:|file:).+")]
    url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""


class ConnectorsSettings(Section):
    """What a deployment says of its outside systems, on top of their files (streams/systems).

    options: by system and name, e.g. options.calendars.url. secrets: the same, by reference. endpoints: by name, for
    webhooks out (the system `webhook`) and in (POST /v1/hooks/<name>).
    """

    options: dict[str, dict[str, Any]] = {}
    secrets: dict[str, dict[str, Annotated[str, Field(pattern=r"^(env:|file:).+")]]] = {}
    endpoints: dict[Annotated[str, Field(pattern=ENDPOINT)], EndpointSettings] = {}


class ExtensionsSettings(Section):
    """folder: files of a team's own beside those of the release (streams/extensions.py); None: there are none."""

    folder: Annotated[DirectoryPath, AfterValidator(Path.absolute)] | None = None


class DocumentsSettings(Section):
    """Where documents too large for a record are kept (streams/document_store.py), and how much of them. folder: on
    many machines one that gateways and connectors share; None: `documents` in the home.
    """

    folder: Path | None = None
    tenant_bytes_max: Annotated[int, Field(ge=16 << 20)] = 16 << 30  # one document at least
    tenant_count_max: Annotated[int, Field(ge=1)] = 100_000


class MoneySettings(Section):
    """currency: of every price, limit and report. person_minute: a person's minute, in millionths of it."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    person_minute: Annotated[int, Field(ge=0, le=10**9)] = 600_000


class MetricsSettings(Section):
    """Where a process tells Prometheus. On many machines: 0.0.0.0 and one port for all, in pods of their own."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: a free one for each process, told in home/run/metrics


class LakeSettings(Section):
    flush_s_max: Annotated[float, Field(gt=0, le=3600)] = 5.0
    records_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    personal_fields: bool = False  # True: fields tagged PII reach the lake


class WatchSettings(Section):
    """When what a model says has drifted (sinks/drift.py). distance_max, share_max: the share of answers that lie
    elsewhere than in the reference, of labels and numbers, and of what is yes or no.
    """

    reference_count: Annotated[int, Field(ge=20, le=10_000)] = 500  # the first answers of a model in a workflow
    window_count: Annotated[int, Field(ge=20, le=10_000)] = 200  # answers that are compared with them at once
    window_min: Annotated[int, Field(ge=20, le=10_000)] = 50  # enough of them after window_s_max
    window_s_max: Annotated[float, Field(gt=0, le=30 * 86_400)] = 3600.0
    distance_max: Annotated[float, Field(gt=0, le=1)] = 0.20
    share_max: Annotated[float, Field(gt=0, le=1)] = 0.10
    chance_max: Annotated[float, Field(gt=0, lt=1)] = 0.001  # how often chance alone may look like drift


class Settings(BaseSettings):
    """The whole configuration. home: data, logs and run files of one system; two homes are two systems."""

    model_config = SettingsConfigDict(
        env_prefix="AIOS_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    home: Path = Path(".aios")
    default_tenant: str = "demo"  # of Kafka records that name none
    token: SecretStr = SecretStr("")  # of a principal, for this shell's commands; empty: the home's own
    failpoints: str = ""  # streams/failpoints.py; for tests and drills only
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    redis: RedisSettings = RedisSettings()
    gateway: GatewaySettings = GatewaySettings()
    operations: OperationsSettings = OperationsSettings()
    tracing: TracingSettings = TracingSettings()
    inference: InferenceSettings = InferenceSettings()
    connectors: ConnectorsSettings = ConnectorsSettings()
    extensions: ExtensionsSettings = ExtensionsSettings()
    documents: DocumentsSettings = DocumentsSettings()
    metrics: MetricsSettings = MetricsSettings()
    lake: LakeSettings = LakeSettings()
    money: MoneySettings = MoneySettings()
    watch: WatchSettings = WatchSettings()

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        return known_keys(cls, data)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get("AIOS_CONFIG", FILE)
        if "AIOS_CONFIG" in os.environ and not Path(path).is_file():
            raise ConfigError(f"AIOS_CONFIG names {path}, which does not exist")
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=path)


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process. Raises ConfigError naming each wrong key and what is allowed."""
    return read()


def read() -> Settings:
    """The same, as they are at this moment: for what is declared when a module is imported, since a command may still
    say which home is its own. Raises ConfigError.
    """
    known = {f"AIOS_{name.upper()}" for name in Settings.model_fields} | {"AIOS_CONFIG"}
    for name in os.environ:
        if name.startswith("AIOS_") and name.split("__")[0] not in known:
            raise ConfigError(f"unknown setting {name}; sections are {', '.join(sorted(known))}")
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("\n".join(_wrong(error))) from error
    except (yaml.YAMLError, OSError, ValueError, TypeError) as error:  # a list, say, fails deep inside
        where = os.environ.get("AIOS_CONFIG", FILE)
        raise ConfigError(f"{where} cannot be read as settings: {' '.join(str(error).split())}") from error


def _wrong(error: ValidationError) -> Iterator[str]:
    """A line for each wrong setting: where it stands in the file, or the variable that it is."""
    file = Path(os.environ.get("AIOS_CONFIG", FILE))
    root = yaml_text.read(file.read_text(encoding="utf-8"))[0] if file.is_file() else None
    for place, says, key in mistakes.told(error):
        variable = "__".join(["AIOS", *map(str, place), *key]).replace("__", "_", 1).upper()
        if root is None or variable in os.environ:
            by = f" ({variable})" if variable in os.environ else ""
            yield f"wrong settings: {'.'.join(map(str, place))}{by}: {says}"
        else:
            yield mistakes.line(str(file), root, place, says, key=key)


def secret(reference: str) -> str:
    """Resolve `file:/path` or `env:NAME`; empty stays empty. Raises ConfigError, never showing the value."""
    if not reference:
        return ""
    scheme, _, rest = reference.partition(":")
    if scheme == "file":
        try:
            return Path(rest).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"secret file {rest} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigError(f"secret file {rest} holds bytes that are no text") from None
    if scheme == "env":
        if rest not in os.environ:
            raise ConfigError(f"secret variable {rest} is not set")
        return os.environ[rest]
    raise ConfigError("a secret must be given by reference: file:/path or env:NAME")


GATHER_MS = 500
GATHERING: Mapping[str, Any] = {"fetch.min.bytes": 256 << 10, "fetch.wait.max.ms": GATHER_MS}
"""For client(), where records may wait for others: each answer costs Kafka a look at every partition of who reads."""


def client(settings: KafkaSettings, **own: Any) -> dict[str, Any]:
    """A confluent-kafka configuration: address, properties with secrets resolved, then what the caller needs."""
    properties = {k: secret(v) if k in SECRET_PROPERTIES else v for k, v in settings.properties.items()}
    return {"bootstrap.servers": settings.bootstrap_servers, **properties, **own}
