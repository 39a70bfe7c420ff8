"""The live screen of `governor top`, driven as by keys, over real ledgers that governed calls use."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from typing import Any

import pytest
from support.governed import Stage, until
from support.redis_server import RedisServer
from textual.events import Key
from textual.widgets import Button, Input

from governor.cli.context import open_desk
from governor.cli.top import open_patiently
from governor.cli.top_app import Top, is_dark
from governor.cli.top_dialogs import Ask, Help
from governor.cli.top_watch import Watch
from governor.errors import BudgetExceeded
from governor.ledger import commands as c
from governor.ledger import orders
from governor.testing import FakeClaude, Reply

SIZES = [(80, 24), (200, 60)]
BUDGETS = (
    {"per": "department", "usd": "5", "window": "life"},
    {"per": "user", "usd": "2", "window": "day"},
    {"per": "run", "usd": "1"},
    {"per": "user", "requests": 100, "window": "hour"},
)
TEAM, RUN = "department=team/usd/life", "department=team/run=pr-1/usd/life"
WAITS_S = 60.0
EVERY_S = 0.4


def team(**more: Any) -> dict[str, Any]:
    """The department's policy."""
    budgets = [{name: float(v) if name == "usd" else v for name, v in one.items()} for one in BUDGETS]
    return {
        "version": 1,
        "department": "team",
        "budgets": budgets,
        "routing": {"lines": {"haiku": "claude-haiku-5-5"}, "tiers": {"standard": {"prefer": "haiku"}}},
        **more,
    }


@pytest.fixture(scope="module")
def api():
    with FakeClaude() as found:
        yield found


both_stores = pytest.mark.parametrize("used", ["sqlite", "redis"], indirect=True)


@pytest.fixture
def used(request, api, tmp_path, org):
    """A stage on which calls were made: two of them of a run, by two users."""
    api.reset()
    url = f"sqlite:///{tmp_path}/governor.db"
    if getattr(request, "param", "sqlite") == "redis":
        url = request.getfixturevalue("redis_server").url
    stage = Stage(api, tmp_path, url, org, clock=None)
    stage.caller = caller = stage.governor(team())  # type: ignore[attr-defined]
    api.replies(lambda _: Reply(output_tokens=50))
    for user, run in (("ada", "pr-1"), ("grace<b>", "pr-1"), ("陳大文", None)):
        caller.call(user=user, run=run, feature="review")
    yield stage
    stage.close()


@contextmanager
def watched(stage):
    """The stage's ledger as the command opens it."""
    with open_desk(str(stage.policies), stage.url) as desk:
        yield Watch(desk)


def on_screen(stage, play, size=(80, 24), **options):
    """Draw the screen, wait for rows, and let *play* drive it."""

    async def run():
        with watched(stage) as watch:
            app = Top(watch, every_s=EVERY_S, actor="ada@desk", **options)
            async with app.run_test(size=size, notifications=True) as pilot:
                await true(pilot, lambda: app.picture is not None and app.active.table.row_count)
                return await play(app, pilot)

    return asyncio.run(run())


async def press(pilot, *keys):
    """Press keys, and let the screen take each one in before the next.

    Not `pilot.press`: that waits for an idle process, twice a key and up to a second each time, and a process
    that redraws, or stands on a busy machine, is never idle.
    """
    for key in keys:
        pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await pilot.pause(0)
        await pilot.pause(0)  # what the key asked for may have asked for more: a focus, a screen


async def true(pilot, holds):
    """Wait until *holds* is true, letting the screen work."""
    deadline, pause_s = time.monotonic() + WAITS_S, 0.02
    while time.monotonic() < deadline:
        if holds():
            return
        await pilot.pause(pause_s)  # less and less often: to draw the screen for a look at it takes long, too
        pause_s = min(2 * pause_s, 0.2)
    said = [one.message for one in pilot.app._notifications]
    raise AssertionError(f"it did not come true in time: {said}\n{words(pilot.app)}")


async def asked(pilot):
    """Wait until the screen asks for a reason, and would take one."""
    await true(pilot, lambda: isinstance(pilot.app.screen, Ask) and isinstance(pilot.app.focused, Input))


async def answer(pilot, reason):
    """Give a reason, go to the button, and press it."""
    screen = pilot.app.screen
    screen.query_one("#reason", Input).value = reason
    await true(pilot, lambda: not screen.query_one("#yes", Button).disabled)
    await press(pilot, "enter")
    await true(pilot, lambda: isinstance(pilot.app.focused, Button))
    await press(pilot, "enter")


async def only(pilot, words):
    """Leave only the rows with these words."""
    await press(pilot, "slash")
    await true(pilot, lambda: isinstance(pilot.app.focused, Input))
    await press(pilot, *words, "enter")


def words(app):
    """All that the screen shows, as text."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_all_is_shown_at_every_size_and_in_every_light(used, size, dark):
    """Budgets, spenders, models and calls are shown at 80 x 24 one at a time and at 200 x 60 all at once."""

    async def play(app, pilot):
        await true(pilot, lambda: "team · $ life" in words(app))
        wide = size[0] > 100
        assert ("takes" in words(app)) == wide
        if not wide:
            await press(pilot, "4")
        await true(pilot, lambda: "grace<b>" in words(app) and "陳大文" in words(app))
        used.caller.call(user="ada")  # models are of the last minute
        if not wide:
            await press(pilot, "3")
        await true(pilot, lambda: "haiku-5-5" in words(app) and "closed" in words(app))
        assert all(len(line.rstrip()) <= size[0] for line in words(app).splitlines())
        assert app.current_theme.dark == dark
        await press(pilot, "d")
        await true(pilot, lambda: app.current_theme.dark != dark)

    on_screen(used, play, size, dark=dark)


@both_stores
def test_it_redraws_as_calls_come_and_go(used):
    """A call is shown while it is in flight with what it holds, and its cost when it has ended."""
    go, api = [], used.api

    def wait(_):
        until(lambda: go)
        return Reply(output_tokens=50)

    async def play(app, pilot):
        spent = app.picture.spent_nanos
        api.replies(wait)
        calling = used.caller.start(user="eve", run="pr-2", feature="triage")
        await press(pilot, "2")
        await true(pilot, lambda: "eve" in words(app) and "run pr-2" in words(app))
        assert app.picture.held_nanos > 0
        go.append(1)
        await true(pilot, lambda: app.picture.open == 0 and "no call is in flight" in words(app))
        assert app.picture.spent_nanos == spent + calling.result().receipt.cost.nanos

    on_screen(used, play)


@both_stores
def test_a_run_is_frozen_after_asking_and_only_it(used):
    """Key f on a run's row says what will happen; after a reason that run is refused, and no other."""

    async def play(app, pilot):
        await press(pilot, "4", "g", "g")
        await true(pilot, lambda: "pr-1 (team)" in words(app))
        await press(pilot, "f")
        await asked(pilot)
        await true(pilot, lambda: RUN in words(app))
        assert "will be refused" in words(app)
        assert app.screen.query_one("#yes", Button).disabled
        await answer(pilot, "it loops")
        await true(pilot, lambda: not isinstance(app.screen, Ask))
        await true(pilot, lambda: any(v.frozen for v in app.picture.budgets))
        await press(pilot, "1")
        await true(pilot, lambda: "FROZEN" in words(app))

    on_screen(used, play)
    (frozen,) = used.journal("freeze")
    assert (frozen.outcome, json.loads(frozen.record)["actor"]) == (RUN, "ada@desk")
    assert json.loads(frozen.record)["reason"] == "it loops"
    with pytest.raises(BudgetExceeded):
        used.caller.call(user="ada", run="pr-1")
    used.caller.call(user="ada", run="pr-3")


@both_stores
def test_a_run_without_a_budget_is_frozen_and_unfrozen(used):
    """Where the policy has no budget for runs, f and u do it by a standing order; no other run is refused."""
    caller = used.governor(team(budgets=[{"per": "department", "usd": 5, "window": "life"}]))
    caller.call(user="ada", run="pr-9", feature="review")

    def refused():
        with pytest.raises(BudgetExceeded):
            caller.call(user="ada", run="pr-9")
        caller.call(user="ada", run="pr-8")

    async def play(app, pilot):
        await press(pilot, "4", "g", "g")
        await only(pilot, "pr-9")
        await true(pilot, lambda: "pr-9 (team)" in words(app) and app.active.table.row_count == 1)
        for key, said, then in (("f", "Freeze the run pr-9?", refused), ("u", "it loops", lambda: None)):
            await press(pilot, key)
            await asked(pilot)
            await true(pilot, lambda said=said: said in words(app))
            await answer(pilot, "it loops")
            done = "is unfrozen" if key == "u" else "is frozen for"
            await true(pilot, lambda done=done: any(done in n.message for n in app._notifications))
            await asyncio.to_thread(then)

    on_screen(used, play)
    assert {json.loads(one.record)["actor"] for one in used.journal("response")} == {"ada@desk"}
    caller.call(user="ada", run="pr-9")


def test_an_order_that_freezes_a_run_with_a_budget_is_ended(used):
    """Key u ends what an alert had done, though the run's own budget is not frozen."""
    until_ms = time.time_ns() // 1_000_000 + 3_600_000
    subject = (("department", "team"), ("run", "pr-1"))
    order = orders.Order("o1", orders.FREEZE_RUN, subject, "", until_ms, "it loops", "governor", "a1")
    used.ledger.execute(orders.PlaceOrder(order))

    async def play(app, pilot):
        await press(pilot, "4", "g", "g")
        await only(pilot, "pr-1")
        await true(pilot, lambda: "pr-1 (team)" in words(app) and app.active.table.row_count == 1)
        await press(pilot, "u")
        await asked(pilot)
        await true(pilot, lambda: "It was frozen by a1: it loops" in words(app))
        await answer(pilot, "looked at")
        await true(pilot, lambda: any("pr-1 is unfrozen" in n.message for n in app._notifications))

    on_screen(used, play)
    assert used.ledger.execute(orders.ListOrders()).orders == ()


def test_nothing_is_frozen_where_the_answer_is_no(used):
    """Esc, or the other button although a reason is there: nothing is written."""

    async def play(app, pilot):
        for reason in ("", "x"):
            await press(pilot, "f")
            await asked(pilot)
            field = app.focused
            if reason:
                await press(pilot, *reason)
                await true(pilot, lambda field=field, reason=reason: field.value == reason)
                await press(pilot, "tab")
                await true(pilot, lambda field=field: app.focused is not field)
            await press(pilot, "enter" if reason else "escape")
            await true(pilot, lambda: not isinstance(app.screen, Ask))

    on_screen(used, play)
    assert used.journal("freeze") == []


def test_a_freeze_is_ended_from_the_screen(used):
    """Key u on a frozen budget says why it was frozen, and ends that after a reason."""
    used.ledger.execute(c.Freeze("f1", TEAM, "audit of November"))

    async def play(app, pilot):
        await true(pilot, lambda: "FROZEN team" in words(app))
        await press(pilot, "u")
        await asked(pilot)
        await true(pilot, lambda: "audit of November" in words(app))
        await answer(pilot, "audited")
        await true(pilot, lambda: not any(view.frozen for view in app.picture.budgets))

    on_screen(used, play)
    assert [one.outcome for one in used.journal("unfreeze")] == [TEAM]


def test_what_cannot_be_frozen_says_why(used):
    """A user's row, and a row of models, say that only runs and budgets can be frozen."""

    async def play(app, pilot):
        for key, said in (("4", "press g for runs"), ("3", "nothing to freeze in Models")):
            await press(pilot, key)
            panel = app._panels[int(key) - 1]
            await true(pilot, lambda panel=panel: app.active is panel and panel.table.row_count)
            await press(pilot, "f")
            await true(pilot, lambda said=said: any(said in n.message for n in app._notifications))

    on_screen(used, play)


def test_rows_are_filtered_and_sorted_and_the_chosen_one_stays(used):
    """Words leave only rows that have them, s sorts by the next thing, Esc shows all again."""

    async def play(app, pilot):
        panel = app.active
        await true(pilot, lambda: panel.table.row_count >= 5)
        every = panel.table.row_count
        await only(pilot, "run")
        await true(pilot, lambda: panel.table.row_count == 1)
        await press(pilot, "escape")
        await true(pilot, lambda: panel.table.row_count == every)
        first = panel.key
        await press(pilot, "down")
        await true(pilot, lambda: panel.key != first)
        chosen = panel.key
        for sort in ("spent", "resets", "name", "fullest"):
            await press(pilot, "s")
            await true(pilot, lambda sort=sort: panel.sort == sort)
            assert panel.key == chosen
        app.look()
        await pilot.pause(0.3)
        assert panel.key == chosen

    on_screen(used, play)


def test_paused_it_reads_nothing(used):
    """After p no command is sent to the ledger until p is pressed again."""

    async def play(app, pilot):
        await press(pilot, "p")
        await true(pilot, lambda: "PAUSED" in words(app) and not app._looking)
        before = app.picture
        used.caller.call(user="late")
        await pilot.pause(0.6)
        assert app.picture is before
        await press(pilot, "p")
        await true(pilot, lambda: any(call.user == "late" for call in app.picture.calls))

    on_screen(used, play)


def test_a_panel_that_was_left_does_not_come_back(used):
    """Keys pressed one right after the other lead to the last one's panel, and to no other one later."""

    async def play(app, pilot):
        for first, last in ((3, 0), (0, 3), (2, 0)):
            app.action_panel(first)
            await true(pilot, lambda first=first: app.focused is app._panels[first].table)
            app.action_panel(last)  # before the first one's focus was told to the screen
            await pilot.pause(0)
            await true(pilot, lambda last=last: app.focused is app._panels[last].table)
            await pilot.pause(0.05)
            assert app.active is app._panels[last]
            assert app.focused is app.active.table

    on_screen(used, play)


def test_help_says_every_key_on_the_smallest_screen(used):
    """The whole of the help fits on 80 x 24."""

    async def play(app, pilot):
        await press(pilot, "question_mark")
        await true(pilot, lambda: isinstance(app.screen, Help) and "budgets, calls in flight" in words(app))
        assert "3 of 12 failed" in words(app)
        await press(pilot, "escape")
        await true(pilot, lambda: not isinstance(app.screen, Help))

    on_screen(used, play)


def test_while_the_ledger_is_away_it_says_so_and_goes_on(redis_available, api, tmp_path, org):
    """The server stops: the screen says so over the last figures. It starts again: figures move on."""
    api.reset()
    with RedisServer(appendonly=True) as server:
        stage = Stage(api, tmp_path, server.url, org, clock=None)
        caller = stage.governor(team())
        caller.call(user="ada")

        async def play(app, pilot):
            await true(pilot, lambda: "team · $ life" in words(app))
            await asyncio.to_thread(server.stop)
            await true(pilot, lambda: "the ledger is away" in words(app))
            assert "team · $ life" in words(app)
            before = app.picture
            await asyncio.to_thread(server.start)
            await true(pilot, lambda: app.picture is not before and "the ledger is away" not in words(app))
            assert {view.posted for view in app.picture.budgets} == {view.posted for view in before.budgets}

        on_screen(stage, play)
        stage.close()


def test_it_waits_for_a_ledger_that_is_away_at_the_start(redis_available, api, tmp_path, org):
    """With the server stopped the screen opens and says so; once it runs, figures are there."""
    api.reset()
    with RedisServer(appendonly=True) as server:
        stage = Stage(api, tmp_path, server.url, org, clock=None)
        stage.governor(team()).call(user="ada")
        server.stop()

        async def run():
            with open_patiently(str(stage.policies), stage.url) as desk:
                app = Top(Watch(desk), every_s=EVERY_S)
                async with app.run_test(size=(80, 24)) as pilot:
                    await true(pilot, lambda: "the ledger is away" in words(app))
                    await asyncio.to_thread(server.start)
                    await true(pilot, lambda: "team · $ life" in words(app))
                    assert "the ledger is away" not in words(app)

        asyncio.run(run())
        stage.close()


@pytest.mark.parametrize(
    ("theme", "colours", "dark"),
    [("auto", "", True), ("auto", "15;0", True), ("auto", "0;15", False), ("auto", "0;default;15", False),
     ("light", "15;0", False), ("dark", "0;15", True)],
)  # fmt: skip
def test_the_background_is_as_said_or_as_the_terminal_says(theme, colours, dark):
    """`--theme` wins; else `COLORFGBG`; else it is dark."""
    assert is_dark(theme, colours) == dark
