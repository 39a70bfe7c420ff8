"""The shipped rules leave ordinary weeks in peace, and tell each of twelve incidents soon, by its cause."""

from __future__ import annotations

from copy import deepcopy

import pytest
from support.fortnight import DAY_MS, MINUTE_MS, MONDAY_MS, Fortnight
from support.incidents import AFTER_DAYS, INCIDENTS, TUESDAY_MS

from governor.journal.alerts.reading import read_rules
from governor.journal.alerts.watch import Watch

MOST_IN_A_FORTNIGHT = 2


def watched(watch, entries, until_ms):
    """The alerts that were raised over these records, and when."""
    changes = []
    for entry in entries:
        changes += watch.tick(entry.at_ms)
        watch.take(entry)
    changes += watch.tick(until_ms)
    return [change for change in changes if change.kind == "raised"]


def said(raised):
    """Alerts in words, for whoever reads a failure."""
    return [
        f"{(one.at_ms - TUESDAY_MS) / MINUTE_MS:+.0f} min {one.alert.cause}: {one.alert.title} "
        f"[{', '.join(symptom.rule for symptom in one.alert.symptoms)}]"
        for one in raised
    ]


def names(alert):
    """Everybody that an alert names."""
    return {share.name for share in alert.behind} | {
        name for symptom in alert.symptoms for _, name in symptom.subject
    }


@pytest.fixture(scope="module")
def ordinary():
    """A life and its watch after a fortnight and a day; and the alerts so far."""
    life, watch = Fortnight(), Watch(read_rules(None))
    raised = watched(watch, life.entries(AFTER_DAYS), TUESDAY_MS)
    return life, watch, raised


def test_an_ordinary_fortnight_is_quiet(ordinary):
    """Four teams' fortnight raises at most two alerts, from its first day on."""
    _, _, raised = ordinary
    fortnight = [one for one in raised if one.at_ms <= MONDAY_MS + 14 * DAY_MS]
    assert len(fortnight) <= MOST_IN_A_FORTNIGHT, said(fortnight)


@pytest.mark.deep
def test_each_incident_is_told_soon_once_and_by_its_cause(ordinary, subtests):
    """Within two evaluation periods of being evident there is one alert, with the right cause and name."""
    life, watch, now_ms = ordinary[0].copy(), deepcopy(ordinary[1]), TUESDAY_MS
    for incident in sorted(INCIDENTS, key=lambda one: one.eve_ms):  # the day until then is lived once
        hours = life.entries((incident.eve_ms - now_ms) / DAY_MS, start_ms=now_ms)
        watched(watch, hours, incident.eve_ms)
        now_ms = incident.eve_ms
        with subtests.test(incident.name):
            mine, again = life.copy(), deepcopy(watch)
            end_ms = incident.began_ms + incident.length_ms
            raised = watched(again, incident.entries(mine), end_ms + 60 * MINUTE_MS)
            raised = [one for one in raised if one.at_ms >= incident.began_ms]
            assert len(raised) == 1, said(raised)
            alert = raised[0].alert
            assert alert.cause in incident.causes, said(raised)
            assert raised[0].at_ms <= incident.evident_ms + 2 * watch.rules.every_ms, said(raised)
            assert incident.behind in names(alert), sorted(names(alert))
