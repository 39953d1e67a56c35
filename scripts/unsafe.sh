#!/usr/bin/env bash
# The unsafe code and the threads of the CPU kernels, under tools that watch them: scripts/unsafe.sh TOOL...
#
#   miri      Miri: the walks of all cells with small sizes, memory, pool and tasks; weak memory and races, in several
#             orders (MIRI_SEEDS=64 for so many). Needs a nightly toolchain with the component.
#   address   AddressSanitizer, by the environment on the pinned toolchain
#   thread    ThreadSanitizer, with a standard library of its own where a nightly toolchain has its source
#   memcheck  valgrind's memcheck, which knows AVX2 and not AVX-512
#   orders    shuttle: the pool and the team in random orders (ORDERS=100000 for so many of each)
#
# They run on the kernels alone (crates/lstm-kernels), which are built in seconds without Burn.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/lstm-ci}/unsafe"
HOST=$(rustc -vV | sed -n 's/^host: //p')
# In a copy, where files keep their times as long as they say the same: cargo goes by times, those of a clone are all new,
# and a build with a sanitizer takes minutes.
copy=$CARGO_TARGET_DIR/copy
git ls-files -z --cached --others --exclude-standard Cargo.toml Cargo.lock rust-toolchain.toml crates examples scripts |
  while read -rd '' file; do
    cmp -s "$file" "$copy/$file" || { mkdir -p "$copy/$(dirname "$file")" && cp "$file" "$copy/$file"; }
  done
cd "$copy"
# In 16 units, on both cores: their speed is another's affair.
KERNELS=(-q -p lstm-kernels --release --config 'profile.release.debug="line-tables-only"')
for setting in debug-assertions=true overflow-checks=true codegen-units=16; do
  KERNELS+=(--config "profile.release.package.lstm-kernels.$setting")
done

# Tests by names, of which there must be some.
named() {
  local said
  said=$(mktemp)
  "$@" | tee "$said"
  ! grep -q '^running 0 tests' "$said" || { echo "no test bears these names: $*" >&2; exit 1; }
  rm "$said"
}

# The tests in team.rs whose scripts name meetings of long walks, and all with many threads, are not for an interpreter.
miri() (
  local seeds=${MIRI_SEEDS:-4}
  cargo +nightly miri --version
  MIRIFLAGS='-Zmiri-num-cpus=4' named cargo +nightly miri test -q -p lstm-kernels --lib -- walks:: math element cores
  MIRIFLAGS="-Zmiri-num-cpus=4 -Zmiri-many-seeds=0..$seeds" named cargo +nightly miri test -q -p lstm-kernels --lib -- pool:: tasks_are_done
)

address() (
  RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' cargo test "${KERNELS[@]}" --lib --target "$HOST"
)

thread() (
  local build=(cargo test "${KERNELS[@]}" --lib --target "$HOST")
  export RUSTFLAGS='-Zsanitizer=thread'
  if cargo +nightly --version >/dev/null 2>&1 && [[ -d $(rustc +nightly --print sysroot)/lib/rustlib/src ]]; then
    build=(cargo +nightly test "${KERNELS[@]}" --lib --target "$HOST" -Zbuild-std)
  else
    # The standard library's own locks are not seen then.
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS="$RUSTFLAGS -Cunsafe-allow-abi-mismatch=sanitizer"
    export TSAN_OPTIONS="suppressions=$PWD/scripts/thread.txt"
  fi
  FEW=1 named "${build[@]}" -- pool:: team:: walks::
)

memcheck() (
  local tests
  tests=$(cargo test "${KERNELS[@]}" --lib --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
  FEW=1 named valgrind -q --error-exitcode=9 --fair-sched=yes "$tests" --test-threads=1 walks:: pool:: tasks_are_done
)

orders() (
  cargo run -q --release --manifest-path scripts/orders/Cargo.toml
)

(($#)) || { sed -n '2,/^set/{s/^# \{0,1\}//p}' scripts/unsafe.sh; exit 2; }
for tool; do
  echo "== $tool"
  "$tool"
done
