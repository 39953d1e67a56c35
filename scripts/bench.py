#!/usr/bin/env python3
"""Times the layers side by side with burn::nn's, PyTorch's, JAX's and ONNX Runtime's, on the CPU or on a GPU.

Builds the program, then runs for each shape `training bench` and each peer in turn, each in a process
of its own, for several rounds. Takes the median over the rounds of each one's medians, and says how many
times as long as lstm-core it takes. Writes a dated record (.md, .json and, with matplotlib, .svg) and
puts its tables into docs/benchmarks.md and the first rows into README.md; `--from RECORD.json` does the latter alone,
without measuring. `--forms` adds other layers than one LSTM, `--steps` single steps whose state is carried from call to
call, and `--busy` a machine whose cores other processes take.

On the GPU (`--device wgpu`, vulkan, metal, cuda or rocm, which the program is built for then) the peer is PyTorch
with cuDNN on the same machine's NVIDIA GPU, with TF32 and without. README.md is left alone then.

The peers, which bench_peers.py runs, are optional: `pip install torch jax flax onnxruntime onnx numpy matplotlib`.
Those that are missing are skipped, and named. ONNX Runtime does inference alone. Python 3.9 or newer.
Close other programs first: they take time from whichever is being timed.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_pictures
from bench_peers import (
    ALL_PEERS,
    CELLS,
    DTYPES,
    FORM_PEERS,
    NOT_INSTALLED,
    PEERS,
    STEP_CALLS,
    STEP_PEERS,
    TITLES,
    WARM_UP,
    positive,
    shape_argument,
    sizes,
)

ROOT = Path(__file__).resolve().parent.parent
# The pages with tables of the newest record, each with the name of its two marks.
README, BENCHMARKS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
MARKS = {README: "speed", BENCHMARKS: "bench"}

DEFAULT_SHAPES = ["32,50,2,64", "64,100,2,128", "32,100,128,256", "64,100,256,512"]
OTHER_SHAPES = ["23,51,3,100", "1,200,64,256", "512,16,32,128", "4,1000,16,128", "7,33,5,37", "100,30,300,80"]
# The last is published for an H100: FlashRNN's paper has nn.LSTM, its own kernels and plain PyTorch at it.
GPU_SHAPES = [*DEFAULT_SHAPES, "16,1024,768,768"]
README_SHAPES = DEFAULT_SHAPES[:3]
DEFAULT_GROUP, OTHER_GROUP, CHOSEN_GROUP = "default", "not tuned for", "chosen"

# With --forms, at the shapes of README.md: what a table calls it, its cell, and what is made of the cell.
FORMS = {
    "plain RNN": ("rnn", "layer"),
    "GRU": ("gru", "layer"),
    "bidirectional LSTM": ("lstm", "bidirectional"),
    "two LSTM layers": ("lstm", "two-layers"),
    "LSTM, rows of different lengths": ("lstm", "lengths"),
}

GROWTH_TIMES = [16, 64, 256, 1024, 4096]  # at B=32, I=128, H=256, where a call's fixed 0.1 ms is little
GROWTH_HIDDEN = [32, 64, 128, 256, 512, 1024]  # at B=32, T=50, I=H
GROWTH_THREADS = [1, 2]
MEMORY_BATCH, MEMORY_INPUT, MEMORY_HIDDEN, MEMORY_TIMES = 64, 2, 256, (100, 400)

STEP_HIDDEN = [64, 128, 256, 512, 1024]  # at B=1, T=1, I=H
STEP_OWN = ("lstm-core", "layer.step")

BUSY_SHAPES = ["1,200,64,128", "1,300,32,320", "8,100,32,128"]

MODES = [("infer_ms", "inference"), ("train_ms", "forward + backward")]
TIMES = ["infer_ms", "train_ms", "step_us"]
BOTH = "lstm-core and burn::nn"


class Failure(Exception):
    """What happened and what to do, for the user."""


# --- running -----------------------------------------------------------------------------------------


def note(text):
    print(text, file=sys.stderr, flush=True)


def output_of(command):
    """What a short command prints, or nothing where there is no such command."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def build(device):
    """Builds the program for a device; returns its path."""
    command = ["cargo", "build", "--release", "-p", "training"]
    if device not in ("flex", "wgpu"):  # which are built in by default
        command += ["--features", device]
    note(f"building: {' '.join(command)}")
    try:
        done = subprocess.run(command, cwd=ROOT)
    except FileNotFoundError:
        raise Failure("cargo was not found: install Rust (https://rustup.rs) and try again")
    if done.returncode != 0:
        raise Failure("the program does not build: see cargo's message above")
    metadata = output_of(["cargo", "metadata", "--format-version", "1", "--no-deps"])
    if not metadata:
        raise Failure("`cargo metadata` failed: run it in the repository to see why")
    name = "training.exe" if os.name == "nt" else "training"
    program = Path(json.loads(metadata)["target_directory"]) / "release" / name
    if not program.exists():
        raise Failure("cargo built the program, but not into target/release: is build.target set? unset it for this")
    return str(program)


def child(command, environment=None, measure=False):
    """Runs a command; returns its exit status, lines of JSON, errors and peak memory in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(environment or {})})
        peak = None
        try:
            if measure:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            else:
                process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        printed, errors = out.read(), err.read().strip()
    lines = [json.loads(line) for line in printed.splitlines()] if process.returncode == 0 else []
    return process.returncode, lines, errors, peak


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@contextlib.contextmanager
def spinning(program):
    """Meanwhile a process per core does nothing but spin, until its standard input ends."""
    command = [program, "bench", "--busy", "--role", "spin"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(cores())]
    try:
        yield
    finally:
        for process in processes:
            process.stdin.close()
            process.wait()


class Runner:
    """Runs the implementations and keeps what was asked for."""

    def __init__(self, args, program):
        self.args, self.program = args, program
        self.peers, self.skipped = {}, {}
        self.adapter = None
        for peer in PEERS[args.device]:
            status, lines, errors, _ = child(self.peer_command(peer, 1))
            if status == NOT_INSTALLED:
                self.skipped[peer] = f"not here ({errors.splitlines()[-1]})"
                note(f"skipped: {peer}, {self.skipped[peer]}")
            elif status != 0:
                self.skipped[peer] = f"does not start, exit status {status}"
                note(f"{errors}\nskipped: {peer}, {self.skipped[peer]}")
            else:
                self.peers[peer] = lines[0]

    def peer_command(self, peer, runs, *options, kind=None):
        script = Path(__file__).resolve().with_name("bench_peers.py")
        return [sys.executable, str(script), peer, *self.what(runs, kind), *options]

    def own_command(self, runs, *options, kind=None):
        return [self.program, "bench", "--device", self.args.device, "--json", *self.what(runs, kind), *options]

    def what(self, runs, kind):
        cell, form = kind or (self.args.cell, None)
        return ["--cell", cell, *(["--form", form] if form else []), "--dtype", self.args.dtype, "--runs", str(runs)]

    def lines(self, name, shape, runs, threads=None, measure=False, step=False, kind=None):
        """Times a shape with `both` (lstm-core and burn::nn), one of them, or a peer; `kind` is a cell and its form."""
        environment = {}
        options = ["--shapes", shape, *(["--step"] if step else [])]
        if name in ALL_PEERS:
            options += ["--threads", str(threads)] if threads else []
            command = self.peer_command(name, runs, *options, kind=kind)
        else:
            options += [] if name == "both" else ["--impl", name.replace("::", "-")]
            command = self.own_command(runs, *options, kind=kind)
            environment = {"RAYON_NUM_THREADS": str(threads)} if threads else {}
        status, lines, errors, peak = child(command, environment, measure)
        if status != 0:
            raise Failure(f"{name} failed at {shape}, exit status {status}; nothing is written. It said:\n{errors}")
        return [line for line in lines if "shape" in line], peak

    def timed(self, names, shapes, threads=None, step=False, kind=None):
        """The implementations in turn at each shape, round after round: the medians of the rounds."""
        rounds, kernels = {}, {}
        for number in range(self.args.rounds):
            for shape in shapes:
                for name in names:
                    at = f", {threads} thread{'s'[: threads - 1]}" if threads else ""
                    note(f"  {shape}{at}, round {number + 1} of {self.args.rounds}: {BOTH if name == 'both' else name}")
                    for line in self.lines(name, shape, self.args.runs, threads, step=step, kind=kind)[0]:
                        self.adapter = line.get("adapter", self.adapter)
                        place = (shape, line["impl"], line.get("call"))
                        kernels[place] = line.get("runs_on_kernels")
                        for key in TIMES:
                            if key in line:
                                rounds.setdefault(place, {}).setdefault(key, []).append(line[key])
        return [
            {
                "impl": impl,
                **({"call": call} if call else {}),
                "shape": sizes(shape),
                "runs_on_kernels": kernels[shape, impl, call],
                **{key: statistics.median(found) for key, found in each.items()},
                **{f"{key}_rounds": found for key, found in each.items()},
            }
            for (shape, impl, call), each in rounds.items()
        ]


# --- what is measured --------------------------------------------------------------------------------


def compare(runner, groups):
    """Every implementation at every shape, with how many times as long as lstm-core it takes."""
    note("side by side")
    rows = []
    for group, shapes in groups.items():
        for shape in shapes:
            timed = runner.timed(["both", *runner.peers], [shape])
            rows += [{"group": group, **row} for row in with_ratios(timed)]
    return rows


def with_ratios(timed):
    """The rows of a shape with how many times as long as lstm-core each takes."""
    own = next(row for row in timed if row["impl"] == "lstm-core")
    return [{**row, **{key.replace("_ms", "_ratio"): row[key] / own[key] for key, _ in MODES if key in row}} for row in timed]


def forms(runner):
    """Other layers than one LSTM, beside the peers that have them."""
    rows = []
    for layer, kind in FORMS.items():
        note(layer)
        names = ["lstm-core", *(peer for peer in runner.peers if kind[1] == "layer" or peer in FORM_PEERS)]
        for shape in README_SHAPES:
            rows += [{"layer": layer, **row} for row in with_ratios(runner.timed(names, [shape], kind=kind))]
    return rows


def busy(runner):
    """lstm-core on an idle and on a busy machine, with one thread and with all; the peers on the busy one."""
    note("on a busy machine")
    status, own, errors, _ = child(runner.own_command(runner.args.runs, "--busy", "--shapes", *BUSY_SHAPES))
    if status != 0:
        raise Failure(f"lstm-core failed on a busy machine, exit status {status}; nothing is written. It said:\n{errors}")
    with spinning(runner.program):
        return {"own": own, "peers": runner.timed(list(runner.peers), BUSY_SHAPES)}


def geometric_means(rows):
    """Of the ratios, over each group and over all shapes; of an implementation those that it has."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    scopes = [(group, [group]) for group in groups] + ([("all", groups)] if len(groups) > 1 else [])
    means = []
    for scope, within in scopes:
        for impl in implementations(rows):
            of = [row for row in rows if row["impl"] == impl and row["group"] in within]
            mean = {"shapes": scope, "count": len(of), "impl": impl}
            for key in ("infer_ratio", "train_ratio"):
                if all(key in row for row in of):
                    mean[key] = geometric_mean(row[key] for row in of)
            means.append(mean)
    return means


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def steps(runner):
    """Single steps with carried state, with how many times as long as the layer's step each call takes."""
    note("single steps")
    rows = []
    for h in STEP_HIDDEN:
        peers = [peer for peer in STEP_PEERS if peer in runner.peers]
        timed = runner.timed(["both", *peers], [f"1,1,{h},{h}"], step=True)
        own = next(row for row in timed if (row["impl"], row["call"]) == STEP_OWN)
        rows += [{**row, "step_ratio": row["step_us"] / own["step_us"]} for row in timed]
    return rows


def implementations(rows):
    return list(dict.fromkeys(row["impl"] for row in rows))


def growth(runner):
    """How the times of lstm-core and PyTorch grow with the steps, the units and the threads."""
    names = ["lstm-core"] + [peer for peer in ("torch",) if peer in runner.peers]
    gates = {"lstm": 4, "rnn": 1, "gru": 3}[runner.args.cell]
    note("growth with T")
    times = runner.timed(names, [f"32,{t},128,256" for t in GROWTH_TIMES])
    for row in times:
        for key, _ in MODES:
            row[key.replace("_ms", "_us_per_step")] = row[key] * 1e3 / row["shape"][1]
    for name in implementations(times):
        of = [row for row in times if row["impl"] == name]
        for key in ("infer_us_per_step", "train_us_per_step"):
            middle = statistics.median(row[key] for row in of)
            for row in of:
                row[key.replace("_us_per_step", "_to_median")] = row[key] / middle
    note("growth with H")
    hidden = runner.timed(names, [f"32,50,{h},{h}" for h in GROWTH_HIDDEN])
    for row in hidden:
        b, t, i, h = row["shape"]
        flops = 2 * b * t * gates * h * (3 * h + 2 * i)
        row["train_gflops"] = flops / row["train_ms"] / 1e6
    note("growth with threads")
    threads = [
        {"threads": count, **row}
        for shape in DEFAULT_SHAPES
        for count in GROWTH_THREADS
        for row in runner.timed(names, [shape], count)
    ]
    for row in threads:
        one = next(
            other
            for other in threads
            if (other["impl"], other["shape"], other["threads"]) == (row["impl"], row["shape"], GROWTH_THREADS[0])
        )
        for key, _ in MODES:
            row[key.replace("_ms", "_speedup")] = one[key] / row[key]
    return {"time": times, "hidden": hidden, "threads": threads}


def memory(runner):
    """Bytes per B·T·H by which the peak memory of a process grows with T."""
    note("memory")
    if not hasattr(os, "wait4"):
        note("skipped: this system does not tell a process's peak memory (no os.wait4)")
        return []
    names = ["lstm-core", "burn::nn"] + [peer for peer in ("torch",) if peer in runner.peers]
    short, long = MEMORY_TIMES
    peaks = {(name, t): [] for name in names for t in MEMORY_TIMES}
    for number in range(runner.args.rounds):
        for name, t in peaks:
            shape = f"{MEMORY_BATCH},{t},{MEMORY_INPUT},{MEMORY_HIDDEN}"
            note(f"  {shape}, round {number + 1} of {runner.args.rounds}: {name}")
            peaks[name, t].append(runner.lines(name, shape, 1, measure=True)[1])
    rows = []
    for name in names:
        low, high = (statistics.median(peaks[name, t]) for t in MEMORY_TIMES)
        rows.append(
            {
                "impl": name,
                "peak_bytes": {str(short): low, str(long): high},
                "bytes_per_bth": (high - low) / (MEMORY_BATCH * (long - short) * MEMORY_HIDDEN),
            }
        )
    return rows


def about(runner):
    """When, where and with what."""
    info = {}
    try:
        text = Path("/proc/cpuinfo").read_text()
        info["cpu"] = re.search(r"^model name\s*: (.*)$", text, re.M).group(1)
        flags = re.search(r"^flags\s*: (.*)$", text, re.M).group(1).split()
        vectors = [name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if flag in flags]
        info["vectors"] = vectors[0] if vectors else None
    except (OSError, AttributeError):
        info.setdefault("cpu", platform.processor() or platform.machine())
    info["cores"] = cores()
    lock = (ROOT / "Cargo.lock").read_text()
    burn = re.search(r'name = "burn"\nversion = "([^"]+)"', lock)
    return {
        "date": datetime.date.today().isoformat(),
        **info,
        "rayon_num_threads": os.environ.get("RAYON_NUM_THREADS"),
        # Of the minute before, the build's own work included: above 1 or so something else was running.
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "commit": output_of(["git", "describe", "--always", "--dirty"]) or None,
        "rustc": output_of(["rustc", "--version"]),
        "burn": burn.group(1) if burn else None,
        "python": platform.python_version(),
        "peers": runner.peers,
        "adapter": None,
        "skipped": runner.skipped,
        "cell": runner.args.cell,
        "dtype": runner.args.dtype,
        "where": runner.args.device,
        "rounds": runner.args.rounds,
        "runs": runner.args.runs,
        "command": command_line(runner.args),
    }


def command_line(args):
    """How to get the record again; without the folder, which is this machine's."""
    parts = ["python3 scripts/bench.py"]
    parts += ["--shapes " + " ".join(args.shapes)] if args.shapes else []
    for name, default in (("device", "flex"), ("cell", "lstm"), ("dtype", "f32"), ("rounds", 3), ("runs", 15)):
        if getattr(args, name) != default:
            parts.append(f"--{name} {getattr(args, name)}")
    parts += [f"--{name}" for name in ("forms", "steps", "busy", "growth", "memory") if getattr(args, name)]
    return " ".join(parts)


# --- what is written ---------------------------------------------------------------------------------


def joined(shape):
    return ",".join(map(str, shape))


def number(value):
    return f"{value:,.2f}" if value >= 1 else f"{value:.3f}"


def times(ratio):
    return f"× {ratio:.2f}"


def told(row, key, form):
    """What a row has under a key, or nothing where its implementation hasn't."""
    return form(row[key]) if key in row else ""


def markdown(header, rows, names=1):
    """A table whose columns after the first `names` are numbers."""
    marks = [" --- " if k < names else " ---: " for k in range(len(header))]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(marks) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def comparison_table(rows):
    cells = [
        [
            joined(row["shape"]),
            row["impl"],
            told(row, "infer_ms", number),
            told(row, "infer_ratio", times),
            told(row, "train_ms", number),
            told(row, "train_ratio", times),
        ]
        for row in rows
    ]
    return markdown(["B,T,I,H", "implementation", "inference ms", "×", "forward + backward ms", "×"], cells, 2)


def means_table(means):
    cells = [
        [f"{mean['shapes']} ({mean['count']})", mean["impl"], told(mean, "infer_ratio", times), told(mean, "train_ratio", times)]
        for mean in means
        if mean["impl"] != "lstm-core"
    ]
    return markdown(["shapes", "implementation", "inference", "forward + backward"], cells, 2)


def wide_table(names, places):
    """Milliseconds of lstm-core, and × of the others: a line for each place, with the rows there by implementation."""
    others = dict.fromkeys(impl for _, at in places for impl in at if impl != "lstm-core")
    header, lines = list(names), [list(label) for label, _ in places]
    for key, mode in MODES:
        ratio = key.replace("_ms", "_ratio")
        having = [impl for impl in others if any(ratio in at.get(impl, {}) for _, at in places)]
        header += [f"{mode}, ms", *(TITLES.get(impl, impl) for impl in having)]
        for line, (_, at) in zip(lines, places):
            line.append(told(at["lstm-core"], key, number))
            line += [told(at.get(impl, {}), ratio, times) for impl in having]
    return markdown(header, lines, len(names))


def by_place(rows, label):
    """Each place with its rows by implementation; `label` says of a row where it belongs."""
    places = {}
    for row in rows:
        places.setdefault(label(row), {})[row["impl"]] = row
    return list(places.items())


def forms_text(found):
    places = by_place(found, lambda row: (row["layer"], joined(row["shape"])))
    return [
        "## Other layers",
        "Milliseconds of lstm-core, and × how many times as long the others take. Where rows have different lengths, these are "
        "evenly from T down to T/B, unsorted: `forward_with_lengths` here, in PyTorch a sequence packed and padded again.",
        wide_table(["layer", "B,T,I,H"], places),
    ]


def busy_text(found):
    peers = dict(by_place(found["peers"], lambda row: joined(row["shape"])))
    names = list(dict.fromkeys(row["impl"] for row in found["peers"]))
    cells = []
    for own in found["own"]:
        key = next(key for key, mode in MODES if mode == own["mode"])
        *_, one, all_threads = own["states"]
        cells.append(
            [
                own["shape"],
                own["mode"],
                *(f"{number(state['median_ms'])} ({number(state['p99_ms'])})" for state in own["states"]),
                times(all_threads["median_ms"] / one["median_ms"]),
                times(all_threads["p99_ms"] / one["p99_ms"]),
                *(told(peers[own["shape"]][name], key, number) for name in names),
            ]
        )
    header = ["B,T,I,H", "", "idle, 1 thread", "idle", "busy, 1 thread", "busy", "× median", "× 99 %"]
    return [
        "## On a busy machine",
        "A process per core spins beside the layer. Milliseconds of lstm-core: median (99th percentile); × is busy, all threads "
        "to one. The last columns are medians of the others, on the busy machine.",
        markdown([*header, *(TITLES[name] for name in names)], cells, 2),
    ]


def steps_text(found, picture):
    hidden = list(dict.fromkeys(row["shape"][3] for row in found))
    cells = []
    for impl, call in dict.fromkeys((row["impl"], row["call"]) for row in found):
        of = {row["shape"][3]: row for row in found if (row["impl"], row["call"]) == (impl, call)}
        mean = geometric_mean(of[h]["step_ratio"] for h in hidden)
        cells.append([TITLES.get(impl, impl), call, *(f"{of[h]['step_us']:,.1f}" for h in hidden), times(mean)])
    return [
        "## Single steps",
        f"B=1, T=1, I=H; microseconds a call whose state is the one the call before gave, medians of {STEP_CALLS} calls a "
        "run. × is the geometric mean of how many times as long as lstm-core's `layer.step`. `layer.forward` has T=1. The "
        "peers are called from Python; ONNX Runtime by `run`, and with its tensors bound, so that none is copied.",
        markdown(["implementation", "call", *(f"H={h}" for h in hidden), "×"], cells, 2),
        *([f"![Microseconds of a step against H]({picture})"] if picture else []),
    ]


def growth_text(found, cell):
    gates = {"lstm": "4H", "rnn": "H", "gru": "3H"}[cell]
    steps = [
        [
            str(row["shape"][1]),
            row["impl"],
            number(row["infer_us_per_step"]),
            number(row["infer_to_median"]),
            number(row["train_us_per_step"]),
            number(row["train_to_median"]),
        ]
        for row in found["time"]
    ]
    units = [
        [str(row["shape"][3]), row["impl"], number(row["infer_ms"]), number(row["train_ms"]), number(row["train_gflops"])]
        for row in found["hidden"]
    ]
    threads = [
        [
            joined(row["shape"]),
            row["impl"],
            str(row["threads"]),
            number(row["infer_ms"]),
            number(row["infer_speedup"]),
            number(row["train_ms"]),
            number(row["train_speedup"]),
        ]
        for row in found["threads"]
    ]
    return [
        "## Growth with the steps",
        "B=32, I=128, H=256; microseconds per step, and how many times the median over T that is.",
        markdown(["T", "implementation", "inference µs", "to median", "forward + backward µs", "to median"], steps, 2),
        "## Growth with the units",
        f"B=32, T=50, I=H; forward + backward has 2·B·T·{gates}·(3H+2I) floating-point operations in its "
        "matrix products, since nobody asks for the input's gradient.",
        markdown(["H", "implementation", "inference ms", "forward + backward ms", "GFLOP/s"], units, 2),
        "## Growth with the threads",
        "RAYON_NUM_THREADS for lstm-core, torch.set_num_threads for PyTorch; how many times as fast as one thread.",
        markdown(
            ["B,T,I,H", "implementation", "threads", "inference ms", "speed", "forward + backward ms", "speed"],
            threads,
            2,
        ),
    ]


def memory_text(found):
    short, long = map(str, MEMORY_TIMES)
    cells = [
        [row["impl"], *(f"{row['peak_bytes'][t] / 2**20:,.0f}" for t in (short, long)), f"{row['bytes_per_bth']:.1f}"]
        for row in found
    ]
    return [
        "## Memory",
        f"Peak memory of a process that runs forward and forward + backward {WARM_UP + 1} times each at "
        f"B={MEMORY_BATCH}, I={MEMORY_INPUT}, H={MEMORY_HIDDEN}, at two T, and by how much it grows per B·T·H. That is "
        "more than what is saved for backward: the output, its gradient, the loss's own tensors and what "
        "the allocator holds are in it too.",
        markdown(["implementation", f"MiB at T={short}", f"MiB at T={long}", "bytes per B·T·H"], cells),
    ]


def versions(info, short=False):
    """Burn's and the peers' versions; the short form leaves out what belongs to their builds."""
    peers = []
    for peer, about_peer in info["peers"].items():
        if short:
            peers.append(f"{TITLES[peer]} {about_peer['version'].split('+')[0]}")
            continue
        threads = about_peer.get("threads")
        extra = [f"{threads} threads"] if threads else []
        extra += [f"flax {about_peer['flax']}"] if "flax" in about_peer else []
        extra += [f"{about_peer['gpu']}, cuDNN {about_peer['cudnn']}"] if "gpu" in about_peer else []
        peers.append(f"{TITLES[peer]} {about_peer['version']}" + (f" ({', '.join(extra)})" if extra else ""))
    return ", ".join([f"Burn {info['burn']}", *peers])


def adapter_of(info):
    """wgpu's adapter and its driver; of a software adapter, what its times are worth."""
    if not info["adapter"]:
        return None
    name = f"{info['adapter']['name']}, {info['adapter'].get('driver') or 'driver unknown'}"
    software = any(word in name.lower() for word in ("llvmpipe", "lavapipe", "swiftshader"))
    return name + (" — computes on the CPU: this shows launches saved, not a GPU's speed" if software else "")


def record(found, pictures):
    """The record as a page."""
    info, rows = found["about"], found["comparison"]
    machine = f"{info['cpu']}, {info['cores']} cores" + (f", {info['vectors']}" if info.get("vectors") else "")
    own = info["rayon_num_threads"]
    threads = f"RAYON_NUM_THREADS={own}" if own else "as many as Rayon takes by itself"
    facts = [
        ("Date", info["date"]),
        ("CPU", f"{machine}; {info['system']}"),
        ("Adapter", adapter_of(info)),
        ("Load average at the start", None if info["load"] is None else str(info["load"])),
        ("Threads", None if info["adapter"] else f"lstm-core and burn::nn: {threads}"),
        ("Versions", f"{info['rustc']}; {versions(info)}; Python {info['python']}"),
        ("Commit", info["commit"]),
        ("Skipped", "; ".join(f"{peer}: {why}" for peer, why in info["skipped"].items())),
        ("Command", f"`{info['command']}`"),
    ]
    parts = [
        f"# {info['cell'].upper()} layers {'through ' + info['where'] if info['adapter'] else 'on the CPU'}, {info['date']}",
        "\n".join(f"- {name}: {value}" for name, value in facts if value),
        f"Medians over {info['rounds']} round{'s'[: info['rounds'] - 1]} of the median of {info['runs']} runs, in turn, each in a process of its "
        f"own (lstm-core and burn::nn share one and take turns in it). {DTYPES[info['dtype']].capitalize()}. Inference is forward without "
        "gradients; backward is of mean(output²) (lstm-core and burn::nn take that of half precision in float32), for all weights. × is how many times as long as lstm-core.",
    ]
    loops = [row["impl"] for row in rows if row["runs_on_kernels"] is False]
    parts += ["lstm-core has no kernels for this here: its layer runs step by step."] if loops else []
    parts += [f"![How many times as long as lstm-core]({pictures['ratios']})"] if "ratios" in pictures else []
    for group in dict.fromkeys(row["group"] for row in rows):
        parts += [f"## Shapes: {group}", comparison_table([row for row in rows if row["group"] == group])]
    parts += ["## Geometric means of ×", means_table(found["geometric_means"]), *further_text(found, pictures.get("steps"))]
    parts += growth_text(found["growth"], info["cell"]) if found["growth"] else []
    parts += memory_text(found["memory"]) if found["memory"] else []
    return "\n\n".join(parts) + "\n"


def further_text(found, picture):
    """What a record and the page of benchmarks have beside the comparison."""
    parts = forms_text(found["forms"]) if found.get("forms") else []
    parts += steps_text(found["steps"], picture) if found.get("steps") else []
    return parts + (busy_text(found["busy"]) if found.get("busy") else [])


def full_block(found, name, pictures):
    """For docs/benchmarks.md: milliseconds of lstm-core, and × of the others."""
    info, rows = found["about"], found["comparison"]
    places = by_place(rows, lambda row: (joined(row["shape"]) + (" *" if row["group"] == OTHER_GROUP else ""),))
    places += by_place(found["geometric_means"], lambda mean: (f"geometric mean, {mean['shapes']}",))
    table = wide_table(["B,T,I,H"], places)
    records = f"[The record](../assets/{name}.md)"
    records += f", and [a picture](../assets/{pictures['ratios']}) of it" if "ratios" in pictures else ""
    parts = [table, f"\\* {OTHER_GROUP}. {measured(info)}.\n{records}."]
    parts += further_text(found, f"../assets/{pictures['steps']}" if "steps" in pictures else None)
    return "\n\n".join(parts)


def short_block(found, name):
    """For README.md: forward and backward at three shapes, of other layers beside PyTorch alone."""
    rows = [{"layer": "LSTM", **row} for row in found["comparison"]]
    rows += [row for row in found.get("forms") or [] if row["impl"] == "torch"]
    lines = {}
    for row in rows:
        if joined(row["shape"]) in README_SHAPES and "train_ms" in row:
            own = row["impl"] == "lstm-core"
            line = lines.setdefault((row["layer"], TITLES.get(row["impl"], row["impl"])), {})
            line[joined(row["shape"])] = f"{number(row['train_ms'])} ms" if own else times(row["train_ratio"])
    cells = [[*label, *map(line.get, README_SHAPES)] for label, line in lines.items()]
    table = markdown(["forward + backward", "by", *README_SHAPES], cells, 2)
    return f"{table}\n\n{measured(found['about'])} ([the record](assets/{name}.md))."


def measured(info):
    """When, where and with what, in a line or two."""
    vectors = f", {info['vectors']}" if info.get("vectors") else ""
    rounds = f"medians of {info['rounds']} rounds" if info["rounds"] > 1 else "one round"
    return f"{info['date']}, {info['cpu']}, {info['cores']} cores{vectors};\n{versions(info, short=True)}; {rounds}"


def with_block(path, block):
    """A page with the block between its two marks."""
    text = path.read_text(encoding="utf-8")
    start, end = (f"<!-- {MARKS[path]}:{mark} -->" for mark in ("start", "end"))
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise Failure(f"{path.name} needs one line {start} and after it one line {end}: put them back, or use --no-pages")
    return text[: text.index(start) + len(start)] + f"\n{block}\n" + text[text.index(end) :]


def pages(record, name):
    """The pages with a record's tables."""
    files = {"ratios": f"{name}.svg", "steps": f"{name}-steps.svg"}
    pictures = {what: file for what, file in files.items() if (ROOT / "assets" / file).exists()}
    blocks = {README: short_block(record, name), BENCHMARKS: full_block(record, name, pictures)}
    return {path: with_block(path, block) for path, block in blocks.items()}


def write(path, data):
    """All of it or nothing: into a file beside it, which then takes its place."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        os.chmod(beside, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise


# --- the command line --------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=shape_argument,
        metavar="B,T,I,H",
        help="compare at these sizes instead: batch, time steps, input features, hidden units; README.md is left "
        f"alone then [default: {' '.join(DEFAULT_SHAPES)}, and as a second group, not tuned for, {' '.join(OTHER_SHAPES)}; "
        f"with another --device than flex {' '.join(GPU_SHAPES)}]",
    )
    parser.add_argument(
        "--device", choices=list(PEERS), default="flex", help="the CPU (flex), or what a GPU is reached by, beside PyTorch with cuDNN [default: flex]"
    )
    parser.add_argument("--cell", choices=CELLS, default="lstm", help="the cell; README.md has the LSTM's [default: lstm]")
    parser.add_argument("--dtype", choices=DTYPES, default="f32", help="the type of weights, inputs and outputs [default: f32]")
    parser.add_argument("--rounds", type=positive, default=3, help="how often each implementation has its turn [default: 3]")
    parser.add_argument("--runs", type=positive, default=15, help=f"runs that count in a turn, after {WARM_UP} that warm up [default: 15]")
    parser.add_argument("--forms", action="store_true", help=f"also time {', '.join(FORMS)}, at {', '.join(README_SHAPES)}")
    parser.add_argument("--steps", action="store_true", help="also time single steps with carried state, at several H")
    parser.add_argument("--busy", action="store_true", help="also time while a process per core spins")
    parser.add_argument("--growth", action="store_true", help="also measure how lstm-core and PyTorch grow with T, H and threads")
    parser.add_argument("--memory", action="store_true", help="also measure what a step of training saves for backward; Linux and macOS")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "assets",
        metavar="DIR",
        help="folder for bench-cpu-YYYY-MM-DD.md, .json and .svg (bench-cpu-rnn-… for --cell rnn, bench-cpu-bf16-… for "
        "--dtype bf16, bench-wgpu-… for --device wgpu and so on); a record of the "
        "same day is replaced; README.md is left alone where it is not assets/ [default: assets/]",
    )
    parser.add_argument("--no-pages", action="store_true", help="leave README.md and docs/benchmarks.md alone")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="RECORD.json", help="measure nothing: put this record's tables, of assets/, into the pages"
    )
    args = parser.parse_args()
    if args.device != "flex" and (args.steps or args.busy or args.growth or args.memory):
        parser.error(f"--steps, --busy, --growth and --memory measure the CPU: leave them out, or --device {args.device}")
    if args.forms and args.cell != "lstm":
        parser.error("--forms has its own cells: leave it or --cell out")
    return args


def main():
    args = arguments()
    on_cpu = args.device == "flex"
    defaults = {DEFAULT_GROUP: DEFAULT_SHAPES, OTHER_GROUP: OTHER_SHAPES} if on_cpu else {DEFAULT_GROUP: GPU_SHAPES}
    groups = {CHOSEN_GROUP: args.shapes} if args.shapes else defaults
    in_assets = args.out.resolve() == ROOT / "assets"
    if args.source:
        return put_into_pages(pages(json.loads(args.source.read_text()), args.source.stem))
    of_pages = not (args.no_pages or args.shapes) and (args.device, args.cell, args.dtype) == ("flex", "lstm", "f32") and in_assets
    # What can be wrong is found out before the clock runs for minutes.
    if of_pages:
        for path in MARKS:
            with_block(path, "")
    args.out.mkdir(parents=True, exist_ok=True)
    runner = Runner(args, build(args.device))
    info = about(runner)
    rows = compare(runner, groups)
    info["adapter"] = runner.adapter
    found = {"about": info, "comparison": rows, "geometric_means": geometric_means(rows)}
    for measure in (forms, steps, busy, growth, memory):
        found[measure.__name__] = measure(runner) if getattr(args, measure.__name__) else None

    where = "cpu" if on_cpu else args.device
    kind = "".join(f"{what}-" for what, usual in ((args.cell, "lstm"), (args.dtype, "f32")) if what != usual)
    name = f"bench-{where}-{kind}{info['date']}"
    files = {args.out / f"{name}.json": json.dumps(found, indent=1) + "\n"}
    try:
        drawn = {"ratios": (f"{name}.svg", bench_pictures.ratios(info, rows))}
        if found["steps"]:
            drawn["steps"] = (f"{name}-steps.svg", bench_pictures.steps(info, found["steps"]))
    except ImportError as error:
        note(f"skipped: the plots, matplotlib is not installed ({error})")
        drawn = {}
    pictures = {what: file for what, (file, _) in drawn.items()}
    files.update({args.out / file: data for file, data in drawn.values()})
    files[args.out / f"{name}.md"] = record(found, pictures)
    print(files[args.out / f"{name}.md"], flush=True)
    for path, data in files.items():
        write(path, data)
        note(f"written: {path.name}")
    if of_pages:
        return put_into_pages(pages(found, name))
    note("the pages are left as they were")
    return 0


def put_into_pages(texts):
    for path, text in texts.items():
        write(path, text)
        note(f"written: {path.name}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        note("interrupted: what was not yet reported as written is as it was")
        sys.exit(130)
    except (Failure, OSError) as error:
        note(f"error: {error}")
        sys.exit(1)
