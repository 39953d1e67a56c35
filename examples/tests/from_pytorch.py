"""PyTorch's side of the recipe `from_pytorch` (torch 2.15):

    python3 examples/tests/from_pytorch.py                       trains a little, and writes assets/pytorch/digits.pt
    python3 examples/tests/from_pytorch.py digits.safetensors    loads what the recipe has written
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

ROOT = Path(__file__).resolve().parent.parent.parent


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(8, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.norm = nn.BatchNorm1d(64)
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        _, (hidden, _) = self.rnn(images)
        return self.head(self.norm(torch.cat([hidden[-2], hidden[-1]], 1)))


lines = (ROOT / "assets/digits/digits.csv").read_text().split()
numbers = torch.tensor([[int(number) for number in line.split(",")] for line in lines])
images, digits = numbers[:, :64].view(-1, 8, 8) / 16, numbers[:, 64]
model = Reader()


def right():
    model.eval()
    with torch.no_grad():
        return (model(images[1437:]).argmax(1) == digits[1437:]).sum().item()


if len(sys.argv) > 1:
    model.load_state_dict(load_file(sys.argv[1]))
    print(f"{right()} of 360 digits right in PyTorch")
else:
    torch.manual_seed(1)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for epoch in range(3):
        model.train()
        for batch in torch.randperm(1437).split(32):
            loss = nn.functional.cross_entropy(model(images[batch]), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{right()} of 360 digits right in PyTorch")
    with torch.no_grad():
        scores = model(images[1437:1447])
    torch.save({"epoch": 3, "model": model.state_dict(), "scores": scores}, ROOT / "assets/pytorch/digits.pt")
