#!/usr/bin/env bash
# Each reader of weight files on a million files with errors in them, within 1 GiB of memory:
# scripts/mutated.sh [EXECUTIONS] [READER...]
#
# A reader's executions are shared by the files of its format; each takes about 0.3 ms. Prints what each file came to.
set -euo pipefail
cd "$(dirname "$0")/.."
# In memory where that can be had: a disk takes longer to write a file than a reader to read it.
[[ ! -w /dev/shm ]] || export TMPDIR=/dev/shm
executions=${1:-1000000}
shift || true
declare -A tests=(
  [onnx]="models_of_onnx"
  [pickle]="pickle_of_tensors pickle_of_arrays pickle_of_arrays_as_text"
  [pytorch]="state_dict_of_pytorch old_checkpoint_of_pytorch module_of_pytorch checkpoint_with_objects
    old_views_of_one_storage weight_normalisation checkpoint_in_tar"
  [torchscript]="torchscript frozen_torchscript"
  [numpy]="archive_of_arrays array_of_a_dictionary"
  [keras_archive]="archive_of_keras compressed_archive_of_keras"
  [hdf5]="weight_file_of_keras model_of_keras_1 model_of_keras_2 model_of_keras_3_in_hdf5 floats_of_hdf5"
  [safetensors]="safetensors_of_pytorch safetensors_of_pytorchs_stack safetensors_of_pytorchs_gru
    safetensors_of_pytorchs_projection safetensors_of_keras safetensors_of_keras_gru safetensors_of_onnx
    safetensors_of_onnx_family"
  [index]="index_of_files index_of_keras"
)
test=$(cargo test --release --workspace --test weights --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*weights-[^"]*\)".*/\1/p')
cd crates/lstm-core
said=$(mktemp)
trap 'rm "$said"' EXIT
for reader in "${@:-${!tests[@]}}"; do
  read -ra names <<<"$(tr -s '\n ' ' ' <<<"${tests[$reader]}")"
  files=${#names[@]}
  [[ $reader != onnx ]] || files=15 # one test of many models
  echo "== $reader"
  (
    ulimit -v 1048576
    MUTATED_CASES=$(((executions + files - 1) / files)) RAYON_NUM_THREADS=1 \
      "$test" --exact --test-threads=1 --nocapture "${names[@]/#/mutated::}" | tee "$said"
    grep -q "^running ${#names[@]} test" "$said" || { echo "not all of these tests are there: ${names[*]}" >&2; exit 1; }
  )
done
