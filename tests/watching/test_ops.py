"""What stands in ops/ is of use: it can be read, and asks for nothing that a scrape does not have."""

import json
import re
from urllib.request import Request, urlopen

import pytest
import yaml
from factories import ROOT, make_license
from one_server import *  # noqa: F403
from promql import wrong_with
from scraping import parse

from service import operator
from service.config import NAMES
from service.db import Database

OPS = ROOT / "ops"


def rules():
    (group,) = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    return group["rules"]


def panels():
    return [panel for panel in json.loads((OPS / "grafana-dashboard.json").read_text())["panels"] if "targets" in panel]


EXPRESSIONS = [(rule["alert"], rule["expr"]) for rule in rules()] + [
    (panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]
]


@pytest.fixture(scope="module")
def labels_of(served, urls, sandboxed):
    """The names of the labels of each sample of a real scrape, through a token as compose.yaml's Prometheus does."""
    owner = Database(urls.owner, pool_size=1, wait_s=5)
    headers = make_license(owner, credits=10_000).headers
    token = operator.create_token(owner, name="prometheus", scopes=["read"]).token
    owner.close()
    for body in ({"prompt": "Hello"}, {"prompt": "[sandbox status=500]"}):
        served.post("/api/v1/generate", json.dumps(body).encode(), headers)
    scraped = Request(
        served.url + "/metrics", headers={"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.7"}
    )
    with urlopen(scraped, timeout=10) as response:
        figures = parse(response.read())
    return {name: {label for labels in samples for label, _ in labels} for name, samples in figures.items()}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_expression_asks_for_what_there_is(where, expression, labels_of):
    assert wrong_with(expression, labels_of) == []


@pytest.mark.parametrize(
    "expression",
    [
        "obol_no_such_metric > 1",
        "sum(rate(obol_requests_total[5m])",
        "sum(rate(obol_requests_total[5m])))",
        "rate(obol_requests_total)",
        "rate(obol_threads_busy[5m])",
        'obol_requests_total{license_id="x"}',
        "sum by (license_id) (obol_requests_total)",
        "sum obol_requests_total",
        "1 [5m]",
        "obol_threads_busy; DROP",
    ],
)
def test_an_expression_that_does_not_is_found(expression, labels_of):
    assert wrong_with(expression, labels_of)


def test_every_alert_says_what_to_do():
    told = [rule["alert"] for rule in rules()]
    assert len(set(told)) == len(told)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


@pytest.mark.parametrize(
    "metric",
    [
        "obol_lease_age_seconds",
        "obol_upstream_refuses_us_total",
        "obol_undelivered_total",
        "obol_shortfall_credits_total",
        "obol_operator_loss_total",
        "obol_requests_total",
        "obol_pool_wait_seconds_bucket",
        "obol_hold_oldest_seconds",
        "obol_wrong_revision",
    ],
)
def test_what_can_cost_money_or_sleep_has_an_alert(metric):
    assert any(metric in rule["expr"] for rule in rules())


def test_every_metric_is_on_the_dashboard(labels_of):
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in labels_of}
    assert [name for name in sorted(families) if not re.search(rf"\b{name}(_bucket|_count)?\b", shown)] == []


def test_the_dashboard_s_panels_lie_beside_each_other():
    taken = set()
    for panel in json.loads((OPS / "grafana-dashboard.json").read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_compose_opens_nothing_but_to_the_machine_and_names_settings_that_there_are():
    compose = yaml.safe_load((OPS / "compose.yaml").read_text())
    services = compose["services"]

    assert {"obol", "postgres", "prometheus", "grafana"} <= set(services)
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (OPS / source).is_file(), volume
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert {config["source"] for config in service.get("configs", [])} <= set(compose["configs"])
        assert set(service.get("depends_on", {})) <= set(services)
    ours = {name for name in services["obol"]["environment"] if name.startswith("OBOL_")}
    assert ours
    assert ours <= set(NAMES)
    for config in compose["configs"].values():
        assert yaml.safe_load(config["content"])["apiVersion"] == 1


def test_prometheus_is_told_where_obol_and_the_rules_are():
    compose = yaml.safe_load((OPS / "compose.yaml").read_text())
    told = yaml.safe_load((OPS / "prometheus.yml").read_text())
    (job,) = told["scrape_configs"]

    assert told["rule_files"] == ["alerts.yml"]
    assert (job["job_name"], job["metrics_path"]) == ("obol", "/metrics")
    assert job["authorization"]["credentials_file"].removeprefix("/run/secrets/") in compose["secrets"]
    (target,) = job["static_configs"][0]["targets"]
    assert target.split(":")[0] in compose["services"]
    assert any("job" in rule["expr"] and f'"{job["job_name"]}"' in rule["expr"] for rule in rules())
