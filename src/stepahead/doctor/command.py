"""`stepahead doctor`: visit a broker, say what is wrong for us, and propose a mapping."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stepahead.contract.errors import BrokerError, UsageError
from stepahead.contract.settings import Settings, SubscriptionSettings
from stepahead.doctor.broker_checks import BROKER_CHECKS
from stepahead.doctor.feed_checks import FEED_CHECKS
from stepahead.doctor.finding import Finding
from stepahead.doctor.listening import listen
from stepahead.doctor.mapping import config_toml, suggest
from stepahead.doctor.observation import Observation
from stepahead.doctor.probing import Prober
from stepahead.doctor.report import Report
from stepahead.doctor.understanding import Understood, understand
from stepahead.wire.address import parse_address
from stepahead.wire.topics import parse_filter

__all__ = ["DoctorOptions", "findings_of", "run_doctor"]

COULD_NOT_CONNECT = 2


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """The flags of the command.

    Attributes:
        chosen: whether settings name subscriptions; if not, everything is listened to.
        seconds: how long to listen.
        json: for machines.
        write: file for the mapping.
    """

    chosen: bool
    seconds: float = 10.0
    json: bool = False
    write: Path | None = None


def run_doctor(
    settings: Settings, options: DoctorOptions, say: Callable[[str], None], whisper: Callable[[str], None]
) -> int:
    """Visit the broker.

    Args:
        settings: of broker, subscriptions and publishing.
        options: the flags.
        say: takes the report.
        whisper: takes what is said meanwhile, and why no connection was made.

    Returns:
        The exit code: 0 all well, 1 findings, 2 no connection.

    Raises:
        SettingsError: a subscription or a file with certificates cannot be used.
        UsageError: the file to be written is there already, or cannot be.
    """
    if options.write is not None and (options.write.exists() or not options.write.parent.is_dir()):
        reason = "is there already: name a new file" if options.write.exists() else "there is no such folder"
        raise UsageError(f"--write {options.write}: {reason}")
    address = parse_address(settings.broker.url)
    # Without $share/GROUP/: as one of a group we would take messages away from a running service.
    levels = [parse_filter(entry.filter).levels for entry in settings.subscriptions] if options.chosen else [("#",)]
    filters = list(dict.fromkeys("/".join(parts) for parts in levels))
    seen = Observation(settings, tuple(filters), options.chosen, options.seconds)
    prober = Prober(settings)
    try:
        whisper(f"trying out {address.host}:{address.port} …")
        seen.probes = prober.probe()
    except BrokerError as error:
        whisper(f"stepahead: {error}")
        return COULD_NOT_CONNECT
    whisper(f"listening to {', '.join(map(repr, filters))} for {options.seconds:g} s …")
    try:
        with prober.connect(filters) as contact:
            seen.granted = contact.session.granted
            listen(contact.session, seen, contact.early)
    except BrokerError as error:
        seen.listening_refused = str(error)
    report = diagnose(f"{address.host}:{address.port}", seen)
    say(report.json() if options.json else report.text())
    if options.write is not None:
        write(options.write, report, whisper)
    return report.exit_code


def diagnose(address: str, seen: Observation) -> Report:
    """Findings and mapping of an observation."""
    mapping = suggest(seen.heard, seen.settings)
    read = [topic for topic in understood(seen, mapping) if topic.readings] if mapping else []
    return Report(address, seen, list(findings_of(seen)), mapping, read)


def findings_of(seen: Observation) -> Iterator[Finding]:
    """What all checks find, the broker's first."""
    for of_broker in BROKER_CHECKS:
        yield from of_broker.look(seen)
    subscriptions = seen.settings.subscriptions if seen.chosen else (SubscriptionSettings(filter="#"),)
    topics = list(understood(seen, subscriptions))
    for of_feeds in FEED_CHECKS:
        yield from of_feeds.look(seen, topics)


def understood(
    seen: Observation, subscriptions: tuple[SubscriptionSettings, ...] | list[SubscriptionSettings]
) -> Iterator[Understood]:
    """How each heard topic is read."""
    prefix, longest = seen.settings.publish.prefix, seen.settings.broker.max_payload_bytes
    return (understand(heard, subscriptions, prefix, longest) for heard in seen.heard)


def write(file: Path, report: Report, whisper: Callable[[str], None]) -> None:
    """Write the settings file.

    Raises:
        UsageError: the disk refuses.
    """
    if not report.mapping:
        whisper(f"nothing that was heard holds a reading: {file} is not written")
        return
    try:
        file.write_text(config_toml(report.seen.settings, report.mapping, report.notes), "utf-8")
    except OSError as error:
        raise UsageError(f"--write {file}: {error.strerror}") from error
    whisper(f"written: stepahead run --config {file}")
