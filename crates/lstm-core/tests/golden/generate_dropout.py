"""Writes the golden file dropout.safetensors: layers with recurrent dropout, in training.

It holds what Keras (on JAX) computes with masks that it draws itself: outputs, final states
and gradients, in float64. Versions, and how to install them, are generate.py's.

Run:     python generate_dropout.py    (writes beside this file; the same bytes on every run;
                                        --seed and --out as generate.py)

The metadata has the versions used and "cases", a JSON list with one object per case:
name, cell (rnn, lstm, gru), reset_after (gru), B, T, I, H.

Tensors are named {case}/{tensor}. Gates are packed in the order r, z, n in a gru, else
i, f, g, o; G is 1, 3 or 4.
  x [B,T,I], W [I,G*H], R [H,G*H], b [G*H]
  bn [H]                     a gru's bias that the reset gate works on (reset_after)
  mask [B,G*H]               what each gate sees of the last output: 0 or 1 / (1 - p)
  h0 [B,H], c0 [B,H]         first states (c only for an lstm, here and below)
  y [B,T,H], hT, cT          outputs, final states
  uy, uhT, ucT               random upstream gradients:
                             loss = sum(y*uy) + sum(hT*uhT) + sum(cT*ucT)
  d{name}                    gradients of the loss
"""

import json

from generate import (PINNED, arguments, check_versions, jax, keras, make_keras_use_float64, normal, np,
                      random_bias, random_numbers, save)

PROBABILITY = 0.4
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def make_cases():
    table = [("rnn", None), ("lstm", None), ("gru", True), ("gru", False)]
    cases = []
    for cell, reset_after in table:
        form = "" if reset_after is None else "_after" if reset_after else "_before"
        cases.append(dict(name=f"keras_{cell}{form}_dropout", cell=cell, reset_after=reset_after, B=3, T=7, I=4, H=5))
    return cases


def state_letters(case):
    return "hc" if case["cell"] == "lstm" else "h"


def make_inputs(case, rng):
    B, T, I, H = (case[k] for k in "BTIH")
    width = GATES[case["cell"]] * H
    t = {"x": normal(rng, (B, T, I)), "uy": normal(rng, (B, T, H))}
    t["W"], t["R"] = normal(rng, (I, width), 0.5 / np.sqrt(I)), normal(rng, (H, width), 0.5 / np.sqrt(H))
    t["b"] = random_bias(rng, width)
    if case["reset_after"]:
        t["bn"] = random_bias(rng, H)
    for state in state_letters(case):
        t[state + "0"], t[f"u{state}T"] = normal(rng, (B, H), 0.5), normal(rng, (B, H))
    return t


def run_keras(case, t, seed):
    H, numpy = case["H"], jax.numpy
    build = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[case["cell"]]
    options = {} if case["reset_after"] is None else {"reset_after": case["reset_after"]}
    module = build(H, recurrent_dropout=PROBABILITY, seed=seed, return_sequences=True, return_state=True, **options)
    module.build(t["x"].shape)
    # The layer draws its masks so, once for a batch of sequences, and keeps them for all steps of it.
    masks = module.cell.get_recurrent_dropout_mask(numpy.asarray(t["h0"]))
    fixed = [v.value for v in module.non_trainable_variables]
    in_order = [masks] if case["cell"] == "rnn" else list(masks)
    order = range(GATES[case["cell"]])
    if case["cell"] == "gru":  # Keras packs z, r, h.
        order = [1, 0, 2]
    assert len(in_order) == GATES[case["cell"]]
    t["mask"] = np.concatenate([np.asarray(in_order[k]) for k in order], axis=-1)
    columns = np.concatenate([np.arange(k * H, (k + 1) * H) for k in order])

    def run(inputs):
        weights = [inputs["W"][:, columns], inputs["R"][:, columns]]
        bias = inputs["b"][columns]
        if case["reset_after"]:
            bias = numpy.stack([bias, numpy.concatenate([numpy.zeros(2 * H), inputs["bn"]])])
        weights.append(bias)
        assert [w.shape for w in weights] == [v.shape for v in module.trainable_variables]
        module.cell._recurrent_dropout_mask = masks  # A call ends by forgetting them.
        states = [inputs[s + "0"] for s in state_letters(case)]
        (y, *last), _ = module.stateless_call(weights, fixed, inputs["x"], initial_state=states, training=True)
        return {"y": y, **{s + "T": value for s, value in zip(state_letters(case), last)}}

    leaves = [name for name in t if name not in {"uy", "uhT", "ucT", "mask"}]
    inputs = {name: numpy.asarray(t[name]) for name in leaves}
    loss = lambda inputs: sum((value * t["u" + name]).sum() for name, value in run(inputs).items())
    gradients = jax.grad(loss)(inputs)
    t.update({name: np.asarray(value) for name, value in run(inputs).items()})
    t.update({"d" + name: np.asarray(value) for name, value in gradients.items()})


def main():
    given = arguments()
    check_versions()
    make_keras_use_float64()
    cases, tensors = make_cases(), {}
    for case in cases:
        t = make_inputs(case, random_numbers(case["name"], given.seed))
        run_keras(case, t, given.seed)
        tensors.update({f"{case['name']}/{name}": np.ascontiguousarray(t[name]) for name in sorted(t)})
    save(given.out / "dropout.safetensors", tensors, {"cases": json.dumps(cases), **PINNED})


if __name__ == "__main__":
    main()
