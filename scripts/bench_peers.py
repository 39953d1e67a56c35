#!/usr/bin/env python3
"""The peers of bench.py, each in a process of its own: times one and prints lines of JSON.

First a line about the peer, then one for each shape with the median, least and greatest milliseconds of forward without
gradients (`infer_ms`) and of forward and backward of mean(output²) (`train_ms`). With `--step` one for each call that
takes a single step and carries the state on, in microseconds (`step_us`).
"""

import argparse
import json
import os
import statistics
import sys
import time

GPU_DEVICES = ["wgpu", "vulkan", "metal", "cuda", "rocm"]
PEERS = {"flex": ["torch", "jax", "onnxruntime"], **dict.fromkeys(GPU_DEVICES, ["torch-cuda", "torch-cuda-tf32"])}
ALL_PEERS = [peer for peers in PEERS.values() for peer in peers]
STEP_PEERS = ["torch", "onnxruntime"]
FORM_PEERS = ["torch", "torch-cuda", "torch-cuda-tf32"]
CELLS = ["lstm", "rnn", "gru"]
FORMS = ["layer", "bidirectional", "two-layers", "lengths"]
DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16"}
TITLES = {
    "torch": "PyTorch",
    "jax": "JAX",
    "onnxruntime": "ONNX Runtime",
    "torch-cuda": "PyTorch, cuDNN",
    "torch-cuda-tf32": "PyTorch, cuDNN, TF32",
}
WARM_UP = 3
STEP_CALLS = 100  # calls of a run, with --step
NOT_INSTALLED = 3  # exit status


class Missing(Exception):
    """Why a peer can't run here."""


# Each peer gives its version and the like, and two functions: what makes the works of a shape, by the name of their
# time, and what makes those of a shape's single step, by the name of the call.


def torch_peer(args, device="cpu", tf32=False):
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise Missing("PyTorch finds no CUDA device")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.set_default_dtype(getattr(torch, DTYPES[args.dtype]))
    kind = args.cell.upper()

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def sequences(b, t, i, h):
        both, layers = args.form == "bidirectional", 2 if args.form == "two-layers" else 1
        net = getattr(torch.nn, kind)(i, h, layers, batch_first=True, bidirectional=both).to(device)
        x = torch.randn(b, t, i, device=device)
        valid = torch.tensor(lengths(b, t))  # on the CPU, as packing wants it

        def packed():
            sequences = torch.nn.utils.rnn.pack_padded_sequence(x, valid, batch_first=True, enforce_sorted=False)
            return torch.nn.utils.rnn.pad_packed_sequence(net(sequences)[0], batch_first=True)[0]

        forward = packed if args.form == "lengths" else lambda: net(x)[0]

        def infer():
            with torch.no_grad():
                forward()
            wait()

        def train():
            net.zero_grad(set_to_none=True)
            (forward() ** 2).mean().backward()
            wait()

        return {"infer_ms": infer, "train_ms": train}

    def steps(b, t, i, h):
        net = getattr(torch.nn, kind)(i, h, batch_first=True)
        cell = getattr(torch.nn, f"{kind}Cell")(i, h)
        x = torch.randn(b, 1, i)
        rows = x[:, 0]

        def zeros(*shape):
            zero = torch.zeros(*shape)
            return (zero, zero) if args.cell == "lstm" else zero

        state = {"layer": zeros(1, b, h), "cell": zeros(b, h)}

        def layer_step():
            with torch.no_grad():
                _, state["layer"] = net(x, state["layer"])

        def cell_step():
            with torch.no_grad():
                state["cell"] = cell(rows, state["cell"])

        return {"layer": layer_step, "cell": cell_step}

    about = {"version": torch.__version__, "threads": torch.get_num_threads()}
    if device == "cuda":
        cudnn = torch.backends.cudnn.version()
        about = {"version": torch.__version__, "gpu": torch.cuda.get_device_name(), "cudnn": cudnn, "tf32": tf32}
    return about, sequences, steps


def jax_peer(args):
    os.environ["JAX_PLATFORMS"] = "cpu"
    import flax
    import jax
    from flax import nnx

    only_float32(args)

    def sequences(b, t, i, h):
        kind = {"lstm": nnx.OptimizedLSTMCell, "rnn": nnx.SimpleCell, "gru": nnx.GRUCell}[args.cell]
        net = nnx.RNN(kind(i, h, rngs=nnx.Rngs(0)))
        x = jax.random.normal(jax.random.key(0), (b, t, i))
        forward = nnx.jit(lambda net, x: net(x))
        gradients = nnx.jit(nnx.value_and_grad(lambda net, x: (net(x) ** 2).mean()))

        def infer():
            jax.block_until_ready(forward(net, x))

        def train():
            jax.block_until_ready(gradients(net, x))

        return {"infer_ms": infer, "train_ms": train}

    return {"version": jax.__version__, "flax": flax.__version__}, sequences, None


def onnxruntime_peer(args):
    """Inference alone. Sequences are [T, B, I], its own layout."""
    import numpy
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    only_float32(args)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads or cores
    states = ["h", "c"] if args.cell == "lstm" else ["h"]
    random = numpy.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape, dtype=numpy.float32)

    def session(b, t, i, h, outputs):
        """Of one node that reads `x` and the states, and gives those of `y` and the states that are asked for."""
        gates = {"lstm": 4, "rnn": 1, "gru": 3}[args.cell]
        scale = h**-0.5
        weights = {"w": normal(1, gates * h, i) * scale, "r": normal(1, gates * h, h) * scale, "b": normal(1, 2 * gates * h) * scale}
        # PyTorch's GRU, as lstm-core's is by default.
        attributes = {"linear_before_reset": 1} if args.cell == "gru" else {}
        inputs = ["x", *weights, "", *(f"{state}0" for state in states)]
        names = [name if name in outputs else "" for name in ["y", *states]]
        node = helper.make_node(args.cell.upper(), inputs, names, hidden_size=h, **attributes)
        shapes = {"x": [t, b, i], "y": [t, 1, b, h]}

        def value(name):
            return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes.get(name, [1, b, h]))

        graph = helper.make_graph(
            [node],
            "layer",
            [value("x"), *(value(f"{state}0") for state in states)],
            [value(name) for name in outputs],
            [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def zeros(b, h):
        return {f"{state}0": numpy.zeros((1, b, h), numpy.float32) for state in states}

    def sequences(b, t, i, h):
        layer = session(b, t, i, h, ["y", *states])
        fed = {"x": normal(t, b, i), **zeros(b, h)}
        return {"infer_ms": lambda: layer.run(None, fed)}

    def steps(b, t, i, h):
        layer = session(b, 1, i, h, states)
        fed = {"x": normal(1, b, i), **zeros(b, h)}

        def run():
            for state, after in zip(states, layer.run(None, fed)):
                fed[f"{state}0"] = after

        # Nothing is copied where the tensors are bound: two sets of states take turns.
        tensor = onnxruntime.OrtValue.ortvalue_from_numpy
        x = tensor(fed["x"])
        sets = [{name: tensor(zero) for name, zero in zeros(b, h).items()} for _ in range(2)]
        bindings = []
        for before, after in (sets, sets[::-1]):
            binding = layer.io_binding()
            binding.bind_ortvalue_input("x", x)
            for state in states:
                binding.bind_ortvalue_input(f"{state}0", before[f"{state}0"])
                binding.bind_ortvalue_output(state, after[f"{state}0"])
            bindings.append(binding)

        def run_bound():
            layer.run_with_iobinding(bindings[0])
            bindings.reverse()

        return {"run": run, "run, bound": run_bound}

    return {"version": onnxruntime.__version__, "threads": options.intra_op_num_threads}, sequences, steps


def only_float32(args):
    if args.dtype != "f32":
        raise Missing(f"timed in f32 alone, not in {args.dtype}")


MAKE = {
    "torch": torch_peer,
    "jax": jax_peer,
    "onnxruntime": onnxruntime_peer,
    "torch-cuda": lambda args: torch_peer(args, "cuda"),
    "torch-cuda-tf32": lambda args: torch_peer(args, "cuda", tf32=True),
}


def lengths(b, t):
    """The valid steps of each row, in no order, evenly from T down to T / B: `training bench` has the same."""
    return [t - row * 37 % b * t // b for row in range(b)]


def clock(work, warm_up, runs):
    """The median, least and greatest seconds, after some runs that warm up."""
    times = []
    for _ in range(warm_up + runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    times = times[warm_up:]
    return statistics.median(times), min(times), max(times)


def sizes(shape):
    return [int(size) for size in shape.split(",")]


def shape_argument(text):
    try:
        good = len(sizes(text)) == 4 and min(sizes(text)) >= 1
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"expected four sizes B,T,I,H of at least 1, got {text}")
    return text


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=ALL_PEERS)
    parser.add_argument("--shapes", nargs="*", default=[], type=shape_argument, metavar="B,T,I,H")
    parser.add_argument("--cell", choices=CELLS, default="lstm")
    parser.add_argument("--form", choices=FORMS, default="layer", help=f"what is made of the cell; {', '.join(FORM_PEERS)}")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--step", action="store_true", help=f"single steps, T = 1; {', '.join(STEP_PEERS)}")
    parser.add_argument("--runs", type=positive, default=15, help=f"runs that count, of {STEP_CALLS} calls each with --step")
    parser.add_argument("--threads", type=positive, help="threads of torch or onnxruntime")
    args = parser.parse_args()
    if args.threads and args.peer == "jax":
        parser.error("JAX has no setting for --threads")
    if args.form != "layer" and (args.step or args.peer not in FORM_PEERS):
        parser.error(f"--form is for {', '.join(FORM_PEERS)}, without --step")
    if args.step and args.peer not in STEP_PEERS:
        parser.error(f"--step is for {', '.join(STEP_PEERS)}")
    if args.step and any(sizes(shape)[1] != 1 for shape in args.shapes):
        parser.error("--step: T must be 1")
    return args


def main():
    args = arguments()
    try:
        about, sequences, steps = MAKE[args.peer](args)
    except (ImportError, Missing) as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    print(json.dumps({"impl": args.peer, **about}), flush=True)
    for shape in args.shapes:
        line = {"impl": args.peer, "cell": args.cell, "form": args.form, "dtype": args.dtype, "shape": sizes(shape)}

        def timed(key, work, factor, calls=1):
            found = [seconds * factor for seconds in clock(work, WARM_UP * calls, args.runs * calls)]
            return dict(zip((key, f"{key}_min", f"{key}_max"), found))

        if args.step:
            for call, work in steps(*sizes(shape)).items():
                print(json.dumps({**line, "call": call, **timed("step_us", work, 1e6, STEP_CALLS)}), flush=True)
        else:
            for key, work in sequences(*sizes(shape)).items():
                line.update(timed(key, work, 1e3))
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
