#!/usr/bin/env bash
# Builds the selection of columns and offsets for the CPU and checks what it takes, over random sums. Needs a C++20 compiler and no
# GPU. Usage: run_selection.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code.
cp pooling/common.cuh "$out/fibers.cuh"
cp shares/common.cuh selection/* "$kernels"/selection.cu "$kernels"/covering.cuh "$kernels"/largest.cuh "$kernels"/plans.cuh "$kernels"/layouts.cuh "$kernels"/reductions.cuh "$out"
"${CXX:-c++}" -O2 -std=c++20 -w -I "$out" "$out/check_selection.cpp" -o "$out/check"
"$out/check" "$@"
