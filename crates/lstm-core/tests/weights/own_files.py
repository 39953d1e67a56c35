"""Has PyTorch and Keras write models of this folder in their own formats.

Run: python own_files.py       (after generate.py; --out as there)

The weights are those of the .safetensors files of the same name (see generate.py), so that
expected.safetensors has their outputs. Written are:
  torch_trained_lstm.pt          torch.save of a state dict
  torch_trained_rnn.pth          of a checkpoint, {"epoch": ..., "model": state dict}, in the format of PyTorch before 1.6
  torch_bilstm.pt                of a whole module
  keras_trained_*.weights.h5     model.save_weights

Install: as for generate.py
"""

import subprocess
import sys

from safetensors.torch import load_file

from generate import H, I, OUT, SCRIPT, T, keras, torch


def torch_files():
    weights = lambda case: load_file(OUT / f"{case}.safetensors")
    torch.save(weights("torch_trained_lstm"), OUT / "torch_trained_lstm.pt")
    checkpoint = {"epoch": 3, "model": weights("torch_trained_rnn")}
    torch.save(checkpoint, OUT / "torch_trained_rnn.pth", _use_new_zipfile_serialization=False)
    module = torch.nn.LSTM(I, H, batch_first=True, bidirectional=True)
    module.load_state_dict(weights("torch_bilstm"))
    torch.save(module, OUT / "torch_bilstm.pt")


def keras_files():
    layers = keras.layers
    for case, wrap in {"keras_trained_lstm": lambda layer: layer, "keras_trained_bilstm": layers.Bidirectional}.items():
        x = keras.Input((T, I))
        y = layers.Masking()(x)
        for _ in range(2):
            y = wrap(layers.LSTM(H, return_sequences=True))(y)
        model = keras.Model(x, layers.Dense(I)(y[:, -1]))
        source, target = OUT / f"{case}.safetensors", OUT / f"{case}.weights.h5"
        model.save_weights(target)
        subprocess.run([sys.executable, SCRIPT, "--back", source, target], check=True)
        # Keras itself reads it, and writes what is committed.
        model.load_weights(target)
        model.save_weights(target)


if __name__ == "__main__":
    torch_files()
    keras_files()
