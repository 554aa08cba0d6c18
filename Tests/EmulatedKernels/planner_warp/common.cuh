// Stands in for the kernels' common.cuh on the CPU: what planning uses of it.
#pragma once

typedef unsigned short bf16;

namespace mi {
template <typename T> inline T minimum(T a, T b) { return a < b ? a : b; }
template <typename T> inline T maximum(T a, T b) { return a > b ? a : b; }
}  // namespace mi
