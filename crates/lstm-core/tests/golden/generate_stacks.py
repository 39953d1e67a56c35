"""Writes the golden file stacks.safetensors: stacked and bidirectional layers, and sequences
of different lengths.

It holds what PyTorch (packed sequences) and Keras (on JAX; masks) compute, in float64:
outputs, final states and gradients. (Keras' Bidirectional always gives zeros beyond the
end, so it has no case of its own here.) Versions, and how to install them, are generate.py's.

Run:     python generate_stacks.py     (writes beside this file; the same bytes on every run;
                                        --seed and --out as generate.py)

The metadata has the versions used and "cases", a JSON list with one object per case:
name, cell (rnn, lstm), layers (L), directions (D), bias, lengths (of the rows, or null),
padding (what the output holds beyond the end: zero, repeat), B, T, I, H.

Tensors are named {case}/{tensor}, k counting layers and directions, forward first:
  x [B,T,I], W{k} [I or D*H,G*H], R{k} [H,G*H], b{k} [G*H] (only with bias)
  h0, c0, hT, cT [L*D,B,H]  first and final states (c only for lstm)
  y [B,T,D*H]               outputs of the last layer
  py, phT, pcT              random upstream gradients:
                            loss = sum(y*py) + sum(hT*phT) + sum(cT*pcT)
  dx, dW{k}, dR{k}, db{k}, dh0, dc0   gradients of the loss
"""

import json

from generate import (PINNED, arguments, check_versions, jax, keras, loss_of, make_keras_use_float64, normal, np,
                      random_bias, random_numbers, save, state_letters, torch)


def make_cases():
    lengths = [5, 8, 1, 3]
    table = [  # framework, L, D, lengths, bias, padding
        ("torch", 2, 1, None, True, "zero"),
        ("torch", 2, 2, None, True, "zero"),
        ("torch", 1, 1, lengths, True, "zero"),
        ("torch", 1, 2, lengths, True, "zero"),
        ("torch", 3, 2, lengths, True, "zero"),
        ("torch", 2, 1, lengths, False, "zero"),
        ("keras", 1, 1, lengths, True, "zero"),
        ("keras", 1, 1, lengths, True, "repeat"),
    ]
    cases = []
    for cell in ("rnn", "lstm"):
        for framework, layers, directions, of_rows, bias, padding in table:
            name = "_".join([framework, cell, f"{layers}x{directions}", "lengths" if of_rows else "full",
                             "bias" if bias else "nobias", padding])
            cases.append(dict(name=name, cell=cell, layers=layers, directions=directions, bias=bias,
                              lengths=of_rows, padding=padding, B=4, T=8, I=3, H=5))
    return cases


def make_inputs(case, rng):
    B, T, I, H, D = (case[k] for k in ("B", "T", "I", "H", "directions"))
    gates = 4 if case["cell"] == "lstm" else 1
    t = {"x": normal(rng, (B, T, I)), "py": normal(rng, (B, T, D * H))}
    for k in range(case["layers"] * D):
        inputs = I if k < D else D * H
        t[f"W{k}"] = normal(rng, (inputs, gates * H), 0.5 / np.sqrt(inputs))
        t[f"R{k}"] = normal(rng, (H, gates * H), 0.5 / np.sqrt(H))
        if case["bias"]:
            t[f"b{k}"] = random_bias(rng, gates * H)
    for s in state_letters(case):
        shape = (case["layers"] * D, B, H)
        t[s + "0"], t[f"p{s}T"] = normal(rng, shape, 0.5), normal(rng, shape)
    return t


def run_torch(case, t):
    lstm, D = case["cell"] == "lstm", case["directions"]
    build = torch.nn.LSTM if lstm else torch.nn.RNN
    module = build(case["I"], case["H"], case["layers"], bias=case["bias"], batch_first=True,
                   bidirectional=D == 2, dtype=torch.float64)

    def parameters(kind):
        names = (f"{kind}_l{k // D}" + ("_reverse" if k % D else "") for k in range(case["layers"] * D))
        return [getattr(module, name) for name in names]

    kinds = {"W": "weight_ih", "R": "weight_hh"} | ({"b": "bias_ih"} if case["bias"] else {})
    with torch.no_grad():
        for letter, kind in kinds.items():
            for k, parameter in enumerate(parameters(kind)):
                parameter.copy_(torch.tensor(t[f"{letter}{k}"].T))
        if case["bias"]:
            [parameter.zero_() for parameter in parameters("bias_hh")]
    leaves = {k: torch.tensor(t[k], requires_grad=True) for k in ["x"] + [s + "0" for s in state_letters(case)]}
    x, states = leaves["x"], tuple(leaves[s + "0"] for s in state_letters(case))
    if case["lengths"]:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, case["lengths"], batch_first=True, enforce_sorted=False)
    y, finals = module(x, states if lstm else states[0])
    if case["lengths"]:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=case["T"])
    outputs = {"y": y, **dict(zip(("hT", "cT"), finals if lstm else (finals,)))}
    loss_of(outputs, {k: torch.tensor(v) for k, v in t.items() if k.startswith("p")}).backward()
    t.update({name: value.detach().numpy() for name, value in outputs.items()})
    t.update({"d" + name: leaf.grad.numpy() for name, leaf in leaves.items()})
    for letter, kind in kinds.items():
        t.update({f"d{letter}{k}": p.grad.numpy().T for k, p in enumerate(parameters(kind))})


def run_keras(case, t):
    lstm, D = case["cell"] == "lstm", case["directions"]
    build = keras.layers.LSTM if lstm else keras.layers.SimpleRNN
    module = build(case["H"], use_bias=case["bias"], return_sequences=True, return_state=True,
                   zero_output_for_mask=case["padding"] == "zero")
    if D == 2:
        module = keras.layers.Bidirectional(module, merge_mode="concat")
    module.build(t["x"].shape)
    names = [f"{letter}{k}" for k in range(D) for letter in "WRb"]
    for name, variable in zip(names, module.trainable_variables, strict=True):
        variable.assign(t[name])
    fixed = [v.value for v in module.non_trainable_variables]
    mask = jax.numpy.arange(case["T"])[None, :] < jax.numpy.asarray(case["lengths"])[:, None]

    def run(inputs):
        weights = [inputs[name] for name in names]
        states = [inputs[s + "0"][k] for k in range(D) for s in state_letters(case)]
        (y, *finals), _ = module.stateless_call(weights, fixed, inputs["x"], initial_state=states, mask=mask)
        letters = state_letters(case)
        return {"y": y} | {s + "T": jax.numpy.stack(finals[n::len(letters)]) for n, s in enumerate(letters)}

    inputs = {k: jax.numpy.asarray(t[k]) for k in ["x"] + names + [s + "0" for s in state_letters(case)]}
    gradients = jax.grad(lambda inputs: loss_of(run(inputs), t))(inputs)
    t.update({name: np.asarray(value) for name, value in run(inputs).items()})
    t.update({"d" + name: np.asarray(value) for name, value in gradients.items()})


def main():
    given = arguments()
    check_versions()
    make_keras_use_float64()
    torch.set_num_threads(1)
    cases, tensors = make_cases(), {}
    for case in cases:
        t = make_inputs(case, random_numbers(case["name"], given.seed))
        (run_torch if case["name"].startswith("torch") else run_keras)(case, t)
        tensors.update({f"{case['name']}/{name}": np.ascontiguousarray(t[name]) for name in sorted(t)})
    save(given.out / "stacks.safetensors", tensors, {"cases": json.dumps(cases), **PINNED})


if __name__ == "__main__":
    main()
