"""The pictures of bench.py's records, as SVG; they need matplotlib."""

import io
import math

from bench_peers import TITLES

COLOURS = {"lstm-core": "black", "burn::nn": "#d95f02", "torch": "#7570b3", "jax": "#1b9e77", "onnxruntime": "#1f78b4"}
COLOURS |= {"torch-cuda": "#7570b3", "torch-cuda-tf32": "#e7298a"}
STEP_STYLES = [("-", "o"), ("--", "s"), (":", "^")]  # of the calls of one implementation
STEP_CALLS_LEFT_OUT = {("lstm-core", "layer.forward")}  # close to the layer's step; the table has it


def pyplot():
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 12, "svg.hashsalt": "bench"})
    return pyplot


def label(info, impl):
    """An implementation with its version."""
    if impl == "burn::nn":
        return f"burn::nn {info['burn']}"
    if impl in info["peers"]:
        return f"{TITLES[impl]} {info['peers'][impl]['version'].split('+')[0]}"
    return impl


def svg(figure):
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", facecolor="white", metadata={"Date": None})
    pyplot().close(figure)
    return picture.getvalue()


def plain(axis):
    """Without the lines above and to the right, and with plain numbers on an axis with logarithms."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def ratios(info, rows):
    """How many times as long as lstm-core each implementation takes at each shape."""
    others = [impl for impl in dict.fromkeys(row["impl"] for row in rows) if impl != "lstm-core"]
    shapes = list(dict.fromkeys((row["group"], ",".join(map(str, row["shape"]))) for row in rows))
    figure, axes = pyplot().subplots(2, 1, figsize=(max(6, 1.15 * len(shapes) + 1), 8), sharex=True, facecolor="white")
    for axis, (key, mode) in zip(axes, [("infer_ratio", "inference"), ("train_ratio", "forward + backward")]):
        axis.set_yscale("log")
        having = [impl for impl in others if any(row["impl"] == impl and key in row for row in rows)]
        width = 0.8 / max(1, len(having))
        for k, impl in enumerate(having):
            at = {(row["group"], ",".join(map(str, row["shape"]))): row[key] for row in rows if row["impl"] == impl}
            places = [place + (k - (len(having) - 1) / 2) * width for place in range(len(shapes))]
            heights = [at[shape] for shape in shapes]
            bars = [height - 1 for height in heights]
            axis.bar(places, bars, width, bottom=1, color=COLOURS[impl], label=label(info, impl), zorder=2)
            for place, height in zip(places, heights):
                above = height >= 1
                axis.annotate(
                    f"{height:.1f}" if height < 9.95 else f"{height:.0f}",
                    (place, height),
                    xytext=(0, 2 if above else -2),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if above else "top",
                    fontsize=9,
                )
        axis.axhline(1, color="black", linewidth=1.2, zorder=3)
        axis.set_ylabel(f"× lstm-core's time,\n{mode}")
        axis.grid(axis="y", color="#dddddd", zorder=0)
        axis.margins(y=0.12)
        plain(axis)
    axes[0].legend(ncols=len(others), frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=11)
    names = [shape + ("" if group != "not tuned for" else f"\n{group}") for group, shape in shapes]
    axes[1].set_xticks(range(len(shapes)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes[1].set_xlabel("B,T,I,H; the line at 1 is lstm-core, above it is slower")
    return svg(figure)


def spread(places, apart):
    """Ascending places, moved until none is nearer to the next than `apart`."""
    places = list(places)
    for _ in range(1000):
        for k in range(len(places) - 1):
            lacking = apart - (places[k + 1] - places[k])
            if lacking > 0:
                places[k] -= lacking / 2
                places[k + 1] += lacking / 2
    return places


def steps(info, rows):
    """Microseconds of a single step against H, a line for each call."""
    figure, axis = pyplot().subplots(figsize=(9, 6.5), facecolor="white")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    hidden = list(dict.fromkeys(row["shape"][3] for row in rows))
    calls = list(dict.fromkeys((row["impl"], row["call"]) for row in rows))
    ends, seen = [], {}
    for impl, call in calls:
        if (impl, call) in STEP_CALLS_LEFT_OUT:
            continue
        style, marker = STEP_STYLES[seen.setdefault(impl, 0) % len(STEP_STYLES)]
        seen[impl] += 1
        heights = [row["step_us"] for row in rows if (row["impl"], row["call"]) == (impl, call)]
        heavy = 2.4 if impl == "lstm-core" else 1.6
        axis.plot(hidden, heights, style, marker=marker, markersize=5, color=COLOURS[impl], linewidth=heavy)
        ends.append((heights[-1], f"{TITLES.get(impl, impl)}, {call}", COLOURS[impl]))
    axis.set_xticks(hidden, [str(h) for h in hidden])
    axis.minorticks_off()
    axis.set_xlim(hidden[0] / 1.1, hidden[-1] * 1.1)
    axis.set_xlabel("H = I; B = 1, T = 1, the state is carried from call to call")
    axis.set_ylabel(f"µs a call, {info['cell'].upper()}")
    axis.grid(color="#dddddd", zorder=0)
    plain(axis)
    # Each line's name stands where it ends, those that would overlap moved apart.
    low, high = axis.get_ylim()
    ends.sort()
    places = spread([math.log(height) for height, _, _ in ends], math.log(high / low) / 22)
    for place, (height, name, colour) in zip(places, ends):
        axis.annotate(
            name,
            (hidden[-1], height),
            xytext=(hidden[-1] * 1.35, math.exp(place)),
            annotation_clip=False,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "relpos": (0, 0.5)},
        )
    return svg(figure)
