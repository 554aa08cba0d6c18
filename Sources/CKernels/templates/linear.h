// Linear layers: few rows against weights in their stored type, and a block product that stands in
// for a BLAS where none is found.

#define MI_FEW_ROWS 4

// Up to MI_FEW_ROWS rows at a time: every weight is read and widened once for all of them.
MI_INLINE void dot_rows(
  const float *x, const int rows, int64_t in, const void *weight, mi_type type, int64_t first,
  float *result
) {
  vf sum[2 * MI_FEW_ROWS];
  MI_UNROLL
  for (int i = 0; i < 2 * rows; i++) sum[i] = (vf){};
  int64_t i = 0;
  for (; i + 2 * MI_VL <= in; i += 2 * MI_VL) {
    vf w = load_as_float32(weight, type, first + i);
    vf w2 = load_as_float32(weight, type, first + i + MI_VL);
    MI_UNROLL
    for (int r = 0; r < rows; r++) {
      sum[2 * r] += w * load(x + r * in + i);
      sum[2 * r + 1] += w2 * load(x + r * in + i + MI_VL);
    }
  }
  MI_UNROLL
  for (int r = 0; r < rows; r++) result[r] = sum_lanes(sum[2 * r] + sum[2 * r + 1]);
  for (; i < in; i++) {
    float w = element_as_float32(weight, type, first + i);
    for (int r = 0; r < rows; r++) result[r] += w * x[r * in + i];
  }
}

MI_INLINE void linear_some_rows(
  const float *x, const int rows, int64_t in, const void *weight, mi_type type, const float *bias,
  int64_t out_start, int64_t out_end, int64_t out, float *y, bool accumulate
) {
  for (int64_t o = out_start; o < out_end; o++) {
    float result[MI_FEW_ROWS];
    dot_rows(x, rows, in, weight, type, o * in, result);
    for (int r = 0; r < rows; r++) {
      float value = result[r] + (bias != NULL ? bias[o] : 0);
      y[r * out + o] = accumulate ? y[r * out + o] + value : value;
    }
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
