// Linear layers: few rows against weights in their stored type, and a block product that stands in
// for a BLAS where none is found.

#define MI_FEW_ROWS 4
// Outputs that are summed together: x is loaded once for all of them. Two accumulators for each row and output, as
// many as there are registers for.
#if MI_VL == 16 || defined(__aarch64__)
#define MI_OUTPUTS_OF(rows) ((rows) == 2 ? 4 : 2)
#else
#define MI_OUTPUTS_OF(rows) ((rows) <= 2 ? 2 : 1)
#endif
#define MI_OUTPUTS 4
// A row of fewer elements stays in the first cache, and the weights alone are read from further away.
#define MI_SHORT_ROW 4096
// Bytes between the weights of one output that are read and those that are asked for.
#define MI_WEIGHTS_AHEAD 8192

// Up to MI_FEW_ROWS rows at a time: every weight is read and widened once for all of them. result[o][r]; the
// order of a sum does not depend on the number of rows or outputs.
MI_INLINE void dot_rows(
  const float *x, const int rows, const int outputs, int64_t in, const void *weight, mi_type type,
  int64_t first, float (*result)[MI_FEW_ROWS]
) {
  vf sum[MI_OUTPUTS][2 * MI_FEW_ROWS];
  MI_UNROLL
  for (int o = 0; o < outputs; o++) {
    MI_UNROLL
    for (int i = 0; i < 2 * rows; i++) sum[o][i] = (vf){};
  }
  // Weights are asked for in the order in which they lie: several streams side by side are none that a processor
  // foresees, and one it follows within a page alone.
  const int64_t size = type == MI_FLOAT32 ? 4 : 2;
  const char *ahead = (const char *)weight + first * size
    + (outputs == 1 ? MI_WEIGHTS_AHEAD : outputs * in * size);
  int64_t i = 0;
  for (; i + 2 * MI_VL <= in; i += 2 * MI_VL) {
    MI_UNROLL
    for (int64_t b = 0; b < outputs * 2 * MI_VL * size; b += 64) __builtin_prefetch(ahead + b, 0, 3);
    ahead += outputs * 2 * MI_VL * size;
    vf element[MI_FEW_ROWS], element2[MI_FEW_ROWS];
    MI_UNROLL
    for (int r = 0; r < rows; r++) {
      element[r] = load(x + r * in + i);
      element2[r] = load(x + r * in + i + MI_VL);
    }
    MI_UNROLL
    for (int o = 0; o < outputs; o++) {
      vf w = load_as_float32(weight, type, first + o * in + i);
      vf w2 = load_as_float32(weight, type, first + o * in + i + MI_VL);
      MI_UNROLL
      for (int r = 0; r < rows; r++) {
        sum[o][2 * r] += w * element[r];
        sum[o][2 * r + 1] += w2 * element2[r];
      }
    }
  }
  MI_UNROLL
  for (int o = 0; o < outputs; o++) {
    MI_UNROLL
    for (int r = 0; r < rows; r++) {
      result[o][r] = sum_lanes(sum[o][2 * r] + sum[o][2 * r + 1]);
    }
    for (int64_t j = i; j < in; j++) {
      float w = element_as_float32(weight, type, first + o * in + j);
      for (int r = 0; r < rows; r++) result[o][r] += w * x[r * in + j];
    }
  }
}

MI_INLINE void linear_some_rows(
  const float *x, const int rows, int64_t in, const void *weight, mi_type type, const float *bias,
  int64_t out_start, int64_t out_end, int64_t out, float *y, bool accumulate
) {
  const int at_once = MI_OUTPUTS_OF(rows);
  const bool takes_one = rows == 1 && in < MI_SHORT_ROW;
  for (int64_t start = out_start; start < out_end;) {
    float result[MI_OUTPUTS][MI_FEW_ROWS];
    const int count = takes_one || out_end - start < at_once ? 1 : at_once;
    if (count == 1) {
      dot_rows(x, rows, 1, in, weight, type, start * in, result);
    } else {
      dot_rows(x, rows, at_once, in, weight, type, start * in, result);
    }
    for (int o = 0; o < count; o++) {
      for (int r = 0; r < rows; r++) {
        float value = result[o][r] + (bias != NULL ? bias[start + o] : 0);
        float *target = y + r * out + start + o;
        *target = accumulate ? *target + value : value;
      }
    }
    start += count;
  }
}

static void linear_rows(
  const float *x, int64_t rows, int64_t in, const void *weight, mi_type type, const float *bias,
  int64_t out_start, int64_t out_end, int64_t out, float *y, bool accumulate
) {
#define MI_LINEAR(count, kind)                                                                    \
  linear_some_rows(                                                                               \
    x + r * in, count, in, weight, kind, bias, out_start, out_end, out, y + r * out, accumulate)
#define MI_LINEAR_OF_TYPE(kind)                                                                   \
  do {                                                                                            \
    int64_t r = 0;                                                                                \
    for (; r + 4 <= rows; r += 4) MI_LINEAR(4, kind);                                             \
    if (rows - r == 3) MI_LINEAR(3, kind);                                                        \
    if (rows - r == 2) MI_LINEAR(2, kind);                                                        \
    if (rows - r == 1) MI_LINEAR(1, kind);                                                        \
  } while (0)
  if (type == MI_FLOAT32) MI_LINEAR_OF_TYPE(MI_FLOAT32);
  if (type == MI_BFLOAT16) MI_LINEAR_OF_TYPE(MI_BFLOAT16);
  if (type == MI_FLOAT16) MI_LINEAR_OF_TYPE(MI_FLOAT16);
#undef MI_LINEAR_OF_TYPE
#undef MI_LINEAR
}

// The score product of attention, with weight rows in the place of keys.
static void linear_block(
  const float *x, int64_t row_start, int64_t row_end, int64_t in, const float *weight,
  int64_t columns, int64_t out, float *y, bool accumulate, void *scratch
) {
  const int rows = MI_TILE_ROWS;
  mi_arena arena = {scratch};
  float *xT = take(&arena, (size_t)(in * rows) * sizeof(float));
  float *sT = take(&arena, (MI_KEY_BLOCK + MI_B * MI_NV) * MI_TILE_ROWS * sizeof(float));
  const float *row_of[MI_KEY_BLOCK + MI_B * MI_NV];
  for (int64_t first = row_start; first < row_end; first += rows) {
    int64_t present = row_end - first < rows ? row_end - first : rows;
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t i = 0; i < in; i++) xT[i * rows + r] = r < present ? x[(first + r) * in + i] : 0;
    }
    for (int64_t o = 0; o < columns; o += MI_KEY_BLOCK) {
      int64_t count = columns - o < MI_KEY_BLOCK ? columns - o : MI_KEY_BLOCK;
      for (int64_t i = 0; i < MI_KEY_BLOCK + MI_B * MI_NV; i++) {
        row_of[i] = weight + (o + (i < count ? i : 0)) * in;
      }
      score_keys(xT, in, row_of, NULL, count, sT, rows);
      for (int64_t r = 0; r < present; r++) {
        float *target = y + (first + r) * out + o;
        for (int64_t i = 0; i < count; i++) {
          target[i] = sT[i * rows + r] + (accumulate ? target[i] : 0);
        }
      }
    }
  }
}
