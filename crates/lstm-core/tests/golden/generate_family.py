"""Writes the golden file family.safetensors: the GRU and the LSTM's relatives.

It holds what PyTorch (GRU, LSTM with proj_size), Keras on JAX (GRU with reset_after and
without) and ONNX Runtime (LSTM with peepholes) compute: outputs, final states and, but for
ONNX Runtime, gradients; in float64, from ONNX Runtime in float32. What no framework has
(layer normalisation as in the paper, gates that are switched off), and the peepholes'
gradients, come from the formulas in lstm_step below, differentiated by PyTorch; the
peepholes' formula is checked against ONNX Runtime here.
Versions, and how to install them, are generate.py's, and onnx==1.23.2 onnxruntime==1.32.0.

Run:     python generate_family.py     (writes beside this file; the same bytes on every run;
                                        --seed and --out as generate.py)

The metadata has the versions used and "cases", a JSON list with one object per case:
name, framework (torch, keras, onnx, formula), cell (gru, lstmp, peephole, layer_norm,
without_input, without_forget, without_output), bias, reset_after (gru), B, T, I, H, P (the
hidden state's features: H but for lstmp).

Tensors are named {case}/{tensor}. Gates are packed in the order r, z, n in a gru, else
i, f, g, o; G is 3 or 4.
  x [B,T,I], W [I,G*H], R [P,G*H], b [G*H] (only with bias)
  bn [H]                     a gru's bias that the reset gate works on (bias and reset_after)
  Q [H,P]                    the projection (lstmp)
  pi, pf, po [H]             peepholes
  nx, nh [4H], nc, oc [H]    scales of the norms of x W, h R and c, offset of the last
  h0 [B,P], c0 [B,H]         first states (no c for a gru, here and below)
  y [B,T,P], hT, cT          outputs, final states
  uy, uhT, ucT               random upstream gradients:
                             loss = sum(y*uy) + sum(hT*uhT) + sum(cT*ucT)
  d{name}                    gradients of the loss
"""

import json
from importlib.metadata import version

import onnx
import onnxruntime
from generate import (PINNED, arguments, check_versions, jax, keras, make_keras_use_float64, normal, np,
                      random_bias, random_numbers, save, torch)

ONNX_PINNED = {"onnx": "1.23.2", "onnxruntime": "1.32.0"}
EPSILON = 1e-5


def make_cases():
    table = [  # framework, cell, bias, reset_after
        ("torch", "gru", True, True),
        ("torch", "gru", False, True),
        ("keras", "gru", True, True),
        ("keras", "gru", True, False),
        ("keras", "gru", False, False),
        ("torch", "lstmp", True, None),
        ("torch", "lstmp", False, None),
        ("onnx", "peephole", True, None),
        ("formula", "peephole", True, None),
        ("formula", "layer_norm", True, None),
        ("formula", "layer_norm", False, None),
        ("formula", "without_input", True, None),
        ("formula", "without_forget", True, None),
        ("formula", "without_output", True, None),
    ]
    cases = []
    for framework, cell, bias, reset_after in table:
        form = "" if reset_after is None else "_after" if reset_after else "_before"
        name = f"{framework}_{cell}{form}_{'bias' if bias else 'nobias'}"
        cases.append(dict(name=name, framework=framework, cell=cell, bias=bias, reset_after=reset_after,
                          B=3, T=7, I=4, H=5, P=2 if cell == "lstmp" else 5))
    return cases


def make_inputs(case, rng):
    B, T, I, H, P = (case[k] for k in "BTIHP")
    width = (3 if case["cell"] == "gru" else 4) * H
    t = {"x": normal(rng, (B, T, I)), "uy": normal(rng, (B, T, P))}
    t["W"], t["R"] = normal(rng, (I, width), 0.5 / np.sqrt(I)), normal(rng, (P, width), 0.5 / np.sqrt(P))
    if case["bias"]:
        t["b"] = random_bias(rng, width)
        if case["reset_after"]:
            t["bn"] = random_bias(rng, H)
    if case["cell"] == "lstmp":
        t["Q"] = normal(rng, (H, P), 0.5)
    if case["cell"] == "peephole":
        t.update({name: normal(rng, H, 0.5) for name in ("pi", "pf", "po")})
    if case["cell"] == "layer_norm":
        t.update(nx=1 + random_bias(rng, width), nh=1 + random_bias(rng, width),
                 nc=1 + random_bias(rng, H), oc=random_bias(rng, H))
    for state, size in states(case).items():
        t[state + "0"], t[f"u{state}T"] = normal(rng, (B, size), 0.5), normal(rng, (B, size))
    return t


def states(case):
    return {"h": case["P"]} if case["cell"] == "gru" else {"h": case["P"], "c": case["H"]}


def leaves(case, t):
    """The names of all that has a gradient."""
    return [name for name in t if name not in {"uy", "uhT", "ucT"}]


def loss_of(outputs, t):
    return sum((value * t["u" + name]).sum() for name, value in outputs.items())


def run_torch(case, t):
    H, gru = case["H"], case["cell"] == "gru"
    build = torch.nn.GRU if gru else torch.nn.LSTM
    options = {} if gru else {"proj_size": case["P"]}
    module = build(case["I"], H, bias=case["bias"], batch_first=True, dtype=torch.float64, **options)
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.tensor(t["W"].T))
        module.weight_hh_l0.copy_(torch.tensor(t["R"].T))
        if case["bias"]:
            module.bias_ih_l0.copy_(torch.tensor(t["b"]))
            module.bias_hh_l0.zero_()
            if gru:
                module.bias_hh_l0[2 * H:].copy_(torch.tensor(t["bn"]))
        if not gru:
            module.weight_hr_l0.copy_(torch.tensor(t["Q"].T))
    tracked = {k: torch.tensor(t[k], requires_grad=True) for k in ["x"] + [s + "0" for s in states(case)]}
    first = tuple(tracked[s + "0"][None] for s in states(case))
    y, last = module(tracked["x"], first[0] if gru else first)
    outputs = {"y": y, **{s + "T": value[0] for s, value in zip(states(case), (last,) if gru else last)}}
    loss_of(outputs, {k: torch.tensor(v) for k, v in t.items() if k[0] == "u"}).backward()
    t.update({name: value.detach().numpy() for name, value in outputs.items()})
    t.update({"d" + name: leaf.grad.numpy() for name, leaf in tracked.items()})
    t.update(dW=module.weight_ih_l0.grad.numpy().T, dR=module.weight_hh_l0.grad.numpy().T)
    if case["bias"]:
        t["db"] = module.bias_ih_l0.grad.numpy()
        if gru:
            t["dbn"] = module.bias_hh_l0.grad.numpy()[2 * H:]
    if not gru:
        t["dQ"] = module.weight_hr_l0.grad.numpy().T


def run_keras(case, t):
    H, numpy = case["H"], jax.numpy
    module = keras.layers.GRU(H, use_bias=case["bias"], reset_after=case["reset_after"],
                              return_sequences=True, return_state=True)
    module.build(t["x"].shape)
    # Keras packs z, r, h.
    order = np.concatenate([np.arange(H, 2 * H), np.arange(H), np.arange(2 * H, 3 * H)])
    fixed = [v.value for v in module.non_trainable_variables]

    def run(inputs):
        weights = [inputs["W"][:, order], inputs["R"][:, order]]
        if case["bias"]:
            bias = inputs["b"][order]
            if case["reset_after"]:
                bias = numpy.stack([bias, numpy.concatenate([numpy.zeros(2 * H), inputs["bn"]])])
            weights.append(bias)
        assert [w.shape for w in weights] == [v.shape for v in module.trainable_variables]
        (y, last), _ = module.stateless_call(weights, fixed, inputs["x"], initial_state=[inputs["h0"]])
        return {"y": y, "hT": last}

    inputs = {name: numpy.asarray(t[name]) for name in leaves(case, t)}
    gradients = jax.grad(lambda inputs: loss_of(run(inputs), t))(inputs)
    t.update({name: np.asarray(value) for name, value in run(inputs).items()})
    t.update({"d" + name: np.asarray(value) for name, value in gradients.items()})


def norm(sums, scale, offset=0):
    """Layer normalisation over the last dimension (Ba et al. 2016, equation 4)."""
    centred = sums - sums.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + EPSILON).sqrt() * scale + offset


def lstm_step(case, t, x, h, c):
    """One step of an LSTM with peepholes (Gers & Schmidhuber 2000), or with layer normalisation (Ba et al.
    2016, equations 20 to 22; one bias), or without a gate (Greff et al. 2015)."""
    cell, bias = case["cell"], t.get("b", 0)
    if cell == "layer_norm":
        sums = norm(x @ t["W"], t["nx"]) + norm(h @ t["R"], t["nh"]) + bias
    else:
        sums = x @ t["W"] + h @ t["R"] + bias
    i, f, g, o = sums.chunk(4, -1)
    if cell == "peephole":
        i, f = i + t["pi"] * c, f + t["pf"] * c
    i, f = torch.sigmoid(i), torch.sigmoid(f)
    i = torch.ones_like(i) if cell == "without_input" else i
    f = torch.ones_like(f) if cell == "without_forget" else f
    c = f * c + i * torch.tanh(g)
    if cell == "peephole":
        o = o + t["po"] * c
    o = torch.ones_like(o) if cell == "without_output" else torch.sigmoid(o)
    return o * torch.tanh(norm(c, t["nc"], t["oc"]) if cell == "layer_norm" else c), c


def run_formula(case, t):
    tracked = {name: torch.tensor(t[name], requires_grad=True) for name in leaves(case, t)}
    h, c, outputs = tracked["h0"], tracked["c0"], []
    for x in tracked["x"].unbind(1):
        h, c = lstm_step(case, tracked, x, h, c)
        outputs.append(h)
    outputs = {"y": torch.stack(outputs, 1), "hT": h, "cT": c}
    loss_of(outputs, {k: torch.tensor(v) for k, v in t.items() if k[0] == "u"}).backward()
    t.update({name: value.detach().numpy() for name, value in outputs.items()})
    t.update({"d" + name: leaf.grad.numpy() for name, leaf in tracked.items()})


def run_onnx(case, t):
    """An ONNX LSTM packs i, o, f, c, and the peepholes i, o, f."""
    H = case["H"]
    order = np.concatenate([np.arange(k * H, (k + 1) * H) for k in (0, 3, 1, 2)])
    feeds = {"X": t["x"].transpose(1, 0, 2), "W": t["W"].T[order][None], "R": t["R"].T[order][None],
             "B": np.concatenate([t["b"][order], np.zeros(4 * H)])[None],
             "h": t["h0"][None], "c": t["c0"][None], "P": np.concatenate([t["pi"], t["po"], t["pf"]])[None]}
    feeds = {name: np.ascontiguousarray(value, np.float32) for name, value in feeds.items()}
    info = onnx.helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("LSTM", ["X", "W", "R", "B", "", "h", "c", "P"], ["Y", "Yh", "Yc"], hidden_size=H)
    graph = onnx.helper.make_graph([node], "lstm", [info(name, float32, value.shape) for name, value in feeds.items()],
                                   [info(name, float32, None) for name in ("Y", "Yh", "Yc")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    y, h, c = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    outputs = {"y": y[:, 0].transpose(1, 0, 2), "hT": h[0], "cT": c[0]}
    formula = dict(t)
    run_formula(case, formula)
    for name, value in outputs.items():
        t[name] = value.astype(np.float64)
        assert np.allclose(t[name], formula[name], rtol=0, atol=1e-6), f"{name} is not the formula's"


def write(name, cases, make_inputs, run):
    """Writes the golden file of that name: of each case what its framework's function in run adds to its inputs."""
    given = arguments()
    check_versions()
    for package, wanted in ONNX_PINNED.items():
        assert version(package) == wanted, f"{name} needs {package}=={wanted}, but found {version(package)}"
    make_keras_use_float64()
    torch.set_num_threads(1)
    tensors = {}
    for case in cases:
        t = make_inputs(case, random_numbers(case["name"], given.seed))
        run[case["framework"]](case, t)
        tensors.update({f"{case['name']}/{name}": np.ascontiguousarray(t[name]) for name in sorted(t)})
    save(given.out / f"{name}.safetensors", tensors, {"cases": json.dumps(cases), **PINNED, **ONNX_PINNED})


if __name__ == "__main__":
    write("family", make_cases(), make_inputs, dict(torch=run_torch, keras=run_keras, onnx=run_onnx, formula=run_formula))
