"""Alerts told to real receivers on loopback: what they get, what failures become, where secrets are not."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import threading

import pytest
from standardwebhooks import Webhook
from support.receivers import Answer, Mail, Receiver, Services

from governor.journal.alerts.channels import WebhookChannel, open_channel
from governor.journal.alerts.message import ENDED, RAISED, digest, envelope, message_of
from governor.journal.alerts.rule import Channel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that apprise loads
SECRET = "whsec_" + base64.b64encode(b"a-secret-of-thirty-two-bytes-ok!").decode()
TOKEN = "TOKENTOKENTOKENTOKENTOKE"
ALERT = {
    "key": "api_overloaded/everybody/1795176000000",
    "cause": "api_overloaded",
    "severity": "critical",
    "title": "The API is overloaded: 12 answers of 529 in a minute",
    "advice": "Nothing is wrong with your calls; they are retried.",
    "began_ms": 1_795_176_000_000,
    "seen_ms": 1_795_176_060_000,
    "ended_ms": None,
    "symptoms": [
        {
            "rule": "overloaded",
            "metric": "pushed_529",
            "subject": {"model": "claude-opus-5-5"},
            "value": 12,
            "threshold": 3,
            "unit": "count",
            "window_ms": 60_000,
            "since_ms": 1_795_176_000_000,
            "why": "three in a minute are no chance",
        }
    ],
    "behind": [{"dimension": "user", "name": "ada@example.com", "percent": 80.0}],
    "channels": ["hook"],
    "actions": [],
}


def message(event=RAISED, org="acme", **more):
    """A message of the alert above."""
    alert = {**ALERT, **more}
    return message_of(org, alert["key"], event, envelope(event, alert, alert["seen_ms"]))


@pytest.fixture
def receiver():
    """An HTTP receiver that says 200 unless it is told otherwise."""
    with Receiver() as made:
        yield made


@pytest.fixture
def hook(receiver, monkeypatch):
    """A webhook channel to it, with short time-outs."""
    monkeypatch.setenv("HOOK_URL", f"{receiver.url}/alerts/{TOKEN}")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    spec = Channel("hook", url_env="HOOK_URL", secret_env="HOOK_SECRET")
    return WebhookChannel(spec, timeouts_s=(1.0, 0.5))


@pytest.fixture
def services(monkeypatch):
    """Slack, PagerDuty and Opsgenie on loopback."""
    with Services() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made.receiver


def through(monkeypatch, url):
    """A channel of apprise's to *url*."""
    monkeypatch.setenv("APPRISE_URL", url)
    return open_channel(Channel("people", apprise_env="APPRISE_URL"))


def test_a_webhook_is_signed_so_that_the_standards_own_verifier_takes_it(hook, receiver):
    """Its id is the same for the same event of the same alert, and its body is the alert."""
    assert hook.send(message()).error == ""
    assert hook.send(message()).error == ""
    first, again = receiver.wait(2)
    told = Webhook(SECRET).verify(first.body, first.headers)
    assert told == {"type": "alert.raised", "timestamp": "2026-11-20T12:01:00+00:00", "data": ALERT}
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    hook.send(message(ENDED, ended_ms=1_795_176_120_000))
    ended = receiver.wait(3)[2]
    assert ended.headers["webhook-id"] != first.headers["webhook-id"]
    assert Webhook(SECRET).verify(ended.body, ended.headers)["type"] == "alert.ended"


def test_a_body_of_megabytes_with_names_of_any_characters_arrives_and_verifies(hook, receiver):
    """Ten thousand symptoms; a key with a line feed and an emoji gives headers no trouble."""
    many = [{**ALERT["symptoms"][0], "why": "é" * 200}] * 10_000
    big = message(symptoms=many, key="a\r\nX-Evil: 1/🦊/1", title="naïve 🦊\r\nBcc: everybody")
    assert hook.send(big).error == ""
    (got,) = receiver.wait(1)
    assert len(got.body) > 3_000_000
    assert len(Webhook(SECRET).verify(got.body, got.headers)["data"]["symptoms"]) == 10_000
    assert "x-evil" not in got.headers
    assert "\n" not in big.title
    assert len(big.text) < 20_000


@pytest.mark.parametrize(
    ("answer", "error", "final", "after_s"),
    [
        (Answer(500), "HTTP 500", False, 0),
        (Answer(503, {"retry-after": "120"}), "HTTP 503", False, 120),
        (Answer(429, {"retry-after": "7"}), "HTTP 429: slow down", False, 7),
        (Answer(429, {"retry-after": "-1e9"}), "HTTP 429: slow down", False, 0),
        (Answer(401), "HTTP 401: not authorised", False, 0),
        (Answer(410), "HTTP 410: gone, and wants no more", True, 0),
        (Answer(204, body=b""), "", False, 0),
    ],
)
def test_an_answer_is_judged_by_its_status(hook, receiver, answer, error, final, after_s):
    """Only 2xx is delivered; only 410 is given up at once; a plain Retry-After is heard."""
    receiver.answers = [answer]
    told = hook.send(message())
    assert (told.error, told.final, told.after_s) == (error, final, after_s)


def test_a_redirect_is_not_followed_with_a_signed_alert(hook, receiver):
    """The other place hears nothing."""
    with Receiver() as other:
        receiver.answers = [Answer(307, {"location": f"{other.url}/elsewhere"})]
        assert "it redirects" in hook.send(message()).error
        assert other.got == []


def test_silence_ends_with_a_time_out(hook, receiver):
    """A receiver that takes the request and says nothing."""
    let_go = threading.Event()
    receiver.answers = [Answer(hang=let_go)]
    assert hook.send(message()).error == "no answer in time"
    let_go.set()


def test_an_answer_without_end_is_not_read(hook, receiver):
    """A delivered message is delivered, whatever comes behind its status."""
    receiver.answers = [Answer(endless=True, body=b"x" * 65_536)]
    assert hook.send(message()).error == ""


def test_a_closed_port_and_a_name_that_is_none_are_said_without_the_url(hook, monkeypatch):
    """Neither the path, which is secret, nor the host is in the error."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{port}/{TOKEN}")
    assert hook.send(message()).error == "nobody answers there, or its connection broke"
    monkeypatch.setenv("HOOK_URL", f"https://user:{TOKEN}@[::bad/{TOKEN}")
    assert hook.send(message()).error == "HOOK_URL has no http:// or https:// URL with a host"


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"HOOK_URL": ""}, "HOOK_URL is not set in the worker's environment"),
        ({"HOOK_SECRET": "whsec_???"}, "HOOK_SECRET has no secret to sign with"),
        ({"HOOK_URL": "file:///etc/passwd"}, "HOOK_URL has no http:// or https:// URL"),
    ],
)
def test_a_variable_that_is_missing_or_malformed_is_named_and_not_quoted(
    hook, receiver, monkeypatch, variables, error
):
    """It can be set, and the message goes out with a later try."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = hook.send(message())
    assert told.error.startswith(error)
    assert not told.final
    assert receiver.got == []


def test_slack_gets_the_title_and_what_is_behind_it_without_markup_of_names(services, monkeypatch):
    """A user who is called like a command to Slack mentions nobody."""
    channel = through(monkeypatch, f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}/#alerts")
    assert channel.digests
    evil = [{"dimension": "user", "name": "<!channel> & co", "percent": 80.0}]
    assert channel.send(message(behind=evil)).error == ""
    (got,) = services.wait(1)
    assert (got.host, got.path) == ("hooks.slack.com", f"/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}")
    text = json.dumps(got.json)
    assert "12 answers of 529" in text
    assert "<!channel>" not in text


def test_discord_calls_nobody_together_by_a_users_name(services, monkeypatch):
    """It takes `@everyone` from plain text too: a name that has it is told with a space that nobody sees."""
    channel = through(monkeypatch, f"discord://4174216298/{TOKEN}")
    evil = [{"dimension": "user", "name": "@everyone <@&42> ada@example.com", "percent": 80.0}]
    assert channel.send(message(title="@here: free money", behind=evil)).error == ""
    (got,) = services.wait(1)
    text = got.json["content"]
    assert "ada@example.com" in text
    assert not any(called in text for called in ("@everyone", "@here", "<@&42>"))


def test_pagerduty_opens_an_incident_by_the_alerts_key_and_resolves_it(services, monkeypatch):
    """The same key each time: an alert that is told twice is one incident."""
    key = "A" * 32
    channel = through(monkeypatch, f"pagerduty://{key}@{key.lower()}")
    services.always = lambda _: Answer(202, body=b"{}")
    assert channel.resolves
    for event in (RAISED, RAISED, ENDED):
        assert channel.send(message(event)).error == ""
    began, again, ended = (got.json for got in services.wait(3))
    assert [one["event_action"] for one in (began, again, ended)] == ["trigger", "trigger", "resolve"]
    assert began["dedup_key"] == again["dedup_key"] == ended["dedup_key"]
    assert began["payload"]["severity"] == "critical"
    assert services.got[0].host == "events.pagerduty.com"


def test_opsgenie_knows_an_alert_by_its_alias_and_the_end_by_another(services, monkeypatch):
    """Told twice it is one alert; the end is said in one of its own."""
    services.always = lambda _: Answer(202, body=b'{"requestId": "43a29c5c"}')
    channel = through(monkeypatch, f"opsgenie://{'b' * 8}-1111-2222-3333-{'c' * 12}")
    for event in (RAISED, RAISED, ENDED):
        assert channel.send(message(event)).error == ""
    began, again, ended = (got.json for got in services.wait(3))
    assert began["alias"] == again["alias"] != ended["alias"]
    assert ended["message"].startswith("[ended]")


def test_mail_arrives_with_one_subject_line(monkeypatch):
    """A title with a line feed adds no header."""
    with Mail() as mail:
        url = f"mailto://127.0.0.1:{mail.port}?from=governor@example.com&to=ops@example.com&mode=insecure"
        channel = through(monkeypatch, url)
        told = channel.send(message(title="overloaded\r\nBcc: everybody@example.com"))
        assert told.error == ""
        (got,) = mail.got
    assert got.rcpt_tos == ["ops@example.com"]
    assert b"\nBcc:" not in got.content


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(500), "HTTP 500"),
        (Answer(302, {"location": "https://evil.example/"}), "HTTP 302: it redirects"),
    ],
)
def test_apprise_failures_are_said_with_their_status_and_redirects_not_followed(
    services, monkeypatch, answer, error
):
    """Slack's and PagerDuty's answers alike."""
    services.always = lambda _: answer
    for url in (f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}", f"pagerduty://{'A' * 32}@{'b' * 32}"):
        assert through(monkeypatch, url).send(message()).error.startswith(error)
    assert {got.host for got in services.got} == {"hooks.slack.com", "events.pagerduty.com"}


def test_no_secret_is_in_any_error_log_or_output(services, receiver, monkeypatch, caplog, capfd):
    """Every way to fail, with all loggers at their most talkative."""
    caplog.set_level(logging.DEBUG)
    # pytest itself listens to loggers that do not propagate; nobody else does.
    monkeypatch.setattr(logging.getLogger("apprise"), "handlers", [logging.NullHandler()])
    logging.getLogger().addHandler(handler := logging.StreamHandler())
    handler.setLevel(logging.DEBUG)
    urls = [
        f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}",
        f"pagerduty://{TOKEN}@{TOKEN}",
        f"opsgenie://{TOKEN}",
        f"json://user:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}",
        f"json://user:{TOKEN}@127.0.0.1:1/{TOKEN}",
        f"mailto://user:{TOKEN}@127.0.0.1:1?from=a@example.com&to=b@example.com&mode=insecure",
        f"nonsense://{TOKEN}",
        f"slack://{TOKEN}",
        TOKEN,
    ]
    said = []
    try:
        for answer in (Answer(500, body=TOKEN.encode()), Answer(200)):
            services.always = receiver.always = lambda _, answer=answer: answer
            said += [through(monkeypatch, url).send(message()) for url in urls]
        for url in (f"{receiver.url}/{TOKEN}", f"http://{TOKEN}/", f"http://127.0.0.1:1/{TOKEN}", TOKEN):
            for secret in (SECRET, f"whsec_{TOKEN}é"):
                monkeypatch.setenv("HOOK_URL", url)
                monkeypatch.setenv("HOOK_SECRET", secret)
                spec = Channel("hook", url_env="HOOK_URL", secret_env="HOOK_SECRET")
                said.append(open_channel(spec).send(message()))
    finally:
        logging.getLogger().removeHandler(handler)
    shown = "".join(capfd.readouterr()) + caplog.text + repr(said)
    assert len([one for one in said if one.error]) > 15
    for secret in (TOKEN, TOKEN.lower(), SECRET, SECRET.removeprefix("whsec_")):
        assert secret not in shown
    assert os.environ["HOOK_URL"] == TOKEN  # the test had it where it looked


def test_a_digest_counts_and_lists_what_it_stands_for():
    """Three beginnings and an end, the worst first in its severity."""
    parts = [message(key=f"k/{n}", severity=name) for n, name in enumerate(("info", "critical", "warning"))]
    told = digest([*parts, message(ENDED, key="k/9")])
    assert told.title == "[critical] 4 alerts at once: 1 critical, 1 warning, 1 info, 1 ended"
    assert told.text.count("\n- ") == 3
    assert digest(parts * 20).text.endswith("and 40 more; `governor alerts deliveries` has them all")
