"""`attribute` says its part where its context goes, and nowhere else, however it is entered and left."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

import governor
from governor import PolicyViolation
from governor.clients import attribution


def user():
    """Who is said to ask here; `None` outside of any `attribute`."""
    scope = attribution.current()
    return None if scope is None else scope.part("user")


def test_one_attribute_may_be_entered_by_many_tasks_at_once():
    """They leave in another order than they came, each in its own context."""
    shared, left_with = governor.attribute(user="shared"), []

    async def stay(entered, until, left):
        with shared:
            entered.set()
            await until.wait()
        left_with.append(user())
        left.set()

    async def both():
        first, second, left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        await asyncio.gather(stay(first, second, left), stay(second, left, asyncio.Event()))

    asyncio.run(both())
    assert left_with == [None, None]


def test_an_attribute_may_be_left_in_another_context_than_it_was_entered_in():
    """As frameworks do that run the halves of a dependency in threads: it stays where it was entered."""
    half, entered, elsewhere = governor.attribute(user="half"), copy_context(), copy_context()
    entered.run(half.__enter__)
    elsewhere.run(half.__exit__, None, None, None)
    assert (entered.run(user), elsewhere.run(user), user()) == ("half", None, None)
    entered.run(half.__exit__, None, None, None)
    assert entered.run(user) is None


def test_attributes_left_in_another_order_leave_nothing_behind():
    """What was entered last holds until it is left itself; then what is around is back."""
    outer, inner = governor.attribute(user="outer"), governor.attribute(user="inner")
    with governor.attribute(user="around"):
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        assert user() == "inner"
        inner.__exit__(None, None, None)
        assert user() == "around"
    assert user() is None


def test_a_generator_is_not_decorated():
    """Its body runs where it is read, outside of the call: it would be nobody's, so it is refused at once."""

    def parts():
        yield 1

    async def parts_in_a_task():
        yield 1

    for function in (parts, parts_in_a_task):
        with pytest.raises(PolicyViolation, match="is a generator"):
            governor.attribute(user="u")(function)
