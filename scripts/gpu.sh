#!/usr/bin/env bash
# What a machine with a GPU can say of the kernels, which no GPU has run yet: first whether they are right,
# then how fast they are. All of it takes an hour or two.
#
#   scripts/gpu.sh [wgpu|vulkan|metal|cuda|rocm]     (wgpu if nothing is said)
#
# Prints everything, keeps it in target/gpu-DEVICE/, and writes the dated records of scripts/bench.py into assets/.
# PyTorch with CUDA (`pip install torch`) is the peer where there is an NVIDIA GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

device="${1:-wgpu}"
case "$device" in
  wgpu | vulkan | metal | cuda | rocm) features=(--features "lstm-core/$device,training/$device") ;;
  *) echo "usage: $0 [wgpu|vulkan|metal|cuda|rocm]" >&2; exit 2 ;;
esac
out="target/gpu-$device"
mkdir -p "$out"
exec > >(tee "$out/log.txt") 2>&1
# A test that finds no adapter is a failure here.
export LSTM_CORE_REQUIRE_WGPU=1 LSTM_CORE_GPU=$device

step() {
  local start=$SECONDS
  echo "== $*" >&2 # what is printed may be a record
  "$@"
  echo "== done in $((SECONDS - start)) s: $*" >&2
}

training() {
  cargo run --release -p training "${features[@]}" -- "$@"
}

step training devices

# Right: every cell, option and strategy against the reference loop, in float32 and half precision, and wgpu's launches.
packages=(-p lstm-core -p training -p examples)
step cargo test --release "${packages[@]}" "${features[@]}" --lib -- backend::cube
step cargo test --release "${packages[@]}" "${features[@]}" --test fused_wgpu
[[ "$device" == wgpu ]] && step cargo test --release "${packages[@]}" --test launches

# Fast: the LSTM and the GRU beside cuDNN, at the usual shapes and FlashRNN's; then every other cell.
step python3 scripts/bench.py --device "$device"
step python3 scripts/bench.py --device "$device" --cell gru
for cell in rnn gru-reset-first slstm peephole-lstm coupled-lstm lstmp zoneout-lstm recurrent-dropout-lstm; do
  step training bench --device "$device" --cell "$cell" --json | tee "$out/$cell.jsonl"
done

# The default comparison there and on the CPU: which of them `auto` should take for networks that small.
for where in "$device" flex; do
  step training --device "$where" --out "$out/compare-$where"
done
echo "== $out/log.txt and the records in assets/ are what there is to commit"
