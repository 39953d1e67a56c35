"""Has PyTorch and NumPy write files of the kinds that people have, and computes what their layers give.

Run: python wild_torch.py [--seed 1] [--out wild]

Each file has one recurrent layer, and `wild_torch.safetensors` what it gives: `FILE/x`, `FILE/y`, `FILE/h` and, of an LSTM,
`FILE/c`. Nothing is here of files whose layer is refused (`refused_*`).

Install: torch numpy safetensors (torch==2.13.0 wrote the committed ones)
"""

import argparse
import collections
import dataclasses
import io
import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import weight_norm

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "wild")
args = parser.parse_args()
torch.manual_seed(args.seed)
OUT = args.out
OUT.mkdir(exist_ok=True)
B, T, I, H = 2, 5, 3, 4
EXPECTED = {}


class Vocabulary:
    def __init__(self):
        self.words = {"<pad>": 0, "word": 1}
        self.count = collections.Counter("word")
        self.freq = np.float64(0.5)


@dataclasses.dataclass
class TrainState:
    step: int
    model: dict
    vocabulary: Vocabulary


Pair = collections.namedtuple("Pair", "epoch weights")


class Tagger(nn.Module):
    """A model as they are: a recurrent layer between others."""

    def __init__(self, rnn):
        super().__init__()
        self.embed = nn.Embedding(7, I)
        self.rnn = rnn
        width = rnn.hidden_size * (2 if rnn.bidirectional else 1)
        self.norm = nn.BatchNorm1d(rnn.proj_size or width)
        self.head = nn.Linear(rnn.proj_size or width, 2)

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.head(self.norm(y[:, -1]))


def expect(name, layer):
    """What a layer gives, whatever its layout and type."""
    x = torch.randn(B, T, I)
    layer = layer.eval()
    dtype = next(layer.parameters()).dtype
    with torch.no_grad():
        y, state = layer(x.to(dtype) if layer.batch_first else x.to(dtype).transpose(0, 1))
    put(name, x, y if layer.batch_first else y.transpose(0, 1), *(state if isinstance(state, tuple) else (state,)))


def put(name, x, y, h, c=None):
    for key, tensor in {"x": x, "y": y, "h": h, "c": c}.items():
        if tensor is not None:
            EXPECTED[f"{name}/{key}"] = tensor.detach().float().contiguous().clone()


def lstm(**options):
    return nn.LSTM(I, H, batch_first=True, **options)


def save(name, value, layer, **options):
    torch.save(value, OUT / name, **options)
    expect(name, layer)


def arrays(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def checkpoints():
    model = Tagger(lstm(num_layers=2, bidirectional=True))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(B, T, I)).sum().backward()
    optimizer.step()
    history = collections.defaultdict(list)
    history["loss"].append(0.5)
    checkpoint = {
        "epoch": 3,
        "best": np.float32(0.5),
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu")),
        "optimizer": optimizer,
        "vocabulary": Vocabulary(),
        "history": history,
        "rng": torch.get_rng_state(),
        "state_dict": {f"module._orig_mod.{k}": v for k, v in model.state_dict().items()},
    }
    save("objects.pt", checkpoint, model.rnn)
    save("objects_legacy.pth.tar", checkpoint, model.rnn, _use_new_zipfile_serialization=False)
    save("protocol_5.pt", checkpoint, model.rnn, pickle_protocol=5)
    model = Tagger(nn.GRU(I, H, num_layers=2, bidirectional=True, batch_first=True))
    for _ in range(3):  # statistics
        model(torch.randn(8, T, I))
    checkpoint = {"state_dict": nn.DataParallel(model).state_dict()}
    save("tagger.pt", checkpoint, model.rnn)
    with torch.no_grad():
        EXPECTED["tagger.pt/logits"] = model.eval()(EXPECTED["tagger.pt/x"])
    model = Tagger(nn.GRU(I, H, batch_first=True))
    save("dataclass.pt", TrainState(7, model.state_dict(), Vocabulary()), model.rnn)
    save("list.pt", [{"epoch": 1}, Pair(3, model.state_dict())], model.rnn)
    model = Tagger(nn.RNN(I, H, nonlinearity="relu", bidirectional=True))
    save("relu_module.pt", {"model": model, "epoch": 1}, model.rnn)
    save("relu_module_legacy.pt", model, model.rnn, _use_new_zipfile_serialization=False)
    model = Tagger(lstm(proj_size=2, bias=False))
    save("projection_module.pt", nn.DataParallel(model), model.rnn)


def views():
    layer = lstm(num_layers=2)
    flat = torch.cat([torch.zeros(3), *[p.detach().flatten() for p in layer.parameters()]])
    shared, at = {}, 3
    for name, p in layer.named_parameters():
        shared[name] = flat[at : at + p.numel()].view(p.shape)
        at += p.numel()
    save("shared_storage.pt", shared, layer)
    save("shared_storage_legacy.pt", shared, layer, _use_new_zipfile_serialization=False)
    layer = lstm()
    transposed = {name: p.detach().t().contiguous().t() for name, p in layer.named_parameters()}
    transposed["expanded"] = torch.ones(1).expand(9, 9)
    transposed["complex"] = torch.view_as_complex(torch.randn(3, 2))
    transposed["conjugated"] = transposed["complex"].conj()
    transposed["counter"] = torch.tensor(2**40)
    transposed["flag"] = torch.tensor([True, False])
    transposed["unsigned"] = torch.tensor([1, 2], dtype=torch.uint16)
    transposed["eighth"] = torch.tensor([1.0]).to(torch.float8_e5m2)
    transposed["quantised"] = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    transposed["sparse"] = torch.eye(3).to_sparse()
    save("strides.pt", transposed, layer)
    for dtype in [torch.bfloat16, torch.float16]:
        layer = nn.GRU(I, H, num_layers=2, bidirectional=True, batch_first=True).to(dtype)
        rounded = nn.GRU(I, H, num_layers=2, bidirectional=True, batch_first=True)
        rounded.load_state_dict(layer.state_dict())
        save(f"{dtype}.pt".replace("torch.", ""), layer.state_dict(), rounded)
    layer = lstm()
    torch.serialization.set_crc32_options(False)
    save("without_checksums.pt", layer.state_dict(), layer)
    torch.serialization.set_crc32_options(True)


def scripts():
    model = Tagger(lstm(bidirectional=True)).eval()
    torch.jit.script(model).save(OUT / "scripted.pt")
    expect("scripted.pt", model.rnn)
    torch.jit.trace(model, torch.randn(B, T, I)).save(OUT / "traced.pt")
    expect("traced.pt", model.rnn)
    model = Tagger(nn.RNN(I, H, nonlinearity="relu", batch_first=True))
    torch.jit.script(model).save(OUT / "relu_scripted.pt")
    expect("relu_scripted.pt", model.rnn)


def time_first():
    torch.jit.trace(nn.GRU(I, H).eval(), torch.randn(T, B, I)).save(OUT / "time_first_traced.pt")


def quantised():
    from torch.ao.quantization import quantize_dynamic

    model = quantize_dynamic(nn.Sequential(nn.LSTM(I, H)), {nn.LSTM}, dtype=torch.qint8)
    torch.save(model, OUT / "refused_quantised.pt")
    torch.save(model.state_dict(), OUT / "refused_quantised_state.pt")


def frozen():
    model = Tagger(lstm(num_layers=2, bidirectional=True, bias=False)).eval()
    torch.jit.freeze(torch.jit.script(model)).save(OUT / "frozen.pt")
    expect("frozen.pt", model.rnn)
    model = Tagger(nn.RNN(I, H, nonlinearity="relu", batch_first=True)).eval()
    torch.jit.freeze(torch.jit.trace(model, torch.randn(B, T, I))).save(OUT / "relu_frozen.pt")
    expect("relu_frozen.pt", model.rnn)


def reparametrised():
    old = lstm(bidirectional=True)
    for name in ["weight_ih_l0", "weight_hh_l0", "weight_hh_l0_reverse"]:
        weight_norm(old, name)
    with torch.no_grad():
        old.weight_hh_l0_g.mul_(1.5)
        old.weight_hh_l0_g.data[0] = -0.5
    old(torch.zeros(B, T, I))  # recomputes the weights
    save("weight_norm_old.pt", old.state_dict(), old)
    new = nn.GRU(I, H, batch_first=True)
    parametrizations.weight_norm(new, "weight_hh_l0")
    parametrizations.weight_norm(new, "weight_ih_l0", dim=None)
    with torch.no_grad():
        new.parametrizations.weight_hh_l0.original0.mul_(1.5)
        new.parametrizations.weight_ih_l0.original0.mul_(0.5)
    save("weight_norm_new.pt", new.state_dict(), new)
    cut = lstm()
    prune.l1_unstructured(cut, "weight_hh_l0", amount=0.3)
    cut(torch.zeros(B, T, I))
    save("pruned.pt", cut.state_dict(), cut)
    dropped = lstm()
    state = {f"rnn.{k}": v for k, v in dropped.state_dict().items()}
    state["rnn.weight_hh_l0_raw"] = state.pop("rnn.weight_hh_l0")
    save("weight_drop.pt", state, dropped)
    state = {f"0.module.{k}": v for k, v in dropped.state_dict().items()}
    state["0.weight_hh_l0_raw"] = state["0.module.weight_hh_l0"]
    state["0.module.weight_hh_l0"] = state["0.weight_hh_l0_raw"] * 2
    save("weight_drop_outside.pt", state, dropped)
    spectral = lstm()
    parametrizations.spectral_norm(spectral, "weight_hh_l0")
    torch.save(spectral.state_dict(), OUT / "refused_spectral.pt")


def pickles():
    layer = lstm(bidirectional=True)
    for protocol in range(6):
        name = f"tensors_{protocol}.pkl"
        (OUT / name).write_bytes(pickle.dumps({"model": layer.state_dict()}, protocol=protocol))
        expect(name, layer)
        name = f"arrays_{protocol}.pkl"
        given = arrays(layer)
        given["weight_ih_l0"] = np.asfortranarray(given["weight_ih_l0"])
        given["weight_hh_l0"] = given["weight_hh_l0"].astype(">f4")
        given["labels"] = np.array(["a", "bc"])
        given["objects"] = np.array([{"a": 1}, None], dtype=object)
        (OUT / name).write_bytes(pickle.dumps(given, protocol=protocol))
        expect(name, layer)
    layer = nn.RNN(I, H, batch_first=True)
    (OUT / "several.pkl").write_bytes(pickle.dumps({"words": ["a"]}) + pickle.dumps(arrays(layer)))
    expect("several.pkl", layer)
    (OUT / "ordered_0.pkl").write_bytes(pickle.dumps(layer.state_dict(), protocol=0))
    expect("ordered_0.pkl", layer)
    layer = nn.GRU(I, H, batch_first=True)
    np.savez(OUT / "arrays.npz", **{f"encoder/{k}": v for k, v in arrays(layer).items()})
    expect("arrays.npz", layer)
    np.savez_compressed(OUT / "compressed.npz", **{k: v.T.copy().T for k, v in arrays(layer).items()})
    expect("compressed.npz", layer)
    np.save(OUT / "dictionary.npy", arrays(layer), allow_pickle=True)
    expect("dictionary.npy", layer)


def cells():
    cell = nn.LSTMCell(I, H)
    x, h, c = torch.randn(B, T, I), torch.zeros(B, H), torch.zeros(B, H)
    y = []
    with torch.no_grad():
        for step in x.unbind(1):
            h, c = cell(step, (h, c))
            y.append(h)
    torch.save(nn.ModuleDict({"decoder": cell}), OUT / "cell_module.pt")
    put("cell_module.pt", x, torch.stack(y, 1), h[None], c[None])


def others():
    buffer = io.BytesIO()
    torch.save({"rnn.weight_ih_l0": torch.ones(4, 3)}, buffer)
    import zipfile
    source = zipfile.ZipFile(buffer)
    with zipfile.ZipFile(OUT / "refused_big_endian.pt", "w") as target:
        for name in source.namelist():
            target.writestr(name, b"big" if name.endswith("byteorder") else source.read(name))
    (OUT / "refused_no_tensors.pkl").write_bytes(pickle.dumps({"words": Vocabulary()}))


def sparse():
    """Parts of a layer that are there and can't be read."""
    state = lstm(num_layers=2).state_dict()
    for name in ["bias_ih_l0", "bias_hh_l0"]:
        state[name] = state[name].to_sparse()
    torch.save({"model": {f"rnn.{name}": tensor for name, tensor in state.items()}}, OUT / "sparse_biases.pt")


def main():
    checkpoints()
    views()
    scripts()
    time_first()
    quantised()
    reparametrised()
    pickles()
    cells()
    frozen()
    others()
    sparse()
    save_file(EXPECTED, OUT / "wild_torch.safetensors")


if __name__ == "__main__":
    main()
