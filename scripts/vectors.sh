#!/usr/bin/env bash
# Are the CPU kernels inlined and vectorised in a built program? scripts/vectors.sh [PROGRAM]
#
# Reads the machine code, so that it hangs neither on the processor nor on how busy it is. Functions that aren't inlined
# into a kernel are compiled without its instruction set, and call each instruction. With `lto = "off"` and a package of
# several units those in the innermost loops were, which made the kernels five times slower, and no other test saw it.
set -euo pipefail
program=${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/release/training}
[[ $(uname -m) == x86_64 ]] || { echo "skipped: the kernels for $(uname -m) use no instructions by name"; exit 0; }
set=cpu::simd::x86::

# From the first function of the kernels to behind the last.
read -r first last < <(nm -C "$program" | awk -v set="$set" '
  index($3, set) { if (!first || $1 < first) first = $1; if ($1 > last) last = $1 }
  END { print "0x" first, "0x" last }')
objdump -d -C --no-show-raw-insn --start-address="$first" --stop-address=$((last + 65536)) "$program" | awk -v set="$set" '
  / <.*>:$/ { of = match($0, set "[a-z0-9_]+>:") ? substr($0, RSTART + length(set), RLENGTH - length(set) - 2) : "" }
  of && /vfmadd.*%zmm/ { wide[of]++ }
  of && /vfmadd.*%ymm/ { half[of]++ }
  of && /call.*(core_arch::|call_mut>|call_once>)/ { calls[of]++ }
  END {
    least = 1000
    bad = half["avx2"] < least || wide["avx512"] < least
    for (of in calls) { bad = 1; print of ": " calls[of] " calls of what should be inlined" }
    print "multiplications by 8 numbers for AVX2: " half["avx2"] + 0 ", by 16 for AVX-512: " wide["avx512"] + 0 \
      ", at least " least " expected of each"
    exit bad
  }'
