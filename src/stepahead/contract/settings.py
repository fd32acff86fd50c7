"""Every setting, its default and its range. Times end in `_s`, sizes in `_bytes`, counts are plain.

The file form is TOML with one table per section; `stepahead config schema` prints this as JSON Schema.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

__all__ = [
    "BrokerSettings",
    "CadenceSettings",
    "DurabilitySettings",
    "EngineSettings",
    "ExpertSettings",
    "GroupSettings",
    "IntervalSettings",
    "LearningSettings",
    "NetworkSettings",
    "PublishSettings",
    "ReplaySettings",
    "ServiceSettings",
    "Settings",
    "SubscriptionSettings",
    "TransformSettings",
]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(min_length=1, max_length=1024)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class BrokerSettings(Section):
    """Where the broker is and how to log in."""

    url: Name = Field(
        "mqtt://127.0.0.1:1883",
        description="mqtt://host[:port] or mqtts://host[:port] (TLS)",
        pattern=r"^mqtts?://.+",
    )
    protocol: Literal["3.1.1", "5"] = Field("3.1.1", description="MQTT version")
    client_id: Annotated[str, Field(min_length=1, max_length=65535)] = Field(
        "stepahead", description="stable client id: the broker keeps our session under it"
    )
    qos: Literal[0, 1] = Field(1, description="QoS of subscriptions and of forecasts")
    username: str | None = Field(None, description="user name")
    password: SecretStr | None = Field(None, description="password; better in password_file or the environment")
    password_file: Path | None = Field(None, description="file that holds the password")
    ca_file: Path | None = Field(None, description="CA certificates to trust instead of the system's")
    cert_file: Path | None = Field(None, description="client certificate for mutual TLS")
    key_file: Path | None = Field(None, description="key of the client certificate")
    keepalive_s: int = Field(30, ge=5, le=65535, description="MQTT keep-alive")
    session_expiry_s: int = Field(7 * 86400, ge=0, le=2**32 - 1, description="MQTT 5: how long the session lives on")
    reconnect_min_s: float = Field(0.5, gt=0, le=60, description="first pause before reconnecting")
    reconnect_max_s: float = Field(4.0, gt=0, le=3600, description="longest pause before reconnecting")
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
    format: Literal["auto", "number", "json"] = Field("auto", description="payload format")
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
    readings: str | None = Field(
        None,
        description="JSON pointer of the array of readings inside the payload; '' = the payload is the array",
    )
    key: str | None = Field(
        None,
        description="series key template over {topic}, {field} and captures; none = {topic} or {topic}/{field}",
    )
    only: tuple[str, ...] = Field((), description="only these fields are series")
    ignore: tuple[str, ...] = Field((), description="these fields are not series")
    booleans: bool = Field(False, description="take true/false (and ON/OFF) as 1/0")


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
    drift_cooldown: int = Field(24, ge=0, description="readings per series between two fine-tunes begun by drift")
    max_seconds: float = Field(60.0, gt=0, description="a fine-tune that takes longer is given up")
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
    spike_bend: float = Field(
        0.02,
        ge=0.001,
        le=1,
        description="how a feed that mostly stands still and jumps is forecast: small = near its median, best in "
        "absolute error; 1 = near its mean, best in squared error",
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
    deterministic: bool = Field(
        False, description="forecasts do not depend, to the bit, on how readings are cut into batches"
    )


class PublishSettings(Section):
    """What goes out."""

    prefix: Name = Field("stepahead/v1", description="our topics start with this", pattern=r"^[^#+]*[^#+/]$")
    retain: bool = Field(False, description="the broker keeps the latest forecast of each series")


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
        0.02, ge=0, le=10, description="under load, readings wait so long for the disk, and share one fsync"
    )
    snapshot_every_s: float = Field(60.0, gt=0, description="time between two snapshots")
    generations: int = Field(3, ge=1, le=100, description="snapshots that are kept")


class ServiceSettings(Section):
    """The running program."""

    max_batch: int = Field(8192, ge=1, description="readings that are stepped at once, at most")
    max_batch_delay_s: float = Field(0.005, ge=0, le=10, description="a reading waits for company no longer than this")
    threads: int = Field(1, ge=1, le=256, description="threads of the step")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")


class Settings(Section):
    """All sections; none is mandatory."""

    broker: BrokerSettings = BrokerSettings()
    subscriptions: tuple[SubscriptionSettings, ...] = Field((SubscriptionSettings(),), min_length=1)
    groups: tuple[GroupSettings, ...] = ()
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

    @model_validator(mode="after")
    def _warm_up_is_remembered(self) -> "Settings":
        if self.transform.order == "auto" and self.transform.warmup > self.replay.memory_steps:
            raise ValueError("transform.warmup must not exceed replay.memory_steps when transform.order is auto")
        return self
