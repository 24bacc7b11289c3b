"""Compute what a load needs, by the figures of `figures.py`, and the machines for it. PURE.

A message goes once to Redis, from there to each process with a connection on its channel, and from
each of those to its own connections. The model spreads the connections on a channel over the
processes at random. Everything is a mean: `Machines.busy` leaves room for bursts.
"""

from __future__ import annotations

import math

import attrs

from .figures import MeasuredCosts

GIB = 1024**3

_PACKET = 66
_SEGMENT = 1448
"""Octets of the headers of a packet (Ethernet, IPv4, TCP with time stamps), and of its content.
Each packet is answered by one that has only the headers."""

_ENVELOPE = 128
"""Octets, about, that a message between a node and Redis has besides its payload: the command, the
names of the channel and of the node."""

_REQUEST = 300
"""Octets, about, that a `POST /publish` has besides its payload, and that its answer has."""

_HANDSHAKE = 1000
"""Octets, about, of an opening and a closing handshake, in each direction, with packet headers."""

_PING = 10
"""The most octets of a ping."""

_FULL = 0.8
"""The fraction of memory that is planned for, whatever `busy` is: memory has no queue."""

_MOST = 10**15
"""The most nodes that a plan may have."""

_STEPS = 10_000


@attrs.frozen
class Load:
    """The load. Rates are means per second, over all connections."""

    connections: float
    publish_rate: float
    """Messages published per second."""
    fan_out: float
    """Connections that each published message reaches: those on its channel."""
    size: float
    """Octets of a message's payload."""
    channels: float
    """Channels with a connection."""
    session: float
    """Seconds that a connection stays open."""
    message_rate: float = 0.0
    """Messages that clients send per second."""
    history: float = 0.0
    """The most messages that are kept of each channel; 0: none."""
    history_seconds: float = 0.0
    """Seconds that a message is kept; 0: as long as there is room."""
    ping_interval: float = 20.0
    batch: float = 1.0
    """Messages in each `POST /publish`."""

    @property
    def delivered(self) -> float:
        """Messages delivered per second."""
        return self.publish_rate * self.fan_out

    @property
    def connect_rate(self) -> float:
        """Connections opened per second; as many are closed."""
        return self.connections / self.session

    @property
    def joins(self) -> float:
        """Channels joined per second."""
        return max(self.connections, self.channels * self.fan_out) / self.session

    @property
    def kept(self) -> float:
        """Messages in all histories."""
        if not self.history:
            return 0.0
        each = self.history
        if self.history_seconds:
            each = min(each, self.publish_rate / self.channels * self.history_seconds)
        return each * self.channels


@attrs.frozen
class Machines:
    """The machines. A node runs one process (`--workers`) for each of its cores."""

    cores: float = 4
    memory: float = 16 * GIB
    network: float = 10e9 / 8
    """Octets per second, in each direction."""
    connections: float = 50_000
    """The most connections of a node; a node that fails loses them."""
    redis_memory: float = 16 * GIB
    redis_network: float = 10e9 / 8
    redis_connections: float = 10_000
    """The `maxclients` of a Redis."""
    busy: float = 0.5
    """The fraction of CPU time and network that the mean load may take, of nodes and of Redis."""


@attrs.frozen
class Needs:
    """The needs of a load on `processes` processes, all of them together."""

    processes: float
    reached: float
    """Processes that a message reaches."""
    cpu: float
    """Cores."""
    memory: float
    network_in: float
    network_out: float
    """Octets per second."""
    redis_cpu: float
    redis_memory: float
    redis_in: float
    redis_out: float
    redis_connections: float
    """Connections to each Redis."""
    redis_rate: float
    """Messages per second that Redis receives and passes on."""
    spread: float
    """Seconds between a message's first and last delivery in one process."""


def reached(members: float, processes: float) -> float:
    """Return the mean number of processes that have at least one of the members."""
    if processes <= 1 or members <= 1:
        return min(members, 1.0)
    # It equals processes * (1 - (1 - 1/processes) ** members). This form is exact for many
    # processes too.
    return -processes * math.expm1(members * math.log1p(-1 / processes))


def alone(members: float, processes: float) -> float:
    """Return the probability that a member is alone in its process when it joins or leaves."""
    if members <= 1:
        return 1.0
    return math.exp((members - 1) * math.log1p(-1 / processes)) if processes > 1 else 0.0


def on_wire(octets: float) -> float:
    """Return the octets that a message of `octets` octets takes as TCP packets."""
    return octets + _PACKET * math.ceil(octets / _SEGMENT)


def _frame(size: float) -> float:
    return size + (2 if size < 126 else 4 if size < 65536 else 10)


def needs(load: Load, figures: MeasuredCosts, processes: float) -> Needs:
    """Return the needs of a load on a number of processes."""
    reach = reached(load.fan_out, processes)
    subscribed = load.joins * alone(load.fan_out, processes)
    arriving = load.publish_rate * reach
    pings = load.connections / load.ping_interval if load.ping_interval else 0.0
    publish_us = figures.redis_history_us if load.history else figures.redis_publish_us
    post_us = figures.line_us + max(figures.publish_us - figures.line_us, 0.0) / load.batch
    cpu_us = (
        load.connect_rate * figures.connect_us
        + subscribed * figures.join_us
        + pings * figures.ping_us
        + load.message_rate * figures.message_us
        + load.publish_rate * post_us
        + arriving * (figures.arrive_us + load.size * figures.arrive_ns / 1e3)
        + load.delivered * (figures.deliver_us + load.size * figures.deliver_ns / 1e3)
    )
    redis_us = (
        load.publish_rate * publish_us
        + arriving * (figures.redis_pass_us + load.size * figures.redis_octet_ns / 1e3)
        + subscribed * figures.redis_join_us
    )
    subscriptions = load.channels * reach
    between = on_wire(load.size + _ENVELOPE)
    posts = load.publish_rate / load.batch
    asked = posts * on_wire(load.size * load.batch + _REQUEST)
    handshakes = load.connect_rate * _HANDSHAKE
    answers = _PACKET * math.ceil(_frame(load.size) / _SEGMENT)
    return Needs(
        processes=processes,
        reached=reach,
        cpu=cpu_us / 1e6,
        memory=processes * figures.process_octets
        + load.connections * (figures.connection_octets + figures.socket_octets)
        + subscriptions * figures.channel_octets,
        network_in=handshakes
        + pings * on_wire(_PING)
        + load.message_rate * on_wire(_frame(load.size) + 4)
        + load.publish_rate * _PACKET
        + asked
        + arriving * between
        + load.delivered * answers,
        network_out=handshakes
        + pings * on_wire(_PING)
        + load.message_rate * _PACKET
        + posts * on_wire(_REQUEST)
        + load.publish_rate * between
        + arriving * _PACKET
        + load.delivered * on_wire(_frame(load.size)),
        redis_cpu=redis_us / 1e6,
        redis_memory=subscriptions * figures.redis_subscription_octets
        + (load.channels * figures.redis_channel_octets if load.history else 0.0)
        + load.kept * (figures.redis_message_octets + load.size),
        redis_in=load.publish_rate * between + arriving * _PACKET,
        redis_out=arriving * between + load.publish_rate * _PACKET,
        redis_connections=processes * figures.links,
        redis_rate=load.publish_rate + arriving,
        spread=max(load.fan_out / processes, 1.0)
        * (figures.deliver_us + load.size * figures.deliver_ns / 1e3)
        / 1e6,
    )


@attrs.frozen
class Plan:
    """The machines that carry a load, and their use under it."""

    needs: Needs
    nodes: int
    nodes_for: str
    """The resource that fewer nodes would lack; "" if one node is enough."""
    redis: int
    redis_for: str
    busy_without_one: float
    """The fraction of their CPU time that the other nodes use after one is lost: 1 is all of it;
    `math.inf` if there are no others."""
    back: float
    """Seconds in which the other nodes take the connections of a lost node, with the CPU time they
    have left; `math.inf` if they have none."""
    warnings: tuple[str, ...]


class TooMuchError(ValueError):
    """No number of such machines carries the load. The text names the resource that lacks."""


def plan(load: Load, figures: MeasuredCosts, machines: Machines) -> Plan:
    """Return the fewest machines that carry a load. Raises `TooMuchError`."""
    nodes, nodes_for = _nodes(load, figures, machines)
    found = needs(load, figures, nodes * machines.cores)
    redis, redis_for = _redis(load, figures, machines, found)
    warnings = []
    if redis > load.channels:
        warnings.append(
            f"all messages of a channel go through one Redis: {load.channels:,.0f} channels"
            f" do not spread over {redis:,.0f}"
        )
    if found.redis_connections > machines.redis_connections:
        warnings.append(
            f"each Redis has {found.redis_connections:,.0f} connections: it takes"
            f" {machines.redis_connections:,.0f}, unless its maxclients is set to more"
        )
    busy, back = _without_one(load, figures, machines, nodes)
    return Plan(found, nodes, nodes_for, redis, redis_for, busy, back, tuple(warnings))


def _wanted(
    load: Load, figures: MeasuredCosts, machines: Machines, nodes: int
) -> tuple[float, str]:
    """Return the nodes needed for a load on `nodes` nodes, and the scarcest resource.

    Raises `TooMuchError`.
    """
    found = needs(load, figures, nodes * machines.cores)
    processes = machines.cores * figures.process_octets
    room = machines.memory * _FULL - processes
    if room <= 0:
        raise TooMuchError("each node alone has too little memory for its processes")
    wanted = {
        "connections": load.connections / machines.connections,
        "CPU": found.cpu / machines.cores / machines.busy,
        "memory": (found.memory - nodes * processes) / room,
        "network": max(found.network_in, found.network_out) / machines.network / machines.busy,
    }
    name, most = max(wanted.items(), key=lambda each: each[1])
    return most, name


def _nodes(load: Load, figures: MeasuredCosts, machines: Machines) -> tuple[int, str]:
    # With more nodes, each message reaches more of them, so that still more are needed. The
    # count grows from below to the first number that is enough, and stays there.
    nodes, limit, steps = 1, "", 0
    while True:
        wanted, name = _wanted(load, figures, machines, nodes)
        if wanted <= nodes:
            return nodes, limit
        steps += 1
        if steps > _STEPS:  # it comes there in very small ones: take larger, to some more
            wanted = max(wanted, nodes * 1.01)
        nodes, limit = math.ceil(wanted), name
        if nodes > _MOST:
            raise TooMuchError(f"each node has too little {name} for the load")


def _redis(load: Load, figures: MeasuredCosts, machines: Machines, found: Needs) -> tuple[int, str]:
    clients = found.processes * figures.redis_client_octets
    room = machines.redis_memory * _FULL - clients
    if room <= 0:
        raise TooMuchError("each Redis alone has too little memory for its connections")
    wanted = {
        "CPU": found.redis_cpu / machines.busy,
        "memory": found.redis_memory / room,
        "network": max(found.redis_in, found.redis_out) / machines.redis_network / machines.busy,
    }
    name, most = max(wanted.items(), key=lambda each: each[1])
    return (math.ceil(most), name) if most > 1 else (1, "")


def _without_one(
    load: Load, figures: MeasuredCosts, machines: Machines, nodes: int
) -> tuple[float, float]:
    left = (nodes - 1) * machines.cores
    if not left:
        return math.inf, math.inf
    busy = needs(load, figures, left).cpu / left
    if busy >= 1:
        return busy, math.inf
    each_us = figures.connect_us + load.joins / load.connect_rate * figures.join_us  # at most
    return busy, load.connections / nodes * each_us / 1e6 / (left * (1 - busy))
