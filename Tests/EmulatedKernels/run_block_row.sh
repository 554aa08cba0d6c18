#!/usr/bin/env bash
# Builds the kernels that multiply a row by blocks for the CPU and checks them against the goldens of the block formats. Needs a C++20
# compiler and no GPU.
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code; an array is a block's dynamic shared memory.
sed 's/extern __shared__ .*/static int rowMemory[1 << 14];/' "$kernels/block_row.cu" > "$out/block_row.cu"
cp pooling/common.cuh dequantise/*.cuh dequantise/goldens.h block_row/* "$kernels"/block_dots.cuh "$out"
"${CXX:-c++}" -O1 -std=c++20 -w -I "$out" "$out/check_block_row.cpp" -o "$out/check"
"$out/check" ../StoredNumbersTests/Goldens/blocks.json
