#!/usr/bin/env bash
# The kernels, lstm-core with no feature, with each alone and with all, its documentation with all, and the program with each
# backend alone: without warnings. `scripts/features.sh 2`: lstm-core with every two, too, which takes an hour.
#
# CUDA's and ROCm's runtimes download LLVM when they are built. DOCS_RS tells their build scripts not to, since the
# compiler's checks need none. So the code for every GPU is checked here, and nothing is linked or run.
set -euo pipefail
cd "$(dirname "$0")/.."
# (In a folder of its own: other features are other builds.)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/lstm-ci}/features" DOCS_RS=1
# (`cube` is what features of GPUs have in common: alone it is refused.)
mapfile -t sets < <(cargo metadata --no-deps --format-version 1 | python3 -c '
import itertools, json, sys
packages = json.load(sys.stdin)["packages"]
features = next(p["features"] for p in packages if p["name"] == "lstm-core")
names = sorted(set(features) - {"default", "cube"})
for count in [*range(int(sys.argv[1]) + 1), len(names)]:
    for some in itertools.combinations(names, count):
        print(",".join(some))
' "${1:-1}")
check() {
  echo "$1 with: ${2:-no feature}"
  cargo clippy --release --quiet -p "$1" --no-default-features --features "$2" -- -D warnings
}
for some in "" cpu; do
  check lstm-kernels "$some"
done
for some in "${sets[@]}"; do
  check lstm-core "$some"
done
RUSTDOCFLAGS='-D warnings' cargo doc --release --quiet -p lstm-core --no-deps --features "${sets[-1]}"
for some in flex ndarray wgpu flex,remote flex,vulkan,metal,cuda,rocm; do
  check training "$some"
done
echo "lstm-core with: cube, which alone says what it needs"
said=$(cargo check --release --quiet -p lstm-core --features cube 2>&1) && exit 1
grep -q 'choose `wgpu`' <<<"$said"
