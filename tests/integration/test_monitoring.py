"""Prometheus' rules and Grafana's dashboard: checked by promtool, and by Prometheus itself."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import tomllib
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ..needs import need_program
from . import gateways
from .conftest import Connect
from .processes import BIN, PATIENCE, Programs, can_connect, free_port, wait_until
from .test_listening_places import make_certificate

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
ALERTS = (PROMETHEUS / "alerts.yml").read_text()
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

TOKEN = "a-token"

_OF_GRAFANA = {"$__rate_interval": "5m", "$job": "wsservice", "$instance": ".*"}
"""The values that Grafana puts in the place of variables in a query."""


def promtool(*arguments: str | Path) -> str:
    """Run promtool in the folder of the rules, and return its output."""
    program = need_program("promtool")
    done = subprocess.run(
        [program, *map(str, arguments)],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def with_token(configuration: str, folder: Path) -> str:
    """The configuration, with a token where it finds one."""
    token = folder / "wsservice.token"
    token.write_text(TOKEN)
    (documented,) = re.findall(r"credentials_file: (\S+)", configuration)
    return configuration.replace(documented, str(token))


def test_the_configuration_and_its_rules_are_in_order(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(with_token((PROMETHEUS / "prometheus.yml").read_text(), tmp_path))
    (tmp_path / "alerts.yml").write_text(ALERTS)
    said = promtool("check", "config", file)
    alerts = (PROMETHEUS / "alerts.yml").read_text().count("- alert: ")
    assert f"{alerts} rules found" in said


def test_each_alert_is_given_where_it_should_be_and_only_there() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_each_alert_is_tested_both_ways_and_says_what_to_do() -> None:
    rules = (PROMETHEUS / "alerts.yml").read_text()
    names = re.findall(r"- alert: (\w+)", rules)
    assert len(names) == len(set(names)) > 8
    tests = (PROMETHEUS / "alerts.test.yml").read_text()
    well, _, wrong = tests.partition("- name: nothing answers")
    assert re.findall(r"alertname: (\w+)", well) == names
    assert set(re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts", wrong)) == set(names)
    for each in ("severity: ", "summary: ", "description: "):
        assert rules.count(f" {each}") == len(names)


def queries() -> list[str]:
    """Return the queries of the dashboard, in the form that Grafana sends."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for name, value in _OF_GRAFANA.items():
        asked = [each.replace(name, value) for each in asked]
    return asked


def test_each_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": each} for number, each in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_dashboard_is_one_that_can_be_imported_anywhere() -> None:
    assert DASHBOARD["title"] == DASHBOARD["uid"] == "wsservice"
    assert "id" not in DASHBOARD  # which is one database's
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {variables[name]["datasource"]["uid"] for name in ("job", "instance")} == {
        "${datasource}"
    }
    for panel in PANELS:
        assert panel["datasource"] == source
        assert [target["datasource"] for target in panel["targets"]] == [source] * len(
            panel["targets"]
        )
    text = json.dumps(DASHBOARD)
    assert "://" not in text
    assert "localhost" not in text
    named = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
    assert named == set(variables)


def test_its_panels_have_names_and_places_of_their_own() -> None:
    for field in ("id", "title"):
        values = [panel[field] for panel in PANELS]
        if field == "id":
            assert len(values) == len(set(values))
        assert all(values)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def asked_for(text: str) -> set[str]:
    """The names of series that a query, or a file of rules, asks for."""
    return set(re.findall(r"\b(?:wsservice|process)_\w+", text))


def answer(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        assert response.status == 200, path
        return response.read()
    finally:
        connection.close()


def watched(programs: Programs) -> tuple[int, int]:
    """The ports of a service, and of its admin face."""
    secret = programs.folder / "webhook.secret"
    secret.touch(0o600)
    secret.write_text("s3cret")
    token = programs.folder / "admin.token"
    token.touch(0o600)
    token.write_text(TOKEN)
    server = programs.twistd(
        *("--port", "0", "--admin", "tcp:0:interface=127.0.0.1", "--history", "10"),
        *("--webhook", f"http://127.0.0.1:{free_port()}/", "--webhook-secret-file", str(secret)),
        *("--admin-token-file", str(token)),
    )
    ports = server.log.wait_for_ports(2)
    metrics = [port for port in ports if is_well(port, "/healthz")]
    assert len(metrics) == 1
    (public,) = set(ports) - set(metrics)
    return public, metrics[0]


def is_well(port: int, path: str) -> bool:
    """Return True if a probe succeeds."""
    try:
        answer(port, path)
    except AssertionError:
        return False
    return True


def test_what_alerts_and_dashboard_ask_for_is_there(programs: Programs, connect: Connect) -> None:
    port, admin = watched(programs)
    assert connect(port).receive() == "Hello from server"
    # What is there with a broker or TLS only, or without a broker only.
    key, certificate = make_certificate(programs.folder)
    server = programs.start(
        *(BIN / "twistd", "-n", "--pidfile=", "wsdemo", "--port", "0"),
        *("--tls-cert", certificate, "--tls-key", key),
        *("--admin", "tcp:0:interface=127.0.0.1"),
        *("--broker", f"redis://127.0.0.1:{free_port()}", "--inbox", "from-clients"),
    )
    (another,) = (each for each in server.log.wait_for_ports(2) if is_well(each, "/healthz"))
    families = [
        family
        for port in (admin, another)
        for family in text_string_to_metric_families(answer(port, "/metrics").decode())
    ]
    there = {sample.name for family in families for sample in family.samples}
    # Those with a label that nothing has had yet.
    there |= {f"{family.name}_total" for family in families if family.type == "counter"}
    rules = "\n".join(re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", ALERTS, re.DOTALL))
    for text in (rules, *queries()):
        assert asked_for(text) <= there
    assert len(asked_for(rules)) > 10
    labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    for name, label in (
        ("wsservice_messages_total", "direction"),
        ("wsservice_octets_total", "direction"),
        ("wsservice_slow_clients_total", "policy"),
        ("wsservice_closes_total", "code"),
    ):
        assert labels[name] == {label}


def test_prometheus_itself_watches_the_service(programs: Programs, connect: Connect) -> None:
    prometheus = need_program("prometheus")
    port, admin = watched(programs)
    client = connect(port)
    assert client.receive() == "Hello from server"
    (programs.folder / "alerts.yml").write_text(ALERTS)
    configuration = (PROMETHEUS / "prometheus.yml").read_text()
    settings = tomllib.loads((DEPLOY / "ws.toml").read_text())
    assert settings["admin"].split(":")[1] == "8081"
    for documented, here in (("127.0.0.1:8081", f"127.0.0.1:{admin}"), ("15s", "200ms")):
        assert configuration.count(documented) == 1
        configuration = configuration.replace(documented, here)
    (programs.folder / "prometheus.yml").write_text(with_token(configuration, programs.folder))
    listening = free_port()
    started = programs.start(
        *(prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data"),
        f"--web.listen-address=127.0.0.1:{listening}",
    )
    wait_until(lambda: can_connect(listening), "Prometheus to listen")
    wait_until(lambda: is_well(listening, "/-/ready"), "Prometheus to be ready")
    assert started.process.poll() is None

    def found(query: str) -> list[Any]:
        text = answer(listening, f"/api/v1/query?query={urllib.parse.quote(query)}")
        result: list[Any] = json.loads(text)["data"]["result"]
        return result

    wait_until(lambda: found('up{job="wsservice"} == 1'), "a scrape that succeeds")
    wait_until(
        lambda: (
            found("changes(wsservice_messages_total[1m])")
            and found("count_over_time(wsservice_connections[1m]) > 3")
        ),
        "more of them",
    )
    # Of a ratio that cannot be, and of what has not happened yet, nor a broker, there is nothing.
    asked = [each for each in queries() if not re.search("_(broker|inbox)_", each)]
    silent = [each for each in asked if not found(each.replace("[5m]", "[1m]"))]
    assert all("refusals" in each for each in silent), silent
    assert found('wsservice_connections{job="wsservice"} == 1')
    alerts = json.loads(answer(listening, "/api/v1/alerts"))["data"]["alerts"]
    # Before the first scrape there was nothing to watch.
    assert [each for each in alerts if each["state"] == "firing"] == []


@pytest.mark.parametrize(("path", "is_refused"), [("/health", False), ("/", True)])
def test_the_shipped_checks_cause_no_alert(programs: Programs, path: str, is_refused: bool) -> None:
    prometheus = need_program("prometheus")
    port, front, token = free_port(), free_port(), programs.folder / "admin.token"
    token.touch(0o600)
    token.write_text(TOKEN)
    server = programs.twistd(
        *("--listen", f"haproxy:tcp:{port}:interface=127.0.0.1", "--health-path", "/health"),
        *("--admin", "tcp:0:interface=127.0.0.1", "--admin-token-file", token),
    )
    (admin,) = (each for each in server.log.wait_for_ports(2) if each != port)
    key, certificate = make_certificate(programs.folder)
    (programs.folder / "site.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    shipped = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    configuration = (PROMETHEUS / "prometheus.yml").read_text()
    rules = ALERTS
    for documented, here in (
        (":8443", f"127.0.0.1:{front}"),
        ("server local 127.0.0.1:8080", f"server local 127.0.0.1:{port}"),
        ("inter 2s", "inter 100ms"),
        ("httpchk GET /health", f"httpchk GET {path}"),
    ):
        assert shipped.count(documented) == 1
        shipped = shipped.replace(documented, here)
    # The same rules, by the second.
    rules = re.sub(r"\[(\d+)m\]", "[3s]", rules)
    rules = re.sub(r"for: (\d+)m", "for: 1s", rules)
    (programs.folder / "alerts.yml").write_text(rules)
    configuration = configuration.replace("127.0.0.1:8081", f"127.0.0.1:{admin}")
    configuration = configuration.replace("15s", "200ms")
    configuration = f"global: {{evaluation_interval: 200ms}}\n{configuration}"
    (programs.folder / "prometheus.yml").write_text(with_token(configuration, programs.folder))
    gateways.started(gateways.haproxy(programs, shipped), front)
    listening = free_port()
    programs.start(
        *(prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data"),
        f"--web.listen-address=127.0.0.1:{listening}",
    )
    wait_until(lambda: can_connect(listening), "Prometheus to listen")
    wait_until(lambda: is_well(listening, "/-/ready"), "Prometheus to be ready")

    def found(query: str) -> list[Any]:
        text = answer(listening, f"/api/v1/query?query={urllib.parse.quote(query)}")
        result: list[Any] = json.loads(text)["data"]["result"]
        return result

    def fired(name: str) -> bool:
        return bool(found(f'ALERTS{{alertname="{name}", alertstate="firing"}}'))

    checks = "increase(wsservice_connections_accepted_total[3s])"
    if is_refused:
        wait_until(lambda: fired("WsserviceHandshakesFailing"), "the alert on refusals")
        return
    # By then the alert would be there, as it is for the other path.
    wait_until(lambda: found(f"count_over_time(({checks} > 10)[6s:200ms]) > 20"), "many checks")
    assert not fired("WsserviceHandshakesFailing")
    assert not fired("WsserviceRefusing")
    assert found("sum(wsservice_refusals_total) == 0")
    # A check is no line of the log.
    assert "health check" not in server.log.text
