"""What the doctor says, for people and for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from stepahead.contract.settings import SubscriptionSettings
from stepahead.doctor.finding import Finding, Severity
from stepahead.doctor.mapping import notes_of, subscriptions_toml
from stepahead.doctor.observation import Observation
from stepahead.doctor.understanding import Understood

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """Findings and mapping of one visit.

    Attributes:
        address: of the broker.
        seen: what was heard and tried out.
        findings: in the order in which they are told.
        mapping: the subscriptions that fit what was heard.
        read: the topics that it reads.
    """

    address: str
    seen: Observation
    findings: Sequence[Finding]
    mapping: Sequence[SubscriptionSettings]
    read: Sequence[Understood]

    @property
    def series(self) -> int:
        """How many series the mapping makes of what was heard."""
        return len({key for topic in self.read for key in topic.keys})

    @property
    def notes(self) -> list[str]:
        """For each subscription what it reads."""
        return notes_of(self.mapping, self.read)

    @property
    def exit_code(self) -> int:
        """0 all well, 1 findings; notes are none."""
        return int(any(finding.severity is not Severity.NOTE for finding in self.findings))

    def text(self) -> str:
        """For people."""
        seen = self.seen
        messages = sum(topic.live + topic.retained for topic in seen.heard)
        lines = [
            f"{self.address}, MQTT {seen.settings.broker.protocol}: {messages} messages on {len(seen.heard)} topics "
            f"in {seen.seconds:g} s"
        ]
        for finding in self.findings:
            lines += [f"{finding.severity:<8} {finding.what}", f"{'':<8} → {finding.do}"]
        if self.exit_code == 0:
            lines.append("all well")
        lines.append(
            "not to be seen from outside: whether the broker's queue survives its own crash "
            "(deploy/mosquitto/stepahead.conf)"
        )
        if self.mapping:
            lines += ["", f"The mapping for what was heard, {self.series} series (--write FILE writes it):", ""]
            lines.append(subscriptions_toml(self.mapping, self.notes).rstrip())
        return "\n".join(lines)

    def json(self) -> str:
        """For machines."""
        seen, probes = self.seen, self.seen.probes
        return json.dumps(
            {
                "broker": self.address,
                "protocol": seen.settings.broker.protocol,
                "seconds": seen.seconds,
                "filters": seen.filters,
                "topics": len(seen.heard),
                "messages": sum(topic.live + topic.retained for topic in seen.heard),
                "findings": [asdict(finding) for finding in self.findings],
                "probes": {**asdict(probes), "limits": dict(probes.limits)},
                "mapping": [entry.model_dump(mode="json", exclude_defaults=True) for entry in self.mapping],
                "formats": {topic.heard.name: topic.format for topic in self.read},
                "series": self.series,
            },
            indent=1,
        )
