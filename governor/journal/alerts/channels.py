"""Where alerts are told: signed webhooks, and through apprise Slack, PagerDuty, Opsgenie, e-mail and others.

What is secret is in environment variables, and read when something is sent. No text that leaves this file,
errors and logs among it, has any of it: errors are said in words of its own.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from governor.journal.alerts.message import ENDED
from governor.journal.archive import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.journal.alerts.message import Message
    from governor.journal.alerts.rule import Channel as ChannelSpec

CONNECT_S, READ_S, WHOLE_S = 5.0, 10.0, 30.0
"""Time-outs of one sending: to connect, of silence, of the whole."""

MOST_TEXT = 8_000
"""So many characters of a message go to people's channels; webhooks get the whole alert."""

_GONE = 410
_INCIDENTS = frozenset({"pagerduty", "opsgenie"})
"""Schemas of services that keep incidents open until they are resolved."""

_CALLS_OUT = re.compile(r"@(?=(everyone|here|channel|all)\b)|<(?=[@!#]|users/)", re.IGNORECASE)
"""How chat services are told to call people together; Discord takes it from plain text too."""

_STATUS = re.compile(r"error=(\d{3})\b")
_STATUSES = {400: "bad request", 401: "not authorised", 403: "forbidden", 404: "not found", 429: "slow down"}
NEEDS = "alert channels need the extra: pip install 'claude-governor[alerts]'"


def variables(spec: ChannelSpec) -> tuple[str, ...]:
    """The names of the environment variables that a channel needs."""
    return tuple(name for name in (spec.apprise_env, spec.url_env, spec.secret_env) if name)


def unset(spec: ChannelSpec) -> tuple[str, ...]:
    """Those of them that are not set."""
    return tuple(name for name in variables(spec) if not os.environ.get(name, "").strip())


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a message.

    Attributes:
        error: Why it was not delivered, without any secret; '' if it was.
        final: Whether trying again is of no use.
        after_s: How long the receiver asked to be left alone; 0: it did not.
    """

    error: str = ""
    final: bool = False
    after_s: float = 0.0


DELIVERED = Told()


class Channel(Protocol):
    """Sends messages to one place; an instance is used by one thread at a time."""

    @property
    def digests(self) -> bool:
        """Whether people read it, so that a storm is told as one message."""
        raise NotImplementedError

    @property
    def resolves(self) -> bool:
        """Whether it closes an alert's incident when it ended."""
        raise NotImplementedError

    def send(self, message: Message) -> Told:
        """Send it; raises nothing."""
        raise NotImplementedError


def open_channel(spec: ChannelSpec) -> Channel:
    """The channel that *spec* describes; its variables are read when it sends.

    Raises:
        ArchiveError: The extra `alerts` is not installed.
    """
    return AppriseChannel(spec) if spec.apprise_env else WebhookChannel(spec)


class WebhookChannel:
    """POSTs the alert's JSON, signed as Standard Webhooks are: `webhook-id`, `-timestamp`, `-signature`."""

    digests = False
    resolves = True

    def __init__(self, spec: ChannelSpec, timeouts_s: tuple[float, float] = (CONNECT_S, READ_S)) -> None:
        _quiet()
        self._spec, self._timeouts_s = spec, timeouts_s

    def send(self, message: Message) -> Told:
        """See `Channel.send`."""
        import requests  # noqa: PLC0415 - apprise's, and so an extra

        missing = _missing(self._spec)
        if missing is not None:
            return missing
        url = os.environ[self._spec.url_env].strip()
        if not _usable(url):
            return Told(f"{self._spec.url_env} has no http:// or https:// URL with a host")
        headers = self._signed(message.id, message.body)
        if isinstance(headers, Told):
            return headers
        try:
            with requests.Session() as session:
                answer = session.post(
                    url,
                    data=message.body.encode(),
                    headers=headers,
                    timeout=self._timeouts_s,
                    allow_redirects=False,
                    stream=True,
                )
                with answer:  # its body is not read: it has nothing to say, and may be without end
                    return _judge(answer.status_code, self._spec.url_env, answer.headers)
        except requests.RequestException as error:
            return Told(_in_words(error))
        except (OSError, ValueError) as error:  # urllib3's own, while the answer is read; a strange URL
            return Told(f"its connection broke ({type(error).__name__})")

    def _signed(self, name: str, body: str) -> Mapping[str, str] | Told:
        from standardwebhooks import Webhook  # noqa: PLC0415 - an extra

        now = datetime.now(UTC)
        try:
            secret = os.environ[self._spec.secret_env].strip() if self._spec.secret_env else ""
            signature = Webhook(secret).sign(name, now, body)
        except Exception:  # noqa: BLE001 - whatever it is, its text may have the secret
            advice = "it must be whsec_ and 24 to 64 bytes in base64"
            return Told(f"{self._spec.secret_env or 'its secret_env'} has no secret to sign with: {advice}")
        return {
            "content-type": "application/json",
            "user-agent": "claude-governor",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }


class AppriseChannel:
    """Whatever apprise speaks to: `slack://…`, `pagerduty://…`, `opsgenie://…`, `mailto://…`, 100 others."""

    def __init__(self, spec: ChannelSpec, whole_s: float = WHOLE_S) -> None:
        _quiet()
        self._spec, self._whole_s = spec, whole_s

    @property
    def digests(self) -> bool:
        """See `Channel.digests`."""
        return True

    @property
    def resolves(self) -> bool:
        """See `Channel.resolves`: PagerDuty's incidents are resolved by their key."""
        return self._schema == "pagerduty"

    @property
    def _schema(self) -> str:
        return os.environ.get(self._spec.apprise_env, "").strip().partition("://")[0].lower()

    def send(self, message: Message) -> Told:
        """See `Channel.send`."""
        import apprise  # noqa: PLC0415 - an extra

        missing = _missing(self._spec)
        if missing is not None:
            return missing
        asset = apprise.AppriseAsset(
            app_id="Claude governor",
            app_desc="Claude cost governor",
            app_url="",
            http_redirects=False,
            async_mode=False,
            secure_logging=True,
        )
        there = apprise.Apprise(asset=asset)
        try:
            if not there.add(self._url(message)):
                return Told(f"{self._spec.apprise_env} has no URL that apprise understands")
            told = there.notify(
                title=_calm(message.title),
                body=_calm(message.text[:MOST_TEXT]),
                notify_type=_type_of(apprise.NotifyType, message),
                body_format=apprise.NotifyFormat.TEXT,
                timeout=self._whole_s,
            )
        except Exception as error:  # noqa: BLE001 - a plug-in's; its text may have the URL
            return Told(f"apprise failed with {type(error).__name__}")
        if told:
            return DELIVERED
        return _why(" ".join(entry.message for entry in told.logs()), timed_out=bool(told.timeout_count))

    def _url(self, message: Message) -> str:
        """The URL, with the incident that the message belongs to where the service keeps incidents."""
        url = os.environ[self._spec.apprise_env].strip()
        more: dict[str, str] = {}
        if self._schema == "pagerduty":
            more = {"action": "map", "dedup": message.incident}
        elif self._schema == "opsgenie":
            # It cannot be closed by its alias through apprise, so the end is an alert of its own.
            alias = message.id if message.event == ENDED else message.incident
            more = {"action": "new", "alias": alias}
        given = urlsplit(url).query.lower()
        added = [f"{name}={quote(one)}" for name, one in more.items() if f"{name}=" not in given]
        return url + ("&" if "?" in url else "?") + "&".join(added) if added else url


def _calm(text: str) -> str:
    """The same to read, but it calls nobody together: names in it are the callers', and may be anything."""
    return _CALLS_OUT.sub(lambda found: f"{found[0]}\N{ZERO WIDTH SPACE}", text)


def _type_of(types: Any, message: Message) -> Any:
    if message.event == ENDED:
        return types.SUCCESS
    return {"critical": types.FAILURE, "warning": types.WARNING}.get(message.severity, types.INFO)


def _missing(spec: ChannelSpec) -> Told | None:
    if not variables(spec):
        return Told("no channel of this name is in the rules' file any more")
    missing = unset(spec)
    names, verb = ", ".join(missing), "is" if len(missing) == 1 else "are"
    return Told(f"{names} {verb} not set in the worker's environment") if names else None


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _judge(status: int, variable: str, headers: Mapping[str, str]) -> Told:
    if 200 <= status < 300:
        return DELIVERED
    if 300 <= status < 400:
        return Told(f"HTTP {status}: it redirects, and no signed message follows: correct {variable}")
    if status == _GONE:
        return Told(f"HTTP {status}: gone, and wants no more", final=True)
    after = headers.get("retry-after", "")
    text = f"HTTP {status}: {_STATUSES[status]}" if status in _STATUSES else f"HTTP {status}"
    return Told(text, after_s=float(after) if after.isascii() and after.isdigit() else 0.0)


def _in_words(error: Exception) -> str:
    """An error of `requests`, whose own text has the URL."""
    import requests  # noqa: PLC0415 - as above

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or TLS failed"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be used"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "nobody answers there, or its connection broke"
    return f"it cannot be sent ({type(error).__name__})"


def _why(logged: str, *, timed_out: bool) -> Told:
    """What apprise logged, which may have a key in it, in words of one's own."""
    found = _STATUS.search(logged)
    if found:
        status = int(found[1])
        if 300 <= status < 400:
            return Told(f"HTTP {status}: it redirects, which is not followed")
        return _judge(status, "", {})
    if timed_out:
        return Told("no answer in time")
    return Told("nobody answers there, or the message was not taken")


class _Discard(logging.Filter):
    """Keeps what libraries log of a sending to itself: keys are in hosts, paths and queries."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - as `logging` calls it
        """Let nothing through."""
        return False


_discard = _Discard()
_lock = threading.Lock()
_LOGGERS = (
    "urllib3",
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.util.retry",
    "requests",
)


def _quiet() -> None:
    """Let apprise's, requests' and urllib3's logs go nowhere.

    Raises:
        ArchiveError: They are not there.
    """
    try:
        import apprise  # noqa: F401, PLC0415 - an extra
        import standardwebhooks  # noqa: F401, PLC0415 - as above
    except ImportError:
        raise ArchiveError(NEEDS) from None
    with _lock:
        # Apprise reads its own log to say what happened; so that is heard by itself alone, not discarded.
        own = logging.getLogger("apprise")
        own.propagate = False
        if not own.handlers:
            own.addHandler(logging.NullHandler())
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            if _discard not in logger.filters:
                logger.addFilter(_discard)
