"""Runs each model NAME.onnx of a folder on what is in NAME.0.safetensors and so on, and compares the outputs.

Run: python run_onnx.py FOLDER
"""

import json
import pathlib
import struct
import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-6


def tensors(path):
    """The float32 tensors of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    start = 8 + size
    return {name: np.frombuffer(data[start + about["data_offsets"][0]:start + about["data_offsets"][1]], "<f4").reshape(about["shape"])
            for name, about in header.items()}


folder = pathlib.Path(sys.argv[1])
options = onnxruntime.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 3, 1
results, worst = 0, 0.0
for path in sorted(folder.glob("*.onnx")):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {one.name for one in [*session.get_inputs(), *session.get_overridable_initializers()]}
    for case in sorted(folder.glob(f"{path.stem}.*.safetensors")):
        wanted = tensors(case)
        feeds = {name: wanted[name] for name in given if name in wanted}
        names = [one.name for one in session.get_outputs() if one.name in wanted]
        for name, got in zip(names, session.run(names, feeds)):
            assert got.shape == wanted[name].shape, (case.name, name, got.shape, wanted[name].shape)
            # Of numbers above 1, whose roundings are larger, a part.
            scale = np.maximum(1, np.abs(wanted[name]))
            worst = max(worst, error := float((np.abs(got - wanted[name]) / scale).max(initial=0)))
            assert error <= TOLERANCE, f"{case.name}: {name} differs by {error}"
        results += 1
print(f"{results} results, largest difference {worst:.1e}, onnxruntime {onnxruntime.__version__}")
