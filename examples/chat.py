"""A chat: one room for each path. Newcomers see what was said in the last hour.

    twistd -n wsdemo --protocol chat.Chat --history 100,1h --allow-origin http://localhost:8000
    python -m http.server 8000            # in another terminal, for the page
    # then open http://localhost:8000/chat.html in two windows

Everybody gives a name, and may give any. With --auth the service knows its users, and nobody can
speak as another one. Make each user a token, and add an option to the first command; keep the file
out of the folder that is served:

    (umask 077; python -m wsservice.auth tom >> ~/chat-users)    # prints the token of tom
    twistd ... --auth tokens:$HOME/chat-users
    # then open http://localhost:8000/chat.html#TOKEN

Messages are JSON, both ways. The server checks each message of a client, and the page shows it as
text, never as HTML. The page asks for the last messages with ?history=20; the service sends them
before new ones, so the behaviour has nothing to do for it.
"""

import json

from wsservice import ServerProtocol

LONGEST_NAME = 30
LONGEST_TEXT = 500
MOST_NAMED = 100


class Chat(ServerProtocol):
    name = "somebody"

    async def onOpen(self) -> None:
        if self.user is not None:
            self.name = self.user.id
            # Its page need not ask for a name.
            self.sendMessage(json.dumps({"what": "welcome", "who": self.name}).encode())
            await self.tell("joined")

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # super().onMessage(payload, isBinary) would write what is said to the log, too.
        try:
            said = json.loads(payload)
            kind, text = said["type"], str(said["text"]).strip()
        except (ValueError, KeyError, TypeError, RecursionError):
            # Not from our page. 1008 says that it broke the rules.
            self.sendClose(1008, "give such as {type, text}")
            return
        if kind == "name" and text and self.user is None:
            self.name = text[:LONGEST_NAME]
            await self.tell("joined")
        elif kind == "say" and text:
            await self.tell("said", text[:LONGEST_TEXT])

    async def tell(self, what: str, text: str = "") -> None:
        """Tell everybody in the room, ourselves included."""
        # In all workers and on all nodes. The names are listed only when they change.
        limit = 0 if what == "said" else MOST_NAMED
        presence = await self.factory.hub.presence(self.channel, limit=limit)
        users = sorted({each.user for each in presence.people if each.user})
        if what == "left" and self.user is not None and self.user.id in users:
            return  # still here, in another tab
        message = {
            "what": what,
            "who": self.name,
            "known": self.user is not None,  # by --auth; other names are only claimed
            "text": text,
            # The number is not known if a worker or a node did not answer.
            "people": presence.count if presence.is_whole else None,
            "users": users,
        }
        self.factory.hub.publish(self.channel, json.dumps(message).encode())

    async def onLeave(self, channel: str) -> None:
        # Called once this connection is off the channel: only the others are told.
        await self.tell("left")
