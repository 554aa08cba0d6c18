#!/usr/bin/env bash
# Builds the CPU kernels for Arm and checks the NEON ones under emulation. Needs clang, and Debian's
# qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CKernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for source in "$kernels"/*.c check_kernels.c; do
  clang --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include -O2 -std=c17 \
    -I "$kernels/include" -c "$source" -o "$out/$(basename "$source" .c).o"
done
aarch64-linux-gnu-gcc -static "$out"/*.o -o "$out/check" -lm -lpthread
qemu-aarch64 "$out/check"
