#!/usr/bin/env python3
"""Writes assets/co2/co2.csv: monthly means of the weekly carbon dioxide at Mauna Loa that statsmodels ships.

Nothing is downloaded: `pip install statsmodels==0.15.0`, then `python3 scripts/make_co2.py`. A month's mean is that of
the weeks that begin in it; months without any (5 of 526) are on the line between their neighbours.
"""

import csv
import importlib.util
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "assets/co2/co2.csv"


def main():
    package = Path(importlib.util.find_spec("statsmodels").origin).parent
    months = {}
    with open(package / "datasets/co2/co2.csv") as file:
        for week in csv.DictReader(file):
            months.setdefault(week["date"][:6], []).extend([float(week["co2"])] if week["co2"] else [])
    names = sorted(months)
    means = [sum(weeks) / len(weeks) if weeks else None for weeks in map(months.get, names)]
    for k, mean in enumerate(means):
        if mean is None:
            after = next(n for n in range(k, len(means)) if means[n] is not None)
            means[k] = means[k - 1] + (means[after] - means[k - 1]) / (after - k + 1)
    lines = [f"{name[:4]}-{name[4:]},{mean:.2f}\n" for name, mean in zip(names, means)]
    FILE.write_text("month,ppm\n" + "".join(lines))
    print(f"{FILE}: {len(lines)} months")


if __name__ == "__main__":
    main()
