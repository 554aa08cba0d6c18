#!/usr/bin/env bash
# Builds the kernels of block-sparse selection for the CPU and checks the plans that they make, over random queries and keys. Needs a
# C++20 compiler and no GPU. Usage: run_pooling.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code.
cp pooling/* "$kernels"/pooling.cu "$kernels"/largest.cuh "$kernels"/mean_products.cuh "$kernels"/pairs.cuh "$kernels"/plans.cuh "$kernels"/layouts.cuh "$kernels"/reductions.cuh "$out"
"${CXX:-c++}" -O1 -std=c++20 -w -I "$out" "$out/check_pooling.cpp" -o "$out/check"
"$out/check" "$@"
