"""Writes small weight files as PyTorch, Keras and ONNX hold them, and what the models compute.

PyTorch and Keras write their files themselves; ONNX Runtime runs the models whose tensors are in
onnx.safetensors. Everything is float32 but where a name says otherwise.

Install: pip install torch==2.13.0 keras==3.15.1 "jax[cpu]==0.10.2" onnx==1.23.2 onnxruntime==1.32.0 \
                     h5py==3.16.0 numpy==2.4.6 safetensors==0.8.0
Run:     python generate.py        (writes beside this file; --seed 7 --out DIR: other numbers, elsewhere)

Files:
  torch_*.safetensors              state dicts
  keras.safetensors                one model with four recurrent layers: model.save_weights, and then
                                   scripts/keras_to_safetensors.py
  *_trained_*.safetensors          as these, of models with stacks (L layers), trained for some steps on
                                   sequences of different lengths: packed ones in PyTorch, masks in Keras
  onnx.safetensors                 {case}/W, R, B: the initialisers of single-node models
  expected.safetensors             {case}/x [B,T,I], y [B,T,D*H], and final states h and c: [D,B,H]
                                   (of stacks: [L*D,B,H]); all models start from zeros; {case}/lengths [B]
                                   if the rows have any, and zeros beyond in x
"""

import argparse
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

PINNED = {"torch": "2.13.0", "keras": "3.15.1", "jax": "0.10.2", "onnx": "1.23.2", "onnxruntime": "1.32.0",
          "h5py": "3.16.0", "numpy": "2.4.6", "safetensors": "0.8.0"}
HERE = Path(__file__).parent
SCRIPT = HERE.parents[3] / "scripts" / "keras_to_safetensors.py"
B, T, I, H = 3, 7, 4, 5
LENGTHS = [4, 7, 1]

parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seed", type=int, default=0, help="0, as it is, for the numbers that are committed")
parser.add_argument("--out", type=Path, default=HERE, help="folder for the files")
GIVEN = parser.parse_args()
OUT = GIVEN.out


def seed(number):
    """The seed of one thing that is random; there are fewer than 10."""
    return number + 10 * GIVEN.seed


def check_versions():
    for package, wanted in PINNED.items():
        found = version(package).split("+")[0]
        assert found == wanted, f"generate.py needs {package}=={wanted}, but found {found}"


def normal(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


def torch_models(rng, expected):
    torch.manual_seed(seed(1))

    def run(case, module):
        x = normal(rng, (B, T, I))
        with torch.no_grad():
            y, state = module(torch.tensor(x, dtype=next(module.parameters()).dtype))
        h, c = state if isinstance(state, tuple) else (state, None)
        expected[f"{case}/x"], expected[f"{case}/y"] = x, y.float().numpy()
        expected[f"{case}/h"] = h.float().numpy()
        if c is not None:
            expected[f"{case}/c"] = c.float().numpy()

    # A whole model: the recurrent layer is one of its parts.
    model = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(I, H, batch_first=True), "head": torch.nn.Linear(H, 2)})
    save_torch(model.state_dict(), OUT / "torch_lstm.safetensors", {"format": "pt"})
    run("torch_lstm", model["rnn"])

    lstm = torch.nn.LSTM(I, H, batch_first=True, bidirectional=True)
    save_torch(lstm.state_dict(), OUT / "torch_bilstm.safetensors")
    run("torch_bilstm", lstm)

    rnn = torch.nn.RNN(I, H, batch_first=True, nonlinearity="relu")
    save_torch({f"model.{name}": value for name, value in rnn.state_dict().items()}, OUT / "torch_rnn.safetensors")
    run("torch_rnn", rnn)

    rnn = torch.nn.RNN(I, H, batch_first=True, bidirectional=True, bias=False)
    save_torch(rnn.state_dict(), OUT / "torch_birnn.safetensors")
    run("torch_birnn", rnn)

    stack = torch.nn.LSTM(I, H, num_layers=2, batch_first=True, bidirectional=True)
    save_torch(stack.state_dict(), OUT / "torch_stack.safetensors")
    run("torch_stack", stack)

    # bfloat16 weights; the outputs are those of the same numbers in float32.
    lstm = torch.nn.LSTM(I, H, batch_first=True).to(torch.bfloat16)
    save_torch(lstm.state_dict(), OUT / "torch_bf16.safetensors")
    run("torch_bf16", lstm.float())


def save_keras(model, file):
    """To safetensors and, into a model that has other weights, back."""
    saved, back, script = OUT / "saved.weights.h5", OUT / "back.weights.h5", [sys.executable, SCRIPT]
    model.save_weights(saved)
    subprocess.run(script + [saved, file], check=True)
    other = keras.models.clone_model(model)
    other.save_weights(back)
    subprocess.run(script + ["--back", file, back], check=True)
    other.load_weights(back)
    saved.unlink()
    back.unlink()
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def keras_models(rng, expected):
    keras.utils.set_random_seed(seed(2))
    layers, rnn = keras.layers, dict(return_sequences=True, return_state=True, bias_initializer="random_normal")
    x = keras.Input((T, I))
    cases = {
        "keras_lstm": layers.LSTM(H, name="lstm", **rnn),
        "keras_bilstm": layers.Bidirectional(layers.LSTM(H, **rnn), name="bilstm"),
        "keras_rnn": layers.SimpleRNN(H, name="rnn", **rnn),
        "keras_birnn": layers.Bidirectional(layers.SimpleRNN(H, use_bias=False, **rnn), name="birnn"),
    }
    model = keras.Model(x, [layer(x) for layer in cases.values()])
    save_keras(model, OUT / "keras.safetensors")

    data = normal(rng, (B, T, I))
    outputs = [[np.asarray(value) for value in output] for output in model(data)]
    for case, (y, *states) in zip(cases, outputs):
        expected[f"{case}/x"], expected[f"{case}/y"] = data, y
        letters = "hc" if "lstm" in case else "h"
        for k, letter in enumerate(letters):  # Keras lists h, c of the forward half, then of the other
            expected[f"{case}/{letter}"] = np.stack(states[k::len(letters)])


def run_onnx(cell, tensors, x, lengths=None, **attributes):
    """One node with these tensors, run by ONNX Runtime on x [B,T,I]: y [B,T,D*H] and final states [D,B,H]."""
    helper, B, T, H = onnx.helper, x.shape[0], x.shape[1], tensors["R"].shape[2]
    x = np.ascontiguousarray(x.transpose(1, 0, 2))
    feeds = {"x": x} if lengths is None else {"x": x, "lengths": np.array(lengths, np.int32)}
    slots = ["x", "W", "R", "B", "lengths"] + (["", "", "P"] if "P" in tensors else [])
    inputs = [name if name in feeds or name in tensors else "" for name in slots]
    states = ["h", "c"] if cell == "LSTM" else ["h"]
    node = helper.make_node(cell, inputs, ["y"] + states, hidden_size=H, **attributes)
    types = {np.dtype("float32"): onnx.TensorProto.FLOAT, np.dtype("int32"): onnx.TensorProto.INT32}
    given = [helper.make_tensor_value_info(name, types[value.dtype], value.shape) for name, value in feeds.items()]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ["y"] + states]
    graph = helper.make_graph([node], "node", given, results,
                              [onnx.numpy_helper.from_array(w, name) for name, w in tensors.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    run = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run
    y, *final = run(None, feeds)  # y: [T, D, B, H]
    return np.ascontiguousarray(y.transpose(2, 0, 1, 3)).reshape(B, T, -1), final


def onnx_models(rng, expected):
    tensors = {}
    for cell, gates in (("LSTM", 4), ("RNN", 1)):
        for direction in ("forward", "reverse", "bidirectional"):
            case, D = f"onnx_{cell.lower()}_{direction}", 2 if direction == "bidirectional" else 1
            weights = {
                "W": normal(rng, (D, gates * H, I)) / 2,
                "R": normal(rng, (D, gates * H, H)) / 2,
                "B": normal(rng, (D, 2 * gates * H)) / 2,
            }
            x = normal(rng, (B, T, I))
            y, final = run_onnx(cell, weights, x, direction=direction)
            expected[f"{case}/x"], expected[f"{case}/y"] = x, y
            expected.update({f"{case}/{letter}": state for letter, state in zip("hc", final)})
            tensors.update({f"{case}/{name}": w for name, w in weights.items()})
    save_file(tensors, OUT / "onnx.safetensors")


def padded_batch(rng):
    """Sequences of different lengths, zero beyond, and the target: the mean of each feature."""
    x = normal(rng, (B, T, I))
    for row, length in enumerate(LENGTHS):
        x[row, length:] = 0
    return x, x.sum(1) / np.array(LENGTHS, np.float32)[:, None]


def trained_torch_models(rng, expected):
    torch.manual_seed(seed(4))
    for case, rnn in {
        "torch_trained_lstm": torch.nn.LSTM(I, H, num_layers=3, batch_first=True, bidirectional=True, dropout=0.2),
        "torch_trained_rnn": torch.nn.RNN(I, H, num_layers=2, batch_first=True),
    }.items():
        D = 2 if rnn.bidirectional else 1
        model = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(D * H, I)})
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

        def run(x):
            pack = torch.nn.utils.rnn.pack_padded_sequence
            y, state = rnn(pack(torch.tensor(x), LENGTHS, batch_first=True, enforce_sorted=False))
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
            return y, state if isinstance(state, tuple) else (state,)

        def loss(x, mean):
            return (model["head"](run(x)[1][0][-D:].transpose(0, 1).flatten(1)) - torch.tensor(mean)).square().mean()

        first = None
        for _ in range(100):
            optimizer.zero_grad()
            of_step = loss(*padded_batch(rng))
            of_step.backward()
            optimizer.step()
            first = first or of_step.item()
        assert of_step.item() < first, "it has learned"
        save_torch(model.state_dict(), OUT / f"{case}.safetensors")
        model.eval()
        x, _ = padded_batch(rng)
        with torch.no_grad():
            y, states = run(x)
        expected.update({f"{case}/x": x, f"{case}/y": y.numpy(), f"{case}/lengths": np.array(LENGTHS)})
        expected.update({f"{case}/{letter}": state.numpy() for letter, state in zip("hc", states)})


def trained_keras_models(rng, expected):
    keras.utils.set_random_seed(seed(5))
    layers, rnn = keras.layers, dict(return_sequences=True, return_state=True)
    for case, recurrent in {
        "keras_trained_lstm": [layers.LSTM(H, **rnn) for _ in range(2)],
        "keras_trained_bilstm": [layers.Bidirectional(layers.LSTM(H, **rnn)) for _ in range(2)],
    }.items():
        inputs = keras.Input((T, I))
        y, states = layers.Masking()(inputs), []
        for layer in recurrent:
            y, *of_layer = layer(y)
            states += of_layer
        hidden = keras.ops.concatenate(states[-len(of_layer)::2], axis=1)
        model = keras.Model(inputs, layers.Dense(I)(hidden))
        model.compile(keras.optimizers.Adam(0.02), "mean_squared_error")
        first = None
        for _ in range(100):
            of_step = float(model.train_on_batch(*padded_batch(rng)))
            first = first or of_step
        assert of_step < first, "it has learned"
        save_keras(keras.Model(inputs, model.output), OUT / f"{case}.safetensors")  # without the optimizer
        x, _ = padded_batch(rng)
        y, *states = (np.asarray(value) for value in keras.Model(inputs, [y] + states)(x))
        expected.update({f"{case}/x": x, f"{case}/y": y, f"{case}/lengths": np.array(LENGTHS)})
        # Keras lists h, c of each layer and direction in turn.
        expected.update({f"{case}/{letter}": np.stack(states[k::2]) for k, letter in enumerate("hc")})


def main():
    check_versions()
    rng, expected = np.random.default_rng(seed(3)), {}
    torch_models(rng, expected)
    keras_models(rng, expected)
    onnx_models(rng, expected)
    trained_torch_models(rng, expected)
    trained_keras_models(rng, expected)
    expected = {name: np.ascontiguousarray(value, np.float32) for name, value in expected.items()}
    save_file(expected, OUT / "expected.safetensors", {package: version(package) for package in PINNED})


if __name__ == "__main__":
    main()
