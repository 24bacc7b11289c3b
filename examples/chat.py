"""A chat: one room for each path.

    twistd -n wsdemo --port 8080 --protocol chat.Chat --allow-origin http://localhost:8000
    python -m http.server 8000            # in another terminal, for the page
    # then open http://localhost:8000/chat.html in two windows

What is said goes as JSON, both ways. Nothing that a person sends is trusted: it is
checked here, and shown as text, never as HTML, in the page.
"""

import json

from wsservice import ServerProtocol

LONGEST_NAME = 30
LONGEST_TEXT = 500


class Chat(ServerProtocol):
    name = "somebody"

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
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
            self.tell("joined")
        elif kind == "say" and text:
            self.tell("said", text[:LONGEST_TEXT])

    def tell(self, what: str, text: str = "") -> None:
        """Tell everybody in the room, ourselves included."""
        self.factory.hub.publish(self.channel, self.as_json(what, text))

    def as_json(self, what: str, text: str) -> bytes:
        people = len(self.factory.hub.members(self.channel))
        return json.dumps({"what": what, "who": self.name, "text": text, "people": people}).encode()

    def onLeave(self, channel: str) -> None:
        # Called once this connection is off the channel: only the others are told.
        self.tell("left")
