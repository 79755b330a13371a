# SPDX-License-Identifier: GPL-2.0-or-later
"""
Pictures, PNG or SVG: the heat map, and working sets over time.
"""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import PercentFormatter

# No display is needed.
matplotlib.use("Agg")

LABELS = 6


def save(figure, paths):
    """Writes a picture to each path; the suffix tells the kind."""
    for path in paths:
        figure.savefig(path, dpi=120)
    plt.close(figure)


def save_curves(curves, title, paths):
    """
    Working sets over time.

    @curves has, for each window, its name, times in seconds and sizes in MiB.
    """
    figure, axes = plt.subplots(figsize=(10, 6), constrained_layout=True)
    for name, times, sizes in curves:
        # A line has two ends at least: a window as long as the record is a dot.
        axes.plot(times, sizes, label=name, drawstyle="steps-post",
                  marker="o" if len(times) == 1 else None)
    axes.set_ylim(bottom=0)
    axes.grid(color="0.9")
    axes.set_xlabel("time in s")
    axes.set_ylabel("working set in MiB")
    axes.set_title(title)
    if curves:
        axes.legend(title="window")
    save(figure, paths)


def save_heat_map(heat_map, title, paths):
    """The heat map, with the logarithm of shares as its colours."""
    heat = np.ma.masked_invalid(np.where(heat_map.heat > 0, heat_map.heat,
                                         np.nan))
    floor = float(heat.min()) if heat.count() else 1e-3
    figure, axes = plt.subplots(figsize=(10, 6), constrained_layout=True)
    axes.set_facecolor("0.93")
    mesh = axes.pcolormesh(heat_map.positions, heat_map.times, heat,
                           cmap="inferno", rasterized=True,
                           norm=LogNorm(min(floor, 0.5), 1))
    axes.invert_yaxis()
    columns = np.linspace(0, len(heat_map.positions) - 1, LABELS).astype(int)
    axes.set_xticks(heat_map.positions[columns],
                    [f"{heat_map.address(column):#x}" for column in columns])
    # The last one would reach far to the right, and the bar of colours with it.
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.set_xlabel("guest-physical address, without holes")
    axes.set_ylabel("time in s")
    axes.set_title(title)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.set_label(f"pages {heat_map.what} in a harvest")
    save(figure, paths)
