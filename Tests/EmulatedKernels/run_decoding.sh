#!/usr/bin/env bash
# Builds the kernels of decoding steps for the CPU and checks products, gates, experts and heads over random rows. Needs a C++20 compiler and no
# GPU. Usage: run_decoding.sh [seed]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code; loads and prefetches are those of the CPU.
cp pooling/common.cuh "$out/fibers.cuh"
cp experts/common.cuh dequantise/numbers.cuh decoding/* "$kernels"/{block_dots,dependent_launch,fp8,layouts,rotation}.cuh \
  "$kernels"/{row_attention_tile.cuh,decoding_row.cuh,decoding_heads.cuh,decoding_heads.cu} "$out"
sed -e '/^extern __shared__/d' "$kernels/decoding_products.cu" > "$out/decoding_products.cu"
sed -e '/asm volatile("ld.global.nc/,/"l"(from));/c x = *(const uint4*)from;' "$kernels/decoding_products.cuh" > "$out/decoding_products.cuh"
sed -e '/^extern __shared__/d' "$kernels/decoding_experts.cu" > "$out/decoding_experts.cu"
sed -e 's/asm volatile("prefetch.*/;/' -e '/^extern __shared__/d' "$kernels/decoding_blocks.cuh" > "$out/decoding_blocks.cuh"
"${CXX:-c++}" -O2 -std=c++20 -w -I "$out" "$out/check_decoding.cpp" -o "$out/check"
"$out/check" "$@"
