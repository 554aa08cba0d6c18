#!/usr/bin/env bash
# Builds the planner warp of the Hopper attention kernel for the CPU and checks what it queues, over random plans. Needs a C++20
# compiler and no GPU. Usage: run_planner_warp.sh [seed] [cases]
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../Sources/CUDASources/Kernels
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Beside the emulation, so that it stands in for the headers of device code.
cp planner_warp/* "$kernels"/hopper_plan.cuh "$kernels"/hopper_planner.cuh "$kernels"/plans.cuh "$kernels"/layouts.cuh "$out"
"${CXX:-c++}" -O1 -std=c++20 -Wno-unknown-pragmas -pthread -I "$out" "$out/check_planner.cpp" -o "$out/check"
"$out/check" "$@"
