"""Files of Keras as people have them, of all generations, and what their layers compute: wild/keras*.

Run: KERAS_BACKEND=torch python wild_keras.py

Those of Keras 3 are written by Keras itself. Those of Keras 1 and 2 are written with h5py, group by group as
`save_model` of Keras 1.2.2 and 2.2.4 does, with the names, configurations and attributes that these write. What is
expected is computed here in float64, by the formulas of the version; of Keras 3's layers Keras' own outputs are compared
with it first. Made with keras 3.15.1, h5py 3.16, HDF5 2.0, torch 2.15.

Install: pip install keras torch h5py numpy safetensors ml_dtypes
"""

import argparse
import json
import os
import tempfile
import warnings
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
warnings.filterwarnings("ignore")

import h5py
import keras
import ml_dtypes
import numpy as np
from keras import layers as L
from safetensors.numpy import save_file

B, T = 2, 4
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=16)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "wild")
options = parser.parse_args()
out = options.out
out.mkdir(exist_ok=True)
rng = np.random.default_rng(options.seed)
expected = {}


def draw(*shape):
    return (rng.normal(size=shape) * 0.6).astype(np.float32)


ACTIVATIONS = {
    "tanh": np.tanh,
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + abs(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid_2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid_3": lambda x: np.clip(x / 6 + 0.5, 0, 1),
}


def run(kind, x, kernel, recurrent, bias, act="tanh", gate="sigmoid", reset_after=True):
    """Outputs [B, T, H] and final states, in float64."""
    f, s = ACTIVATIONS[act], ACTIVATIONS[gate]
    x, kernel, recurrent = (np.asarray(a, np.float64) for a in (x, kernel, recurrent))
    units = recurrent.shape[0]
    bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias, np.float64)
    h = c = np.zeros((x.shape[0], units))
    ys = []
    for t in range(x.shape[1]):
        if kind == "rnn":
            h = f(x[:, t] @ kernel + h @ recurrent + bias)
        elif kind == "lstm":
            i, fo, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
            c = s(fo) * c + s(i) * f(g)
            h = s(o) * f(c)
        elif reset_after:
            first, second = bias if bias.ndim == 2 else (bias, np.zeros(3 * units))
            xz, xr, xh = np.split(x[:, t] @ kernel + first, 3, axis=1)
            hz, hr, hh = np.split(h @ recurrent + second, 3, axis=1)
            z, r = s(xz + hz), s(xr + hr)
            h = z * h + (1 - z) * f(xh + r * hh)
        else:
            xz, xr, xh = np.split(x[:, t] @ kernel + bias, 3, axis=1)
            rz, rr, rh = np.split(recurrent, 3, axis=1)
            z, r = s(xz + h @ rz), s(xr + h @ rr)
            h = z * h + (1 - z) * f(xh + (r * h) @ rh)
        ys.append(h)
    return np.stack(ys, 1), h, c


def case(name, stack, x=None, reverse=False):
    """Expected outputs, aligned with the input, of cells on top of each other; a pair of cells is both directions."""
    first = stack[0][0] if isinstance(stack[0], tuple) else stack[0]
    x = draw(B, T, first["weights"][0].shape[0]) if x is None else x
    y, hs, cs = x, [], []
    for layer in stack:
        parts = []
        for k, cell in enumerate(layer if isinstance(layer, tuple) else (layer,)):
            back = k == 1 or reverse
            args = {k: v for k, v in cell.items() if k != "weights"}
            weights = list(cell["weights"]) + [None] * (3 - len(cell["weights"]))
            part, h, c = run(x=y[:, ::-1] if back else y, kernel=weights[0], recurrent=weights[1],
                             bias=weights[2], **args)
            parts.append(part[:, ::-1] if back else part)
            hs.append(h)
            cs.append(c)
        y = np.concatenate(parts, -1)
    for key, value in {"x": x, "y": y, "h": np.stack(hs), "c": np.stack(cs)}.items():
        expected[f"{name}/{key}"] = np.ascontiguousarray(value, np.float32)
    return x, y


def cell(kind, weights, **args):
    return {"kind": kind, "weights": weights, **args}


# ---- Keras 3 ----

def of_keras(name, layer, stack, reverse=False):
    """The expected outputs, compared with those of the layer itself."""
    x, y = case(name, stack, reverse=reverse)
    got = layer(keras.ops.convert_to_tensor(x))
    got = np.asarray(keras.ops.convert_to_numpy(got))
    want = y[:, ::-1] if reverse else y
    np.testing.assert_allclose(got, want if got.ndim == 3 else want[:, -1], atol=2e-6)


def weights_of(layer):
    return [np.asarray(keras.ops.convert_to_numpy(w)) for w in layer.weights if "seed" not in w.path]


keras.utils.clear_session()
x = keras.Input((T, 3), name="in")
mixed = L.RNN([L.LSTMCell(4, recurrent_activation="hard_sigmoid"), L.GRUCell(5), L.SimpleRNNCell(6)],
              return_sequences=True, name="mixed")
stacked = L.RNN([L.LSTMCell(4, recurrent_activation="hard_sigmoid", name="upper"), L.LSTMCell(4, name="lower")],
                return_sequences=True)
plain = L.LSTM(5, activation="softsign", recurrent_activation="hard_sigmoid", return_sequences=True, name="z_first")
inner = L.GRU(4, return_sequences=True, go_backwards=True, reset_after=False, name="inner")
both = L.Bidirectional(L.SimpleRNN(2, return_sequences=True, use_bias=False, activation="relu"), name="both")
timed = L.LSTM(3)
own = L.RNN(L.LSTMCell(3, name="own"), name="single")
y = stacked(mixed(x))
y = plain(y)
y = keras.Sequential([keras.Input((T, 5)), inner, both], name="nested")(y)
y = L.Bidirectional(L.GRU(2, return_sequences=True, dropout=0.1))(y)
y = L.TimeDistributed(timed, name="timed")(L.Reshape((2, 2, 4))(y))
y = L.Dense(2)(own(y))
model = keras.Model(x, y)
both_gru = next(layer for layer in model.layers if isinstance(layer, L.Bidirectional))
for w in model.weights:
    if "seed" not in w.path:
        w.assign(draw(*w.shape))
model.compile("adam", "mse")
model.fit(draw(4, T, 3), draw(4, 2), verbose=0)
model.save(out / "keras3.keras")
model.save(out / "keras3.h5")
model.save_weights(out / "keras3.weights.h5")
model.save_weights(out / "keras3.weights.json", max_shard_size=3000 / 1024**3)

hard = {"gate": "hard_sigmoid_3"}
parts = [weights_of(c) for c in mixed.cell.cells]
case("mixed0", [cell("lstm", parts[0], **hard)])
case("mixed1", [cell("gru", parts[1])])
case("mixed2", [cell("rnn", parts[2])])
parts = [weights_of(c) for c in stacked.cell.cells]
of_keras("stacked", stacked, [cell("lstm", parts[0], **hard), cell("lstm", parts[1])])
case("stacked_default", [cell("lstm", parts[0]), cell("lstm", parts[1])], x=expected["stacked/x"])
of_keras("plain", plain, [cell("lstm", weights_of(plain), act="softsign", **hard)])
case("plain_default", [cell("lstm", weights_of(plain))], x=expected["plain/x"])
of_keras("inner", inner, [cell("gru", weights_of(inner), reset_after=False)], reverse=True)
parts = weights_of(both)
of_keras("both", both, [(cell("rnn", parts[:2], act="relu"), cell("rnn", parts[2:], act="relu"))])
parts = weights_of(both_gru)
of_keras("both_gru", both_gru, [(cell("gru", parts[:3]), cell("gru", parts[3:]))])
of_keras("timed", timed, [cell("lstm", weights_of(timed))])
of_keras("single", own, [cell("lstm", weights_of(own))])

# Zipped again, compressed, in a folder, as a file manager does it.
with zipfile.ZipFile(out / "keras3.keras") as whole, \
        zipfile.ZipFile(out / "keras3_zipped_again.keras", "w", zipfile.ZIP_DEFLATED) as again:
    for name in whole.namelist():
        again.writestr(f"keras3/{name}", whole.read(name))

# What no layer here does.
x = keras.Input((T, 3))
y = L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="sum", name="sum")(x)
y = L.LSTM(2, activation="softmax", return_sequences=True, name="softmax")(y)
y = L.GRU(2, use_bias=False, return_sequences=True, name="no_bias")(y)
keras.Model(x, y).save(out / "keras3_refused.keras")

# Layers of one's own, which the configuration says nothing of; both directions of several cells; other activations in
# each direction; a cell with more weights than it has here.
@keras.saving.register_keras_serializable("mine")
class Mine(keras.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rnn = L.LSTM(2, return_sequences=True)

    def build(self, shape):
        self.rnn.build(shape)

    def call(self, x):
        return self.rnn(x)


@keras.saving.register_keras_serializable("mine")
class NormCell(L.LSTMCell):
    def build(self, shape):
        super().build(shape)
        self.norm = L.LayerNormalization()
        self.norm.build((None, self.units))

    def call(self, x, states, training=False):
        h, states = super().call(x, states, training=training)
        return self.norm(h), states


keras.utils.clear_session()
x = keras.Input((T, 3))
deep = L.Bidirectional(L.RNN([L.LSTMCell(2), L.LSTMCell(2)], return_sequences=True), name="deep")
back = L.GRU(2, activation="relu", recurrent_activation="hard_sigmoid", go_backwards=True, return_sequences=True)
unequal = L.Bidirectional(L.GRU(2, return_sequences=True), backward_layer=back, name="unequal")
timed = L.TimeDistributed(L.Bidirectional(L.LSTM(2, activation=keras.layers.LeakyReLU(0.1))), name="timed")
mine = Mine(name="mine")
y = L.RNN(NormCell(2), return_sequences=True, name="norm")(mine(unequal(deep(x))))
y = timed(L.Reshape((2, 2, 2))(y))
model = keras.Model(x, y)
for w in model.weights:
    w.assign(draw(*w.shape))
model.save(out / "keras3_more.keras")
model.save(out / "keras3_more.h5")
ACTIVATIONS["leaky"] = lambda x: np.where(x < 0, 0.1 * x, x)
parts = weights_of(deep)
stack = lambda parts: [cell("lstm", parts[:3]), cell("lstm", parts[3:])]
_, forward = case("deep_forward", stack(parts[:6]))
_, backward = case("deep_backward", stack(parts[6:]), x=expected["deep_forward/x"], reverse=True)
got = keras.ops.convert_to_numpy(deep(expected["deep_forward/x"]))
np.testing.assert_allclose(got, np.concatenate([forward, backward], -1), atol=2e-6)
parts = weights_of(unequal)
of_keras("unequal", unequal, [(cell("gru", parts[:3]), cell("gru", parts[3:], act="relu", gate="hard_sigmoid_3"))])
parts = weights_of(timed)
case("timed_both", [(cell("lstm", parts[:3], act="leaky"), cell("lstm", parts[3:], act="leaky"))])
case("mine", [cell("lstm", weights_of(mine))])

# Names and a configuration for which an attribute's 64 KiB don't suffice, and numbers that only Python's JSON has.
keras.utils.clear_session()
last = L.LSTM(2, recurrent_activation="hard_sigmoid", return_sequences=True, name="last")
model = keras.Sequential([keras.Input((T, 3)), L.LSTM(2, return_sequences=True, name="first"), last])
for w in model.weights:
    w.assign(draw(*w.shape))
case("last", [cell("lstm", weights_of(last), gate="hard_sigmoid_3")])
with h5py.File(out / "keras3_long.h5", "w") as file:
    config = {"class_name": "Sequential", "config": keras.saving.serialize_keras_object(model)["config"]}
    config["config"]["numbers"] = [float("nan"), float("-inf"), "NaN \"Infinity"]
    config["config"]["long"] = "l" * 70000
    file.attrs["model_config"] = json.dumps(config).encode()
    file.attrs["keras_version"] = b"3.15.1"
    group = file.create_group("model_weights")
    names = [f"{k}_{'n' * 400}".encode() for k in range(168)]
    group.attrs["layer_names0"], group.attrs["layer_names1"] = [b"last"] + names[:80], names[80:] + [b"first"]
    for layer in model.layers:
        for weight in layer.weights:
            group[f"{layer.name}/{weight.path}"] = np.asarray(keras.ops.convert_to_numpy(weight))

# bfloat16 weights; in the form of Keras 2 nothing beside the configuration says what they are.
keras.utils.clear_session()
bf16 = L.LSTM(2, dtype="bfloat16", return_sequences=True, recurrent_initializer="glorot_uniform")
model = keras.Sequential([keras.Input((T, 3)), bf16])
model.save(out / "keras3_bf16.keras")
values = [np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(w, "float32"))) for w in bf16.weights]
values = [v.astype(ml_dtypes.bfloat16) for v in values]
with h5py.File(out / "keras3_bf16.h5", "w") as file:
    config = {"class_name": "Sequential", "config": keras.saving.serialize_keras_object(model)["config"]}
    file.attrs["model_config"] = json.dumps(config).encode()
    file.attrs["keras_version"] = b"3.15.1"
    group = file.create_group("model_weights/lstm")
    for name, value in zip(["kernel", "recurrent_kernel", "bias"], values):
        group[f"lstm/lstm_cell/{name}"] = value.view("V2")
# A configuration that isn't that of the weights.
with h5py.File(out / "keras3_misfit.h5", "w") as file:
    for layer in config["config"]["layers"]:
        layer["config"].pop("units", None) and layer["config"].update(units=7, dtype="float32")
    file.attrs["model_config"] = json.dumps(config).encode()
    file.attrs["keras_version"] = b"3.15.1"
    group = file.create_group("model_weights/lstm")
    for name, value in zip(["kernel", "recurrent_kernel", "bias"], values):
        group[f"lstm/lstm_cell/{name}"] = value.astype(np.float32)
case("bf16", [cell("lstm", [v.astype(np.float32) for v in values])])
with h5py.File(out / "keras3_bf16.h5") as source, h5py.File(out / "keras_opaque.h5", "w") as file:
    source.copy("model_weights/lstm", file)


# ---- Keras 1 and 2, by hand ----

def old(path, version, class_name, config, layers, whole=True):
    """As `save_model` and `save_weights` do it: a group a layer, in the order of the model."""
    with h5py.File(path, "w") as file:
        group = file
        if whole:
            file.attrs["model_config"] = json.dumps({"class_name": class_name, "config": config}).encode()
            file.attrs["keras_version"] = version
            group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name, _ in layers]
        if not version.startswith(b"1"):
            group.attrs["keras_version"] = version
            group.attrs["backend"] = b"tensorflow"
        for name, weights in layers:
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [name.encode() for name, _ in weights]
            for name, value in weights:
                layer.create_dataset(name, data=value)


def packed(kind, i, units, reset_after=True):
    width = {"rnn": 1, "lstm": 4, "gru": 3}[kind] * units
    bias = draw(2, width) if kind == "gru" and reset_after else draw(width)
    return [draw(i, width), draw(units, width), bias]


def per_gate(scope, kind, weights, end=":0"):
    """Keras 1's tensors of each gate, in the order of `trainable_weights`."""
    units = weights[1].shape[0]
    gates, order = {"lstm": ("ifco", "icfo"), "gru": ("zrh", "zrh")}[kind]
    result = []
    for gate in order:
        k = gates.index(gate)
        part = slice(k * units, (k + 1) * units)
        for letter, w in zip("WUb", weights):
            result.append((f"{scope}_{letter}_{gate}{end}", w[..., part]))
    return result


def named(scope, weights, end=":0", suffix=""):
    names = ["kernel", "recurrent_kernel", "bias"]
    return [(f"{scope}/{name}{suffix}{end}", w) for name, w in zip(names, weights)]


def rnn1(name, units, **more):
    return {"name": name, "trainable": True, "output_dim": units, "init": "glorot_uniform",
            "inner_init": "orthogonal", "activation": "tanh", "inner_activation": "hard_sigmoid",
            "return_sequences": True, "go_backwards": False, "stateful": False, "unroll": False,
            "consume_less": "cpu", "dropout_W": 0.0, "dropout_U": 0.0, **more}


hard = {"gate": "hard_sigmoid_2"}
lstm, gru, rnn = packed("lstm", 3, 4), packed("gru", 4, 3, False), packed("rnn", 3, 2)
one, two = packed("lstm", 2, 3), packed("lstm", 2, 3)
gpu = packed("lstm", 6, 2)
config = [
    {"class_name": "LSTM", "config": rnn1("lstm_1", 4, batch_input_shape=[None, T, 3], input_dtype="float32")},
    {"class_name": "Dropout", "config": {"name": "dropout_1", "trainable": True, "p": 0.5}},
    {"class_name": "GRU", "config": rnn1("gru_1", 3, go_backwards=True)},
    {"class_name": "SimpleRNN", "config": rnn1("simplernn_1", 2, activation="relu")},
    {"class_name": "Bidirectional", "config": {
        "name": "bidirectional_1", "trainable": True, "merge_mode": "concat",
        "layer": {"class_name": "LSTM", "config": rnn1("lstm_2", 3, inner_activation="sigmoid")}}},
    {"class_name": "TimeDistributed", "config": {
        "name": "timedistributed_1", "trainable": True,
        "layer": {"class_name": "Dense", "config": {"name": "dense_1", "output_dim": 6}}}},
    {"class_name": "LSTM", "config": rnn1("lstm_3", 2, consume_less="gpu")},
]
layers = [
    ("lstm_1", per_gate("lstm_1", "lstm", lstm)),
    ("dropout_1", []),
    ("gru_1", per_gate("gru_1", "gru", gru)),
    ("simplernn_1", [(f"simplernn_1_{letter}:0", w) for letter, w in zip("WUb", rnn)]),
    ("bidirectional_1", per_gate("forward_lstm_2", "lstm", one) + per_gate("backward_lstm_2", "lstm", two)),
    ("timedistributed_1", [("dense_1_W:0", draw(6, 6)), ("dense_1_b:0", draw(6))]),
    ("lstm_3", [(f"lstm_3_{letter}:0", w) for letter, w in zip("WUb", gpu)]),
]
old(out / "keras1.h5", b"1.2.2", "Sequential", config, layers)
# By Theano, and the weights alone.
layers = [(name, [(weight.removesuffix(":0"), value) for weight, value in weights]) for name, weights in layers]
old(out / "keras1_weights.hdf5", b"1.2.2", "Sequential", config, layers, whole=False)
case("keras1/lstm_1", [cell("lstm", lstm, **hard)])
case("keras1/lstm_1_default", [cell("lstm", lstm)], x=expected["keras1/lstm_1/x"])
case("keras1/gru_1", [cell("gru", gru, reset_after=False, **hard)], reverse=True)
case("keras1/simplernn_1", [cell("rnn", rnn, act="relu")])
case("keras1/bidirectional_1", [(cell("lstm", one), cell("lstm", two))])
case("keras1/lstm_3", [cell("lstm", gpu, **hard)])


def to_cudnn(weights):
    """What Keras 2 does with the weights of an LSTM or GRU to have them in a CuDNNLSTM or CuDNNGRU."""
    kernel, recurrent, bias = weights
    gates = kernel.shape[1] // recurrent.shape[0]
    split = lambda w, f: np.hstack([f(part) for part in np.hsplit(w, gates)])
    turned = split(kernel, lambda k: k.T.reshape(k.shape, order="C"))
    bias = bias.reshape(-1) if gates == 3 else np.concatenate([bias - 0.25, np.full_like(bias, 0.25)])
    return [turned, split(recurrent, lambda k: k.T), bias]


def rnn2(name, units, **more):
    return {"name": name, "trainable": True, "return_sequences": True, "return_state": False,
            "go_backwards": False, "stateful": False, "unroll": False, "units": units, "activation": "tanh",
            "recurrent_activation": "hard_sigmoid", "use_bias": True, "unit_forget_bias": True, "dropout": 0.0,
            "recurrent_dropout": 0.0, "implementation": 1, **more}


def cudnn2(name, units, **more):
    return {"name": name, "trainable": True, "return_sequences": True, "return_state": False, "stateful": False,
            "go_backwards": False, "units": units, "unit_forget_bias": True, **more}


def layer(class_name, config, inbound):
    return {"class_name": class_name, "config": config, "name": config["name"], "inbound_nodes": [[[inbound, 0, 0, {}]]]}


lstm, cu, cg = packed("lstm", 3, 4), packed("lstm", 4, 5), packed("gru", 5, 3)
cu_one, cu_two = packed("lstm", 3, 2), packed("lstm", 3, 2)
cells = [packed("lstm", 4, 3), packed("lstm", 3, 3)]
inner, after = packed("gru", 3, 2, False), packed("gru", 2, 4)
old_one, old_two = packed("rnn", 4, 2), packed("rnn", 4, 2)
cell2 = lambda units: {"class_name": "LSTMCell", "config": {
    "units": units, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True,
    "name": "lstm_cell", "trainable": True, "implementation": 1}}
sub = {"name": "model_1", "input_layers": [["input_2", 0, 0]], "output_layers": [["gru_2", 0, 0]], "layers": [
    {"class_name": "InputLayer", "name": "input_2", "inbound_nodes": [], "config": {
        "batch_input_shape": [None, T, 3], "dtype": "float32", "sparse": False, "name": "input_2"}},
    layer("GRU", rnn2("gru_1", 2, reset_after=False), "input_2"),
    layer("GRU", rnn2("gru_2", 4, reset_after=True, recurrent_activation="sigmoid", go_backwards=True), "gru_1")]}
config = {"name": "model_2", "input_layers": [["input_1", 0, 0]], "output_layers": [["bidirectional_2", 0, 0]], "layers": [
    {"class_name": "InputLayer", "name": "input_1", "inbound_nodes": [], "config": {
        "batch_input_shape": [None, T, 3], "dtype": "float32", "sparse": False, "name": "input_1"}},
    layer("LSTM", rnn2("encoder", 4), "input_1"),
    layer("CuDNNLSTM", cudnn2("cu_dnnlstm_1", 5), "encoder"),
    layer("CuDNNGRU", cudnn2("cu_dnngru_1", 3), "cu_dnnlstm_1"),
    layer("Bidirectional", {"name": "bidirectional_1", "trainable": True, "merge_mode": "concat",
                            "layer": {"class_name": "CuDNNLSTM", "config": cudnn2("cu_dnnlstm_2", 2)}}, "cu_dnngru_1"),
    layer("RNN", {"name": "rnn_1", "trainable": True, "return_sequences": True, "return_state": False,
                  "go_backwards": False, "stateful": False, "unroll": False, "cell": {
                      "class_name": "StackedRNNCells", "config": {"cells": [cell2(3), cell2(3)]}}}, "bidirectional_1"),
    {"class_name": "Model", "config": sub, "name": "model_1", "inbound_nodes": [[["rnn_1", 0, 0, {}]]]},
    layer("Bidirectional", {"name": "bidirectional_2", "trainable": True, "merge_mode": "concat", "layer": {
        "class_name": "SimpleRNN", "config": rnn2("simple_rnn_1", 2)}}, "model_1")]}
layers = [
    ("input_1", []),
    ("encoder", named("encoder", lstm)),
    ("cu_dnnlstm_1", named("cu_dnnlstm_1", to_cudnn(cu))),
    ("cu_dnngru_1", named("cu_dnngru_1", to_cudnn(cg))),
    ("bidirectional_1", named("bidirectional_1/forward_cu_dnnlstm_2", to_cudnn(cu_one))
     + named("bidirectional_1/backward_cu_dnnlstm_2", to_cudnn(cu_two))),
    ("rnn_1", named("rnn_1", cells[0]) + named("rnn_1", cells[1], suffix="_1")),
    ("model_1", named("gru_1", inner) + named("gru_2", after)),
    ("bidirectional_2", named("bidirectional_2", old_one) + named("bidirectional_2", old_two, suffix="_1")),
]
old(out / "keras2.h5", b"2.2.4", "Model", config, layers)
old(out / "keras2_weights.h5", b"2.2.4", "Model", config, layers, whole=False)
case("keras2/encoder", [cell("lstm", lstm, **hard)])
case("keras2/encoder_default", [cell("lstm", lstm)], x=expected["keras2/encoder/x"])
case("keras2/cu_dnnlstm_1", [cell("lstm", cu)])
case("keras2/cu_dnngru_1", [cell("gru", cg)])
case("keras2/bidirectional_1", [(cell("lstm", cu_one), cell("lstm", cu_two))])
case("keras2/rnn_1", [cell("lstm", w, **hard) for w in cells])
case("keras2/gru_1", [cell("gru", inner, reset_after=False, **hard)])
case("keras2/gru_2", [cell("gru", after)], reverse=True)
case("keras2/bidirectional_2", [(cell("rnn", old_one), cell("rnn", old_two))])


# An archive of Keras 2.13, on Windows, and one that doesn't say which version wrote it.
values = packed("lstm", 3, 2)
model = {"module": "keras", "class_name": "Sequential", "registered_name": None, "config": {"name": "sequential", "layers": [
    {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None, "config": {
        "batch_input_shape": [None, T, 3], "dtype": "float32", "sparse": False, "ragged": False, "name": "input_1"}},
    {"module": "keras.layers", "class_name": "LSTM", "registered_name": None, "config": rnn2("first", 2)}]}}
with h5py.File(out / "weights.tmp", "w") as file:
    group = file.create_group("_layer_checkpoint_dependencies\\lstm\\cell").create_group("vars")
    for k, value in enumerate(values):
        group[str(k)] = value
for name, version in [("keras2_13.keras", "2.13.1"), ("keras_unknown.keras", None)]:
    with zipfile.ZipFile(out / name, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version} if version else {}))
        archive.writestr("config.json", json.dumps(model))
        archive.write(out / "weights.tmp", "model.weights.h5")
(out / "weights.tmp").unlink()
case("keras2_13", [cell("lstm", values, **hard)])


# Models of layers of the same sizes: which options are whose hangs on the names, and where the configuration has others,
# on the order.
alike = [np.full(shape, 0.25, np.float32) for shape in [(3, 12), (3, 12), (12,)]]


def block(name, activations):
    layers = [layer("LSTM", rnn2(name, 3, activation=activation), "input_1") for name, activation in activations]
    return {"class_name": "Model", "name": name, "inbound_nodes": [], "config": {"name": name, "layers": layers}}


blocks = [block("other", [("first", "relu")]), block("block", [("second", "tanh"), ("first", "softsign")]),
          block("renamed", [("mine", "relu"), ("yours", "softsign")])]
layers = [(name, [weight for lstm in lstms for weight in named(lstm, alike)]) for name, lstms in [
    ("block", ["first", "second"]), ("other", ["first"]), ("renamed", ["lower", "upper"])]]
old(out / "keras2_alike.h5", b"2.2.4", "Model", {"name": "model_1", "layers": blocks}, layers)


# A name with slashes; cells of other classes, around one that is known and by themselves.
inner = {"class_name": "LSTMCell", "config": {"name": "lstm_cell", "units": 3, "activation": "tanh"}}
cells = [("wrapped", {"class_name": "ResidualWrapper", "config": {"name": "residual", "cell": inner}}),
         ("own", {"class_name": "mine>Cell", "config": {"units": 3}})]
layers = [layer("LSTM", rnn2("enc/lstm", 3, activation="relu", go_backwards=True), "input_1")]
layers += [layer("RNN", {"name": name, "go_backwards": True, "cell": cell}, "input_1") for name, cell in cells]
names = ["enc/lstm/lstm_cell", "wrapped/lstm_cell", "own/cell"]
weights = [(scope.rpartition("/")[0], named(scope, alike)) for scope in names]
old(out / "keras2_cells.h5", b"2.9.0", "Model", {"name": "model_1", "layers": layers}, weights)

# In Keras 3, a cell of another class, whose weights are none of a cell's, before an LSTM's.
inner = {"class_name": "LSTMCell", "config": {"name": "lstm_cell", "units": 3, "activation": "relu"}}
own = {"class_name": "Cell", "registered_name": "mine>Cell", "config": {"units": 3}}
config = [{"class_name": "RNN", "config": {"name": name, "cell": cell, "go_backwards": back}}
          for name, cell, back in [("first", own, False), ("second", inner, True)]]
config = {"class_name": "Sequential", "config": {"name": "model", "layers": config}}
with tempfile.NamedTemporaryFile(suffix=".h5") as weights, zipfile.ZipFile(out / "keras3_cells.keras", "w") as archive:
    with h5py.File(weights.name, "w") as file:
        file["layers/rnn/cell/vars/0"] = np.full((7, 2, 2), 0.25, np.float32)
        for k, weight in enumerate(alike):
            file[f"layers/rnn_1/cell/vars/{k}"] = weight
    for name, text in [("metadata.json", json.dumps({"keras_version": "3.15.1"})), ("config.json", json.dumps(config))]:
        archive.writestr(zipfile.ZipInfo(name), text)
    archive.writestr(zipfile.ZipInfo("model.weights.h5"), Path(weights.name).read_bytes())

# ---- HDF5's float types ----

def float_type(size, sign, exponent, exponent_bits, mantissa, mantissa_bits, bias, big=False):
    kind = (h5py.h5t.IEEE_F64BE if big else h5py.h5t.IEEE_F64LE).copy()
    kind.set_fields(sign, exponent, exponent_bits, mantissa, mantissa_bits)
    kind.set_precision(8 * size)
    kind.set_size(size)
    kind.set_ebias(bias)
    return kind


def write_as(file, name, kind, value):
    space = h5py.h5s.create_simple(value.shape)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, value, mtype=kind)


with h5py.File(out / "keras_floats.h5", "w") as file:
    values = np.array([0.125, 0.25, 0.375, -1.0, 3.0e-3, 250.0], np.float32)
    half, brain = values.astype(np.float16), values.astype(ml_dtypes.bfloat16)
    bfloat16 = (2, 15, 7, 8, 0, 7, 127)
    write_as(file, "bfloat16", float_type(*bfloat16), brain.view(np.uint16))
    write_as(file, "bfloat16_big", float_type(*bfloat16, big=True), brain.view(np.uint16).byteswap())
    file["float16"], file["float16_big"] = half, half.astype(">f2")
    file["float32"], file["float32_big"] = values, values.astype(">f4")
    file["float64"], file["float64_big"] = values.astype("f8"), values.astype(">f8")
    file.create_dataset("zipped", data=values.astype(">f4"), chunks=(4,), compression="gzip", shuffle=True)
    # Not known: a wide exponent, eight bits, ten bytes, VAX's, another bias.
    write_as(file, "float16_wide", float_type(2, 15, 9, 6, 0, 9, 31), half.view(np.uint16))
    write_as(file, "float8", float_type(1, 7, 3, 4, 0, 3, 7), np.zeros(6, np.uint8))
    file["long_double"] = np.zeros(6, np.longdouble)
    write_as(file, "biased", float_type(4, 31, 23, 8, 0, 23, 128), values.view(np.uint32))
    vax = h5py.h5t.VAX_F32 if hasattr(h5py.h5t, "VAX_F32") else None
    if vax is not None:
        write_as(file, "vax", vax, values.view(np.uint32))
    file["opaque"] = brain.view("V2")
    file["integers"], file["big_integers"] = np.arange(6, dtype="i8"), np.arange(6, dtype=">i4")
    file["booleans"] = np.array([True, False, True])
    expected["floats/float32"] = values
    expected["floats/float16"], expected["floats/bfloat16"] = half.astype("f4"), brain.astype("f4")

# A layer that is listed 60,000 times, with as many names for its one weight.
with h5py.File(out / "keras_again.h5", "w") as file:
    file.attrs["layer_names"] = np.array([b"a"] * 60_000)
    layer = file.create_group("a")
    layer.attrs["weight_names"] = np.array([b"b"] * 60_000)
    layer.create_dataset("b", data=np.zeros((2, 3), np.float32))

save_file(expected, out / "keras_expected.safetensors")
