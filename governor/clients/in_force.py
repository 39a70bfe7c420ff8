"""Which policies are in force in a process, and the looks that find newer ones.

A call goes by one version from its start to its end: it is given a `House` with the policies of that moment.
Looks are made in a thread of their own, at most one at a time and only while there are calls, so that
neither a slow disk nor a slow ledger delays a call. Two calls do wait: the first one of a process, which must
not begin with policies that the ledger has replaced, and, for a moment, one that comes after long silence.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from governor.clients.sources import PushedPolicies
from governor.errors import GovernorError, LedgerDown, LedgerUnavailable, PolicyError, PolicyViolation
from governor.ledger.forks import renew_in_children
from governor.story.outage import may_go_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.clients.sources import Accept, PolicyFiles
    from governor.ledger import Ledger
    from governor.policy import Policies
    from governor.story.request import House, Request

log = logging.getLogger("governor")

LOOK_EVERY_S = 2.0
"""How old a look may be before the next call starts another one."""

STALE_AFTER_S = 30.0
"""A call that finds the last look older than this waits for the next one, but not for long."""

WAIT_S = 1.0
"""For how long."""

AGAIN_S = 0.1
"""Before the ledger is asked a second time at the first call."""


class InForce:
    """The policies in force.

    Args:
        house: With the policies to begin with.
        files: Where they come from; `None`: from nowhere but the ledger, or they are given and stay.
        reload: Whether to look for newer ones after the first call.
        monotonic: Seconds by a clock that never goes back.

    Attributes:
        house: What a request consults that begins now.
    """

    def __init__(
        self,
        house: House,
        files: PolicyFiles | None = None,
        *,
        reload: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.house = house
        self._first_house = house  # kept: what a fork must clear hangs on it
        self._files = files
        self._reload = reload
        self._now = monotonic
        self._pushed: PushedPolicies | None = None
        self._own: Ledger | None = None
        self._known = True
        self._failed: LedgerUnavailable | None = None
        self._failures = 0
        self._unsaid = ""
        self._began_s = self._ended_s = monotonic()
        self._closed = False
        self._renew()
        renew_in_children(self._renew)

    def ask(self, ledger: Ledger, accept: Accept, *, own: bool) -> None:
        """Look at this ledger too, for policies that were pushed; with *own* `close` closes it."""
        self._pushed = PushedPolicies(ledger, self.house.policies.organization, accept)
        self._own = ledger if own else None
        self._known = False

    @property
    def must_wait(self) -> bool:
        """Whether the next call waits for a look, which an event loop must not do."""
        return not self._known or (self._looks and self._age_s() >= STALE_AFTER_S)

    def house_for(self, request: Request | None) -> House:
        """What a request consults, from its start to its end; `None`: what is read concerns no one request.

        Raises:
            LedgerUnavailable: At the first call, where it cannot be known which policies are in force, and
                the files let no call go without the ledger.
            PolicyViolation: The process has no files, and nothing was pushed.
        """
        if not self._known:
            self._first_look(request)
        elif self._looks and self._age_s() >= LOOK_EVERY_S:
            stale = self._age_s() >= STALE_AFTER_S
            thread = self._start()
            if stale and thread is not None:
                thread.join(max(0.0, self._began_s + WAIT_S - self._now()))
        if self._files is None and self._pushed is not None and self._pushed.policies is None:
            raise self._nothing(self._pushed)
        return self.house

    def reload(self) -> Policies:
        """Look now, and wait for it; returns the policies in force.

        Raises:
            PolicyError: The new files, or what was pushed, are broken; the old policies stay.
            LedgerUnavailable: The ledger does not say what was pushed; the old policies stay.
        """
        with self._looking:
            self._look(force=True)
        self._known = True
        return self.house.policies

    def close(self) -> None:
        """Wait for a look under way; no other begins."""
        self._closed = True
        self.join()
        if self._own is not None:
            self._own.close()

    def join(self) -> None:
        """Wait for a look under way."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _renew(self) -> None:
        """Begin anew, as a forked child does: locks may be held by threads that are not there."""
        self._looking = threading.Lock()
        self._first = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def _looks(self) -> bool:
        return self._reload and not (self._files is None and self._pushed is None)

    def _age_s(self) -> float:
        return self._now() - self._ended_s

    def _nothing(self, pushed: PushedPolicies) -> PolicyViolation:
        if pushed.broken:
            return PolicyViolation(
                f"no policies are in force: this release cannot read those that were pushed:\n{pushed.broken}"
            )
        return PolicyViolation(
            f"no policies are in force: none were pushed to the ledger of "
            f"{self.house.policies.organization!r}, or they were withdrawn, and this process has no files; "
            "run `governor policy push PATH --reason …`"
        )

    def _first_look(self, request: Request | None) -> None:
        """Ask the ledger before the first call is decided; while it cannot be asked, before each one.

        A call that may go without the ledger does not wait for it longer than it would to be held.
        """
        lenient, failures = self._may_go_without(request), self._failures
        if not self._first.acquire(blocking=not (lenient and self._failed)):
            return
        try:
            if self._known:
                return
            error = self._failed
            if self._failures == failures:  # else it failed while this call waited
                error = self._ask_first(lenient)
        finally:
            self._first.release()
        if error is not None and (self._files is None or lenient is False):
            raise error

    def _ask_first(self, lenient: bool | None) -> LedgerUnavailable | None:
        """Look, and once more where no answer came; returns why there is still none."""
        breaker, failed = self.house.breaker, self._failed
        if not breaker.turn() and lenient:
            return failed
        try:
            self._look_twice()
        except LedgerUnavailable as error:
            if isinstance(error, LedgerDown):
                breaker.away(error)
            else:
                breaker.there()
            self._failed, self._failures = error, self._failures + 1
            self._tell(error)
            return error
        breaker.there()
        self._known, self._failed = True, None
        return None

    def _look_twice(self) -> None:
        with self._looking:
            try:
                self._look(first=True)
            except LedgerDown:
                time.sleep(AGAIN_S)
                self._look(first=True)

    def _may_go_without(self, request: Request | None) -> bool | None:
        """Whether the files let a call go without the ledger; `None` where they refuse it, or it is none."""
        if request is None:
            return None
        house = self.house
        try:
            rules = house.policies.rules(request.who)
        except GovernorError:
            return None
        return may_go_without(house, rules)

    def _start(self) -> threading.Thread | None:
        """Look in a thread of its own, unless one is under way; returns the thread."""
        with self._starting:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return self._thread
            self._began_s = self._now()
            thread = threading.Thread(target=self._in_passing, name="governor-policies", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                return None
            self._thread = thread
            return thread

    def _in_passing(self) -> None:
        try:
            with self._looking:
                self._look()
        except Exception:
            log.exception("the look for newer policies failed; those in force stay")
            self._ended_s = self._now()

    def _look(self, *, first: bool = False, force: bool = False) -> None:
        """Look at both sources, and put in force what they say; the caller holds `_looking`.

        Errors are logged, and the old policies stay; with *force* they are raised. With *first* the ledger's
        is, if it is away or there are no files: else a right lacks, or the call itself meets the same.
        """
        if self._pushed is not None:
            self._look_at_ledger(self._pushed, first=first, force=force)
        newest = None if self._pushed is None else self._pushed.policies
        if newest is None and self._files is not None:
            if force or self._reload:
                self._look_at_files(self._files, force=force)
            newest = self._files.policies
        newest = newest or self._first_house.policies
        if newest is not self.house.policies:
            self.house = replace(self._first_house, policies=newest)
        self._ended_s = self._now()

    def _look_at_ledger(self, pushed: PushedPolicies, *, first: bool, force: bool) -> None:
        try:
            pushed.look(force=force)
        except PolicyError as error:
            if force:
                raise
            log.error("The policies pushed to the ledger are not taken over; the old ones stay:\n%s", error)  # noqa: TRY400 - the problems say it all
        except LedgerUnavailable as error:
            if force or (first and (isinstance(error, LedgerDown) or self._files is None)):
                raise
            self._tell(error)
            return
        self._unsaid = ""

    def _look_at_files(self, files: PolicyFiles, *, force: bool) -> None:
        try:
            files.look(force=force)
        except PolicyError as error:
            if force:
                raise
            log.error("The policy files are not taken over; the old policies stay:\n%s", error)  # noqa: TRY400 - as above

    def _tell(self, error: LedgerUnavailable) -> None:
        """Say once that the ledger does not tell what was pushed, until it does or says another thing."""
        if str(error) == self._unsaid:
            return
        self._unsaid = str(error)
        level = logging.WARNING if isinstance(error, LedgerDown) else logging.ERROR
        log.log(
            level, "the ledger does not say which policies were pushed; those in force here stay: %s", error
        )
