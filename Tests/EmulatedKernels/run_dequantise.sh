#!/usr/bin/env bash
# Builds the kernels that dequantise blocks for the CPU and checks them against the goldens of the block formats. Needs a C++20
# compiler and no GPU.
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code.
cp pooling/common.cuh dequantise/* "$kernels"/dequantise.cu "$kernels"/blocks.cuh "$kernels"/few_rows.cuh "$out"
"${CXX:-c++}" -O1 -std=c++20 -w -I "$out" "$out/check_dequantise.cpp" -o "$out/check"
"$out/check" ../StoredNumbersTests/Goldens/blocks.json
