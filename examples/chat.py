"""A chat: one room for each path. Newcomers see what was said in the last hour.

    twistd -n wsdemo --protocol chat.Chat --history 100,1h --allow-origin http://localhost:8000
    python -m http.server 8000            # in another terminal, for the page
    # then open http://localhost:8000/chat.html in two windows

Messages are JSON, both ways. The server checks each message of a client, and the page shows it as
text, never as HTML. The page asks for the last messages with ?history=20; the service sends them
before new ones, so the behaviour has nothing to do for it.
"""

import json

from wsservice import ServerProtocol

LONGEST_NAME = 30
LONGEST_TEXT = 500


class Chat(ServerProtocol):
    name = "somebody"

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # super().onMessage(payload, isBinary) would write what is said to the log, too.
        try:
            said = json.loads(payload)
            kind, text = said["type"], str(said["text"]).strip()
        except (ValueError, KeyError, TypeError, RecursionError):
            # Not from our page. 1008 says that it broke the rules.
            self.sendClose(1008, "give such as {type, text}")
            return
        if kind == "name" and text:
            self.name = text[:LONGEST_NAME]
            await self.tell("joined")
        elif kind == "say" and text:
            await self.tell("said", text[:LONGEST_TEXT])

    async def tell(self, what: str, text: str = "") -> None:
        """Tell everybody in the room, ourselves included."""
        # In all workers and on all nodes. Nobody is listed: the number is enough.
        presence = await self.factory.hub.presence(self.channel, limit=0)
        # The number is not known if a worker or a node did not answer.
        people = presence.count if presence.is_whole else None
        message = {"what": what, "who": self.name, "text": text, "people": people}
        self.factory.hub.publish(self.channel, json.dumps(message).encode())

    async def onLeave(self, channel: str) -> None:
        # Called once this connection is off the channel: only the others are told.
        await self.tell("left")
