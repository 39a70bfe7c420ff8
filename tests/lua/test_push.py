"""The script of pushed policies by itself: its fields, field by field, and its replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.lua_server import LATER_MS, NOW_MS

from governor.ledger import commands as c
from governor.ledger.policies import KEPT_TEXTS

if TYPE_CHECKING:
    from support.lua_server import Server

FILES = {"team.yaml": "version: 1\n"}


def test_the_replies_of_push(ledger: Server) -> None:
    """Pushed, repeated, overtaken and conflict; an overtaken push based on what was lost names nobody."""
    about = f"{NOW_MS} p1 push abc 0 {{}}"
    push = c.PushPolicies("p1", 0, FILES, "abc")
    assert ledger.run(push) == ["pushed", "1", about]
    assert ledger.run(push, str(LATER_MS)) == ["pushed", "1", about]
    assert ledger.run(c.PushPolicies("p1", 0, FILES, "other")) == ["conflict"]
    assert ledger.run(c.PushPolicies("p2", 0, FILES, "abc")) == ["overtaken", "1", about]
    ledger.client.delete(ledger.keys.policies)
    assert ledger.run(c.PushPolicies("p2", 1, FILES, "abc")) == ["overtaken", "0", ""]


def test_what_is_kept_of_a_version(ledger: Server) -> None:
    """The hash has the newest version, and of each who made it, its texts and its operation."""
    push = c.PushPolicies("p1", 0, FILES, "abc", '{"v":1}')
    withdraw = c.PushPolicies("w", 1, {})
    ledger.run(push)
    ledger.run(withdraw, str(LATER_MS))
    assert ledger.client.hgetall(ledger.keys.policies) == {
        "head": "2 w",
        "about:1": f'{NOW_MS} p1 push abc 0 {{"v":1}}',
        "about:2": f"{LATER_MS} w withdraw - 0 {{}}",
        "text:1": '{"team.yaml":"version: 1\\n"}',
        "text:2": "",
        "op:p1": f"{push.payload()} 1",
        "op:w": f"{withdraw.payload()} 2",
    }


def test_old_texts_go_one_with_each_push(ledger: Server) -> None:
    """However often is pushed, the hash holds so many texts."""
    for base in range(KEPT_TEXTS + 3):
        ledger.run(c.PushPolicies(f"p{base}", base, FILES))
    fields = ledger.client.hkeys(ledger.keys.policies)
    texts = sorted(int(field.removeprefix("text:")) for field in fields if field.startswith("text:"))
    assert texts == list(range(4, KEPT_TEXTS + 4))
