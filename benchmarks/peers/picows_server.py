"""picows on uvloop, by its core interface."""

from __future__ import annotations

import logging

import uvloop
from arguments import context, parse
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

transports: set[WSTransport] = set()


class Closing(WSListener):
    def closed(self, transport: WSTransport, frame: WSFrame) -> bool:
        if frame.msg_type != WSMsgType.CLOSE:
            return False
        transport.send_close(frame.get_close_code(), frame.get_close_message())
        transport.disconnect()
        return True


class Greeting(Closing):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, b"Hello from server")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self.closed(transport, frame):
            logging.info("Message received: %s", frame.get_payload_as_utf8_text())


class Echo(Closing):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self.closed(transport, frame):
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Broadcast(Closing):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        transports.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self.closed(transport, frame):
            payload = frame.get_payload_as_bytes()
            for each in transports:
                each.send(frame.msg_type, payload)


async def main() -> None:
    given = parse()
    if given.log:
        logging.basicConfig(filename=given.log, format="%(asctime)s %(message)s")
        logging.getLogger().setLevel(logging.INFO)
        # Its own lines on connections are not messages.
        logging.getLogger("picows").setLevel(logging.ERROR)
    listener = {"greeting": Greeting, "echo": Echo, "broadcast": Broadcast}[given.behaviour]
    server = await ws_create_server(
        lambda request: listener(), "127.0.0.1", given.port, ssl=context(given.tls)
    )
    await server.serve_forever()


uvloop.run(main())
