#!/usr/bin/env bash
# Fuzzes a reader of weight files for so many seconds: scripts/fuzz.sh onnx|pickle [SECONDS]
#
# Needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz). What it has learned stays in
# $CARGO_TARGET_DIR/corpus; it starts with the files of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1 seconds=${2:-3600}
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/lstm-ci}/fuzz"
corpus=$CARGO_TARGET_DIR/corpus/$target
mkdir -p "$corpus"
wild=crates/lstm-core/tests/weights/wild
case $target in
  onnx) cp "$wild"/onnx/*.onnx "$corpus" ;;
  pickle)
    cp "$wild"/*.pkl "$wild"/*legacy* "$corpus"
    # The pickles in archives.
    command -v unzip >/dev/null || { echo "unzip is missing: the tests' archives are opened with it" >&2; exit 1; }
    for file in "$wild"/*.pt; do
      unzip -p "$file" '*/data.pkl' >"$corpus/${file##*/}.pkl" 2>/dev/null || rm "$corpus/${file##*/}.pkl"
    done
    ;;
esac
cargo +nightly fuzz run --target-dir "$CARGO_TARGET_DIR" "$target" "$corpus" -- -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -max_len=16384
