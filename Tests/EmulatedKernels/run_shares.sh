#!/usr/bin/env bash
# Builds the kernels of selection by shares for the CPU and checks the plans that they make, over random queries and keys. Needs a
# C++20 compiler and no GPU. Usage: run_shares.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code; one array is a block's dynamic shared memory.
cp pooling/common.cuh "$out/fibers.cuh"
cp pooling/numbers.cuh "$out"
cp shares/* "$kernels"/pooled_shares.cu "$kernels"/shares.cu "$kernels"/flexprefill.cu "$kernels"/share_choice.cuh "$kernels"/shares.cuh "$kernels"/layouts.cuh "$kernels"/mean_products.cuh "$kernels"/pairs.cuh "$kernels"/plans.cuh "$kernels"/reductions.cuh "$out"
sed -e 's/extern __shared__ .*/#define groupMemory emulatedMemory/' "$kernels/antidiagonal.cu" > "$out/antidiagonal.cu"
"${CXX:-c++}" -O2 -std=c++20 -w -I "$out" "$out/check_shares.cpp" -o "$out/check"
"$out/check" "$@"
