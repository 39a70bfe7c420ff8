"""What a Redis URL says, read before anything is sent: its form, its options and their values."""

from __future__ import annotations

import re
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from governor.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PORTS = {"cluster": 6379, "sentinel": 26379}


class WrongPart(ValueError):  # noqa: N818 - it is told as a `LedgerUnavailable`
    """One part of a URL is wrong; the message says what to do, and shows no value.

    Attributes:
        name: The option's name; empty for the path. It may be a piece of a password that was not
            percent-encoded, so it is fit to be shown only where the redacted URL shows it.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _text(value: str) -> str:
    if not value:
        raise ValueError("it is empty")
    return value


def _whole(value: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("it is no whole number")
    return int(value)


def _positive(value: str) -> int:
    if not _whole(value):
        raise ValueError("it is 0")
    return int(value)


def _seconds(value: str) -> float:
    if not 0 < (seconds := float(value)) <= threading.TIMEOUT_MAX:
        raise ValueError("it is no time-out")
    return seconds


def _true_or_false(value: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]


def _flags(value: str) -> list[ssl.VerifyFlags]:
    return [ssl.VerifyFlags[name.strip()] for name in value.strip("[]").split(",")]


def _tls_version(value: str) -> ssl.TLSVersion:
    return ssl.TLSVersion(int(value))


def _protocol(value: str) -> int:
    return {"2": 2, "3": 3}[value]


def _cert_reqs(value: str) -> str:
    return {word: word for word in ("none", "optional", "required")}[value]


_WANTED: dict[Callable[[str], Any], str] = {
    _text: "a text",
    _whole: "a whole number",
    _positive: "a whole number above 0",
    _seconds: "a number of seconds above 0",
    _true_or_false: "true or false",
    _flags: "names of OpenSSL's flags, such as VERIFY_X509_STRICT",
    _tls_version: "the number of a TLS version: 771 for 1.2, 772 for 1.3",
    _protocol: "2 or 3",
    _cert_reqs: "none, optional or required",
}

_UNIX = {
    "client_name": _text,
    "db": _whole,
    "health_check_interval": _whole,
    "max_connections": _positive,
    "password": _text,
    "protocol": _protocol,
    "retry_on_timeout": _true_or_false,
    "socket_connect_timeout": _seconds,
    "socket_read_size": _positive,
    "socket_timeout": _seconds,
    "timeout": _seconds,
    "username": _text,
}
_TCP = {**_UNIX, "socket_keepalive": _true_or_false}
_TLS_OF_MANY = {
    "ssl_ca_certs": _text,
    "ssl_cert_reqs": _cert_reqs,
    "ssl_certfile": _text,
    "ssl_check_hostname": _true_or_false,
    "ssl_keyfile": _text,
}
_TLS = {
    **_TLS_OF_MANY,
    "ssl_ca_data": _text,
    "ssl_ca_path": _text,
    "ssl_ciphers": _text,
    "ssl_exclude_verify_flags": _flags,
    "ssl_include_verify_flags": _flags,
    "ssl_min_version": _tls_version,
    "ssl_password": _text,
}
_OF_ONE = {"redis": _TCP, "rediss": {**_TCP, **_TLS}, "unix": _UNIX}
_OF_MANY = {**_TLS_OF_MANY, "sentinel_username": _text, "sentinel_password": _text}


def _read(known: Mapping[str, Callable[[str], Any]], name: str, value: str) -> Any:
    read = known[name]
    try:
        return read(value)
    except (ValueError, KeyError):
        raise WrongPart(name, f"the option {name!r} is {_WANTED[read]}") from None


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL of a cluster or of sentinels says.

    Attributes:
        kind: `cluster` or `sentinel`.
        hosts: Host and port of each node, or of each sentinel.
        service: The name by which sentinels know the primary; empty for a cluster.
        db: The database's number; a cluster has 0 only.
        user: `username` and `password` of the servers, where they are given.
        sentinel_user: The same of the sentinels.
        tls: redis-py's `ssl…` options; empty without TLS.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    db: int = 0
    user: dict[str, str] = field(default_factory=dict)
    sentinel_user: dict[str, str] = field(default_factory=dict)
    tls: dict[str, Any] = field(default_factory=dict)


def check(url: str) -> None:
    """Refuse the URL of one server that redis-py would misread, or fail on once it connects.

    Raises:
        ValueError: It has no such form; `WrongPart` where it can be said of which part.
    """
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.path:  # a password with `#` or `/`: redis-py would drop host and user
        raise ValueError("what follows the password is no path")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]+/?", parts.path):
        raise WrongPart("", "the database after the host is a number, as in redis://host:6379/0")
    known = _OF_ONE[parts.scheme]
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _TLS and name not in known:
            raise WrongPart(name, f"the option {name!r} is of TLS: write rediss://, or leave it out")
        if name not in known:
            hint = nearest(name, {**known, **_TLS})
            raise WrongPart(name, f"there is no option {name!r} ({hint}): correct it, or leave it out")
        _read(known, name, value)


def parse(url: str) -> Address:
    """Read the URL of a cluster or of sentinels.

    Args:
        url: `redis+cluster://[user:password@]host:port[,host:port…]` or
            `redis+sentinel://[user:password@]host:port[,…]/service[/db]`; `rediss+…` for TLS.

    Raises:
        ValueError: It has no such form; `WrongPart` where it can be said of which part.
    """
    written, _, rest = url.partition("://")
    scheme, _, kind = written.lower().partition("+")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]  # several hosts, which are no URL's to the library
    parts = urlsplit(rest.removeprefix(authority))
    given, _, hosts = authority.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    if not hosts or (kind == "sentinel") != bool(service) or not options.keys() <= _OF_MANY.keys():
        raise ValueError("a cluster's URL is hosts, a sentinel's hosts and a service")
    read = {name: _read(_OF_MANY, name, value) for name, value in options.items()}
    name, _, password = given.partition(":")
    sentinel = {key.removeprefix("sentinel_"): v for key, v in read.items() if key.startswith("sentinel_")}
    tls = {name: value for name, value in read.items() if name in _TLS_OF_MANY}
    return Address(
        kind=kind,
        hosts=tuple(_host(one, _PORTS[kind]) for one in hosts.split(",")),
        service=unquote(service),
        db=int(db or 0),
        user={k: unquote(v) for k, v in (("username", name), ("password", password)) if v},
        sentinel_user=sentinel,
        tls={"ssl": True, **tls} if scheme == "rediss" else {},
    )


def _host(text: str, usual_port: int) -> tuple[str, int]:
    found = urlsplit(f"//{text}")
    if not found.hostname:
        raise ValueError(f"{text!r} is no host")
    return found.hostname, found.port or usual_port
