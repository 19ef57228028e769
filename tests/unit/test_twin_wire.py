"""The wire of the twin, byte by byte, over real sockets and a box without dynamics."""

import asyncio
import contextlib
import socket
import struct

import numpy as np
import pytest

from core.errors import ConfigError
from sim.twin.server import TwinServer
from wire_client import IP, Client, desk, over_sockets

HOME = struct.pack("<10f", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0, 10.0, 0.0)


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
