// Products of many rows with bfloat16 weights for AVX-512 with dot products of bfloat16 pairs.
#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define MI_INLINE static inline __attribute__((always_inline))
#define MI_UNROLL _Pragma("clang loop unroll(full)")
#define MI_ROLLED _Pragma("clang loop unroll(disable)")

// Rows of a register block; with two vectors of outputs each, 24 accumulators.
#define MI_ROWS 12
#define MI_PANEL 32
// Pairs of elements of a panel: it stays in the first cache while all rows pass.
#define MI_PAIRS 256

#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)

static size_t panel_bytes(void) { return MI_PAIRS * MI_PANEL * sizeof(uint32_t); }

// panel[p][o] = pair first + p of output o; the panel is filled up with the last output.
static void pack(
  const uint16_t *weight, int64_t width, int64_t outputs, int64_t first, int64_t pairs,
  uint32_t *panel
) {
  for (int64_t o = 0; o < MI_PANEL; o++) {
    const uint16_t *row = weight + (o < outputs ? o : outputs - 1) * width + 2 * first;
    for (int64_t p = 0; p < pairs; p++) memcpy(panel + p * MI_PANEL + o, row + 2 * p, 4);
  }
}

// What a panel adds to MI_ROWS rows of outputs.
MI_INLINE void multiply_panel(
  const uint32_t *panel, int64_t pairs, const uint16_t *const *x, float *const *y, bool is_fresh
) {
  __m512 sum[MI_ROWS][2];
  MI_UNROLL
  for (int r = 0; r < MI_ROWS; r++) {
    sum[r][0] = is_fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(y[r]);
    sum[r][1] = is_fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(y[r] + 16);
  }
  MI_ROLLED
  for (int64_t p = 0; p < pairs; p++) {
    __m512bh w = (__m512bh)_mm512_load_si512(panel + p * MI_PANEL);
    __m512bh w2 = (__m512bh)_mm512_load_si512(panel + p * MI_PANEL + 16);
    MI_UNROLL
    for (int r = 0; r < MI_ROWS; r++) {
      int32_t pair;
      memcpy(&pair, x[r] + 2 * p, sizeof pair);
      __m512bh element = (__m512bh)_mm512_set1_epi32(pair);
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], w, element);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], w2, element);
    }
  }
  MI_UNROLL
  for (int r = 0; r < MI_ROWS; r++) {
    _mm512_storeu_ps(y[r], sum[r][0]);
    _mm512_storeu_ps(y[r] + 16, sum[r][1]);
  }
}

static void multiply(
  const uint16_t *x, int64_t rows, int64_t width, const uint16_t *weight, int64_t out_start,
  int64_t out_end, float *y, int64_t y_stride, bool accumulate, void *scratch
) {
  uint32_t *panel = scratch;
  const int64_t outputs = out_end - out_start;
  for (int64_t first = 0; first < width / 2; first += MI_PAIRS) {
    const int64_t left = width / 2 - first, pairs = left < MI_PAIRS ? left : MI_PAIRS;
    const bool is_fresh = first == 0 && !accumulate;
    pack(weight + out_start * width, width, outputs, first, pairs, panel);
    for (int64_t row = 0; row < rows; row += MI_ROWS) {
      const uint16_t *source[MI_ROWS];
      float *target[MI_ROWS];
      float edge[MI_ROWS][MI_PANEL];
      for (int64_t r = 0; r < MI_ROWS; r++) {
        const int64_t present = row + r < rows ? row + r : rows - 1;
        source[r] = x + present * width + 2 * first;
        target[r] = y + present * y_stride + out_start;
        if (outputs == MI_PANEL && row + r < rows) continue;
        memset(edge[r], 0, sizeof edge[r]);
        if (!is_fresh) memcpy(edge[r], target[r], (size_t)outputs * sizeof(float));
        target[r] = edge[r];
      }
      multiply_panel(panel, pairs, source, target, is_fresh);
      for (int64_t r = 0; r < MI_ROWS && row + r < rows; r++) {
        if (target[r] != edge[r]) continue;
        memcpy(y + (row + r) * y_stride + out_start, edge[r], (size_t)outputs * sizeof(float));
      }
    }
  }
}

#pragma clang attribute pop

const mi_bfloat16_products mi_bfloat16_products_avx512 = {
  .name = "avx512_bf16",
  .panel_outputs = MI_PANEL,
  .panel_bytes = panel_bytes,
  .multiply = multiply,
};

#endif
