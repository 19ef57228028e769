"""Registers and reports of the twin, byte by byte, on a desk without a socket and a box without dynamics."""

import struct

import numpy as np
import pytest

from core.errors import ConfigError
from fake_box import FakeBox
from sim.twin import reports
from sim.twin.identity import IDENTITIES, identity
from sim.twin.registers import REGISTERS, answer
from wire_client import desk


def test_report_offsets_are_those_of_the_protocol():
    d = desk()
    d.box.mode, d.box.error, d.box.warning, d.box.on[0] = 1, 23, 11, False
    data = reports.rich(d, d.box.now())
    assert len(data) == 587
    assert data[4] == 1 << 4 | 2
    assert np.allclose(struct.unpack_from("<7f", data, 7), d.box.joints, atol=1e-6)
    assert struct.unpack_from("<3f", data, 35) == pytest.approx((399.915, 0, 399.809), abs=1e-2)
    assert struct.unpack_from("<7f", data, 59) == tuple(0.5 * i for i in range(7))
    assert list(data[87:91]) == [0x7E, 0x7E, 23, 11]
    assert list(data[131:133]) == [3, 3]
    assert data[145:149] == bytes([7, 7, 0xAA, 0x55])
    assert data[151:175] == b"7,7,XS1303,AC1304,v2.6.0"
    assert struct.unpack_from("<5f", data, 181) == pytest.approx((1000, 1, 50000, 0.1, 1000))
    assert data[314:317] == bytes([0, 1, 0])
    assert struct.unpack_from(">6h", data, 496) == (2000, -2000) * 3
    assert data[572:574] == bytes(2)


def test_reports_before_the_force_sensor_are_shorter():
    assert len(reports.real(desk("v1.5.0"), FakeBox().now())) == 87
    assert len(reports.real(desk("v2.6.0"), FakeBox().now())) == 135
    assert len(reports.normal(desk(), FakeBox().now())) == 145


def test_reduced_states_are_seventy_nine_bytes_and_read_back_what_was_set():
    d = desk()
    answer(d, 52, struct.pack("<6i", 700, -700, 600, -600, 900, 0))
    answer(d, 47, struct.pack("<f", 150))
    answer(d, 48, struct.pack("<f", 1.0))
    answer(d, 50, b"\x01")
    answer(d, 59, b"\x01")
    answer(d, 60, b"\x01")
    status, result = answer(d, 53, b"")
    assert (status, len(result.payload)) == (0, 79)
    assert result.payload[0] == 1
    assert struct.unpack_from(">6h", result.payload, 1) == (700, -700, 600, -600, 900, 0)
    assert struct.unpack_from("<2f", result.payload, 13) == pytest.approx((150, 1))
    assert result.payload[77:] == b"\x01\x01"


def test_the_line_of_old_and_new_firmware_lead_to_the_same_place():
    pose = (380.0, 20.0, 380.0, np.pi, 0.0, 0.0, 100.0, 2000.0, 0.0)
    ends = []
    for params in (struct.pack("<9f", *pose), struct.pack("<10f", *pose, -1.0) + bytes(3)):
        d = desk()
        assert answer(d, 21, params)[0] == 0
        ends.append(d.box.now().pose[:3])
    assert np.allclose(ends, [[0.38, 0.02, 0.38]] * 2, atol=1e-4)


def test_open_axes_stay_as_they_are():
    d = desk()
    inf = float("inf")
    before = d.box.joints.copy()
    answer(d, 23, struct.pack("<10f", inf, inf, 0.3, inf, inf, inf, inf, 1.0, 10.0, 0.0))
    assert np.allclose(d.box.joints, [*before[:2], 0.3, *before[3:]])


def test_only_checking_moves_nothing_and_names_what_would_be_wrong():
    d = desk()
    before = d.box.joints.copy()
    far = struct.pack("<10f", 5000, 0, 0, 0, 0, 0, 100, 2000, 0, -1)
    assert answer(d, 21, far + bytes([0, 0, 1]))[1].payload[2] == 35
    d.box.set.fence_high[:] = 10
    assert answer(d, 21, far + bytes([0, 0, 1]))[1].payload[2] == 21
    assert answer(d, 23, struct.pack("<10f", 0, 3, 0, 0, 0, 0, 0, 1, 1, 0) + b"\x01")[1].payload[2] == 23
    assert (d.box.joints == before).all()
    assert d.box.error == 0


def test_no_solution_is_invalid():
    status, result = answer(desk(), 43, struct.pack("<6f", 5000, 0, 0, 0, 0, 0))
    assert status == 0x08
    assert len(result.payload) == 28


def test_the_gripper_is_read_and_written_over_its_line():
    d = desk()
    assert answer(d, 128, b"\x09\x0a\x0b")[1].payload == struct.pack(">i", 11)
    assert answer(d, 124, bytes.fromhex("0908100700000204000000c8"))[1].payload.hex() == "09081007000002"
    assert answer(d, 124, bytes.fromhex("090803070200 02".replace(" ", "")))[1].payload.hex() == "09080304000000c8"
    assert answer(d, 124, bytes.fromhex("09080300000001"))[1].payload[-1] == 1
    assert answer(d, 124, bytes.fromhex("09080308010001"))[1].payload.hex() == "0908030200 03".replace(" ", "")
    assert d.box.opening == pytest.approx(200 / 850 * 0.084)


def test_the_gripper_does_not_answer_at_another_baud_rate_or_with_a_broken_line():
    read = bytes.fromhex("09080300000001")
    slow = desk()
    answer(slow, 127, b"\x09\x1a\x0b" + struct.pack("<f", 5))
    broken = desk()
    broken.box.fail(19)
    assert answer(slow, 124, read)[1].payload == answer(broken, 124, read)[1].payload == b"\x09"


def test_common_parameters_are_read_back():
    d = desk()
    assert answer(d, 233, b"\x01")[1].payload == struct.pack("<f", 1.2)
    answer(d, 232, b"\x03" + struct.pack("<i", 7))
    assert answer(d, 233, b"\x03")[1].payload == struct.pack(">i", 7)
    answer(d, 232, b"\x06" + struct.pack("<6f", *range(6)))
    assert answer(d, 233, b"\x06")[1].payload == struct.pack("<6f", *range(6))


def test_outputs_are_read_back():
    d = desk()
    answer(d, 134, struct.pack(">2H", 0, 0x0202))
    words = struct.unpack_from(">8H", answer(d, 139, b"")[1].payload, 2)
    assert words[3] == 0x0200
    assert len(answer(d, 139, b"")[1].payload) == 50


def test_denavit_hartenberg_parameters_are_those_of_the_arm():
    rows = np.array(struct.unpack("<28f", answer(desk(), 67, b"")[1].payload)).reshape(7, 4)
    assert np.allclose(rows[:, 1], [267, 0, 293, 0, 342.5, 0, 97])
    assert np.allclose(rows[:, 3], [0, 0, 0, 52.5, 77.5, 0, 76])


def test_each_firmware_knows_its_functions_and_modes():
    old = desk("v1.5.0")
    for fun in (253, 254, 233, 107, 200, 83):
        answer(old, fun, b"\x01")
        assert old.box.warning == 13, fun
        old.box.warning = 0
    assert answer(old, 150, b"")[0] == 0
    assert answer(old, 19, b"\x06")[0] & 0x08
    assert old.box.mode == 0
    assert answer(desk("v2.7.103"), 107, b"\x01\x00\x00")[0] == 0


def test_an_unknown_firmware_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"v2\.6\.0"):
        identity("v2.6.1")


@pytest.mark.parametrize("firmware", IDENTITIES)
@pytest.mark.parametrize(
    "params",
    [b"", bytes(1), bytes(7), bytes(80), b"\x01" * 60, b"\xff" * 90],
    ids=["none", "one", "seven", "eighty zeros", "ones", "all bits"],
)
def test_every_function_answers_whatever_comes_with_it(firmware, params):
    d = desk(firmware)
    for fun in range(256):
        status, result = answer(d, fun, params)
        assert 0 <= status < 0x80
        assert len(result.payload) < 300
        assert (fun in REGISTERS) or status & 0x20
