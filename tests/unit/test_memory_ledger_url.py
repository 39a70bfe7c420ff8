"""`memory://`: a ledger that ends with the process, known by its name to everybody in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from governor import AsyncGovernor
from governor.budgets import Unit
from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_async_ledger, open_ledger
from governor.ledger.opening import named

ROW = c.BudgetRow("department=team/usd/life", "life", 0, 0, Unit.USD, 1_000)


def spend(ledger, name, amount=1):
    """Hold and settle an amount of `ROW`."""
    ledger.execute(c.Reserve(name, (ROW,), ((c.Ask(amount),),), 60_000))
    ledger.execute(c.Settle(name, (c.Posting(ROW, amount),)))


def posted(ledger):
    """What is spent of `ROW`."""
    return ledger.execute(c.Read((ROW,))).balances[0].posted


def test_threads_and_the_loop_share_a_name(org):
    """Eight threads spend by ledgers of their own, and the async ledger of that name sees all of it."""
    url = f"memory://{org}"

    def work(index):
        ledger = open_ledger(url, org)
        for turn in range(20):
            spend(ledger, f"r{index}-{turn}")
        ledger.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    async def look():
        return (await open_async_ledger(url, org).execute(c.Read((ROW,)))).balances[0].posted

    assert asyncio.run(look()) == 160


def test_other_names_are_other_ledgers(org):
    """What one name spends, another does not; and a ledger without a name is nobody else's."""
    spend(open_ledger(f"memory://{org}", org), "r")
    assert posted(open_ledger(f"memory://{org}-2", org)) == 0
    first, second = open_ledger("memory://", org), open_ledger("memory://", org)
    spend(first, "r")
    assert (posted(first), posted(second)) == (1, 0)


def test_a_name_that_was_chosen_is_kept(org):
    """It is there after all who had opened it are gone."""
    ledger = open_ledger(f"memory://{org}", org)
    spend(ledger, "r", 7)
    ledger.close()
    del ledger
    assert posted(open_ledger(f"memory://{org}", org)) == 7


def test_a_name_that_was_not_chosen_goes_with_its_last_ledger(org):
    """Another that was opened by it keeps it; without one, it is a new ledger."""
    url = named("memory://")
    first, second = open_ledger(url, org), open_ledger(url, org)
    spend(first, "r", 7)
    del first
    assert posted(second) == 7
    del second
    assert posted(open_ledger(url, org)) == 0


def test_an_async_governor_without_a_name_has_one_ledger(tmp_path):
    """What is pushed to the ledger that its calls use is found by its looks, which have connections apart."""
    text = (
        "version: 1\ndepartment: {}\nbudgets: [{{per: run, usd: 1}}]\n"
        "routing: {{lines: {{haiku: claude-haiku-5-5}}}}\n"
    )
    (tmp_path / "legal.yaml").write_text(text.format("legal"), encoding="utf-8")

    async def scene():
        async with AsyncGovernor.load(tmp_path, ledger="memory://", spool=tmp_path / "spool") as gov:
            push = c.PushPolicies("p", 0, {"sales.yaml": text.format("sales")}, "abc")
            await gov.ledger.execute(push)
            return (await gov.reload_policies()).departments

    assert asyncio.run(scene()) == ("sales",)


def test_each_has_a_clock_of_their_own(org):
    """Who opens a name brings the time that their commands go by."""
    early, late = (open_ledger(f"memory://{org}", org, clock=lambda now=now: now) for now in (1_000, 2_000))
    assert early.execute(c.Read((ROW,))).now_ms == 1_000
    assert late.execute(c.Read((ROW,))).now_ms == 2_000


def test_another_organization_is_refused(org):
    """One name is one organization's, as a file is."""
    spend(open_ledger(f"memory://{org}", org), "r")
    with pytest.raises(LedgerUnavailable, match=rf"memory://{org} is the ledger .* use another name"):
        posted(open_ledger(f"memory://{org}", "others"))


@pytest.mark.parametrize("url", ["memory:///file.db", "memory://a/b", "memory://a?b=c", "memory://a b"])
def test_what_is_no_name_is_refused(url, org):
    """The error says how it is written."""
    with pytest.raises(LedgerUnavailable, match="write memory://name"):
        open_ledger(url, org)


FORK = """
import os, signal, sys, threading
from governor.errors import LedgerUnavailable
from governor.ledger import commands as c, open_ledger

ledger = open_ledger("memory://shared", "org")
ledger.execute(c.ListBalances())
stop = threading.Event()
def work():
    while not stop.is_set():
        ledger.execute(c.ListBalances())
busy = threading.Thread(target=work)
busy.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        for tried in (ledger, open_ledger("memory://shared", "org")):
            try:
                tried.execute(c.ListBalances())
            except LedgerUnavailable as error:
                assert f"process {os.getppid()}, which forked" in str(error) and "sqlite:///" in str(error)
            else:
                sys.exit(3)
            tried.close()
        open_ledger("memory://own", "org").execute(c.ListBalances())
        sys.exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        break
stop.set()
busy.join()
ledger.execute(c.ListBalances())
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_refused(tmp_path):
    """It would have every limit for itself; it may have a ledger of its own, and ends in good order."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert (ran.stdout, ran.stderr) == ("0\n", "")
