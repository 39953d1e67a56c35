#!/usr/bin/env bash
# lstm-core with no feature and with each alone, its documentation with all; without warnings. `scripts/features.sh 2`:
# with every two, too, which takes an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
features=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import itertools, json, sys
packages = json.load(sys.stdin)["packages"]
features = next(p["features"] for p in packages if p["name"] == "lstm-core")
names = sorted(set(features) - {"default"})
for count in range(int(sys.argv[1]) + 1):
    for some in itertools.combinations(names, count):
        print(",".join(some))
' "${1:-1}")
while read -r some; do
  echo "lstm-core with: ${some:-no feature}"
  cargo clippy --release --quiet -p lstm-core --no-default-features --features "$some" -- -D warnings
done <<<"$features"
