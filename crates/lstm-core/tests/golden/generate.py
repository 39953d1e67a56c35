"""Writes the golden files torch.safetensors and keras.safetensors.

They hold what PyTorch and Keras (on JAX) compute, in float64, for small RNN and LSTM
cells and layers: outputs, final states and gradients. Every input value is exactly
representable in float32, so a float32 test starts from the same numbers.

Install: pip install torch==2.13.0 keras==3.15.1 "jax[cpu]==0.10.2" numpy==2.4.6 safetensors==0.8.0
Run:     python generate.py        (writes beside this file; the same bytes on every run;
                                    another kind of CPU may differ in the last bits)
         python generate.py --seed 7 --out DIR      (other random numbers, elsewhere)

The metadata has the versions used and "cases", a JSON list with one object per case:
name, framework, cell (rnn, lstm), kind (cell, layer), direction (forward, reverse, both),
bias, forget_bias (0, 1, or null for a random or absent bias), B, T (1 for a cell), I, H.

Tensors are named {case}/{tensor}. Gates are packed in the order i, f, g, o; G is 4 for
an lstm and 1 for an rnn.
  x [B,T,I] ([B,I] for a cell), W [I,G*H], R [H,G*H], b [G*H] (only with bias)
  h0, c0 [B,H]             initial states (c only for lstm, here and below)
  y [B,T,H]                outputs (layers only), aligned with x in time: y[:,t] is the
                           output of the step that read x[:,t], in every direction
  hT, cT [B,H]             final states
  py, phT, pcT             random upstream gradients:
                           loss = sum(y*py) + sum(hT*phT) + sum(cT*pcT)
  dx, dW, dR, db, dh0, dc0 gradients of the loss
For direction "both", y is [B,T,2H], forward half first, and everything but x and y (and
their gradients) comes twice: plain for the forward half, with the suffix _reverse for
the backward half (W_reverse, hT_reverse, phT_reverse, dW_reverse, ...).
"""

import argparse
import json
import os
import struct
import zlib
from importlib.metadata import version
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import keras
import numpy as np
import safetensors.numpy
import torch
from keras.src.backend.common import dtypes as keras_dtypes

PINNED = {"torch": "2.13.0", "keras": "3.15.1", "jax": "0.10.2", "numpy": "2.4.6", "safetensors": "0.8.0"}


def check_versions():
    for package, wanted in PINNED.items():
        found = version(package).split("+")[0]
        assert found == wanted, f"generate.py needs {package}=={wanted}, but found {found}"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0, help="0, the default, is that of the committed files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    return parser.parse_args()


def random_numbers(case_name, seed):
    """The random numbers of a case."""
    return np.random.default_rng(zlib.crc32(case_name.encode()) + (seed << 32))


def make_keras_use_float64():
    """On JAX, Keras' type promotion, and so its tanh, turns float64 into float32: undo that."""
    keras.config.set_floatx("float64")
    keras_dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    assert keras.ops.tanh(np.ones(1)).dtype == np.float64


def make_cases(framework):
    table = [  # kind, direction, (B, T, I, H), bias, forget_bias
        ("cell", "forward", (3, 1, 4, 5), True, None),
        ("cell", "forward", (3, 1, 4, 5), False, None),
        ("layer", "forward", (3, 7, 4, 5), True, None),
        ("layer", "forward", (1, 1, 1, 1), True, None),
        ("layer", "forward", (2, 12, 3, 8), False, None),
        ("layer", "forward", (4, 5, 6, 3), True, None),
        ("layer", "forward", (2, 40, 3, 6), True, None),
        ("layer", "reverse", (3, 7, 4, 5), True, None),
        ("layer", "reverse", (2, 6, 1, 4), False, None),
        ("layer", "both", (3, 7, 4, 5), True, None),
        ("layer", "both", (2, 9, 2, 3), False, None),
    ]
    forget = [("layer", "forward", (2, 8, 3, 4), True, forget_bias) for forget_bias in (0, 1)]
    cases = []
    for cell, rows in (("rnn", table), ("lstm", table + forget)):
        for kind, direction, shape, bias, forget_bias in rows:
            size = "x".join(map(str, shape))
            tail = f"forget{forget_bias}" if forget_bias is not None else "bias" if bias else "nobias"
            name = f"{cell}_{'cell' if kind == 'cell' else direction}_{size}_{tail}"
            cases.append(dict(name=name, framework=framework, cell=cell, kind=kind, direction=direction,
                              bias=bias, forget_bias=forget_bias, **dict(zip("BTIH", shape))))
    return cases


def suffixes(case):
    return ("", "_reverse") if case["direction"] == "both" else ("",)


def state_letters(case):
    return "hc" if case["cell"] == "lstm" else "h"


def state_names(case, when):
    """The names of the initial (when "0") or final (when "T") states, in Keras' order."""
    return [s + when + suffix for suffix in suffixes(case) for s in state_letters(case)]


def normal(rng, shape, scale=1.0):
    """Random normal values that float32 holds exactly."""
    return (scale * rng.standard_normal(shape)).astype(np.float32).astype(np.float64)


def random_bias(rng, size):
    """A bias in multiples of 1/1024, so that sums of two are exact in float32 too."""
    return np.round(512 * rng.standard_normal(size)) / 1024


def make_inputs(case, rng):
    """Draws everything but a bias with a forget_bias, which the framework sets."""
    B, T, I, H = (case[k] for k in "BTIH")
    gates = 4 if case["cell"] == "lstm" else 1
    t = {"x": normal(rng, (B, I) if case["kind"] == "cell" else (B, T, I))}
    for suffix in suffixes(case):
        t["W" + suffix] = normal(rng, (I, gates * H), 0.5 / np.sqrt(I))
        t["R" + suffix] = normal(rng, (H, gates * H), 0.5 / np.sqrt(H))
        if case["bias"] and case["forget_bias"] is None:
            t["b" + suffix] = random_bias(rng, gates * H)
    for name in state_names(case, "0"):
        t[name] = normal(rng, (B, H), 0.5 if name.startswith("h") else 1.0)
    for name in state_names(case, "T"):
        t["p" + name] = normal(rng, (B, H))
    if case["kind"] == "layer":
        t["py"] = normal(rng, (B, T, H * len(suffixes(case))))
    return t


def loss_of(outputs, projections):
    return sum((value * projections["p" + name]).sum() for name, value in outputs.items())


def run_torch(case, t, rng):
    """Adds PyTorch's outputs and gradients to t."""
    lstm, layer, H = case["cell"] == "lstm", case["kind"] == "layer", case["H"]
    options = dict(bias=case["bias"], dtype=torch.float64)
    if layer:
        options.update(batch_first=True, bidirectional=case["direction"] == "both")
    build = getattr(torch.nn, ("LSTM" if lstm else "RNN") + ("" if layer else "Cell"))
    module = build(case["I"], H, **options)

    def parameter(kind, suffix):
        return getattr(module, kind + ("_l0" if layer else "") + suffix)

    with torch.no_grad():
        for suffix in suffixes(case):
            parameter("weight_ih", suffix).copy_(torch.tensor(t["W" + suffix].T))
            parameter("weight_hh", suffix).copy_(torch.tensor(t["R" + suffix].T))
            if case["bias"]:
                if case["forget_bias"] is None:
                    bias_hh = random_bias(rng, t["b" + suffix].size)
                else:  # all in bias_ih
                    t["b"] = np.repeat([0.0, case["forget_bias"], 0.0, 0.0], H)
                    bias_hh = np.zeros(4 * H)
                parameter("bias_ih", suffix).copy_(torch.tensor(t["b" + suffix] - bias_hh))
                parameter("bias_hh", suffix).copy_(torch.tensor(bias_hh))

    leaves = {k: torch.tensor(t[k], requires_grad=True) for k in ["x"] + state_names(case, "0")}
    reverse = case["direction"] == "reverse"  # PyTorch has no layer that only reads backward
    x = leaves["x"].flip(1) if reverse else leaves["x"]
    states = []
    for s in state_letters(case):
        parts = [leaves[f"{s}0{suffix}"] for suffix in suffixes(case)]
        states.append(torch.stack(parts) if layer else parts[0])
    result = module(x, tuple(states) if lstm else states[0])

    outputs = {}
    if layer:
        y, result = result
        outputs["y"] = y.flip(1) if reverse else y
    for s, final in zip(state_letters(case), result if lstm else (result,)):
        for k, suffix in enumerate(suffixes(case)):
            outputs[f"{s}T{suffix}"] = final[k] if layer else final
    loss_of(outputs, {k: torch.tensor(v) for k, v in t.items() if k.startswith("p")}).backward()

    t.update({name: value.detach().numpy() for name, value in outputs.items()})
    t.update({"d" + name: leaf.grad.numpy() for name, leaf in leaves.items()})
    for suffix in suffixes(case):
        t["dW" + suffix] = parameter("weight_ih", suffix).grad.numpy().T
        t["dR" + suffix] = parameter("weight_hh", suffix).grad.numpy().T
        if case["bias"]:  # each of the two biases has the gradient of their sum
            t["db" + suffix] = parameter("bias_ih", suffix).grad.numpy()


def run_keras(case, t, _rng):
    """Adds Keras' outputs and gradients to t, through jax.grad over Keras' own code."""
    lstm, layer = case["cell"] == "lstm", case["kind"] == "layer"
    options = dict(activation="tanh", use_bias=case["bias"])
    if lstm:
        options.update(recurrent_activation="sigmoid", unit_forget_bias=case["forget_bias"] == 1)
    if layer:
        options.update(return_sequences=True, return_state=True, go_backwards=case["direction"] == "reverse")
    build = getattr(keras.layers, ("LSTM" if lstm else "SimpleRNN") + ("" if layer else "Cell"))
    module = build(case["H"], **options)
    if case["direction"] == "both":
        module = keras.layers.Bidirectional(module, merge_mode="concat")
    module.build(t["x"].shape)

    kinds = {"W": "kernel", "R": "recurrent_kernel", "b": "bias"}
    names = [k + suffix for suffix in suffixes(case) for k in ("WRb" if case["bias"] else "WR")]
    assert [v.name for v in module.trainable_variables] == [kinds[n[0]] for n in names]
    if case["forget_bias"] is not None:
        t["b"] = np.asarray(module.trainable_variables[2].value)  # as Keras built it
    for name, variable in zip(names, module.trainable_variables):
        variable.assign(t[name])
    fixed = [v.value for v in module.non_trainable_variables]

    def run(inputs):
        weights = [inputs[name] for name in names]
        states = [inputs[name] for name in state_names(case, "0")]
        if not layer:
            (_, finals), _ = module.stateless_call(weights, fixed, inputs["x"], states)
            return dict(zip(state_names(case, "T"), finals))
        (y, *finals), _ = module.stateless_call(weights, fixed, inputs["x"], initial_state=states)
        if case["direction"] == "reverse":
            y = y[:, ::-1]  # go_backwards gives the outputs in the order of reading
        return {"y": y, **dict(zip(state_names(case, "T"), finals))}

    inputs = {k: jax.numpy.asarray(t[k]) for k in ["x"] + names + state_names(case, "0")}
    gradients = jax.grad(lambda inputs: loss_of(run(inputs), t))(inputs)
    t.update({name: np.asarray(value) for name, value in run(inputs).items()})
    t.update({"d" + name: np.asarray(value) for name, value in gradients.items()})


def save(path, tensors, metadata):
    """Writes the safetensors format by hand: its library orders metadata at random."""
    header, data = {"__metadata__": metadata}, b""
    for name, value in tensors.items():
        assert value.dtype == np.float64, f"{name} is {value.dtype}"
        raw = value.astype("<f8").tobytes(order="C")
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F64", "shape": value.shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    loaded = safetensors.numpy.load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(np.array_equal(loaded[name], value) for name, value in tensors.items())


def main():
    given = arguments()
    check_versions()
    make_keras_use_float64()
    torch.set_num_threads(1)
    for framework, run in (("torch", run_torch), ("keras", run_keras)):
        cases, tensors = make_cases(framework), {}
        for case in cases:
            rng = random_numbers(f"{framework}/{case['name']}", given.seed)
            t = make_inputs(case, rng)
            run(case, t, rng)
            tensors.update({f"{case['name']}/{name}": t[name] for name in sorted(t)})
        metadata = {"cases": json.dumps(cases), **PINNED}
        save(given.out / f"{framework}.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
