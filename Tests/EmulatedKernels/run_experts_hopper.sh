#!/usr/bin/env bash
# Builds Hopper's products with experts for the CPU and checks them over random rows. Needs a C++20 compiler and no GPU.
# Usage: run_experts_hopper.sh [seed]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code; one array is a block's dynamic shared memory.
cp pooling/common.cuh "$out/fibers.cuh"
cp dequantise/numbers.cuh experts/common.cuh experts_hopper/* "$kernels"/hopper_quads.cuh "$kernels"/expert_tiles.cuh "$kernels"/layouts.cuh \
  "$kernels"/reductions.cuh "$out"
sed -e 's/extern __shared__ .*/#define memory emulated::memory/' "$kernels/expert_products_hopper.cu" \
  > "$out/expert_products_hopper.cu"
"${CXX:-c++}" -O2 -std=c++20 -w -I "$out" "$out/check_experts_hopper.cpp" -o "$out/check"
"$out/check" "$@"
