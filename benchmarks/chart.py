"""The chart: FILE.svg, from JSON on standard input. Runs where matplotlib is, beside the peers.

The JSON has `servers`, their titles, and `works`: a title, and for each server
how many times as cheap as the reference it is, or null.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

# Told apart by those who see few colours too (Okabe and Ito); ours stands out.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#999999", "#56b4e9", "#d55e00")


def main(target: str) -> None:
    given = json.load(sys.stdin)
    servers, works = given["servers"], given["works"]
    # Text stays text, and the same figures make the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wsservice", "font.size": 9})
    figure, axes = plt.subplots(figsize=(8.6, 1.2 + 0.14 * len(works) * (len(servers) + 1)))
    # A ground of its own: readable whatever the page around it has.
    figure.patch.set_facecolor("white")
    step = 0.86 / len(servers)
    for place, server in enumerate(servers):
        drawn = [
            (number + (place + 0.5) * step - 0.43, work["times"][place])
            for number, work in enumerate(works)
            if work["times"][place] is not None
        ]
        axes.barh(
            [where for where, _ in drawn],
            [value - 1 for _, value in drawn],
            left=1,
            height=step * 0.9,
            color=COLOURS[place],
            label=server,
        )
        for where, value in drawn:
            right = value >= 1
            axes.annotate(
                f"{value:.2g}" if value < 10 else f"{value:.0f}",
                (value, where),
                xytext=(3 if right else -3, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                fontsize=6,
                color="#333333",
            )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.25, high * 1.25)
    axes.axvline(1, color="#333333", linewidth=1, label=given["reference"])
    axes.margins(y=0.01)
    axes.set_yticks(range(len(works)), [work["title"] for work in works])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
    axes.set_xlabel(
        f"times as cheap as {given['reference']}, in CPU time; idle connections in memory"
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(target, metadata={"Date": None})


main(sys.argv[1])
