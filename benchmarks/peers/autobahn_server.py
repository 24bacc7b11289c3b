"""Autobahn on Twisted, as its documentation has it: no part of wsservice."""

from __future__ import annotations

from typing import Any

from arguments import parse
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol, listenWS
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet import reactor, ssl
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

logger = Logger()
connections: set[WebSocketServerProtocol] = set()


class Greeting(WebSocketServerProtocol):
    def onOpen(self) -> None:
        self.sendMessage(b"Hello from server")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        logger.info("Message received: {message}", message=payload.decode())


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


class Broadcast(WebSocketServerProtocol):
    def onOpen(self) -> None:
        connections.add(self)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        connections.discard(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # As Autobahn's broadcast example: the frame is made once.
        prepared = self.factory.prepareMessage(payload, isBinary)
        for each in connections:
            each.sendPreparedMessage(prepared)


def accept(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None


def main() -> None:
    given = parse()
    if given.log:
        observer = textFileLogObserver(open(given.log, "w"))  # noqa: SIM115
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    scheme = "wss" if given.tls else "ws"
    factory = WebSocketServerFactory(f"{scheme}://127.0.0.1:{given.port}")
    factory.protocol = {"greeting": Greeting, "echo": Echo, "broadcast": Broadcast}[given.behaviour]
    if given.deflate:
        factory.setProtocolOptions(perMessageCompressionAccept=accept)
    context = None
    if given.tls:
        certificate, key = given.tls
        context = ssl.DefaultOpenSSLContextFactory(key, certificate)
    listenWS(factory, context, interface="127.0.0.1")
    reactor.run()


main()
