"""The chart: FILE.svg, from JSON on standard input. Runs where matplotlib is, beside the peers.

The JSON is that of `report.chart`.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

# Told apart by those who see few colours too (Okabe and Ito).
BLUE, ORANGE, GREEN, PINK, GREY, RED = (
    *("#0072b2", "#e69f00", "#009e73"),
    *("#cc79a7", "#999999", "#d55e00"),
)


def main(target: str) -> None:
    given = json.load(sys.stdin)
    at = given["minutes"]
    # Text stays text, and the same figures make the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wsservice", "font.size": 9})
    figure, panels = plt.subplots(
        5, figsize=(8.6, 10.5), sharex=True, height_ratios=(1.4, 1, 1, 1, 1)
    )
    # A ground of its own: readable whatever the page around it has.
    figure.patch.set_facecolor("white")
    memory, files, lag, cpu, acts = panels

    memory.plot(at, given["rss"], color=BLUE, linewidth=1, label="resident memory")
    memory.plot(at, given["uss"], color=GREEN, linewidth=0.8, label="of its own")
    memory.plot(at, given["history"], color=GREY, linewidth=0.8, label="history")
    memory.plot(at, given["message_memory"], color=PINK, linewidth=0.6, label="messages and queues")
    if given["trend"]:
        label = f"trend: {given['growth']:+.1f} MiB an hour"
        memory.plot(
            *zip(*given["trend"], strict=True),
            color=RED,
            linewidth=1.6,
            linestyle="--",
            label=label,
        )
    memory.set_ylabel("MiB")
    memory.set_ylim(bottom=0)

    files.plot(at, given["descriptors"], color=BLUE, linewidth=0.8, label="descriptors")
    files.plot(at, given["connections"], color=ORANGE, linewidth=0.8, label="connections")
    files.axhline(
        given["descriptors_before"], color=GREY, linewidth=0.8, label="descriptors before the load"
    )
    files.set_ylabel("open")
    files.set_ylim(bottom=0)

    label = "the load's own, worst"
    lag.plot(at, given["own_lag"], color=GREY, linewidth=0.6, label=label)
    lag.plot(
        at, given["lag_worst"], color=ORANGE, linewidth=0.6, label="the reactor's worst, at most"
    )
    lag.plot(at, given["lag_mean"], color=BLUE, linewidth=0.8, label="the reactor's mean")
    lag.set_yscale("symlog", linthresh=1)
    lag.set_ylim(bottom=0)
    lag.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lag.set_ylabel("lag, ms")

    cpu.plot(at, given["cpu"], color=BLUE, linewidth=0.6, label="the service")
    cpu.plot(at, given["own_cpu"], color=ORANGE, linewidth=0.6, label="the load, floods excluded")
    cpu.set_ylabel("CPU, % of a core")
    cpu.set_ylim(bottom=0)

    acts.plot(at, given["honest"], color=GREEN, linewidth=0.8, label="honest acts a second")
    acts.plot(at, given["hostile"], color=PINK, linewidth=0.8, label="hostile acts a second")
    acts.plot(at, given["errors"], color=RED, linewidth=1.6, label="failures so far")
    acts.set_ylabel("acts, failures")
    acts.set_ylim(bottom=0)
    acts.set_xlabel("minutes since the load began")

    for axes in panels:
        axes.axvline(given["load_ends"], color="#333333", linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=7.5)
        axes.margins(x=0.01)
    figure.align_ylabels(panels)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


main(sys.argv[1])
