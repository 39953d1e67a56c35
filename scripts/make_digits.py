#!/usr/bin/env python3
"""Writes assets/digits/digits.csv and prints the linear baseline that digits.rs states.

The images are the UCI optical handwritten digits as scikit-learn ships them; nothing is downloaded:
`pip install scikit-learn==1.9.1`, then `python3 scripts/make_digits.py`. Each line of the file is an
image: 64 pixels of 0 to 16, row by row, and its digit, in scikit-learn's order.

The baseline is softmax regression on the 64 pixels, fitted on the images that the program trains on and
measured on those that it tests on, for four strengths of regularisation.
"""

import numpy
import sklearn
from pathlib import Path
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

FILE = Path(__file__).resolve().parent.parent / "assets/digits/digits.csv"
TRAINING = 1437  # the first images, as in crates/training/src/task/digits.rs


def main():
    digits = load_digits()
    table = numpy.column_stack([digits.data.astype(int), digits.target])
    text = "".join(",".join(map(str, row)) + "\n" for row in table.tolist())
    FILE.write_text(text)
    print(f"{FILE}: {len(table)} images")

    pixels, labels = digits.data / 16, digits.target
    print(f"softmax regression, scikit-learn {sklearn.__version__}:")
    for strength in [0.1, 1, 10, 100]:
        model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-6)
        model.fit(pixels[:TRAINING], labels[:TRAINING])
        probabilities = model.predict_proba(pixels[TRAINING:])
        right = (probabilities.argmax(axis=1) == labels[TRAINING:]).sum()
        loss = log_loss(labels[TRAINING:], probabilities)
        print(f"  C = {strength}: {right} of {len(probabilities)} right, cross-entropy {loss:.4f}")


if __name__ == "__main__":
    main()
