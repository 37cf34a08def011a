"""The picture of `make bench`: how much of the bound is reached, over the frame's size."""

from matplotlib.figure import Figure

from .bench_rows import DIRECTIONS, FRAMES, POLICIES

__all__ = ["plot_sizes"]

STYLES = dict(zip(DIRECTIONS, ("-", "--", ":")))


def plot_sizes(rows, path):
    """Write a PNG of the ratio for each link, policy and direction. `rows` are dicts of group "sizes"."""
    links = list(dict.fromkeys(row["link"] for row in rows))
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, len(links), sharey=True, squeeze=False)[0]
    for panel, link in zip(panels, links):
        for number, policy in enumerate(POLICIES):
            for direction in DIRECTIONS:
                points = sorted((row["frame"], row["ratio"]) for row in rows
                                if (row["link"], row["policy"], row["direction"]) == (link, policy, direction))
                if points:
                    panel.plot(*zip(*points), STYLES[direction], color=f"C{number}", marker=".", linewidth=1.2,
                               label=f"{policy}, {direction}")
        panel.axhline(1, color="black", linewidth=0.6)
        panel.set_xscale("log", base=2)
        panel.set_xticks(FRAMES, [str(frame) for frame in FRAMES], rotation=45)
        panel.minorticks_off()
        panel.set_title(link)
        panel.set_xlabel("frame with FCS, bytes")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("packets per second / bound")
    panels[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
