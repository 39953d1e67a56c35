#!/usr/bin/env bash
# Faults on purpose in a copy of the library: which of them do tests see? scripts/mutants.sh kernels|library SEED COUNT
#
# All faults are built at once, each behind a switch (scripts/mutants); then the tests run once for each. Prints those
# that no test saw, and the counts. `kernels`: the arithmetic of the cells on the CPU, by their crate's tests;
# `library`: cells, conversions, masks and states, by the library's.
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1 seed=$2 count=$3
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/lstm-ci}"
copy=$CARGO_TARGET_DIR/mutants/$what
tool=$CARGO_TARGET_DIR/mutants/tool
cargo build -q --release --manifest-path scripts/mutants/Cargo.toml --target-dir "$tool"

case $what in
  kernels)
    roots=(crates/lstm-kernels/src/lib.rs)
    files=(crates/lstm-kernels/src/cpu/{cell,lstm,gru,rnn,slstm,nonlinearity,math}.rs)
    build=(cargo test -p lstm-kernels --lib --release --target-dir "$copy-target")
    arguments=(walks:: math:: --test-threads=2)
    ;;
  library)
    roots=(crates/lstm-core/src/lib.rs)
    mapfile -t files < <(ls crates/lstm-core/src/{cell,convert}/*.rs crates/lstm-core/src/convert/files/*.rs \
      crates/lstm-core/src/convert/files/*/*.rs crates/lstm-core/src/{mask,state}.rs)
    # (In a folder of its own: cargo would take the copy for the library.)
    build=(cargo test --release --target-dir "$copy-target" -p lstm-core -p training -p examples)
    build+=(--test={family,convert,store,module_api,shapes,drop_in,weights})
    arguments=(--skip mutated:: --test-threads=2)
    ;;
esac

# Those that don't compile are drawn anew.
unfit=""
while true; do
  rm -rf "$copy" && mkdir -p "$copy"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
  cd "$copy"
  for root in "${roots[@]}"; do
    cat >>"$root" <<'CODE'

#[doc(hidden)]
pub fn mutant(number: usize) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    let chosen = || std::env::var("MUTANT").ok()?.parse().ok();
    *CHOSEN.get_or_init(chosen) == Some(number)
}
CODE
  done
  UNFIT=$unfit "$tool/release/mutants" "$seed" "$count" "${files[@]}" >"$copy.list"
  if "${build[@]}" --no-run --message-format=json >"$copy.built" 2>"$copy.said"; then
    break
  fi
  more=$(python3 - "$copy.built" <<'CODE'
import json, re, sys
found = set()
for line in open(sys.argv[1]):
    message = json.loads(line).get("message") if line.startswith("{") else None
    if not message or message["level"] != "error":
        continue
    places = [span for span in message["spans"]] + [s for child in message["children"] for s in child["spans"]]
    for span in places:
        lines = open(span["file_name"]).read().splitlines() if span["file_name"].endswith(".rs") else []
        near = "\n".join(lines[max(0, span["line_start"] - 3):span["line_end"] + 1])
        here = "\n".join(lines[span["line_start"] - 1:span["line_end"]])
        found.update(re.findall(r"crate::mutant\((\d+)\)", here) or re.findall(r"crate::mutant\((\d+)\)", near))
print(*sorted(found))
CODE
  )
  cd - >/dev/null
  [[ -n $more ]] || { tail -40 "$copy.said"; exit 1; }
  unfit="$unfit $more"
done

mapfile -t tests < <(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$copy.built" | sort -u)
seen=0 missed=0
folder=$PWD/crates/lstm-$([[ $what = library ]] && echo core || echo kernels)
# Or else a test that fails by itself would see every fault.
for test in "${tests[@]}"; do
  (cd "$folder" && ulimit -t 120 && timeout 1200 "$test" -q "${arguments[@]}") || { echo "fails without a fault: $test"; exit 1; }
done
while IFS=$'\t' read -r number place text; do
  found=""
  for test in "${tests[@]}"; do
    # (Limits of the time on a core, so that a busy machine makes no difference, and of what waits for ever.)
    if ! (cd "$folder" && ulimit -t 120 && MUTANT=$number timeout 1200 "$test" -q "${arguments[@]}" >/dev/null 2>&1); then
      found=$test
      break
    fi
  done
  if [[ -n $found ]]; then
    seen=$((seen + 1))
  else
    missed=$((missed + 1))
    echo "not seen: $number $place: $text"
  fi
done <"$copy.list"
echo "seed $seed: $seen of $((seen + missed)) faults seen"
