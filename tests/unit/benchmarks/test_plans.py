"""docs/scaling.md has the figures of the model."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from benchmarks import plans, scaling
from benchmarks.delivering import SETUPS, Delivered, medians
from benchmarks.document import part
from benchmarks.recovering import Outcome
from wsservice.scaling import model
from wsservice.scaling.figures import NUMBERS, read

DOCUMENT = Path(__file__).parents[3] / "docs" / "scaling.md"


@pytest.mark.parametrize("name", ["figures", "plans", "check"])
def test_the_document_has_what_follows_from_the_figures(name: str) -> None:
    """If this fails, run `python -m benchmarks.scaling --no-measuring`."""
    made = getattr(plans, name)(read())
    assert part(DOCUMENT.read_text(), name).strip() == made.strip()


def test_every_figure_is_in_the_table() -> None:
    table = plans.figures(read())
    assert {each.name for each in NUMBERS} == set(
        re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    )


def test_the_loads_are_what_their_titles_say() -> None:
    groups, one = plans.groups(1e6), plans.one_channel(1e6)
    assert groups.delivered == groups.connections / 2
    assert groups.channels * groups.fan_out == groups.connections
    assert (one.channels, one.fan_out, one.delivered) == (1, 1e6, 1e6)


def test_what_was_published_is_of_the_models_order_of_magnitude() -> None:
    rows = plans.check(read()).splitlines()[2:]
    assert len(rows) == 8
    for row in rows:
        published, said = row.strip("| ").replace(",", "").split(" | ")[1:]
        low, _, high = said.partition(" to ")
        assert float(low) / 10 < float(published) < float(high or low) * 10, row


def test_medians_are_of_each_figure() -> None:
    one = Delivered(1, 2, 3, 4, 5, 6, {"publish": 1.0})
    rounds = [attrs.evolve(one, alone=value, p99=10 - value) for value in (1, 9, 3)]
    assert medians(rounds) == attrs.evolve(one, alone=3, p99=7)


def test_what_is_measured_is_a_table_and_a_list() -> None:
    one = Delivered(1000, 20.0, 40_000, 4.4, 55.5, 15e3, {"evalsha": 1.0, "publish": 1.0})
    found = dict.fromkeys(SETUPS, one)
    table = scaling.deliveries_table(found).splitlines()
    assert len(table) == 2 + len(SETUPS)
    assert table[3] == "| two nodes, Redis, 2 x 1,000 | 1,000 | 20 | 40,000 | 4.4 | 55.5 |"
    costs = scaling.costs_table(found, read()).splitlines()
    assert len(costs) == 2 + len(SETUPS) - 1
    said = r"\| two nodes, Redis \| 1 evalsha, 1 publish \| 15 \| [\d.]+ \|"
    assert re.fullmatch(said, costs[2])
    said = scaling.recoveries_text({1: [0.1, 0.3, 0.2], 5000: [2.0]})
    assert "with 1 channel to subscribe to" in said
    assert "0.20 s after its first answer, 0.30 s at most of 3." in said
    assert "5,000 channels to" in said
    outcome = Outcome(9990, 40, 10, 4, 33, 0, 0, 0, 0, 21.5)
    assert "**0 missing, 0 twice**" in scaling.outcome_text(outcome)
    assert (
        "10 more were answered 504 (perhaps published), and 4 of these came."
        in scaling.outcome_text(outcome)
    )
    assert "504" not in scaling.outcome_text(attrs.evolve(outcome, unknown=0))


def test_what_a_publish_costs_by_the_model_is_the_sum_of_what_happens() -> None:
    of = read()
    cpu = plans.each_publish(of, nodes=2, connections=3, size=0)
    expected = of.publish_us + 1.97 * of.arrive_us + 6 * of.deliver_us
    assert cpu == pytest.approx(expected, rel=0.01)


def test_the_model_of_the_check_has_as_many_processes_as_they_had() -> None:
    theirs = plans.CENTRIFUGO
    load = attrs.evolve(plans.groups(1e6), fan_out=1)
    assert model.needs(load, read(), theirs.processes).reached == pytest.approx(1)
