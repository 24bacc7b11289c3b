"""Log what a server sends, under twistd: URL=ws://localhost:8080/ twistd -ny relay.tac"""

import os

from twisted.application.service import Application
from twisted.logger import Logger

from wsservice.client import ClientProtocol, ReconnectingClient

log = Logger(namespace="relay")


class Relay(ClientProtocol):
    def onOpen(self):
        self.sendMessage(b"subscribe")

    def onMessage(self, payload, isBinary):
        log.info("got {payload}", payload=payload)


application = Application("relay")
client = ReconnectingClient(os.environ["URL"], Relay)
client.setServiceParent(application)
