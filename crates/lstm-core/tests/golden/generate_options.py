"""Writes the golden file options.safetensors: activations, ONNX' clip of the sums, and the sLSTM.

It holds what Keras on JAX (SimpleRNN with each activation that it has; with gradients, in float64) and ONNX
Runtime (RNN with each activation that it has; LSTM and GRU with clip and other activations; outputs and final
states, in float32) compute. The sLSTM comes from the formulas of Beck et al. 2024, differentiated by PyTorch.
Versions, and how to install them, are generate_family.py's.

Run:     python generate_options.py     (writes beside this file; the same bytes on every run;
                                         --seed and --out as generate.py)

The metadata has the versions used and "cases", a JSON list with one object per case:
name, framework (keras, onnx, formula), cell (rnn, lstm, gru, slstm), activations (name, alpha, beta each: of an rnn
its own; of an lstm those of the gates, the candidate and the shown memory; of a gru those of the gates and the
candidate), clip (of the sums, or null), coupled (lstm: f = 1 - i), reset_after (gru), exponential (slstm: the forget
gate), B, T, I, H.

Tensors are named {case}/{tensor}, as in family.safetensors. An slstm packs i, f, z, o, and has the states h, c, n, m.
"""

import onnx
import onnxruntime
from generate import jax, keras, normal, np, random_bias, torch
from generate_family import loss_of, write

GATES = {"rnn": 1, "gru": 3, "lstm": 4, "slstm": 4}
STATES = {"rnn": "h", "gru": "h", "lstm": "hc", "slstm": "hcnm"}

KERAS = ["linear", "tanh", "sigmoid", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "hard_silu",
         "mish", "softplus", "softsign", "log_sigmoid", "exponential", "hard_sigmoid", "hard_tanh", "hard_shrink",
         "soft_shrink"]
ONNX = [("Relu",), ("Tanh",), ("Sigmoid",), ("Affine", 0.5, 0.1), ("LeakyRelu", 0.1), ("ThresholdedRelu", 0.3),
        ("ScaledTanh", 1.7, 0.6), ("HardSigmoid", 0.3, 0.4), ("Elu", 0.8), ("Softsign",), ("Softplus",)]


def activation(name, alpha=None, beta=None):
    return dict(name=name, alpha=alpha, beta=beta)


def make_cases():
    cases = []

    def add(framework, cell, label, activations=(), clip=None, coupled=False, **options):
        cases.append(dict(name=f"{framework}_{cell}_{label}", framework=framework, cell=cell,
                          activations=[activation(*a) for a in activations], clip=clip, coupled=coupled,
                          **{"reset_after": None, "exponential": False, **options}, B=3, T=7, I=4, H=5))

    for name in KERAS:
        add("keras", "rnn", name, [(name,)])
    for given in ONNX:
        add("onnx", "rnn", given[0].lower(), [given])
        add("onnx", "rnn", given[0].lower() + "_clip", [given], clip=0.6)
    usual, others = [("Sigmoid",), ("Tanh",), ("Tanh",)], [("HardSigmoid", 0.3, 0.4), ("Softsign",), ("ScaledTanh", 1.7, 0.6)]
    for coupled in False, True:
        label = "_coupled" if coupled else ""
        add("onnx", "lstm", "clip" + label, usual, clip=0.5, coupled=coupled)
        add("onnx", "lstm", "activations" + label, others, coupled=coupled)
    for after in True, False:
        label = "_after" if after else "_before"
        add("onnx", "gru", "clip" + label, usual[:2], clip=0.5, reset_after=after)
        add("onnx", "gru", "activations" + label, others[:2], reset_after=after)
    for exponential in False, True:
        add("formula", "slstm", "exponential" if exponential else "sigmoid", exponential=exponential)
    return cases


def make_inputs(case, rng):
    B, T, I, H = (case[k] for k in "BTIH")
    width = (3 if case["coupled"] else GATES[case["cell"]]) * H
    # An RNN that grows by e^x mustn't grow much.
    scale = 0.25 if "exponential" in case["name"] else 1
    t = {"x": normal(rng, (B, T, I)), "W": normal(rng, (I, width), scale / np.sqrt(I)),
         "R": normal(rng, (H, width), 0.5 * scale / np.sqrt(H)), "b": random_bias(rng, width), "uy": normal(rng, (B, T, H))}
    for state in STATES[case["cell"]]:
        t[state + "0"], t[f"u{state}T"] = normal(rng, (B, H), 0.5), normal(rng, (B, H))
    if case["cell"] == "slstm":
        t["n0"] = np.abs(t["n0"]) + 0.25
    return t


def leaves(t):
    return [name for name in t if name[0] != "u"]


def run_keras(case, t):
    module = keras.layers.SimpleRNN(case["H"], activation=case["activations"][0]["name"], return_sequences=True,
                                    return_state=True)
    module.build(t["x"].shape)
    fixed = [v.value for v in module.non_trainable_variables]

    def run(inputs):
        weights = [inputs[name] for name in "WRb"]
        (y, last), _ = module.stateless_call(weights, fixed, inputs["x"], initial_state=[inputs["h0"]])
        return {"y": y, "hT": last}

    inputs = {name: jax.numpy.asarray(t[name]) for name in leaves(t)}
    gradients = jax.grad(lambda inputs: loss_of(run(inputs), t))(inputs)
    t.update({name: np.asarray(value) for name, value in run(inputs).items()})
    t.update({"d" + name: np.asarray(value) for name, value in gradients.items()})


def run_onnx(case, t):
    """ONNX packs i, o, f, c in an LSTM and z, r, h in a GRU; a coupled LSTM's W has an f that it doesn't read."""
    H, cell = case["H"], case["cell"]
    blocks = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 2, 0, 1] if case["coupled"] else [0, 3, 1, 2]}[cell]
    order = np.concatenate([np.arange(k * H, (k + 1) * H) for k in blocks])
    feeds = {"X": t["x"].transpose(1, 0, 2), "W": t["W"].T[order][None], "R": t["R"].T[order][None],
             "B": np.concatenate([t["b"][order], np.zeros(len(order))])[None], "h": t["h0"][None]}
    if cell == "lstm":
        feeds["c"] = t["c0"][None]
    feeds = {name: np.ascontiguousarray(value, np.float32) for name, value in feeds.items()}
    given = case["activations"]
    options = dict(hidden_size=H, activations=[a["name"] for a in given])
    # ONNX Runtime reads as many numbers as there are activations, if any.
    for key in "alpha", "beta":
        if any(a[key] is not None for a in given):
            options[f"activation_{key}"] = [a[key] for a in given if a[key] is not None]
    if case["clip"] is not None:
        options["clip"] = case["clip"]
    if cell == "lstm":
        options["input_forget"] = int(case["coupled"])
    if cell == "gru":
        options["linear_before_reset"] = int(case["reset_after"])
    results = ["Y", "Yh", "Yc"][:3 if cell == "lstm" else 2]
    info, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    inputs = ["X", "W", "R", "B", "", "h"] + (["c"] if cell == "lstm" else [])
    node = onnx.helper.make_node(cell.upper(), inputs, results, **options)
    graph = onnx.helper.make_graph([node], cell, [info(name, float32, value.shape) for name, value in feeds.items()],
                                   [info(name, float32, None) for name in results])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    y, *last = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    t["y"] = y[:, 0].transpose(1, 0, 2).astype(np.float64)
    t.update({state + "T": value[0].astype(np.float64) for state, value in zip("hc", last)})


def run_formula(case, t):
    tracked = {name: torch.tensor(t[name], requires_grad=True) for name in leaves(t)}
    h, c, n, m = (tracked[state + "0"] for state in "hcnm")
    outputs = []
    for x in tracked["x"].unbind(1):
        i, f, z, o = (x @ tracked["W"] + h @ tracked["R"] + tracked["b"]).chunk(4, -1)
        f = f if case["exponential"] else torch.nn.functional.logsigmoid(f)
        before, m = m, torch.maximum(f + m, i)
        i, f = torch.exp(i - m), torch.exp(f + before - m)
        c, n = f * c + i * torch.tanh(z), f * n + i
        h = torch.sigmoid(o) * c / n
        outputs.append(h)
    outputs = {"y": torch.stack(outputs, 1), "hT": h, "cT": c, "nT": n, "mT": m}
    loss_of(outputs, {k: torch.tensor(v) for k, v in t.items() if k[0] == "u"}).backward()
    t.update({name: value.detach().numpy() for name, value in outputs.items()})
    t.update({"d" + name: leaf.grad.numpy() for name, leaf in tracked.items()})


if __name__ == "__main__":
    write("options", make_cases(), make_inputs, dict(keras=run_keras, onnx=run_onnx, formula=run_formula))
