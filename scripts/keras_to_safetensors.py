"""Turns a Keras 3 weight file into safetensors, and back.

Run: python keras_to_safetensors.py model.weights.h5 model.safetensors
     python keras_to_safetensors.py --back model.safetensors model.weights.h5

A tensor is named by its path in the HDF5 file, as in layers/lstm/cell/vars/0. `--back` replaces the
weights of these names in an existing file, which model.save_weights of the same model has written;
all else stays as it is.

Install: pip install h5py numpy safetensors
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import load_file, save_file


def to_safetensors(source, target):
    tensors = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            tensors[name] = np.asarray(item[()])  # a scalar comes as no array

    with h5py.File(source) as file:
        file.visititems(add)
    partial = target.with_name(target.name + ".partial")
    save_file(tensors, partial)
    os.replace(partial, target)


def to_keras(source, target):
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(target, partial)
    try:
        with h5py.File(partial, "r+") as file:
            for name, value in load_file(source).items():
                if name not in file:
                    sys.exit(f"{target} has no {name}")
                if file[name].shape != value.shape or file[name].dtype != value.dtype:
                    sys.exit(f"{target}: {name} must be {file[name].dtype} {file[name].shape}, "
                             f"{source} has {value.dtype} {value.shape}")
                file[name][...] = value
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--back", action="store_true", help="from safetensors into an existing Keras file")
    options = parser.parse_args()
    (to_keras if options.back else to_safetensors)(options.source, options.target)


if __name__ == "__main__":
    main()
