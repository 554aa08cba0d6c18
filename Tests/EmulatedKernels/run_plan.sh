#!/usr/bin/env bash
# Builds the kernels that plan bands for the CPU and checks the plans that they make against the rule of
# BandCover.swift, over random selections. Needs a C++20 compiler and no GPU.
# Usage: run_plan.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code.
cp "$kernels"/plan.cu "$kernels"/pairs.cuh "$kernels"/plans.cuh "$kernels"/layouts.cuh "$kernels"/reductions.cuh "$out"
cp pooling/common.cuh "$out/block.cuh"
cp plan/* "$out"
"${CXX:-c++}" -O1 -std=c++20 -w -I "$out" "$out/check_plan.cpp" -o "$out/check"
"$out/check" "$@"
