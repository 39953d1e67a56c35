"""Writes small weight files of GRUs, of LSTMs with a projection or with peepholes, and of stacks of ONNX
nodes, and what the models compute, as generate.py does for LSTMs and plain RNNs: PyTorch and Keras write
their files themselves, and ONNX Runtime runs the models whose tensors are in onnx_family.safetensors.

Versions, and how to install them, are generate.py's.
Run:     python generate_family.py     (writes beside this file; --seed and --out as generate.py)

Files:
  torch_gru.safetensors            state dict of a model with a GRU, 2 layers, bidirectional
  torch_lstmp.safetensors          of an LSTM with proj_size, 2 layers, bidirectional
  keras_gru.safetensors            one model, saved with model.save_weights and turned into safetensors by
                                   scripts/keras_to_safetensors.py: a GRU, one with reset_after=False, one
                                   without bias, and two Bidirectional ones on each other
  onnx_family.safetensors          {case}/W, R, B, P; of stacks {case}/{layer}/W, ...
  expected_family.safetensors      {case}/x [B,T,I], y [B,T,D*H], and final states h and c: [L*D,B,H];
                                   all models start from zeros; {case}/lengths [B] if the rows have any
"""

from generate import (B, H, I, LENGTHS, OUT, PINNED, T, check_versions, keras, normal, np, padded_batch, run_onnx,
                      save_file, save_keras, save_torch, seed, torch, version)

P = 3  # features of a projection


def torch_models(rng, expected):
    torch.manual_seed(seed(6))
    layers = dict(num_layers=2, batch_first=True, bidirectional=True)
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    for case, rnn in {
        "torch_gru": torch.nn.GRU(I, H, **layers),
        "torch_lstmp": torch.nn.LSTM(I, H, proj_size=P, **layers),
    }.items():
        model = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(2 * rnn.hidden_size, 2)})
        save_torch(model.state_dict(), OUT / f"{case}.safetensors")
        x = normal(rng, (B, T, I))  # padded steps are not read
        with torch.no_grad():
            y, state = rnn(pack(torch.tensor(x), LENGTHS, batch_first=True, enforce_sorted=False))
            y, _ = pad(y, batch_first=True, total_length=T)
        states = state if isinstance(state, tuple) else (state,)
        expected.update({f"{case}/x": x, f"{case}/y": y.numpy(), f"{case}/lengths": np.array(LENGTHS)})
        expected.update({f"{case}/{letter}": state.numpy() for letter, state in zip("hc", states)})


def keras_models(rng, expected):
    keras.utils.set_random_seed(seed(7))
    layers, rnn = keras.layers, dict(return_sequences=True, return_state=True, bias_initializer="random_normal")
    inputs = keras.Input((T, I))
    masked = layers.Masking()(inputs)
    outputs = {
        "keras_gru": layers.GRU(H, **rnn)(masked),
        "keras_gru_before": layers.GRU(H, reset_after=False, **rnn)(masked),
        "keras_gru_no_bias": layers.GRU(H, use_bias=False, **rnn)(masked),
    }
    first = layers.Bidirectional(layers.GRU(H, **rnn))(masked)
    second = layers.Bidirectional(layers.GRU(H, **rnn))(first[0])
    outputs["keras_gru_stack"] = [second[0], *first[1:], *second[1:]]
    model = keras.Model(inputs, outputs)
    save_keras(model, OUT / "keras_gru.safetensors")
    x, _ = padded_batch(rng)
    for case, (y, *states) in model(x).items():
        expected.update({f"{case}/x": x, f"{case}/y": np.asarray(y), f"{case}/lengths": np.array(LENGTHS)})
        expected[f"{case}/h"] = np.stack([np.asarray(state) for state in states])


def onnx_models(rng, expected):
    tensors = {}

    def weights(case, gates, direction, inputs=I, peepholes=False):
        D = 2 if direction == "bidirectional" else 1
        made = {
            "W": normal(rng, (D, gates * H, inputs)) / 2,
            "R": normal(rng, (D, gates * H, H)) / 2,
            "B": normal(rng, (D, 2 * gates * H)) / 2,
        }
        if peepholes:
            made["P"] = normal(rng, (D, 3 * H)) / 2
        tensors.update({f"{case}/{name}": value for name, value in made.items()})
        return made

    def keep(case, x, y, states, lengths):
        expected.update({f"{case}/x": x, f"{case}/y": y})
        expected.update({f"{case}/{letter}": state for letter, state in zip("hc", states)})
        if lengths:
            expected[f"{case}/lengths"] = np.array(lengths)

    for case, cell, direction, lengths, attributes in [
        ("gru_after_forward", "GRU", "forward", None, dict(linear_before_reset=1)),
        ("gru_after_reverse", "GRU", "reverse", None, dict(linear_before_reset=1)),
        ("gru_after_bidirectional", "GRU", "bidirectional", LENGTHS, dict(linear_before_reset=1)),
        ("gru_before_forward", "GRU", "forward", None, dict(linear_before_reset=0)),
        ("gru_before_bidirectional", "GRU", "bidirectional", LENGTHS, dict(linear_before_reset=0)),
        ("peephole_forward", "LSTM", "forward", None, {}),
        ("peephole_reverse", "LSTM", "reverse", None, {}),
        ("peephole_bidirectional", "LSTM", "bidirectional", LENGTHS, {}),
    ]:
        case, x = f"onnx_{case}", normal(rng, (B, T, I))
        made = weights(case, 3 if cell == "GRU" else 4, direction, peepholes=cell == "LSTM")
        y, states = run_onnx(cell, made, x, lengths, direction=direction, **attributes)
        keep(case, x, y, states, lengths)

    # Two nodes, the second on the output of the first.
    for cell, gates, direction, attributes in [
        ("LSTM", 4, "bidirectional", {}),
        ("RNN", 1, "forward", {}),
        ("GRU", 3, "bidirectional", dict(linear_before_reset=1)),
    ]:
        case, x = f"onnx_{cell.lower()}_stack", normal(rng, (B, T, I))
        first = weights(f"{case}/0", gates, direction)
        y, below = run_onnx(cell, first, x, LENGTHS, direction=direction, **attributes)
        second = weights(f"{case}/1", gates, direction, inputs=y.shape[2])
        y, states = run_onnx(cell, second, y, LENGTHS, direction=direction, **attributes)
        keep(case, x, y, [np.concatenate(of_layers) for of_layers in zip(below, states)], LENGTHS)

    # Attributes of the node that are options of the layer here.
    for case, cell, gates, attributes in [
        ("lstm_coupled", "LSTM", 4, dict(input_forget=1)),
        ("lstm_activations", "LSTM", 4, dict(activations=["HardSigmoid", "Relu", "Tanh"])),
        ("rnn_relu", "RNN", 1, dict(activations=["Relu"])),
    ]:
        case, x = f"onnx_{case}", normal(rng, (B, T, I))
        y, states = run_onnx(cell, weights(case, gates, "forward"), x, None, direction="forward", **attributes)
        keep(case, x, y, states, None)
    save_file(tensors, OUT / "onnx_family.safetensors")


def main():
    check_versions()
    rng, expected = np.random.default_rng(seed(8)), {}
    torch_models(rng, expected)
    keras_models(rng, expected)
    onnx_models(rng, expected)
    expected = {name: np.ascontiguousarray(value, np.float32) for name, value in expected.items()}
    save_file(expected, OUT / "expected_family.safetensors", {package: version(package) for package in PINNED})


if __name__ == "__main__":
    main()
