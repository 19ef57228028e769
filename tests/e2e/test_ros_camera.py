"""The camera node on a real graph: pictures of the twin, of a video device's stand-in and of another driver's topic."""

import os
import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from bridge.ring import RingReader
from bridge.ros import messages, qos
from bridge.ros.environment import find_profile, node_environment
from bridge.twin_control import TwinControl
from core.errors import DeviceError
from regrasp.bench_estop import own_node, raise_node
from regrasp.bringup import Process
from regrasp.graph import Graph
from regrasp.loopback import free_port, own_address
from regrasp.processes import Bringup, table

MS = 1_000_000


@pytest.fixture
def stage(tmp_path, domain):
    """Starts a twin when asked, a camera node with given parameters, and a node of this process to listen with."""
    given = Bringup(ip=own_address(), control_port=free_port(), domain=domain, out=tmp_path)
    environment = node_environment(os.environ, profile=find_profile(), log_dir=tmp_path / "ros", domain=given.domain)
    with ExitStack() as stack:

        def begin(parameters, *, twin=False, listens=lambda shell: None):
            camera = Process(
                name="camera", purpose="", module="bridge.ros.camera_node", parameters={
                    "ring_prefix": f"test-{os.getpid()}", "rate_hz": 20.0, **parameters,
                },
            )  # fmt: skip
            twins = [replace(one, stop_rank=5) for one in table(given) if one.name == "twin"] if twin else []
            graph = stack.enter_context(
                Graph([*twins, camera], namespace="/xarm", environment=environment, logs=tmp_path)
            )
            graph.start()
            shell = stack.enter_context(own_node("tester", "/xarm", environment))
            listens(shell)
            raise_node(shell, "camera")
            return SimpleNamespace(graph=graph, shell=shell)

        begin.port, begin.path, begin.stack = given.control_port, tmp_path, stack
        yield begin


def ring(stage, name):
    return stage.stack.enter_context(RingReader(f"test-{os.getpid()}-{name}"))


def listen(shell, kind, topic):
    """Returns the list into which every message of a topic comes."""
    heard = []
    shell.create_subscription(kind, topic, heard.append, qos_profile_sensor_data)
    return heard


def serve(shell, seconds):
    shell.serve_until(time.monotonic_ns() + round(seconds * 1e9))


def wait(shell, true, seconds, what):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, what
        serve(shell, 0.01)


def health(shell):
    """Returns the newest diagnostics of every camera, by name."""
    newest = {}

    def take(message):
        newest.update({one.name: one for one in message.status})

    shell.create_subscription(DiagnosticArray, "/diagnostics", take, qos.diagnostics())
    return newest


def level(heard):
    return heard["health"].get("camera front", DiagnosticStatus(level=DiagnosticStatus.STALE)).level


def yellow_video(path):
    """Writes a film of one second, plain yellow, as a video device's stand-in."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for _ in range(20):
        film.write(np.full((48, 64, 3), (0, 255, 255), np.uint8))
    film.release()


def test_pictures_of_the_twin_reach_topics_and_rings_and_a_silent_twin_is_an_error(stage):
    heard = {}

    def listens(shell):
        heard["raw"] = listen(shell, Image, "camera/front/image_raw")
        heard["jpeg"] = listen(shell, CompressedImage, "camera/wrist/image_raw/compressed")
        heard["health"] = health(shell)

    robot = stage({"source": f"http://127.0.0.1:{stage.port}", "silent_s": 0.3}, twin=True, listens=listens)
    wait(robot.shell, lambda: len(heard["raw"]) > 5 and len(heard["jpeg"]) > 5, 10, "no pictures on the topics")
    front = ring(stage, "front")
    assert front.wait(2.0)
    frame = front.newest()
    assert 0 <= time.monotonic_ns() - frame.t_ns < 500 * MS, "the ring holds capture times of the monotonic clock"
    assert messages.picture_from(heard["raw"][-1]).shape == frame.image.shape == (192, 192, 3)
    stamp = heard["raw"][-1].header.stamp
    assert abs(time.time() - stamp.sec - stamp.nanosec * 1e-9) < 2.0
    jpeg = cv2.imdecode(np.frombuffer(heard["jpeg"][-1].data, np.uint8), cv2.IMREAD_COLOR)
    assert jpeg.shape == (192, 192, 3)
    wait(robot.shell, lambda: level(heard) == DiagnosticStatus.OK, 5, "pictures come, and it is not well")

    robot.graph.kill("twin")
    wait(robot.shell, lambda: level(heard) == DiagnosticStatus.ERROR, 5, "silence is not told")
    heard["raw"].clear()
    serve(robot.shell, 0.5)
    assert heard["raw"] == [], "old pictures are never sent again"
    robot.graph.restart("twin")
    wait(robot.shell, lambda: heard["raw"], 10, "it is not linked again")
    wait(robot.shell, lambda: level(heard) == DiagnosticStatus.OK, 5, "it stays in error")


def test_a_frozen_camera_of_the_twin_goes_silent(stage):
    heard = {}
    robot = stage(
        {"source": f"http://127.0.0.1:{stage.port}", "silent_s": 0.3}, twin=True,
        listens=lambda shell: heard.update(health=health(shell)),
    )  # fmt: skip
    twin = stage.stack.enter_context(TwinControl(stage.port))
    twin.camera("front", "frozen", 30.0)
    wait(robot.shell, lambda: level(heard) == DiagnosticStatus.ERROR, 5, "a frozen picture passes for a new one")
    assert heard["health"]["camera wrist"].level == DiagnosticStatus.OK


def test_a_video_device_and_its_calibration(stage):
    film, calibration = stage.path / "film.avi", stage.path / "camera.yaml"
    yellow_video(film)
    calibration.write_text(
        "image_width: 64\nimage_height: 48\ncamera_name: side\ndistortion_model: plumb_bob\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}\n"
        "camera_matrix: {rows: 3, cols: 3, data: [50, 0, 32, 0, 50, 24, 0, 0, 1]}\n"
        "rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}\n"
        "projection_matrix: {rows: 3, cols: 4, data: [50, 0, 32, 0, 0, 50, 24, 0, 0, 0, 1, 0]}\n"
    )
    heard = {}

    def listens(shell):
        heard["raw"] = listen(shell, Image, "camera/side/image_raw")
        heard["info"] = listen(shell, CameraInfo, "camera/side/camera_info")

    parameters = {"cameras": ["side"], "sources": [str(film)], "calibrations": [str(calibration)]}
    robot = stage(parameters, listens=listens)
    wait(robot.shell, lambda: heard["raw"] and heard["info"], 10, "no pictures")
    assert messages.picture_from(heard["raw"][-1]).mean(axis=(0, 1)) == pytest.approx([255, 255, 0], abs=6)
    assert heard["info"][-1].k[0] == 50.0
    wait(robot.shell, lambda: len(heard["raw"]) > 25, 10, "a film that ended is not opened again")


def test_another_drivers_topic(stage):
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)

    def listens(shell):
        driver = shell.create_publisher(Image, "driver/image", qos.images())
        message = messages.image_message(messages.stamp(0, 0), "other", picture)
        shell.create_timer(0.05, lambda: driver.publish(message))

    stage({"cameras": ["side"], "sources": ["topic:driver/image"]}, listens=listens)
    reader = ring(stage, "side")
    assert reader.wait(5.0)
    np.testing.assert_array_equal(reader.newest().image, picture)


def test_a_camera_that_is_not_there_is_refused(stage):
    with pytest.raises(DeviceError, match="refused"):
        stage({"cameras": ["side"], "sources": ["/dev/video99"], "link_s": 0.5})
