"""Alert rules, their runbooks, the dashboard and the documentation: they are valid, and every metric that they name is one of a real node."""

import json
import os
import re
import socket
import subprocess

import pytest

from authority import Authority
from key_server import Key, KeyServer
from roadstead import Server, command_line, free_port, wait_until

pytestmark = [pytest.mark.once]

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
ALERTS = os.path.join(ROOT, "deploy", "alerts")
RUNBOOKS = os.path.join(ROOT, "docs", "runbooks")
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "roadstead.json")
RULES = os.path.join(ALERTS, "roadstead.yml")
METRIC = re.compile(r"(?<![\w:/-])(?:roadstead|process)_[a-z0-9_]*[a-z0-9]\b")


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def documents(folder, ending):
    """The files below a folder of the repository."""
    for parent, _, names in os.walk(os.path.join(ROOT, folder)):
        yield from (os.path.join(parent, name) for name in sorted(names) if name.endswith(ending))


def alerts():
    return re.findall(r"- alert: (\w+)", text_of(RULES))


@pytest.fixture(scope="module")
def exposition(tmp_path_factory):
    """What a node says of itself that has all that metrics are about: a fleet, certificates, keys, revocations, guards."""
    folder = tmp_path_factory.mktemp("alerts")
    certificate, key = Authority(folder).issue("localhost", "DNS:localhost")
    (folder / "key").write_text(command_line("cluster-key")[1])
    (folder / "key").chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    with KeyServer(Key(folder, "a")) as keys:
        server = Server(
            "--insecure", "--tls-cert", certificate, "--tls-key", key, "--cluster-listen", address, "--join", address,
            "--cluster-key-file", str(folder / "key"), "--set", "cluster.alone=true", "--set", f"data_dir={folder}",
            "--set", "guard.watch=true", "--set", f"token.jwks_url={keys.url}",
        )  # fmt: skip
        try:
            server.wait_ready()
            with socket.create_connection((server.host, server.port), timeout=10) as stranger:
                stranger.sendall(b"no TLS at all\r\n\r\n")
                for name in ("roadstead_guard_source{", "roadstead_jwks_age_seconds{"):
                    wait_until(lambda name=name: name in server.get("/metrics")[1], what=name)
            yield server.get("/metrics")[1]
        finally:
            server.stop()
            server.remove()


def promtool(*arguments):
    run = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return run.returncode, run.stdout + run.stderr


def test_rules_are_valid_and_fire_when_they_should():
    assert promtool("check", "rules", RULES)[0] == 0, promtool("check", "rules", RULES)[1]
    code, said = promtool("test", "rules", os.path.join(ALERTS, "tests.yml"))
    assert code == 0, said


def test_each_alert_has_a_test_and_a_runbook():
    fired = re.findall(r"- alertname: (\w+)\n.*eval_time", text_of(os.path.join(ALERTS, "tests.yml")))
    assert sorted(fired) == sorted(alerts())
    books = {name.removesuffix(".md") for name in os.listdir(RUNBOOKS)} - {"README"}
    assert books == set(alerts())
    index = text_of(os.path.join(RUNBOOKS, "README.md"))
    for name in alerts():
        assert f"[{name}]({name}.md)" in index and f"runbook: docs/runbooks/{name}.md" in text_of(RULES), name
    for book in books:
        for link in re.findall(r"\]\(([^)#]+)", text_of(os.path.join(RUNBOOKS, f"{book}.md"))):
            assert os.path.exists(os.path.join(RUNBOOKS, link)), f"{book}: {link}"


def test_what_a_node_says_is_what_prometheus_reads(exposition):
    run = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr + run.stdout


def test_the_dashboard_is_whole():
    board = json.loads(text_of(DASHBOARD))
    places = [tuple(panel["gridPos"][side] for side in "xy") for panel in board["panels"]]
    assert len(set(places)) == len(board["panels"]) == len({panel["id"] for panel in board["panels"]})
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_every_metric_that_is_named_exists(exposition):
    known = set(re.findall(r"^# TYPE (\S+) ", exposition, re.M))
    known |= {f"{name}{ending}" for name in known for ending in ("_bucket", "_sum", "_count")}
    files = [RULES, os.path.join(ALERTS, "tests.yml"), DASHBOARD, os.path.join(ROOT, "README.md"), *documents("docs", ".md")]
    unknown = {
        (os.path.relpath(path, ROOT), name) for path in files for name in METRIC.findall(text_of(path)) if name not in known
    }
    assert unknown == set()
