"""The wire of the twin, byte by byte, over real sockets and a box without dynamics."""

import asyncio
import contextlib
import os
import runpy
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from sim.twin import reports
from sim.twin.desk import Desk
from sim.twin.identity import IDENTITIES, identity
from sim.twin.registers import REGISTERS, answer
from sim.twin.server import TwinServer

FakeBox = runpy.run_path(str(Path(__file__).parent / "fake_box.py"))["FakeBox"]
IP = f"127.{10 + os.getpid() // 250 % 200}.{1 + os.getpid() % 250}.2"
HOME = struct.pack("<10f", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0, 10.0, 0.0)


def desk(firmware="v2.6.0", *, ready=True):
    box = FakeBox()
    if ready:
        box.on, box.state = [True] * 7, 2
    return Desk(box=box, identity=identity(firmware), factory=box.now().settings)


class Client:
    """A control connection that speaks bytes."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.tid = reader, writer, 0

    @staticmethod
    async def open(port=502):
        return Client(*await asyncio.open_connection(IP, port))

    async def ask(self, fun, params=b"", prot=2):
        self.send(fun, params, prot)
        return await self.frame()

    def send(self, fun, params=b"", prot=2):
        self.tid += 1
        self.writer.write(struct.pack(">HHHB", self.tid, prot, 1 + len(params), fun) + params)

    async def frame(self):
        head = await asyncio.wait_for(self.reader.readexactly(6), 5)
        return head + await asyncio.wait_for(self.reader.readexactly(struct.unpack(">H", head[4:])[0]), 5)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


def over_sockets(talk, firmware="v2.6.0", **how):
    async def main():
        on_desk = desk(firmware, **how)
        async with TwinServer(on_desk.box, on_desk.identity, IP) as server:
            client = await Client.open()
            try:
                await talk(client, server)
            finally:
                client.writer.transport.abort()

    asyncio.run(main())


def test_a_reply_echoes_transaction_protocol_and_function():
    async def talk(client, _server):
        for prot in (2, 3):
            assert await client.ask(13, prot=prot) == struct.pack(">HHHBBB", client.tid, prot, 3, 13, 0, 2)

    over_sockets(talk)


def test_the_version_is_forty_bytes_with_a_zero_in_them():
    async def talk(client, _server):
        reply = await client.ask(1, b"\x01")
        assert reply[7] == 0x10
        assert reply[8:].rstrip(b"\0") == b"7,7,XS1303,AC1304,v2.6.0"
        assert len(reply[8:]) == 40

    over_sockets(talk, ready=False)


def test_keep_alive_is_swallowed_and_standard_modbus_refused():
    async def talk(client, _server):
        client.writer.write(bytes.fromhex("0000000100020000"))
        reply = await client.ask(1, b"\x03\x00\x00\x00\x01", prot=0)
        assert reply == struct.pack(">HHHBBB", 1, 0, 3, 1, 0x83, 1)

    over_sockets(talk)


def test_an_unknown_function_is_answered_with_warning_13():
    async def talk(client, server):
        assert (await client.ask(99))[7] == 0x28
        assert server.desk.box.warning == 13
        assert (await client.ask(15))[8:] == bytes([0, 13])
        await client.ask(17)
        assert (await client.ask(15))[7:] == bytes(3)

    over_sockets(talk)


def test_short_parameters_are_answered_with_warning_12_and_result_invalid():
    async def talk(client, server):
        assert (await client.ask(29, b"\0\0"))[7] == 0x28
        assert server.desk.box.warning == 12

    over_sockets(talk)


def test_setting_the_load_answers_with_the_status_from_before_it_resets():
    async def talk(client, server):
        load = struct.pack("<4f", 0.82, 0, 0, 48)
        assert (await client.ask(36, load))[7] == 0
        assert server.desk.box.state == 5
        assert (await client.ask(36, load))[7] == 0x10
        assert np.allclose(server.desk.box.set.load_com, [0, 0, 0.048])

    over_sockets(talk)


def test_an_error_sets_the_error_bit_until_it_is_cleared():
    async def talk(client, server):
        server.desk.box.fail(31)
        assert (await client.ask(13))[7:] == b"\x50\x04"
        assert (await client.ask(16))[7] == 0x10
        assert (await client.ask(15))[7:] == b"\x10\0\0"

    over_sockets(talk)


def test_feedback_follows_the_reply_with_the_tid_of_the_move():
    async def talk(client, _server):
        await client.ask(254, b"\x03")
        reply = await client.ask(23, HOME)
        began, ended = await client.frame(), await client.frame()
        assert reply[8:] == struct.pack(">H", 1)
        for frame, kind in ((began, 1), (ended, 2)):
            assert len(frame) == 21
            assert struct.unpack(">HHHBBBBHB", frame[:13]) == (client.tid, 2, 15, 0xFF, 0, kind, 23, 1, 0)

    over_sockets(talk)


def test_a_connection_hears_only_the_kinds_it_asked_for_when_it_queued():
    async def talk(client, _server):
        await client.ask(23, HOME)
        await client.ask(254, b"\x02")
        await client.ask(23, HOME)
        assert (await client.frame())[8] == 2
        assert (await client.ask(13))[6] == 13

    over_sockets(talk)


def test_function_253_tells_at_once_when_nothing_is_queued():
    async def talk(client, _server):
        await client.ask(254, b"\x02")
        await client.ask(253)
        assert (await client.frame())[6:13] == bytes([0xFF, 0, 2, 253, 0, 0, 0])

    over_sockets(talk)


def test_a_silent_box_answers_later_and_takes_no_new_clients():
    async def talk(client, server):
        server.desk.box.silent = True
        client.send(13)
        other = await Client.open()
        assert await asyncio.wait_for(other.reader.read(1), 5) == b""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        server.desk.box.silent = False
        assert (await client.frame())[8] == 2
        await other.close()

    over_sockets(talk)


def test_several_clients_are_served_and_the_count_is_kept():
    async def talk(client, server):
        other = await Client.open()
        assert (await other.ask(13))[8] == (await client.ask(13))[8] == 2
        assert server.clients == 2
        await other.close()
        while server.clients != 1:
            await asyncio.sleep(0.005)

    over_sockets(talk)


def test_a_stream_of_another_protocol_is_cut_and_the_next_client_is_served():
    async def talk(client, _server):
        client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.reader.readexactly(1)
        other = await Client.open()
        assert (await other.ask(13))[8] == 2
        await other.close()

    over_sockets(talk)


def test_random_bytes_never_end_the_server():
    async def talk(_client, _server):
        random = np.random.default_rng(7)
        for _ in range(40):
            other = await Client.open()
            noise = random.bytes(int(random.integers(1, 400)))
            head = struct.pack(">HHHB", 1, 2, 1 + len(noise), int(random.integers(0, 256)))
            other.writer.write(noise if random.random() < 0.5 else head + noise)
            await other.close()
        last = await Client.open()
        assert (await last.ask(1))[6] == 1
        await last.close()

    over_sockets(talk)


def test_a_client_that_never_reads_is_cut():
    async def talk(_client, server):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (IP, 502))
        while server.clients != 2:
            await asyncio.sleep(0.005)
        request = struct.pack(">HHHB", 1, 2, 1, 212) * 500
        with contextlib.suppress(ConnectionError):
            while server.clients != 1:
                await loop.sock_sendall(deaf, request)
        while server.clients != 1:
            await asyncio.sleep(0.005)
        deaf.close()

    over_sockets(talk)


def test_reports_come_at_once_and_then_at_their_rate():
    async def talk(_client, _server):
        for port, size, count in ((30003, 135, 20), (30001, 145, 2), (30002, 587, 2)):
            reader = await Client.open(port)
            for _ in range(count):
                data = await asyncio.wait_for(reader.reader.readexactly(size), 5)
                assert struct.unpack(">I", data[:4])[0] == size
            await reader.close()

    over_sockets(talk)


def test_cut_clients_lose_what_only_the_wire_remembers():
    async def talk(client, server):
        await client.ask(75)
        assert server.desk.drawer.counter == 1
        server.drop_clients(forget=True)
        assert await asyncio.wait_for(client.reader.read(), 5) == b""
        assert server.desk.drawer.counter == 0

    async def cut(client, server):
        try:
            await talk(client, server)
        except ConnectionResetError:
            assert server.desk.drawer.counter == 0

    over_sockets(cut)


def test_a_port_that_is_taken_is_named():
    async def main():
        first = desk()
        async with TwinServer(first.box, first.identity, IP):
            with pytest.raises(ConfigError, match=f"{IP}:502"):
                await TwinServer(first.box, first.identity, IP).__aenter__()

    asyncio.run(main())


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
