"""Loads weights and what they compute from a safetensors file, and fails unless PyTorch or Keras computes
the same with them.

Run: python check_written.py written.safetensors
The file: x [B,T,I], zero at padded steps, y [B,T,D*H], h and, of an LSTM, c [L*D,B,H], lengths [B]; and
the weights, PyTorch's as a state dict under "rnn.", or Keras', of layers on each other, under "layers/".
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

SCRIPT = Path(__file__).parents[4] / "scripts" / "keras_to_safetensors.py"


def pytorch(weights, x, lengths, lstm):
    import torch

    state = {name.removeprefix("rnn."): torch.tensor(value) for name, value in weights.items()}
    D = 2 if "weight_hh_l0_reverse" in state else 1
    options = dict(num_layers=sum(name.startswith("weight_hh") for name in state) // D, batch_first=True,
                   bidirectional=D == 2, bias="bias_ih_l0" in state)
    if "weight_hr_l0" in state:
        options["proj_size"] = state["weight_hr_l0"].shape[0]
    build, gates = (torch.nn.LSTM, 4) if lstm else (torch.nn.GRU, 3)
    rnn = build(x.shape[2], state["weight_hh_l0"].shape[0] // gates, **options)
    rnn.load_state_dict(state)
    with torch.no_grad():
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.tensor(x), torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        y, states = rnn(packed)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    return y.numpy(), [state.numpy() for state in states] if lstm else [states.numpy()]


def keras(weights, x, lstm):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import keras

    def layer(path):
        both = f"{path}/forward_layer/cell/vars/0" in weights
        cell = f"{path}/forward_layer/cell/vars" if both else f"{path}/cell/vars"
        bias = weights.get(f"{cell}/2")
        options = dict(use_bias=bias is not None, return_sequences=True, return_state=True, zero_output_for_mask=True)
        if lstm:
            made = keras.layers.LSTM(weights[f"{cell}/1"].shape[0], **options)
        else:
            after = bias is None or bias.ndim == 2
            made = keras.layers.GRU(weights[f"{cell}/1"].shape[0], reset_after=after, **options)
        return keras.layers.Bidirectional(made) if both else made

    paths = {"/".join(name.split("/")[:2]) for name in weights}
    inputs = keras.Input(x.shape[1:])
    y, states = keras.layers.Masking()(inputs), []
    for path in sorted(paths, key=lambda path: int((path.rsplit("_", 1) + ["0"])[1])):
        y, *of_layer = layer(path)(y)
        states += of_layer
    model = keras.Model(inputs, [y] + states)
    with tempfile.TemporaryDirectory() as directory:
        ours, file = Path(directory) / "ours.safetensors", Path(directory) / "model.weights.h5"
        save_file(weights, ours)
        model.save_weights(file)
        subprocess.run([sys.executable, SCRIPT, "--back", ours, file], check=True)
        model.load_weights(file)
    assert len(model.weights) == len(weights), "the model has other weights"
    y, *states = (np.asarray(value) for value in model(x))
    letters = 2 if lstm else 1  # Keras lists h and c of each layer and direction in turn
    return y, [np.stack(states[k::letters]) for k in range(letters)]


tensors = load_file(sys.argv[1])
x, lengths = tensors["x"], tensors["lengths"].astype(int)
results = {name: tensors[name] for name in "yhc" if name in tensors}
weights = {name: value for name, value in tensors.items() if name.startswith(("rnn.", "layers/"))}
if any(name.startswith("rnn.") for name in weights):
    y, states = pytorch(weights, x, lengths, lstm="c" in results)
else:
    y, states = keras(weights, x, lstm="c" in results)
for (name, ours), theirs in zip(results.items(), [y] + states, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=name)
