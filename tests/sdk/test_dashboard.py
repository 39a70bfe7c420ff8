"""Every query of the Grafana dashboard, on a real Prometheus that scrapes a governed load."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from support.governed import HAIKU, OPUS, SONNET, department, until
from support.prometheus import NO_PROMETHEUS, PROMETHEUS, Prometheus
from support.stages import once

from governor import GovernorError
from governor.telemetry import Telemetry
from governor.testing import Reply, overloaded, rate_limited

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana" / "claude-governor.json"
USD = "department=team/usd/life"
LIMIT = 10_000_000_000
VARIABLES = {
    "$department": ".*",
    "$__rate_interval": "1m",
    "$__range": "5m",
    "${datasource}": "prometheus",
}
TEAM = department(
    {"per": "department", "usd": 10, "window": "life"},
    {"per": "department", "concurrent": 1},
    routing={"when_contended": {"max_wait": 20}},
    thresholds={"80%": {"downgrade": "haiku"}, "100%": "block"},
    features={"chat": {}, "review": {}},
)


def queries():
    """Every query of the dashboard with its panel's title, its variables filled in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    for panel in panels:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            yield panel["title"], expression


@pytest.fixture
def scraped():
    """A meter provider, and the port on which Prometheus finds what it was told."""
    registry = CollectorRegistry()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield provider, server.server_port, registry
    server.shutdown()
    server.server_close()
    thread.join()
    provider.shutdown()


def load(stage, caller):
    """Calls of every kind: served, downgraded, refused, pushed back, waiting, from the cache."""
    stage.api.next(Reply(text="as before", usage={"cache_read_input_tokens": 10}))
    caller.call(feature="chat", model="opus")
    stage.api.inject(rate_limited(retry_after=0.001), overloaded())
    caller.call(feature="review", model="opus")
    stage.api.next(Reply(text="slowly", event_delay_ms=60))
    slow = caller.start(feature="chat", model="sonnet")
    until(stage.holds)
    caller.call(feature="chat", model="sonnet")
    slow.result()
    with suppress(GovernorError):
        caller.call(feature="nosuch")


@once
@pytest.mark.skipif(PROMETHEUS is None, reason=NO_PROMETHEUS)
def test_every_query_of_the_dashboard_finds_what_the_ledger_has(stage, scraped, tmp_path):
    """Each finds data; calls, cost and balances are the ledger's to the last digit that a dashboard has."""
    provider, port, _ = scraped
    stage.clock = None
    caller = stage.governor(TEAM, telemetry=Telemetry(meter_provider=provider))
    with Prometheus(tmp_path, port) as prometheus:
        load(stage, caller)
        until(lambda: prometheus.value("sum(governor_calls_total)") == 5, 60)
        load(stage, caller)
        stage.spend(USD, LIMIT * 85 // 100, LIMIT)
        caller.call(feature="chat", model="opus")
        stage.spend(USD, LIMIT - stage.posted(USD), LIMIT, name="the-rest")
        with suppress(GovernorError):
            caller.call(feature="chat")
        until(lambda: prometheus.value("sum(governor_calls_total)") == 12, 60)
        empty = [(title, query) for title, query in queries() if not _finds(prometheus, query)]
        assert empty == []
        cost = sum(
            json.loads(one.record)["cost_nanos"] for one in stage.journal("settle") if "v" in one.record
        )
        assert prometheus.value("sum(governor_cost_USD_total)") == pytest.approx(cost / 1e9, abs=1e-12)
        by_model = prometheus.query("sum by (governor_model) (governor_cost_USD_total) > 0")
        assert {one["metric"]["governor_model"] for one in by_model} == {OPUS, SONNET, HAIKU}
        budget = f'{{governor_budget="{USD}"}}'
        assert prometheus.value(f"governor_budget_posted_USD{budget}") == stage.posted(USD) / 1e9 == 10
        assert prometheus.value(f"governor_budget_utilization{budget}") == 1
        blocked = prometheus.query('governor_calls_total{governor_state="blocked"}')
        assert {one["metric"]["governor_reason"]: one["value"][1] for one in blocked} == {
            "policy": "2",
            "exhausted": "1",
        }


def _finds(prometheus, query):
    found = prometheus.query(query)
    return bool(found) and any(math.isfinite(float(one["value"][1])) for one in found)


@once
@pytest.mark.skipif(shutil.which("promtool") is None, reason=NO_PROMETHEUS)
def test_what_is_exposed_is_as_prometheus_wants_it(stage, scraped):
    """`promtool check metrics` finds no error in what a scrape is answered."""
    provider, _, registry = scraped
    stage.governor(TEAM, telemetry=Telemetry(meter_provider=provider)).call(feature="chat")
    exposed = generate_latest(registry)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed, capture_output=True, check=False
    )
    told = [line for line in checked.stderr.decode().splitlines() if "governor" in line or "gen_ai" in line]
    assert b"governor_calls_total" in exposed
    assert [line for line in told if "no help text" not in line and "non-base unit" not in line] == []
