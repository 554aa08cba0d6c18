// Products of activations with matrices in blocks: both are multiplied as bytes.
//
// Activations become int8 with a scale for each 32 elements of a row; a sub-block's dot product is
// exact in int32, and is scaled and summed in float32. Few rows read the blocks once and use them at
// once; for many rows a panel of outputs is unpacked, interleaved so that outputs lie along the lanes,
// and multiplied with every row while it stays in cache.
//
// The including file defines MI_VL (lanes of 32 bits), MI_ROWS and MI_NV (rows and vectors of outputs
// in a register block), MI_UNSIGNED_BYTES (weights are bytes of 0 to 255), and the functions dot4,
// look_up, bits_times_16 and half_number.

// Outputs that are computed together.
#define MI_PANEL (MI_NV * MI_VL)
// Bytes of a vector, and vectors of a chunk.
#define MI_VB (4 * MI_VL)
#define MI_CHUNK_VECTORS (MI_CHUNK / MI_VB)

#include "block_unpack.h"
#include "block_activations.h"
#include "block_few_rows.h"
#include "block_many_rows.h"

#define MI_EVERY_FORMAT(DO)                                                                    \
  DO(MI_Q4_0) DO(MI_Q4_1) DO(MI_Q5_0) DO(MI_Q5_1) DO(MI_Q8_0) DO(MI_Q2_K) DO(MI_Q3_K)          \
  DO(MI_Q4_K) DO(MI_Q5_K) DO(MI_Q6_K) DO(MI_IQ4_NL) DO(MI_IQ4_XS) DO(MI_MXFP4)

static void few_rows(
  const mi_block_matrix *matrix, const void *activations, int64_t rows, int64_t out_start,
  int64_t out_end, const float *bias, float *y, int64_t y_stride, bool accumulate
) {
  mi_activations a = activations_at(activations, rows, matrix->width);
  for (int64_t first = 0; first < rows; first += 2) {
    const int present = rows - first < 2 ? 1 : 2;
#define MI_FEW(format, count)                                                                \
  multiply_few(                                                                              \
    format, matrix, a, first, count, out_start, out_end, bias, y, y_stride, accumulate)
#define MI_FEW_CASE(format)            \
  case format:                         \
    if (present == 1) {                \
      MI_FEW(format, 1);               \
    } else {                           \
      MI_FEW(format, 2);               \
    }                                  \
    break;
    switch (matrix->format) { MI_EVERY_FORMAT(MI_FEW_CASE) }
#undef MI_FEW_CASE
#undef MI_FEW
  }
}

static void many_rows(
  const mi_block_matrix *matrix, const void *activations, int64_t rows, int64_t out_start,
  int64_t out_end, const float *bias, float *y, int64_t y_stride, bool accumulate, void *scratch
) {
  const mi_layout layout = layout_of(matrix->format);
  mi_activations a = activations_at(activations, rows, matrix->width);
  mi_chunk *chunks = scratch;
  uint8_t *panel = (uint8_t *)(chunks + MI_VL);
  for (int64_t o = out_start; o < out_end; o += MI_PANEL) {
    int64_t count = out_end - o < MI_PANEL ? out_end - o : MI_PANEL;
#define MI_UNPACK_CASE(format) \
  case format: unpack_panel(format, matrix, o, count, panel, chunks); break;
    switch (matrix->format) { MI_EVERY_FORMAT(MI_UNPACK_CASE) }
#undef MI_UNPACK_CASE
    float start[MI_PANEL] __attribute__((aligned(64))) = {0};
    if (bias != NULL) memcpy(start, bias + o, (size_t)count * sizeof(float));
#define MI_PANEL_OF(offset, has_minimum, is_signed, has_small_groups)                            \
  for (int64_t first = 0; first < rows; first += MI_ROW_TILE) {                                  \
    multiply_panel(                                                                              \
      (mi_layout){0, 0, offset, has_minimum, is_signed, has_small_groups}, panel, a, first,      \
      first + MI_ROW_TILE < rows ? first + MI_ROW_TILE : rows, count, start, y + o, y_stride,    \
      accumulate);                                                                               \
  }
    if (layout.has_minimum) {
      if (layout.has_small_groups) {
        MI_PANEL_OF(0, true, false, true);
      } else {
        MI_PANEL_OF(0, true, false, false);
      }
    } else if (layout.has_small_groups) {
      MI_PANEL_OF(1, false, false, true);
    } else if (layout.is_signed) {
      MI_PANEL_OF(0, false, true, false);
    } else {
      MI_PANEL_OF(1, false, false, false);
    }
#undef MI_PANEL_OF
  }
}

const mi_block_products MI_TABLE = {
  .name = MI_NAME,
  .panel_outputs = MI_PANEL,
  .activation_bytes = activation_bytes,
  .panel_bytes = panel_bytes,
  .quantise_rows = quantise_rows,
  .few_rows = few_rows,
  .many_rows = many_rows,
};
