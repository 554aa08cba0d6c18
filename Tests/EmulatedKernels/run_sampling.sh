#!/usr/bin/env bash
# Builds the kernel that draws tokens for the CPU and compares its choices with those of a plain sort, over random logits and
# options. Needs a C++20 compiler and no GPU. Usage: run_sampling.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# The emulation's headers take the place of those of device code.
cp "$kernels"/sampling.cu "$kernels"/largest.cuh "$kernels"/reductions.cuh "$out"
cp hopper_block/fibers.h "$out"
cp hopper_block/common.cuh "$out/block.cuh"
cp sampling/* "$out"
"${CXX:-c++}" -O2 -std=c++20 -ffp-contract=off -w -DEMULATED_THREADS=1024 -I "$out" "$out/check_sampling.cpp" -o "$out/check"
"$out/check" "$@"
