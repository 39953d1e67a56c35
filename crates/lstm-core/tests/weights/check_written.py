"""Loads an LSTM and what it computes from a safetensors file, and fails unless torch computes the same.

Run: python check_written.py model.safetensors
The file: a state dict under "rnn.", x [B,T,I], y [B,T,D*H], h and c [L*D,B,H], lengths [B].
"""

import sys

import torch
from safetensors.torch import load_file

tensors = load_file(sys.argv[1])
state = {name.removeprefix("rnn."): value for name, value in tensors.items() if name.startswith("rnn.")}
x, lengths = tensors["x"], tensors["lengths"].long()
H = state["weight_hh_l0"].shape[1]
D = 2 if "weight_hh_l0_reverse" in state else 1
L = sum(name.startswith("weight_hh") for name in state) // D
lstm = torch.nn.LSTM(x.shape[2], H, L, batch_first=True, bidirectional=D == 2)
lstm.load_state_dict(state)
with torch.no_grad():
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, (h, c) = lstm(packed)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
for name, value in {"y": y, "h": h, "c": c}.items():
    torch.testing.assert_close(tensors[name], value, rtol=0, atol=1e-5, msg=lambda text: f"{name}: {text}")
