"""Every setting, its default and its range. Times end in `_s`, sizes in `_bytes`, counts are plain.

The file form is TOML with one table per section; `stepahead config schema` prints this as JSON Schema.
"""

from math import isfinite
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

__all__ = [
    "BrokerSettings",
    "CadenceSettings",
    "ClusterSettings",
    "DurabilitySettings",
    "EngineSettings",
    "ExpertSettings",
    "GroupSettings",
    "HttpSettings",
    "IntervalSettings",
    "LearningSettings",
    "NetworkSettings",
    "PublishSettings",
    "ReplaySettings",
    "ServiceSettings",
    "Settings",
    "SparkplugSettings",
    "SubscriptionSettings",
    "TransformSettings",
]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(min_length=1, max_length=1024)]
SparkplugId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^/+#]+$")]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class BrokerSettings(Section):
    """Where the broker is and how to log in."""

    url: Name = Field(
        "mqtt://127.0.0.1:1883",
        description="mqtt://host[:port] or mqtts://host[:port] (TLS); over WebSockets ws://host[:port][/path] or "
        "wss://host[:port][/path] (TLS)",
        pattern=r"^(mqtts?|wss?)://.+",
    )
    protocol: Literal["3.1.1", "5"] = Field("3.1.1", description="MQTT version")
    client_id: Annotated[str, Field(min_length=1, max_length=65535)] = Field(
        "stepahead",
        description="stable client id: the broker keeps our session under it; a second connection, by which we "
        "publish, bears it with -out",
    )
    qos: Literal[0, 1] = Field(1, description="QoS of subscriptions and of forecasts")
    username: str | None = Field(None, description="user name")
    password: SecretStr | None = Field(None, description="password; better in password_file or the environment")
    password_file: Path | None = Field(None, description="file that holds the password")
    ca_file: Path | None = Field(None, description="CA certificates to trust instead of the system's")
    cert_file: Path | None = Field(None, description="client certificate for mutual TLS")
    key_file: Path | None = Field(None, description="key of the client certificate")
    keepalive_s: int = Field(30, ge=5, le=65535, description="MQTT keep-alive")
    session_expiry_s: int = Field(
        7 * 86400,
        ge=0,
        le=2**32 - 1,
        description="MQTT 5: how long the session lives on; 0 = no longer than the connection, with 3.1.1 too",
    )
    reconnect_min_s: float = Field(0.5, gt=0, le=60, description="first pause before reconnecting")
    reconnect_max_s: float = Field(2.0, gt=0, le=3600, description="longest pause before reconnecting")
    queue_messages: int = Field(
        20_000, ge=1, description="bound of the queue between network and engine; when full, reading pauses"
    )
    client: Literal["fast", "paho"] = Field(
        "fast", description="fast = reads and writes many packets at once; paho = paho-mqtt's own packet handling"
    )
    max_payload_bytes: int = Field(262_144, ge=64, description="larger payloads are refused and counted")

    @model_validator(mode="after")
    def _one_password(self) -> "BrokerSettings":
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file exclude each other")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.reconnect_min_s > self.reconnect_max_s:
            raise ValueError("reconnect_min_s must not exceed reconnect_max_s")
        return self


class SubscriptionSettings(Section):
    """One topic filter and how its payloads are read."""

    filter: Name = Field(
        "sensors/#",
        description="MQTT topic filter; {name} in a level captures it, as in plant/{site}/{machine}/#",
    )
    format: Literal["auto", "number", "json", "senml", "line", "sparkplug"] = Field(
        "auto",
        description="payload format; auto decides per topic from the first payload that can be read, and stays with it",
    )
    value: str | None = Field(
        None,
        description="where the value sits: a field name or a JSON pointer; none = every numeric field is a series",
    )
    time: str | None = Field(
        None,
        description="where the time sits; none = one of the usual names (ts, time, timestamp, …), else arrival",
    )
    time_unit: Literal["auto", "iso8601", "s", "ms", "us", "ns"] = Field(
        "auto", description="unit of a numeric time; auto decides by magnitude"
    )
    zone: str | None = Field(
        None, description="IANA time zone of times that are written without one, as Europe/Berlin; none = UTC"
    )
    readings: str | None = Field(
        None,
        description="JSON pointer of the array of readings inside the payload; '' = the payload is the array",
    )
    key: str | None = Field(
        None,
        description="series key template over {topic}, {field} and captures; none = {topic} or {topic}/{field}",
    )
    only: tuple[str, ...] = Field((), description="only these fields are series; * stands for any text")
    ignore: tuple[str, ...] = Field((), description="these fields are not series; * stands for any text")
    booleans: bool = Field(False, description="take true/false (and ON/OFF) as 1/0")
    units: bool = Field(False, description='take text in which a unit stands after the number, as "21.5 °C"')
    unit: str | None = Field(None, description="readings that name another unit are refused and counted")
    unit_at: str | None = Field(None, description="where the unit sits: a field name or a JSON pointer")
    scale: float = Field(1.0, description="values are multiplied by this; not zero")
    quality: str | None = Field(
        None, description="where the quality sits; readings whose quality is not good are counted and not learned"
    )
    good: tuple[str, ...] = Field(
        (), description="what good quality is; none = 192 to 255 (OPC, Sparkplug), good, ok and true"
    )
    shard: int | None = Field(
        None, ge=0, le=4095, description="in a cluster with readings = filters: the shard that reads this; none = all"
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError("must be a name of the IANA time zone database, such as Europe/Berlin") from error
        return zone

    @field_validator("scale")
    @classmethod
    def _sound_scale(cls, scale: float) -> float:
        if not isfinite(scale) or scale == 0:
            raise ValueError("must be finite and not zero")
        return scale


class SparkplugSettings(Section):
    """How edge nodes of Sparkplug B are followed."""

    rebirth: bool = Field(
        True,
        description="ask an edge node for its births (NCMD) when a message was lost; "
        "false = never, and go on with the births that are known",
    )
    rebirth_every_s: float = Field(
        10.0, ge=0.1, le=86_400, description="least time between two such requests to a node"
    )
    reorder_s: float = Field(2.0, ge=0, le=60, description="wait so long for a message that others have overtaken")


class GroupSettings(Section):
    """Quantities that are forecast from one another: the features of one input vector.

    Series whose keys are PREFIX/member for the same PREFIX form one unit of the group.
    """

    name: Name = Field(description="name of the group; its series share a network of their own")
    members: tuple[Name, ...] = Field(min_length=2, max_length=64, description="last part of the members' keys")
    prefix: str = Field("", description="only keys that start with this")

    @model_validator(mode="after")
    def _distinct(self) -> "GroupSettings":
        if len(set(self.members)) != len(self.members):
            raise ValueError("members must be distinct")
        return self


class CadenceSettings(Section):
    """How time between readings is understood."""

    gap_periods: float = Field(5.0, gt=1, description="a pause longer than so many periods is a gap: it is counted")
    reset_periods: float = Field(
        50.0, gt=1, description="a gap longer than so many periods starts the series' dynamics anew"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "CadenceSettings":
        if self.reset_periods < self.gap_periods:
            raise ValueError("reset_periods must not be below gap_periods")
        return self


class TransformSettings(Section):
    """Raw value to model units and back."""

    order: Literal["auto", 0, 1, 2, 3] = Field(
        1,
        description="order of differencing; auto = ADF and KPSS tests at the end of the warm-up choose 0 to 2",
    )
    seasonal_lag: int = Field(0, ge=0, le=4096, description="seasonal difference at this lag first; 0 = none")
    before: Literal["none", "log1p", "asinh"] = Field("none", description="transform applied before differencing")
    scaling: Literal["ewm", "welford", "minmax", "none"] = Field("ewm", description="running standardization")
    ewm_span: float = Field(4000.0, gt=1, description="span of the exponential weights: alpha = 2 / (span + 1)")
    clip: float = Field(8.0, gt=1, description="standardized values beyond ± this enter nothing that learns")
    warmup: int = Field(128, ge=24, le=4096, description="readings before ADF and KPSS are asked (order = auto)")


class NetworkSettings(Section):
    """The LSTM."""

    members: int = Field(3, ge=1, le=16, description="small networks that are stepped as one and averaged")
    hidden: int = Field(32, ge=1, le=1024, description="hidden units of one layer")
    layers: int = Field(1, ge=1, le=4, description="stacked layers")
    embedding: int = Field(4, ge=0, le=64, description="width of the learned embedding of a series")
    horizon: int = Field(1, ge=1, le=256, description="steps ahead that are forecast, all at once")


class ReplaySettings(Section):
    """The replay buffer."""

    max_bytes: int = Field(64 * 2**20, ge=2**16, description="bound of the buffer in bytes")
    recent_share: Fraction = Field(0.5, description="share of sampled windows that are recent")
    recent_steps: int = Field(336, ge=16, description="a window is recent when it ended within so many steps")
    memory_steps: int = Field(
        384, ge=24, le=8192, description="newest steps kept per series; a longer season is out of the network's sight"
    )


class LearningSettings(Section):
    """Fine-tuning."""

    enabled: bool = Field(True, description="false freezes the weights")
    every: int = Field(24, ge=1, description="fine-tune every so many readings per series")
    steps: int = Field(4, ge=1, le=10_000, description="gradient steps of one fine-tune")
    windows: int = Field(64, ge=1, le=100_000, description="windows in one gradient step")
    window_steps: int = Field(48, ge=4, le=4096, description="length of a window")
    burn_in: int = Field(12, ge=0, description="first steps of a window, which only warm the hidden state")
    rates: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (5e-4, 1e-3, 2e-3), min_length=1, description="AdamW rate of each member, repeated as needed"
    )
    held_out: int = Field(
        8, ge=1, le=1024, description="newest steps of a series that are not trained on: the gate looks at them"
    )
    boost: float = Field(
        12.0, ge=1, le=100, description="the first fine-tunes' rate, in units of the member's; falls with their root"
    )
    clip_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    drift: bool = Field(True, description="also fine-tune when ADWIN finds drift in the forecast error")
    drift_cooldown: int = Field(
        24, ge=0, description="readings per series between a fine-tune and the burst of them that a drift begins"
    )
    max_seconds: float = Field(60.0, gt=0, description="a fine-tune that takes longer is given up")
    max_memory_bytes: int = Field(
        2**30,
        ge=2**24,
        description="memory that the process which fine-tunes may take on top of its libraries, of the GPU's with "
        "engine.device = cuda; one that needs more is given up (Linux)",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of weights and sampling")

    @model_validator(mode="after")
    def _room_after_burn_in(self) -> "LearningSettings":
        if self.burn_in + self.held_out >= self.window_steps:
            raise ValueError("burn_in and held_out together must be below window_steps")
        return self


class ExpertSettings(Section):
    """The forecasters that are mixed with the LSTM."""

    drift: bool = Field(True, description="last change repeats")
    seasonal: bool = Field(True, description="value one season ago")
    season: int = Field(0, ge=0, le=4096, description="season in readings; 0 = found online")
    autoregression: bool = Field(True, description="online autoregression by recursive least squares")
    point: Literal["balanced", "mean", "median"] = Field(
        "balanced",
        description="what `value` aims at where a feed stands still or jumps: median = least absolute error, "
        "balanced = nearly that, with an eye to large errors, mean = as `mean`; other feeds hardly differ",
    )
    long_series: int = Field(
        256, ge=0, le=1_000_000, description="so many series, the first ones, also get an autoregression of 32 lags"
    )


class IntervalSettings(Section):
    """Prediction intervals and the anomaly flag."""

    levels: tuple[Fraction, ...] = Field((0.9,), min_length=1, max_length=16, description="coverage levels")
    anomaly_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.001, description="share of readings of a clean feed that may be flagged"
    )


class EngineSettings(Section):
    """The engine."""

    max_series: int = Field(1_000_000, ge=1, le=2**30, description="more series are refused and counted")
    device: str = Field(
        "cpu",
        pattern=r"^(cpu|cuda(:[0-9]{1,3})?)$",
        description="where the networks are stepped and fine-tuned: cpu, cuda (the first GPU) or cuda:1; a GPU gives "
        "the same results to 1e-4, and state made with one goes on with the other",
    )
    deterministic: bool = Field(
        False,
        description="forecasts do not depend, to the bit, on how readings are cut into batches; bits are promised for "
        "device = cpu only",
    )
    silent_after_s: float = Field(
        7 * 86_400,
        ge=0,
        description="a series that has been silent for so long, by the times of the feed, leaves memory for a file in "
        "the state directory until it speaks again; 0 = never",
    )


class PublishSettings(Section):
    """What goes out."""

    prefix: Name = Field("stepahead/v1", description="our topics start with this", pattern=r"^[^#+]*[^#+/]$")
    retain: bool = Field(False, description="the broker keeps the latest forecast of each series")
    mode: Literal["each", "batch", "anomaly"] = Field(
        "each",
        description="each = a message per forecast; batch = one message out per message in, with all its forecasts; "
        "anomaly = only the forecasts made at improbable readings",
    )
    format: Literal["json", "senml", "line", "sparkplug"] = Field(
        "json",
        description="json; senml = RFC 8428 packs in JSON; line = InfluxDB line protocol; sparkplug = Sparkplug B, "
        "as an edge node with a device per series, over a connection of its own",
    )
    layout: Literal["objects", "columns"] = Field(
        "objects", description="json with mode = batch: an array of forecast objects, or one object of columns"
    )
    payload: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="payload template over the fields of the JSON message, such as {value}, {value:.2f} or "
        "{series:json}; none = the format's own",
    )
    topic: Name | None = Field(
        None,
        description="topic template over {prefix} and {series}, with mode = batch {topic}; none = "
        "{prefix}/forecast/{series}, with mode = batch {prefix}/batch/{topic}",
    )

    ask: bool = Field(
        True,
        description="answer whoever publishes to PREFIX/ask/SERIES with the last forecast: on the response topic of "
        "MQTT 5, else on PREFIX/answer/SERIES",
    )
    expiry_s: int = Field(
        0, ge=0, le=2**32 - 1, description="MQTT 5: brokers drop forecasts that were not delivered within; 0 = never"
    )
    user_properties: bool = Field(
        False, description="MQTT 5: series, model version and schema also as user properties of each message"
    )

    sparkplug_group: SparkplugId = Field("stepahead", description="Sparkplug group id")
    sparkplug_node: SparkplugId | None = Field(
        None, description="Sparkplug edge node id; none = broker.client_id, in which /, + and # become _"
    )

    homeassistant: bool = Field(
        False, description="announce each series to Home Assistant: a device with forecast, low, high and anomaly"
    )
    homeassistant_prefix: Name = Field(
        "homeassistant", description="discovery prefix of Home Assistant", pattern=r"^[^#+]*[^#+/]$"
    )
    homeassistant_expire_s: int = Field(
        3600,
        ge=0,
        description="Home Assistant shows a series as unavailable after so long without a forecast; 0 = never",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> "PublishSettings":
        if self.layout == "columns" and (self.mode, self.format, self.payload) != ("batch", "json", None):
            raise ValueError("layout = columns needs mode = batch, format = json and no payload")
        if self.payload is not None and self.format != "json":
            raise ValueError("payload and a format other than json exclude each other")
        if self.format == "sparkplug" and (self.mode == "batch" or self.topic is not None or self.retain):
            raise ValueError("format = sparkplug has topics of its own, no retained messages, and no mode = batch")
        if self.homeassistant and (self.mode, self.format, self.payload) != ("each", "json", None):
            raise ValueError("homeassistant needs mode = each, format = json and no payload")
        return self


class DurabilitySettings(Section):
    """What survives the end of the program, however it ends."""

    mode: Literal["off", "snapshot", "journal"] = Field(
        "journal",
        description="journal = every acknowledged reading; snapshot = the state of a while ago; off = nothing",
    )
    state_dir: Path | None = Field(
        None,
        description="where state is kept; none = $STATE_DIRECTORY, else stepahead/CLIENT_ID below $XDG_STATE_HOME "
        "(~/.local/state)",
    )
    commit_interval_s: float = Field(
        0.02, ge=0, le=10, description="acknowledgements wait so long for the disk, and share one fsync"
    )
    snapshot_every_s: float = Field(60.0, gt=0, description="time between two snapshots")
    generations: int = Field(3, ge=1, le=100, description="snapshots that are kept")


class ServiceSettings(Section):
    """The running program."""

    max_batch: int = Field(32_768, ge=1, description="readings that are stepped at once, at most")
    max_batch_delay_s: float = Field(0.005, ge=0, le=10, description="a reading waits for company no longer than this")
    threads: int = Field(1, ge=1, le=256, description="threads of the step")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["console", "json"] = Field(
        "console", description="console = lines `time level event key=value …`; json = one object a line"
    )


class HttpSettings(Section):
    """The live page, `/metrics`, `/healthz` and `/readyz`."""

    enabled: bool = Field(
        False, description="serve the live page, metrics and health over HTTP; off = no socket at all"
    )
    host: Name = Field("127.0.0.1", description="address to listen on; 0.0.0.0 shows the feeds to the whole network")
    port: int = Field(8420, ge=0, le=65535, description="port to listen on; 0 = a free one, which the log tells")
    token: SecretStr | None = Field(
        None, description="bearer token that data and metrics are given for; better in token_file or the environment"
    )
    token_file: Path | None = Field(None, description="file that holds the token")
    connections: int = Field(64, ge=4, le=10_000, description="connections at a time; more are refused")
    viewers: int = Field(16, ge=1, le=1000, description="pages that follow the feeds live at a time")
    series_metrics: tuple[Name, ...] = Field(
        (), max_length=100, description="keys of the series that have metrics of their own"
    )
    ready_lag_s: float = Field(10.0, gt=0, description="with a larger lag the service says that it is not ready")
    ready_snapshot_s: float = Field(
        600.0, gt=0, description="with an older snapshot the service says that it is not ready"
    )
    uplot_dir: Path | None = Field(
        None, description="folder with uPlot.iife.min.js and uPlot.min.css; none = those of an installed package"
    )

    @model_validator(mode="after")
    def _one_token(self) -> "HttpSettings":
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file exclude each other")
        return self


class ClusterSettings(Section):
    """`stepahead cluster run`: many machines, by Ray; `stepahead run` does not look at this."""

    shards: int = Field(
        64, ge=1, le=4096, description="parts that the series are cut into; never changes for a state directory"
    )
    actors: int = Field(1, ge=1, le=64, description="processes per node that serve shards")
    readings: Literal["router", "filters", "shared"] = Field(
        "router",
        description="how readings reach their shard: router = one process reads all and hands them on by topic; "
        "filters = {shard} in a filter, or shard = in a subscription, names whose they are; shared = MQTT 5 shared "
        "subscriptions of a broker that hashes by topic",
    )
    hashing_broker: Literal["emqx"] | None = Field(
        None, description="with readings = shared: the broker, set up to hash shared subscriptions by topic"
    )
    weights: Literal["shared", "shard"] = Field(
        "shared",
        description="shared = one process fine-tunes the weights of all shards on windows from all of them; shard = "
        "each shard learns weights of its own; never changes for a state directory",
    )
    spare: bool = Field(
        True,
        description="where a single process serves all shards, keep a second one started, which takes over within "
        "seconds when it dies; some 300 MB of memory",
    )
    public: bool = Field(
        False, description="take part in a Ray cluster on public addresses: its ports let everybody run programs"
    )
    silent_s: float = Field(
        10.0,
        ge=1,
        le=600,
        description="a process that lives and does not answer for so long is ended, and its shards go to others",
    )

    @model_validator(mode="after")
    def _broker_is_named(self) -> "ClusterSettings":
        if (self.readings == "shared") != (self.hashing_broker is not None):
            raise ValueError("readings = shared and hashing_broker belong together")
        return self


class Settings(Section):
    """All sections; none is mandatory."""

    broker: BrokerSettings = BrokerSettings()
    subscriptions: tuple[SubscriptionSettings, ...] = Field((SubscriptionSettings(),), min_length=1)
    groups: tuple[GroupSettings, ...] = ()
    sparkplug: SparkplugSettings = SparkplugSettings()
    cadence: CadenceSettings = CadenceSettings()
    transform: TransformSettings = TransformSettings()
    network: NetworkSettings = NetworkSettings()
    replay: ReplaySettings = ReplaySettings()
    learning: LearningSettings = LearningSettings()
    experts: ExpertSettings = ExpertSettings()
    interval: IntervalSettings = IntervalSettings()
    engine: EngineSettings = EngineSettings()
    publish: PublishSettings = PublishSettings()
    durability: DurabilitySettings = DurabilitySettings()
    service: ServiceSettings = ServiceSettings()
    http: HttpSettings = HttpSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _warm_up_is_remembered(self) -> "Settings":
        if self.transform.order == "auto" and self.transform.warmup > self.replay.memory_steps:
            raise ValueError("transform.warmup must not exceed replay.memory_steps when transform.order is auto")
        return self
