// Products with bfloat16 weights for AVX-512 with dot products of bfloat16 pairs.
//
// An output is one lane, which starts from zero or from y and takes the pairs of its row in ascending order. So a
// row is bit for bit the same in a call of any number of rows, by either function and whatever outputs are beside.
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

// MARK: Few rows

// Rows that a tile of weights is multiplied with.
#define MI_FEW 16
// Outputs of a tile, and its pairs: a line of each output's weights.
#define MI_TILE 16
// Weights of MI_TILE outputs that are no more bytes than these go through the first cache alone.
#define MI_PASSING (48 << 10)

MI_INLINE void bring_nearer(const char *weights, const bool passes) {
  if (passes) {
    __builtin_prefetch(weights, 0, 0);
  } else {
    __builtin_prefetch(weights, 0, 3);
  }
}

// What `count` pairs from `first` on, MI_TILE at most, add to the sums. weight: of the first of MI_TILE outputs, or of
// fewer: the last one then stands for the rest.
MI_INLINE void add_pairs(
  const int rows, const uint16_t *const *x, int64_t width, const uint16_t *weight, int64_t outputs,
  int64_t first, int64_t count, __m512 *sum
) {
  const __mmask16 present = (__mmask16)((1 << count) - 1);
  __m512i pairs[MI_TILE];
  MI_UNROLL
  for (int i = 0; i < MI_TILE; i++) {
    const int64_t output = i < outputs ? i : outputs - 1;
    pairs[i] = _mm512_maskz_loadu_epi32(present, weight + output * width + 2 * first);
  }
  transpose(pairs);
  MI_ROLLED
  for (int64_t i = 0; i < count; i++) {
    MI_UNROLL
    for (int r = 0; r < rows; r++) {
      int32_t pair;
      memcpy(&pair, x[r] + 2 * (first + i), sizeof pair);
      sum[r] = _mm512_dpbf16_ps(sum[r], (__m512bh)pairs[i], (__m512bh)_mm512_set1_epi32(pair));
    }
  }
}

// `rows` rows of `outputs` outputs from `first` on, MI_TILE at most; weight: of the first one, next: what is asked for
// meanwhile.
//
// One sum after the other is what an output waits for, 16 dot products a tile. Two groups of outputs side by side
// would not wait for each other, but are slower: their weights are no single stream.
MI_INLINE void multiply_group(
  const int rows, const bool passes, const uint16_t *const *x, int64_t width, const uint16_t *weight,
  const uint16_t *next, int64_t outputs, float *const *y, int64_t first, bool accumulate
) {
  const __mmask16 present = (__mmask16)((1 << outputs) - 1);
  __m512 sum[MI_FEW];
  MI_UNROLL
  for (int r = 0; r < rows; r++) {
    sum[r] = accumulate ? _mm512_maskz_loadu_ps(present, y[r] + first) : _mm512_setzero_ps();
  }
  const int64_t pairs = width / 2;
  int64_t p = 0;
  // Lines of all outputs that share one set of the first cache push each other out: then tiles begin with lines,
  // so that none is needed twice.
  const int64_t behind_line = (int64_t)((uintptr_t)weight % 64);
  if (width % 2048 == 0 && behind_line % 4 == 0 && behind_line != 0) {
    p = (64 - behind_line) / 4;
    add_pairs(rows, x, width, weight, outputs, 0, p, sum);
  }
  if (outputs == MI_TILE) {
    // The next group's weights are asked for in the order of memory: that is a stream that a processor follows, and
    // 16 outputs side by side are none.
    const char *ahead = (const char *)next;
    MI_ROLLED
    for (; p + MI_TILE <= pairs; p += MI_TILE, ahead += MI_TILE * 64) {
      __m512i row[MI_TILE];
      MI_UNROLL
      for (int i = 0; i < MI_TILE; i++) {
        bring_nearer(ahead + 64 * i, passes);
        row[i] = _mm512_loadu_si512(weight + i * width + 2 * p);
      }
      transpose(row);
      MI_UNROLL
      for (int i = 0; i < MI_TILE; i++) {
        MI_UNROLL
        for (int r = 0; r < rows; r++) {
          int32_t pair;
          memcpy(&pair, x[r] + 2 * (p + i), sizeof pair);
          sum[r] = _mm512_dpbf16_ps(sum[r], (__m512bh)row[i], (__m512bh)_mm512_set1_epi32(pair));
        }
      }
    }
  }
  while (p < pairs) {
    const int64_t count = pairs - p < MI_TILE ? pairs - p : MI_TILE;
    add_pairs(rows, x, width, weight, outputs, p, count, sum);
    p += count;
  }
  MI_UNROLL
  for (int r = 0; r < rows; r++) _mm512_mask_storeu_ps(y[r] + first, present, sum[r]);
}

// The same for outputs out_start ..< out_end. Behind row `last` it stands for those that are not there.
MI_INLINE void multiply_groups(
  const int rows, const bool passes, const uint16_t *x, int64_t last, int64_t width,
  const uint16_t *weight, int64_t out_start, int64_t out_end, float *y, int64_t y_stride,
  bool accumulate
) {
  const uint16_t *source[MI_FEW];
  float *target[MI_FEW];
  for (int64_t r = 0; r < rows; r++) {
    const int64_t row = r < last ? r : last;
    source[r] = x + row * width;
    target[r] = y + row * y_stride;
  }
  int64_t o = out_start;
  for (; o + MI_TILE <= out_end; o += MI_TILE) {
    const uint16_t *group = weight + o * width;
    // Behind the last group lies what another thread reads.
    const uint16_t *next = o + MI_TILE < out_end ? group + MI_TILE * width : group;
    multiply_group(rows, passes, source, width, group, next, MI_TILE, target, o, accumulate);
  }
  if (o < out_end) {
    const uint16_t *group = weight + o * width;
    multiply_group(rows, false, source, width, group, group, out_end - o, target, o, accumulate);
  }
}

static void few_rows(
  const uint16_t *x, int64_t rows, int64_t width, const uint16_t *weight, int64_t out_start,
  int64_t out_end, float *y, int64_t y_stride, bool accumulate
) {
  const bool passes = MI_TILE * width * (int64_t)sizeof *weight <= MI_PASSING;
  for (int64_t row = 0; row < rows; row += MI_FEW, x += MI_FEW * width, y += MI_FEW * y_stride) {
    const int64_t present = rows - row < MI_FEW ? rows - row : MI_FEW;
#define MI_GROUPS(rows)                                                                           \
  if (passes) {                                                                                   \
    multiply_groups(                                                                              \
      rows, true, x, present - 1, width, weight, out_start, out_end, y, y_stride, accumulate);    \
  } else {                                                                                        \
    multiply_groups(                                                                              \
      rows, false, x, present - 1, width, weight, out_start, out_end, y, y_stride, accumulate);   \
  }                                                                                               \
  break
    switch (present) {
      case 1: MI_GROUPS(1);
      case 2: MI_GROUPS(2);
      case 3: MI_GROUPS(3);
      case 4: MI_GROUPS(4);
      case 5 ... 8: MI_GROUPS(8);
      case 9 ... 12: MI_GROUPS(12);
      default: MI_GROUPS(16);
    }
#undef MI_GROUPS
  }
}

#pragma clang attribute pop

const mi_bfloat16_products mi_bfloat16_products_avx512 = {
  .name = "avx512_bf16",
  .panel_outputs = MI_PANEL,
  .panel_bytes = panel_bytes,
  .multiply = multiply,
  .few_rows = few_rows,
};

#endif
