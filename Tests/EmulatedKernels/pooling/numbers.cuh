// Stands in for the kernels' numbers.cuh on the CPU: bf16 alone.
#pragma once

namespace mi {
struct AsBf16 {
  static void load8(const bf16* source, float (&values)[8]) {
    for (int i = 0; i < 8; ++i) values[i] = __uint_as_float((unsigned)source[i] << 16);
  }
  /// Rounded to nearest, ties to even.
  static void store8(bf16* target, const float (&values)[8]) {
    for (int i = 0; i < 8; ++i) {
      const unsigned bits = __float_as_uint(values[i]);
      target[i] = (bf16)(bits + 0x7fff + (bits >> 16 & 1) >> 16);
    }
  }
};
}  // namespace mi
