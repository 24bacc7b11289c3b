"""Figures for the model in wsservice/scaling: about what was measured, and the same for ever."""

from __future__ import annotations

import datetime

from wsservice.scaling.figures import MeasuredCosts

FIGURES = MeasuredCosts(
    measured=datetime.date(2026, 11, 25),
    machine="some machine, Redis 7",
    process_octets=64e6,
    connection_octets=4200,
    channel_octets=1100,
    socket_octets=3600,
    connect_us=150,
    join_us=50,
    ping_us=30,
    message_us=10,
    publish_us=150,
    line_us=30,
    arrive_us=30,
    arrive_ns=1,
    deliver_us=7,
    deliver_ns=0.3,
    redis_publish_us=8,
    redis_history_us=50,
    redis_pass_us=1.2,
    redis_octet_ns=0.4,
    redis_join_us=70,
    redis_client_octets=100_000,
    redis_subscription_octets=210,
    redis_channel_octets=4400,
    redis_message_octets=40,
    links=1,
)
