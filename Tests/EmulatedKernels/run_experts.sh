#!/usr/bin/env bash
# Builds the kernels of mixtures of experts for the CPU and checks routing, order, products and sums over random rows. Needs a C++20
# compiler and no GPU. Usage: run_experts.sh [seed]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code; one array is a block's dynamic shared memory.
cp pooling/common.cuh "$out/fibers.cuh"
cp dequantise/numbers.cuh experts/* "$kernels"/experts.cu "$kernels"/expert_tiles.cuh "$kernels"/few_expert_rows.cuh \
  "$kernels"/layouts.cuh "$kernels"/reductions.cuh "$out"
sed -e 's/extern __shared__ .*/#define memory emulated::memory/' "$kernels/expert_products.cu" > "$out/expert_products.cu"
"${CXX:-c++}" -O2 -std=c++20 -w -I "$out" "$out/check_experts.cpp" -o "$out/check"
"$out/check" "$@"
