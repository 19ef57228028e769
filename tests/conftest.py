"""Fixtures that more than one kind of test needs."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.pi0.checkpoint import Manifest, save_checkpoint
from bridge.pi0.model import NanoShape, build_nano
from bridge.pi0.processing import Affine, Processing, word_tokenizer
from core.demonstrations import proprio_names
from core.robots import EE_DELTA
from regrasp.loopback import own_domain

WORDS = ["put", "the", "apple", "lemon", "on", "plate", "red", "yellow", "fruit", "one", "please"]


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Small networks on shared cores: threads that wait for one another are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard() -> None:
    """A shell starts what runs in its background deaf to SIGINT, which processes of the tests would inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def untrained_nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory of a very small pi0-nano with random weights; copy it before changing it."""
    directory = tmp_path_factory.mktemp("models") / "nano"
    tokenizer = word_tokenizer(WORDS)
    shape = NanoShape(
        vocabulary=tokenizer.get_vocab_size(), hidden=32, mlp=32, layers=1, heads=2, kv_heads=1, chunk=4, image_px=32,
        image_tokens=3,
    )  # fmt: skip
    spec = Processing(
        cameras=("front", "wrist"), needs_all_cameras=True, image_px=32, fit="area", tokens_per_image=3, image_token=1,
        text_tokens=8, text_suffix="", bos_token=-1, state_width=8,
        state=Affine(offset=np.linspace(0, 1, 8), scale=np.linspace(0.1, 1, 8)), action_width=7,
        action=Affine(offset=EE_DELTA.still(0.5), scale=(EE_DELTA.high - EE_DELTA.low) / 8),
    )  # fmt: skip
    manifest = Manifest(
        name="pi0-nano", task="fruit_on_plate", processing=spec, noise="zero", steps=2, action_names=EE_DELTA.names,
        dt_s=EE_DELTA.dt_s, state_names=proprio_names(), object_words=("apple", "lemon", "red", "yellow"),
        readout_objects=("apple", "lemon", "plate"), training={"steps": 0, "seed": 3},
    )  # fmt: skip
    save_checkpoint(
        directory, build_nano(shape, 2, manifest.readout_objects, 3), tokenizer, manifest, {"README.md": "x"}
    )
    return directory


@dataclass(frozen=True, kw_only=True)
class TwinProcess:
    """A twin in a process of its own."""

    ip: str
    control_port: int


@pytest.fixture(scope="module")
def twin_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinProcess]:
    """A running twin on an address of this test process; the SDK, which a test may import, logs under a new HOME."""
    home, pid = os.environ.get("HOME"), os.getpid()
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    ip = f"127.{20 + pid // 250 % 200}.{1 + pid % 250}.2"
    command = [sys.executable, "-m", "regrasp.cli", "twin", "--ip", ip, "--control-port", "0", "--realtime"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MUJOCO_GL": "osmesa"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as twin:
        try:
            yield TwinProcess(ip=ip, control_port=_await_twin(twin))
        finally:
            twin.terminate()
            try:
                twin.wait(10)
            except subprocess.TimeoutExpired:
                twin.kill()
    socket.setdefaulttimeout(None)
    if home is not None:
        os.environ["HOME"] = home


def _await_twin(twin: subprocess.Popen[str]) -> int:
    """Returns the control port that the twin tells when it is ready."""
    said, until = "", time.monotonic() + 60.0
    while time.monotonic() < until and twin.poll() is None and twin.stdout is not None:
        if select.select([twin.stdout], [], [], 0.1)[0]:
            line = twin.stdout.readline()
            said += line
            if found := re.search(r"^ready .*control=http://127\.0\.0\.1:(\d+)", line):
                return int(found[1])
    pytest.fail(f"the twin did not get ready: {said}")


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    """A ROS domain that no other run on this machine uses."""
    with own_domain() as reserved:
        yield reserved


@pytest.fixture
def on_time() -> Iterator[None]:
    """Real-time scheduling for the test and the threads it starts, where the system permits it: beats are measured."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except PermissionError:
        yield
        return
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
