from __future__ import annotations

from wsservice.workers.parent.sums import added, outlasting

ONE = {
    "counts": {"accepted": 3, "closes": {"1000": 2}, "handshakes": [0.5, 1, 2]},
    "traffic": [1, 2, 3, 4, 5],
    "held": 3,
    "open": 3,
    "memory": 100,
}
OTHER = {
    "counts": {"accepted": 1, "closes": {"1001": 1}, "handshakes": [0.25, 0, 1]},
    "traffic": [1, 1, 1, 1, 1],
    "held": 1,
    "open": 1,
    "memory": 50,
}


def test_figures_are_added_name_by_name() -> None:
    assert added(ONE, OTHER) == {
        "counts": {
            "accepted": 4,
            "closes": {"1000": 2, "1001": 1},
            "handshakes": [0.75, 1, 3],
        },
        "traffic": [2, 3, 4, 5, 6],
        "held": 4,
        "open": 4,
        "memory": 150,
    }


def test_to_nothing_they_are_what_they_were() -> None:
    assert added({}, ONE) == added(ONE, {}) == ONE


def test_of_one_that_is_gone_what_was_so_is_nothing_any_more() -> None:
    assert outlasting(ONE) == {"counts": ONE["counts"], "traffic": [1, 2, 3, 4, 0]}
    assert ONE["traffic"] == [1, 2, 3, 4, 5]
    assert outlasting({}) == {}
    webhook = {"dropped": 1, "waiting": 2}
    assert outlasting({"webhook": webhook}) == {"webhook": {"dropped": 1, "waiting": 0}}
    assert webhook["waiting"] == 2
