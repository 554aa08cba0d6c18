#!/usr/bin/env bash
# Builds the attention kernel of decoding for the CPU and compares what it computes in one launch, over random shapes. Needs a C++20
# compiler and no GPU. Usage: run_row_attention.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# The emulation's headers take the place of those of device code, and one array is a block's dynamic shared memory.
cp "$kernels"/row_attention.cu "$kernels"/row_attention_sequences.cu "$out"
cp "$kernels"/row_attention_*.cuh "$kernels"/dependent_launch.cuh "$kernels"/layouts.cuh "$out"
sed 's/extern __shared__/extern/' "$kernels/row_attention_kernel.cuh" > "$out/row_attention_kernel.cuh"
cp hopper_block/fibers.h "$out"
cp hopper_block/common.cuh "$out/block.cuh"
cp row_attention/* "$out"
"${CXX:-c++}" -O2 -std=c++20 -w -DEMULATED_THREADS=128 -I "$out" "$out/check_rows.cpp" -o "$out/check"
"$out/check" "$@"
