"""A twin and clients of the unmodified SDK, for the tests named after it."""

import os
import socket

import pytest

from sdk_client import IP, TwinBox, make_ready, wait_until


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """The SDK's class; it logs under HOME and sets a time limit for all new sockets of this process."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    from xarm.wrapper import XArmAPI  # noqa: PLC0415

    yield XArmAPI
    socket.setdefaulttimeout(None)
    if home is not None:
        os.environ["HOME"] = home


@pytest.fixture(scope="module")
def twin():
    running = TwinBox(IP, "v2.6.0")
    yield running
    running.stop()


@pytest.fixture
def link(sdk):
    """Connects clients that are closed at the end of the test."""
    opened = []

    def connect(ip=IP, **how):
        arm = sdk(ip, forbid_uds=True, is_radian=True, **how)
        opened.append(arm)
        return arm

    yield connect
    for arm in opened:
        arm.disconnect()
    wait_until(lambda: not any(arm.connected for arm in opened))


@pytest.fixture(scope="module")
def client(twin, sdk):
    """One client for all tests of a file, because connecting takes a second."""
    arm = sdk(IP, forbid_uds=True, is_radian=True)
    yield arm
    arm.disconnect()


@pytest.fixture
def arm(client):
    """A client of a box that is ready in mode 0, with nothing wrong."""
    assert client.connected
    make_ready(client)
    yield client
    client.set_state(4)
