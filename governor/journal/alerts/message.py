"""What a channel tells people of an alert: a title and a text. Pure."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from governor.money import Money

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RAISED, ENDED = "raised", "ended"
WORSE = "now_"
"""With the severity: how an alert that got worse is told."""

MOST_LISTED = 20
"""So many alerts, symptoms or shares are listed; of the others the number is said."""

_LONGEST = 200
"""Of one name or line: names are the callers', and may be anything."""

_DOLLAR, _CENT = 1_000_000_000, 10_000_000
_SPANS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to one channel at once.

    Attributes:
        id: The same each time it is sent: what a receiver tells repetitions by.
        incident: Of the alert, the same when it is raised and when it ended; of a digest, its id.
        event: `raised`, `now_warning`, `now_critical` or `ended`; of a digest `raised` if not all have ended.
        severity: `info`, `warning` or `critical`: the worst of a digest's.
        title: One line.
        text: Lines.
        body: The alert as JSON, as it was stored; '' of a digest.
    """

    id: str
    incident: str
    event: str
    severity: str
    title: str
    text: str
    body: str = ""


def envelope(event: str, alert: Mapping[str, Any], at_ms: int) -> str:
    """An alert as it is stored to be sent and as webhooks get it: `type`, `timestamp`, `data`."""
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    told = {"type": f"alert.{event}", "timestamp": stamp, "data": alert}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False, default=str)


def message_of(organization: str, key: str, event: str, body: str) -> Message:
    """The message that tells of one stored delivery."""
    alert = json.loads(body)["data"]
    severity = str(alert.get("severity") or "warning")
    mark = {RAISED: severity, ENDED: "ended"}.get(event, f"now {severity}")
    title = f"[{mark}] {plain(alert.get('title') or alert.get('cause') or key)}"
    incident = _digest_of(organization, key)
    lines = _ended(alert) if event == ENDED else _raised(alert)
    text = "\n".join((*lines, f"{plain(organization)} · {plain(key)}"))
    return Message(f"{incident}_{event}", incident, event, severity, title, text, body)


def trial(organization: str, channel: str, now_ms: int) -> Message:
    """A message that says that a channel works; webhooks get it as `alert.test`."""
    title = "[test] Claude cost governor: this channel works"
    text = f"sent by `governor alerts channels --test {plain(channel)}` for {plain(organization)}"
    told = {"title": title, "severity": "info", "began_ms": now_ms}
    name = _digest_of(organization, f"test/{channel}/{now_ms}")
    return Message(f"{name}_test", name, "test", "info", title, text, envelope("test", told, now_ms))


def digest(parts: Sequence[Message]) -> Message:
    """Many messages as one: a storm of alerts fills no channel."""
    worst = next((name for name in ("critical", "warning", "info") if _count(parts, name)), "info")
    began = [one for one in parts if one.event != ENDED]
    counts = [f"{_count(parts, name)} {name}" for name in ("critical", "warning", "info")]
    said = ", ".join(one for one in counts if not one.startswith("0 "))
    ended = len(parts) - len(began)
    if ended:
        said = f"{said}, {ended} ended" if said else f"{ended} ended"
    listed = [f"- {one.title}" for one in parts[:MOST_LISTED]]
    if len(parts) > MOST_LISTED:
        listed.append(f"… and {len(parts) - MOST_LISTED} more; `governor alerts deliveries` has them all")
    name = hashlib.sha256("\n".join(one.id for one in parts).encode()).hexdigest()[:32]
    event = RAISED if began else ENDED
    title = f"[{worst if began else 'ended'}] {len(parts)} alerts at once: {said}"
    return Message(f"digest_{name}", f"digest_{name}", event, worst, title, "\n".join(listed))


def plain(text: object) -> str:
    """Text as one line without control characters, cut to a length."""
    line = "".join(
        " " if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") else one for one in str(text)[:1000]
    )
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def amount(value: float, unit: str) -> str:
    """A measured value with its unit, for people: `$12.50`, `12.3 %`, `15 s`, `50,000 tokens`."""
    if unit == "usd":
        nanos = int(value)
        return str(Money(nanos // _CENT * _CENT if abs(nanos) >= _DOLLAR else nanos))
    if unit == "percent":
        return f"{value:,.1f} %"
    if unit == "ms":
        return span(int(value)) if value < 10_000 else f"{value / 1000:,.1f} s"
    if unit == "ratio":
        return f"{value:,.2f} times"
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
    return number if unit == "count" else f"{number} {unit}"


def span(length_ms: int) -> str:
    """A length of time in its largest whole unit: `10 min`, `1 h`, `900 ms`."""
    for size_ms, name in _SPANS:
        if length_ms >= size_ms and length_ms % size_ms == 0:
            return f"{length_ms // size_ms} {name}"
    return f"{length_ms:,} ms"


def _raised(alert: Mapping[str, Any]) -> list[str]:
    lines = [plain(alert["advice"])] if alert.get("advice") else []
    symptoms = alert.get("symptoms") or []
    lines += [f"- {_symptom(one)}" for one in symptoms[:MOST_LISTED]]
    if len(symptoms) > MOST_LISTED:
        lines.append(f"- … and {len(symptoms) - MOST_LISTED} more")
    behind = [
        f"{one['dimension']} {plain(one['name'])} {one['percent']:.0f} %"
        for one in (alert.get("behind") or [])[:MOST_LISTED]
    ]
    if behind:
        lines.append(f"behind it: {', '.join(behind)}")
    asked = alert.get("actions") or []
    actions = [_action(one) for one in asked[:MOST_LISTED]]
    if len(asked) > MOST_LISTED:
        actions.append(f"and {len(asked) - MOST_LISTED} more")
    if actions:
        lines.append(f"done about it: {', '.join(actions)}")
    return [*lines, f"since {_when(alert['began_ms'])}"]


def _ended(alert: Mapping[str, Any]) -> list[str]:
    ended_ms = alert.get("ended_ms") or alert["seen_ms"]
    return [f"from {_when(alert['began_ms'])} to {_when(ended_ms)}"]


def _symptom(one: Mapping[str, Any]) -> str:
    unit = one.get("unit") or "count"
    whose = ", ".join(f"{name} {plain(value)}" for name, value in (one.get("subject") or {}).items())
    seen = f"{amount(one['value'], unit)} against {amount(one['threshold'], unit)}"
    text = f"{plain(one['rule'])}: {seen} over {span(one['window_ms'])}"
    text = f"{text} ({whose})" if whose else text
    return f"{text}: {plain(one['why'])}" if one.get("why") else text


def _action(one: Mapping[str, Any]) -> str:
    whose = " ".join(plain(value) for value in (one.get("subject") or {}).values())
    text = f"{one['kind']} {whose} {plain(one.get('setting') or '')}".strip()
    return f"{text} for {span(one['for_ms'])}"


def _when(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _digest_of(organization: str, key: str) -> str:
    """An id that fits every header and every service's field, of whatever characters the key is made."""
    return f"alert_{hashlib.sha256(f'{organization}/{key}'.encode()).hexdigest()[:32]}"


def _count(parts: Sequence[Message], severity: str) -> int:
    return sum(one.event != ENDED and one.severity == severity for one in parts)
