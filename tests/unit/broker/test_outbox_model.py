"""The outbox beside a model of the server, and all that can happen between the two."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from wsservice.broker.outbox import DOUBTED, Outbox
from wsservice.broker.queued import QueuedMessage
from wsservice.broker.standing import MisplacedError, Standing
from wsservice.channels.message import ChannelMessage
from wsservice.errors import Away, NotPublishedError, Refused, UncertainError, Unknown


@attrs.define(eq=False)
class Command:
    """The command by which a message is sent to the server, on a connection."""

    number: int
    payload: bytes
    after: Standing
    anew: bool
    answer: Deferred[int]


class World:
    """A server, its connections, and a node that publishes there: `payload` N is the N-th."""

    up = True
    problem: str | None = None

    def __init__(self, chance: random.Random, room: int) -> None:
        self.chance = chance
        self.clock = Clock()
        self.outbox = Outbox(self, self.clock, self._transmit, room)
        self.lives = 0
        self.standing = Standing()
        self.begin_anew()
        self.before = self.standing
        #: Commands that the server has not read yet, of this connection and of those before.
        self.unread: deque[Command] = deque()
        self.late: deque[Command] = deque()
        #: Its answers that are under way, in order.
        self.answers: deque[tuple[Command, Any]] = deque()
        #: The numbers and payloads that it published.
        self.published: list[tuple[int, bytes]] = []
        self.count = 0
        self.became: dict[bytes, list[Any]] = {}
        self.no_room = False

    def __str__(self) -> str:
        return "redis://x"

    def begin_anew(self, last: int = 0) -> None:
        self.lives += 1
        self.standing = Standing(b"L%d" % self.lives, last)

    def _transmit(self, publication: QueuedMessage) -> Deferred[int]:
        if not self.up or self.no_room:
            return fail(Away("away"))
        command = Command(
            publication.sequence,
            publication.message.payload,
            publication.after,
            publication.anew,
            Deferred(),
        )
        self.unread.append(command)
        return command.answer

    # Steps

    def put(self) -> None:
        self.count += 1
        publication = QueuedMessage(ChannelMessage("a", b"%d" % self.count))
        if self.chance.random() < 0.8:
            became = self.became[publication.message.payload] = []
            publication.done = Deferred()
            publication.done.addBoth(became.append)
            if self.chance.random() < 0.5:
                self.outbox.expect(publication)
        self.outbox.put(publication)

    def _do(self, command: Command) -> Any:
        """As the script does."""
        if command.anew and self.standing == command.after:
            self.begin_anew(self.standing.last)
        if self.standing != command.after:
            return MisplacedError(self.standing)
        self.standing = Standing(self.standing.life, command.number)
        self.published.append((command.number, command.payload))
        return 1

    def read(self) -> None:
        if self.unread:
            command = self.unread.popleft()
            self.answers.append((command, self._do(command)))

    def read_late(self) -> None:
        if self.late:
            self._do(self.late.popleft())

    def answer(self) -> None:
        if self.answers:
            command, said = self.answers.popleft()
            if isinstance(said, Exception):
                command.answer.errback(said)
            else:
                command.answer.callback(said)

    def refuse(self) -> None:
        if self.unread:
            self.answers.append((self.unread.popleft(), Refused("OOM no", "OOM")))

    def throw_scripts_out(self) -> None:
        """Have the first command asked again, after those that were asked since."""
        if self.unread:
            self.unread.rotate(-1)

    def go_down(self) -> None:
        if self.up:
            self.up, self.problem = False, "refused"
            open_ones = [command for command, _ in self.answers] + list(self.unread)
            # Some of what was written is read all the same, later.
            there = self.chance.randint(0, len(self.unread))
            self.late.extend(list(self.unread)[:there])
            self.answers.clear()
            self.unread.clear()
            for command in open_ones:
                command.answer.errback(Unknown("lost"))

    def come_up(self) -> None:
        if not self.up:
            self.up, self.problem = True, None
            self.outbox.flush()

    def save(self) -> None:
        self.before = self.standing

    def lose_all(self) -> None:
        self.begin_anew()

    def lose_the_end(self) -> None:
        self.standing = self.before

    def spoil(self) -> None:
        # With the sum that it has to have, else it is as where all is lost.
        self.standing = self.standing._replace(last=999_999_999)

    def have_no_room(self) -> None:
        self.no_room = not self.no_room

    def wait(self) -> None:
        self.clock.advance(self.chance.choice([0.01, 0.1, 1, 5]))

    def settle(self) -> None:
        """All is well from now on."""
        self.no_room = False
        self.come_up()
        for _ in range(10_000):
            if not (self.unread or self.answers or self.outbox.waiting):
                return
            self.read()
            self.answer()
            self.clock.advance(0.1)
        raise AssertionError("it never comes to an end")

    # Invariants

    def heard(self) -> list[bytes]:
        """Return the messages that a node hears if it passes over those that it knows."""
        last, heard = 0, []
        for number, payload in self.published:
            if number > last:
                last = number
                heard.append(payload)
        return heard

    def check(self, is_spoiled: bool) -> None:
        heard = self.heard()
        assert heard == sorted(heard, key=int)
        assert len(set(heard)) == len(heard)
        if not is_spoiled:
            assert [payload for _, payload in self.published] == heard
        published = {payload for _, payload in self.published}
        for payload, became in self.became.items():
            (outcome,) = became
            if isinstance(outcome, int):
                assert payload in published
                assert is_spoiled or payload in heard
            elif outcome.check(NotPublishedError):
                assert payload not in published
            else:
                outcome.trap(UncertainError)


USUAL = ["put"] * 12 + ["read"] * 12 + ["answer"] * 12 + ["wait"]
FAULTS = {
    "scripts": ["throw_scripts_out"] * 3,
    "cuts": ["go_down", *["come_up"] * 3, *["read_late"] * 3],
    "refusals": ["refuse", "have_no_room"],
    "nothing kept": ["go_down", *["come_up"] * 3, *["read_late"] * 3, "lose_all"],
    "the end lost": ["go_down", *["come_up"] * 3, *["save"] * 3, "lose_the_end"],
    "spoiled": ["spoil", "throw_scripts_out"],
}
FAULTS["all"] = [each for some in FAULTS.values() for each in some]


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("room", [0, 5])
def test_whatever_happens_each_is_published_once_or_said_not_to_be(faults: str, room: int) -> None:
    for seed in range(60):
        chance = random.Random(f"{faults} {room} {seed}")
        world = World(chance, room)
        deeds = USUAL + FAULTS[faults]
        for _ in range(400):
            getattr(world, chance.choice(deeds))()
        world.settle()
        while world.late:
            world.read_late()
        # A server that works takes what comes next.
        for _ in range(3):
            world.put()
        world.settle()
        world.clock.advance(DOUBTED)
        assert world.heard()[-1] == b"%d" % world.count
        world.check(is_spoiled=faults in ("the end lost", "spoiled", "all"))
        assert world.outbox.waiting == 0


def test_in_the_usual_case_each_is_asked_for_once() -> None:
    world = World(random.Random(1), 0)
    world.put()
    world.settle()
    for _ in range(100):
        world.put()
    assert len(world.unread) == 100
    world.settle()
    assert [number for number, _ in world.published] == list(range(1, 102))
    assert world.outbox.counted.resent == 0
    # One that is refused costs nothing more either.
    world.put()
    world.refuse()
    world.answer()
    world.put()
    world.read()
    assert world.answers[0][1] == 1
