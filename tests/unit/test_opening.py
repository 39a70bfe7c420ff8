"""A ledger's URL is shown without what is secret in it."""

from __future__ import annotations

import pytest

from governor.ledger.opening import redact


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@host:6379/0",
        "redis://:hunter2@host/0",
        "redis://me:hun@hunter2@host/0",
        "rediss://host/0?ssl_password=hunter2",
        "rediss://host/0?ssl_certfile=a.pem&ssl_password=hunter2&ssl_keyfile=b.pem",
        "redis://host/0?password=hunter2",
        "unix:///run/redis.sock?db=1&password=hunter2",
        "redis+sentinel://host:26379/main/0?sentinel_password=hunter2",
    ],
)
def test_no_password_is_shown(url):
    """Neither the password of the URL nor one among its options is shown; the rest is."""
    shown = redact(url)
    assert "hunter2" not in shown
    assert "***" in shown
    assert shown.partition("://")[0] == url.partition("://")[0]


def test_what_is_no_secret_is_shown():
    """Names, ports and options stay, so that the reader knows which server is meant."""
    assert redact("rediss://me:x@host:6380/0?ssl_certfile=a.pem&ssl_password=x&timeout=5") == (
        "rediss://me:***@host:6380/0?ssl_certfile=a.pem&ssl_password=***&timeout=5"
    )
    assert redact("sqlite:///var/lib/governor.db") == "sqlite:///var/lib/governor.db"
