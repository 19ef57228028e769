"""A desk with a box without dynamics behind it, and a client that speaks bytes to it. Used by tests of the wire."""

import asyncio
import os
import struct

from fake_box import FakeBox
from sim.twin.desk import Desk
from sim.twin.identity import identity
from sim.twin.server import TwinServer

IP = f"127.{10 + os.getpid() // 250 % 200}.{1 + os.getpid() % 250}.2"


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
