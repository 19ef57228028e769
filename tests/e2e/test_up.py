"""`regrasp up` brings up the graph that docs/graph.md describes, and takes it down again, however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import rclpy
from rclpy.context import Context

from regrasp.graph_page import page
from regrasp.loopback import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
IP = f"127.{10 + os.getpid() // 250 % 200}.{os.getpid() % 250 + 1}.11"
UP_S = 90.0
FOREIGN = ("/rosout", "/parameter_events", "transition_event")


@contextmanager
def brought_up(out, domain):
    """`regrasp up` in a process of its own; yields it and a function that waits for words on its console."""
    command = [
        sys.executable, "-m", "regrasp.cli", "up", "--policy", "sway", "--ip", IP, "--control-port", str(free_port()),
        "--domain", str(domain), "--out", str(out),
    ]  # fmt: skip
    console = out / "console.txt"
    out.mkdir()
    with console.open("w") as words, subprocess.Popen(command, stdout=words, stderr=words) as process:

        def wait_for(text):
            until = time.monotonic() + UP_S
            while text not in console.read_text():
                assert process.poll() is None, console.read_text()
                assert time.monotonic() < until, console.read_text()
                time.sleep(0.05)

        try:
            yield process, wait_for, console
        finally:
            process.terminate()
            process.wait(30.0)


@contextmanager
def looker(monkeypatch, domain):
    """A node that looks at the graph."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("looker", namespace="/xarm", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def described_topics():
    """The topics of docs/graph.md: name to type, publishers, subscribers and QoS."""
    rows = re.findall(
        r"^\| `([\w/]+)` \| `(\w+/msg/\w+)` \| ([^|]*) \| ([^|]*) \| (\w+) \|",
        PAGE.replace("| |", "|  |"),
        re.MULTILINE,
    )
    return {
        name if name.startswith("/") else f"/xarm/{name}": (kind, names(pubs), names(subs), q)
        for name, kind, pubs, subs, q in rows
    }


def described_qos():
    rows = re.findall(r"^\| (\w+) \| (reliable|best effort) \| (volatile|transient local) \|", PAGE, re.MULTILINE)
    return {name: (a.replace(" ", "_").upper(), b.replace(" ", "_").upper()) for name, a, b in rows}


def described_services():
    return {f"/xarm/{name}" for name in re.findall(r"^\| `((?:arm|runtime|supervisor)/\w+)` \|", PAGE, re.MULTILINE)}


def names(text):
    return {part.strip() for part in text.split(",") if part.strip()}


def live_topics(node):
    found = {}
    for name, kinds in node.get_topic_names_and_types():
        ends = node.get_publishers_info_by_topic(name), node.get_subscriptions_info_by_topic(name)
        pubs, subs = ({end.node_name for end in side} for side in ends)
        qos = {(end.qos_profile.reliability.name, end.qos_profile.durability.name) for side in ends for end in side}
        if not any(word in name for word in FOREIGN):
            found[name] = (kinds[0], pubs, subs, qos)
    return found


def live_services(node):
    listed = node.get_service_names_and_types()
    return {name for name, kinds in listed if kinds == ["std_srvs/srv/Trigger"]}


def wait_until_equal(expected, found):
    until = time.monotonic() + 15.0
    while found() != expected and time.monotonic() < until:
        time.sleep(0.1)
    assert found() == expected


def test_the_tables_of_the_page_are_those_of_the_code():
    assert page(PAGE) == PAGE, "run `python -m regrasp.graph_page`"


def test_the_graph_is_the_described_one_and_a_dead_node_ends_it_all(tmp_path, monkeypatch, domain):
    qos = described_qos()
    assert len(described_topics()) > 15
    assert len(described_services()) > 8
    topics = {name: (kind, pubs, subs, {qos[q]}) for name, (kind, pubs, subs, q) in described_topics().items()}
    with brought_up(tmp_path / "out", domain) as (process, wait_for, console):
        wait_for("runtime is active")
        with looker(monkeypatch, domain) as node:
            wait_until_equal(topics, lambda: live_topics(node))
            wait_until_equal(described_services(), lambda: live_services(node))
        started = psutil.Process(process.pid).children(recursive=True)
        camera = next(child for child in started if "bridge.ros.camera_node" in child.cmdline())
        camera.kill()
        assert process.wait(30.0) == 1
        assert "stopping: camera was ended by SIGKILL" in console.read_text()
        assert "camera.log" in console.read_text()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in started)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_whichever_way_it_ends(ending, tmp_path, domain):
    with brought_up(tmp_path / "out", domain) as (process, wait_for, console):
        wait_for("processes, ROS domain")
        until = time.monotonic() + UP_S
        while len(started := psutil.Process(process.pid).children(recursive=True)) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(ending)
        code = process.wait(30.0)
    assert code == (-signal.SIGKILL if ending == signal.SIGKILL else 130)
    assert psutil.wait_procs(started, 15.0)[1] == []
    if ending != signal.SIGKILL:
        assert "all processes have ended" in console.read_text()
