"""The alert worker where things are away, in a storm, beside another one, and after a restart."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook
from support.booms import Booms, made, say
from support.governed import Clock, until
from support.receivers import Answer, Receiver

from governor.journal.alerts.alert import Action
from governor.journal.alerts.couriers import BURST, Couriers
from governor.journal.alerts.outbox import BACK_OFF_S, Outbox
from governor.journal.alerts.rule import Channel
from governor.journal.alerts.worker import AlertWorker, Place, lease_ms
from governor.journal.archive_sql import SqlArchive
from governor.journal.tables import alerts, workers
from governor.ledger import open_ledger
from governor.ledger.commands import Inspect
from governor.ledger.recovery import ReadSince

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that apprise loads
SECRET = "whsec_" + base64.b64encode(b"a-secret-of-thirty-two-bytes-ok!").decode()
EVERY_MS = 1
HOOK = Channel("hook", url_env="HOOK_URL", secret_env="HOOK_SECRET")
OTHER = Channel("other", url_env="OTHER_URL", secret_env="HOOK_SECRET")
PEOPLE = Channel("people", apprise_env="PEOPLE_URL")


@dataclass
class Scene:
    """A ledger, an archive, a receiver, and workers on them; the workers' clock is moved by hand."""

    org: str
    ledger_url: str
    archive_url: str
    receiver: Receiver
    said: list[str] = field(default_factory=list)
    responses: list[Action] = field(default_factory=list)
    ahead_ms: int = 0
    open: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = made(self.ledger_url, self.org)
        self.books = SqlArchive(self.archive_url, self.org)

    def worker(self, *channels, actions=(), worse=(), every_ms=EVERY_MS, books=None, ledger=None):
        import time

        names = tuple(one.name for one in channels)
        place = Place(
            self.org,
            ledger or self.ledger,
            books or self.books,
            lambda: Booms(every_ms, names, actions, worse),
            10**9,
            every_ms,
        )
        couriers = Couriers(self.org, {one.name: one for one in channels})
        made_ = AlertWorker(
            place,
            couriers,
            lambda action, _: self.responses.append(action) or "",
            lambda level, line: self.said.append(f"{level} {line}"),
            lambda: time.time_ns() // 1_000_000 + self.ahead_ms,
        )
        made_.lease.length_ms = 60_000  # the database's clock cannot be moved: it ends when it is given back
        self.open.append(made_)
        return made_

    def rows(self, *states):
        with self.books.engine.begin() as connection:
            return list(Outbox(self.org).listed(connection, *states))

    def forward(self, seconds):
        self.ahead_ms += int(1000 * seconds) + 1

    def journal(self):
        return [
            json.loads(one.record)
            for one in self.ledger.execute(ReadSince(None)).entries
            if one.kind == "alert"
        ]


@pytest.fixture
def scene(tmp_path, org, monkeypatch):
    """On SQLite, with a receiver that takes everything."""
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK_URL", f"{receiver.url}/hook")
        monkeypatch.setenv("OTHER_URL", f"{receiver.url}/other")
        monkeypatch.setenv("PEOPLE_URL", f"json://127.0.0.1:{receiver.port}/people")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        archive = f"sqlite:///{tmp_path}/archive.db"
        made_ = Scene(org, f"sqlite:///{tmp_path}/governor.db", archive, receiver)
        yield made_
        for worker in made_.open:
            worker.finish()
        made_.books.close()
        made_.ledger.close()


def told(scene, path="/hook"):
    """What a webhook got, verified: its type and the alert's title."""
    return [
        (body["type"], body["data"]["title"])
        for body in (
            Webhook(SECRET).verify(one.body, one.headers) for one in scene.receiver.got if one.path == path
        )
    ]


def settle(worker):
    """Rounds until nothing is on its way; whatever a clock in milliseconds still holds back is waited for."""
    for _ in range(5):
        worker._looked_ms = 0
        worker.catch_up()


def test_an_alert_is_stored_journalled_and_told_when_it_begins_gets_worse_and_ends(scene):
    """In order, each once; a second worker finds it done."""
    worker = scene.worker(HOOK)
    settle(worker)
    for what in ("boom", "worse", "calm"):
        say(scene.ledger, what, "a")
        settle(worker)
    expected = ["alert.raised", "alert.now_critical", "alert.ended"]
    assert [kind for kind, _ in told(scene)] == expected
    assert [one["event"] for one in scene.journal()] == ["raised", "now_critical", "ended"]
    worker.finish()
    again = scene.worker(HOOK)
    settle(again)
    assert len(scene.receiver.got) == 3
    assert {row.state for row in scene.rows()} == {"sent"}


def test_what_was_over_before_the_first_worker_came_wakes_nobody(scene):
    """What still goes on is told once."""
    for what, name in (("boom", "over"), ("calm", "over"), ("boom", "on")):
        say(scene.ledger, what, name)
    worker = scene.worker(HOOK)
    settle(worker)
    assert told(scene) == [("alert.raised", "boom on")]


def test_what_happened_while_no_worker_ran_is_told_when_one_comes_back(scene):
    """Its beginning and its end, in this order."""
    worker = scene.worker(HOOK)
    settle(worker)
    worker.finish()
    say(scene.ledger, "boom", "b")
    say(scene.ledger, "calm", "b")
    settle(scene.worker(HOOK))
    assert told(scene) == [("alert.raised", "boom b"), ("alert.ended", "boom b")]


def test_an_alert_whose_rule_is_gone_ends_with_the_next_start(scene):
    """It would be open for ever."""
    worker = scene.worker(HOOK)
    settle(worker)
    say(scene.ledger, "boom", "c")
    settle(worker)
    worker.finish()
    after = scene.worker(HOOK)
    after._place = Place(
        scene.org,
        scene.ledger,
        scene.books,
        lambda: type("Empty", (Booms,), {"take": lambda *_: None})(1, ()),
        1,
        1,
    )
    settle(after)
    assert told(scene)[-1] == ("alert.ended", "boom c")


def test_of_two_workers_one_acts_and_the_other_takes_its_place(scene):
    """Neither tells anything twice."""
    first, second = scene.worker(HOOK), scene.worker(HOOK)
    settle(first)
    settle(second)
    assert (first.acts, second.acts) == (True, False)
    say(scene.ledger, "boom", "d")
    settle(second)
    assert told(scene) == []
    settle(first)
    first.finish()
    scene.forward(60)
    settle(second)
    assert second.acts
    say(scene.ledger, "calm", "d")
    settle(second)
    assert told(scene) == [("alert.raised", "boom d"), ("alert.ended", "boom d")]


def test_a_worker_whose_lease_was_taken_writes_nothing_more(scene):
    """It was asleep: what it has decided by then is the other one's to decide."""
    worker = scene.worker(HOOK)
    settle(worker)
    with scene.books.engine.begin() as connection:
        connection.execute(sa.update(workers).values(worker="another", until_ms=10**15))
    say(scene.ledger, "boom", "e")
    worker._looked_ms = 0
    worker.round()
    assert not worker.acts
    assert scene.rows() == []
    with scene.books.engine.begin() as connection:
        assert connection.execute(sa.select(alerts)).all() == []


def test_a_dead_workers_place_is_taken_within_two_periods():
    """The lease, and what the next look at it may be late."""
    for every_ms in (1000, 60_000, 300_000):
        assert lease_ms(every_ms) * (1 + 1 / 6) <= 2 * every_ms


def test_a_failed_message_waits_longer_each_time_and_is_dead_after_the_last(scene):
    """It says so, and `retry` lets it wait again."""
    scene.receiver.always = lambda _: Answer(500)
    worker = scene.worker(HOOK)
    settle(worker)
    say(scene.ledger, "boom", "f")
    settle(worker)
    for tries, seconds in enumerate(BACK_OFF_S, 1):
        (row,) = scene.rows("waiting")
        assert (row.tries, row.error) == (tries, "HTTP 500")
        assert len(scene.receiver.got) == tries
        scene.forward(seconds)
        settle(worker)
    (row,) = scene.rows("dead")
    assert (row.channel, row.event, row.tries) == ("hook", "raised", len(BACK_OFF_S) + 1)
    assert [line for line in scene.said if "gave up" in line]
    scene.receiver.always = None
    with scene.books.engine.begin() as connection:
        assert Outbox(scene.org).retry(connection, 0, row.key) == 1
    settle(worker)
    assert scene.rows("waiting", "dead") == []
    ids = {one.headers["webhook-id"] for one in scene.receiver.got}
    assert len(ids) == 1


def test_the_end_is_not_told_before_the_beginning_was(scene):
    """While the beginning waits to be tried again, so does the end."""
    scene.receiver.answers = [Answer(500)]
    worker = scene.worker(HOOK)
    settle(worker)
    say(scene.ledger, "boom", "g")
    settle(worker)
    say(scene.ledger, "calm", "g")
    settle(worker)
    assert len(told(scene)) == 1
    scene.forward(10)
    settle(worker)
    settle(worker)
    assert [kind for kind, _ in told(scene)] == ["alert.raised", "alert.raised", "alert.ended"]


def test_a_channel_that_hangs_holds_up_no_other(scene):
    """The other one has its messages, and the journal too, while the first says nothing."""
    let_go = threading.Event()
    scene.receiver.always = lambda got: Answer(hang=let_go) if got.path == "/hook" else Answer()
    worker = scene.worker(HOOK, OTHER)
    worker.round()
    for name in "hij":
        say(scene.ledger, "boom", name)
        worker._looked_ms = 0
        worker.round()
        while len(told(scene, "/other")) < "hij".index(name) + 1:
            worker._looked_ms = 0
            worker.round()
            worker.woken.wait(0.01)
    assert len(told(scene, "/hook")) == 1
    assert len(scene.journal()) == 3
    let_go.set()


def test_gone_is_given_up_at_once(scene):
    """410: the receiver wants no more of it."""
    scene.receiver.always = lambda _: Answer(410)
    worker = scene.worker(HOOK)
    settle(worker)
    say(scene.ledger, "boom", "k")
    settle(worker)
    (row,) = scene.rows("dead")
    assert row.tries == 1


def test_a_storm_comes_to_people_as_one_digest_and_to_programs_as_it_is(scene):
    """A hundred alerts at once, and their ends."""
    worker = scene.worker(HOOK, PEOPLE)
    settle(worker)
    for number in range(100):
        say(scene.ledger, "boom", f"{number:03}")
    said_ms = scene.ledger.execute(Inspect()).now_ms
    until(lambda: scene.ledger.execute(Inspect()).now_ms > said_ms)  # so none is held back
    settle(worker)
    people = [one for one in scene.receiver.got if one.path == "/people"]
    assert len(people) == 1
    assert people[0].json["title"] == "[warning] 100 alerts at once: 100 warning"
    assert len({title for _, title in told(scene)}) == 100
    for number in range(100):
        say(scene.ledger, "calm", f"{number:03}")
    settle(worker)
    assert len([one for one in scene.receiver.got if one.path == "/people"]) <= BURST
    assert scene.rows("waiting", "dead") == []


def test_a_response_is_carried_out_once_and_not_when_it_is_too_late(scene):
    """Only where the alert asks for one; one that ended meanwhile is left alone."""
    action = Action("freeze_run", (("run", "pr-1"),), "", 3_600_000)
    worker = scene.worker(HOOK, actions=(action,))
    settle(worker)
    say(scene.ledger, "boom", "l")
    settle(worker)
    assert scene.responses == [action]
    worker.finish()
    say(scene.ledger, "boom", "m")
    say(scene.ledger, "calm", "m")
    settle(scene.worker(HOOK, actions=(action,)))
    assert scene.responses == [action]
    assert [row.error for row in scene.rows("dead")] == ["not carried out: the alert had ended"]


def test_a_response_that_joins_before_others_is_carried_out_too(scene):
    """A symptom that says more comes first in its alert, and so does what it asks for."""
    slow = Action("slow", (("user", "ada"),), "5", 3_600_000)
    freeze = Action("freeze_run", (("run", "pr-1"),), "", 3_600_000)
    worker = scene.worker(HOOK, actions=(slow,), worse=(freeze,))
    settle(worker)
    say(scene.ledger, "boom", "p")
    settle(worker)
    say(scene.ledger, "worse", "p")
    settle(worker)
    assert scene.responses == [slow, freeze]
    assert [row.error for row in scene.rows() if row.error] == []


def test_a_clock_that_went_back_loses_no_record_and_reads_none_twice(scene):
    """A worker that takes over reads the journal by its order, whatever the times in it say."""
    clock = Clock()
    ledger = open_ledger(scene.ledger_url, scene.org, clock=clock)
    first = scene.worker(HOOK, ledger=ledger)
    settle(first)
    first.finish()
    for name, seconds in (("q", 60), ("r", -120), ("s", 180)):
        clock.forward(seconds)
        say(ledger, "boom", name)
    second = scene.worker(HOOK, ledger=ledger)
    settle(second)
    assert [one for one in second._watch.taken if one.startswith("boom")] == ["boom-q", "boom-r", "boom-s"]
    ledger.close()


class Away:
    """A ledger that is away while *is_away*."""

    def __init__(self, ledger):
        self._ledger, self.is_away = ledger, False

    def execute(self, command):
        from governor.errors import LedgerUnavailable

        if self.is_away:
            raise LedgerUnavailable("redis://ledger cannot be reached")
        return self._ledger.execute(command)


def test_while_the_ledger_is_away_the_worker_says_so_once_and_goes_on_telling(scene):
    """What waits for a channel is sent; what is for the journal waits."""
    ledger = Away(scene.ledger)
    worker = scene.worker(HOOK, ledger=ledger)
    settle(worker)
    scene.receiver.always = lambda _: Answer(500)
    say(scene.ledger, "boom", "n")
    settle(worker)
    ledger.is_away = True
    scene.receiver.always = None
    scene.forward(BACK_OFF_S[0])
    settle(worker)
    assert told(scene)[-1] == ("alert.raised", "boom n")
    assert scene.rows("waiting") == []
    assert len([line for line in scene.said if line.startswith("error reading the ledger failed")]) == 1
    ledger.is_away = False
    settle(worker)
    assert scene.said[-1] == "warning reading the ledger works again"


def test_while_the_archive_cannot_be_written_nothing_is_lost_and_nothing_sent_twice(scene, tmp_path):
    """A disk that is full: SQLite's limit of pages stands for it; calls' ledger is another file."""
    worker = scene.worker(HOOK)
    settle(worker)
    with scene.books.engine.begin() as connection:
        raw = connection.connection.dbapi_connection
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
    full = sa.event.listens_for(scene.books.engine, "connect")(
        lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages}")
    )
    scene.books.engine.dispose()
    for number in range(40):
        say(scene.ledger, "boom", f"{number:02}", padding="x" * 4000)
    settle(worker)
    assert worker.troubled
    assert [line for line in scene.said if "disk is full" in line]
    before = len(scene.receiver.got)
    settle(worker)
    assert len(scene.receiver.got) == before
    sa.event.remove(scene.books.engine, "connect", full)
    scene.books.engine.dispose()
    settle(worker)
    assert not worker.troubled
    assert len({title for _, title in told(scene)}) == 40
    assert len(scene.receiver.got) == 40
