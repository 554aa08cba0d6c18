#!/usr/bin/env bash
# Builds a thread block of the Hopper attention kernel for the CPU and compares what it computes, over random plans. Needs a C++20
# compiler and no GPU. Usage: run_hopper_block.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# The emulation's headers take the place of those of device code.
cp "$kernels"/attention_hopper.cu "$kernels"/hopper*.cuh "$kernels"/plans.cuh "$kernels"/layouts.cuh "$out"
cp hopper_block/* "$out"
"${CXX:-c++}" -O2 -std=c++20 -w -I "$out" "$out/check_block.cpp" -o "$out/check"
"$out/check" "$@"
