// Products of many rows with bfloat16 weights for AVX-512 with dot products of bfloat16 pairs.
#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define MI_INLINE static inline __attribute__((always_inline))
#define MI_UNROLL _Pragma("clang loop unroll(full)")
#define MI_ROLLED _Pragma("clang loop unroll(disable)")

// Most rows of a register block; with two vectors of outputs each, 24 accumulators.
#define MI_ROWS 12
#define MI_PANEL 32
// Pairs of elements of a panel: it stays in the first cache while all rows pass.
#define MI_PAIRS 256

#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)

static size_t panel_bytes(void) { return MI_PAIRS * MI_PANEL * sizeof(uint32_t); }

// Turns 16 rows of 16 pairs into 16 rows of what they have at one place.
MI_INLINE void transpose(__m512i *row) {
  __m512i two[16], four[16];
  MI_UNROLL
  for (int i = 0; i < 16; i += 2) {
    two[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    two[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  // four[i + c]: pair 4 * l + c of the rows i ..< i + 4 in the l-th quarter of the vector.
  MI_UNROLL
  for (int i = 0; i < 16; i += 4) {
    four[i] = _mm512_unpacklo_epi64(two[i], two[i + 2]);
    four[i + 1] = _mm512_unpackhi_epi64(two[i], two[i + 2]);
    four[i + 2] = _mm512_unpacklo_epi64(two[i + 1], two[i + 3]);
    four[i + 3] = _mm512_unpackhi_epi64(two[i + 1], two[i + 3]);
  }
  MI_UNROLL
  for (int c = 0; c < 4; c++) {
    const __m512i even = _mm512_shuffle_i32x4(four[c], four[c + 4], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(four[c], four[c + 4], 0xdd);
    const __m512i even2 = _mm512_shuffle_i32x4(four[c + 8], four[c + 12], 0x88);
    const __m512i odd2 = _mm512_shuffle_i32x4(four[c + 8], four[c + 12], 0xdd);
    row[c] = _mm512_shuffle_i32x4(even, even2, 0x88);
    row[c + 4] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
    row[c + 8] = _mm512_shuffle_i32x4(even, even2, 0xdd);
    row[c + 12] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
  }
}

// panel[p][o] = pair first + p of output o, for whole sixteens of pairs: zeros behind the last. The panel is
// filled up with the last output. What the next panel is made of is brought nearer meanwhile: it lies in as many
// places as there are outputs.
static void pack(
  const uint16_t *weight, int64_t width, int64_t outputs, int64_t first, int64_t pairs,
  uint32_t *panel
) {
  const bool is_last = 2 * (first + pairs) >= width;
  const int64_t next = is_last ? MI_PANEL * width - 2 * first : 2 * MI_PAIRS;
  for (int64_t o = 0; o < MI_PANEL; o += 16) {
    const uint16_t *source[16];
    for (int64_t i = 0; i < 16; i++) {
      source[i] = weight + (o + i < outputs ? o + i : outputs - 1) * width + 2 * first;
    }
    for (int64_t p = 0; p < pairs; p += 16) {
      const __mmask16 present = pairs - p < 16 ? (__mmask16)((1 << (pairs - p)) - 1) : 0xffff;
      __m512i row[16];
      MI_UNROLL
      for (int i = 0; i < 16; i++) __builtin_prefetch(source[i] + 2 * p + next, 0, 2);
      MI_UNROLL
      for (int i = 0; i < 16; i++) row[i] = _mm512_maskz_loadu_epi32(present, source[i] + 2 * p);
      transpose(row);
      MI_UNROLL
      for (int i = 0; i < 16; i++) _mm512_store_si512(panel + (p + i) * MI_PANEL + o, row[i]);
    }
  }
}

// What a panel adds to `rows` rows of outputs. The next rows are `ahead` elements behind these.
MI_INLINE void multiply_rows(
  const int rows, const uint32_t *panel, int64_t pairs, const uint16_t *const *x, int64_t ahead,
  float *const *y, bool is_fresh
) {
  __m512 sum[MI_ROWS][2];
  MI_UNROLL
  for (int r = 0; r < rows; r++) {
    sum[r][0] = is_fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(y[r]);
    sum[r][1] = is_fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(y[r] + 16);
  }
  MI_ROLLED
  for (int64_t p = 0; p < pairs; p++) {
    // Rows are far apart, and no processor foresees the next ones.
    if (p % 16 == 0) {
      MI_UNROLL
      for (int r = 0; r < rows; r++) __builtin_prefetch(x[r] + ahead + 2 * p, 0, 3);
    }
    __m512bh w = (__m512bh)_mm512_load_si512(panel + p * MI_PANEL);
    __m512bh w2 = (__m512bh)_mm512_load_si512(panel + p * MI_PANEL + 16);
    MI_UNROLL
    for (int r = 0; r < rows; r++) {
      int32_t pair;
      memcpy(&pair, x[r] + 2 * p, sizeof pair);
      __m512bh element = (__m512bh)_mm512_set1_epi32(pair);
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], w, element);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], w2, element);
    }
  }
  MI_UNROLL
  for (int r = 0; r < rows; r++) {
    _mm512_storeu_ps(y[r], sum[r][0]);
    _mm512_storeu_ps(y[r] + 16, sum[r][1]);
  }
}

// Rows of the next register block: the last blocks are narrower, so that few of their rows are idle.
static int64_t rows_at_once(int64_t left) {
  if (left > 16 || (left > 8 && left <= 12)) return 12;
  return left > 4 ? 8 : 4;
}

// What a panel adds to a register block of rows.
static void multiply_panel(
  int64_t rows, const uint32_t *panel, int64_t pairs, const uint16_t *const *x, int64_t ahead,
  float *const *y, bool is_fresh
) {
  if (rows == 12) {
    multiply_rows(12, panel, pairs, x, ahead, y, is_fresh);
  } else if (rows == 8) {
    multiply_rows(8, panel, pairs, x, ahead, y, is_fresh);
  } else {
    multiply_rows(4, panel, pairs, x, ahead, y, is_fresh);
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
    for (int64_t row = 0, at_once; row < rows; row += at_once) {
      at_once = rows_at_once(rows - row);
      const uint16_t *source[MI_ROWS];
      float *target[MI_ROWS];
      float edge[MI_ROWS][MI_PANEL];
      for (int64_t r = 0; r < at_once; r++) {
        const int64_t present = row + r < rows ? row + r : rows - 1;
        source[r] = x + present * width + 2 * first;
        target[r] = y + present * y_stride + out_start;
        if (outputs == MI_PANEL && row + r < rows) continue;
        memset(edge[r], 0, sizeof edge[r]);
        if (!is_fresh) memcpy(edge[r], target[r], (size_t)outputs * sizeof(float));
        target[r] = edge[r];
      }
      multiply_panel(at_once, panel, pairs, source, at_once * width, target, is_fresh);
      for (int64_t r = 0; r < at_once && row + r < rows; r++) {
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
