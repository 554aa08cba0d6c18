// The two matrix products of attention on a block of keys, and the online softmax between them.
//
// Query rows lie along the lanes: a tile's queries, scores and outputs are stored transposed, as
// [head_dim][rows], [keys][rows] and [head_dim][rows]. Keys and values are then only ever read one
// element at a time, each broadcast over the rows, so any set of keys - neighbours, gathered columns
// or both - costs the same, and the softmax needs no sum across lanes.

// sT[b][r] = sum over x of k[b][x] * qT[x][r] for `keys` keys and nv * MI_VL rows from `row`.
MI_INLINE void score_block(
  const float *qT, int64_t dim, const float *const *k, float *sT, const int rows, const int row,
  const int nv, const int keys
) {
  vf sum[MI_B * MI_NV];
  const float *key[MI_B * MI_NV];
  MI_UNROLL
  for (int i = 0; i < keys * nv; i++) sum[i] = (vf){};
  MI_UNROLL
  for (int b = 0; b < keys; b++) key[b] = k[b];
  MI_ROLLED
  for (int64_t x = 0; x < dim; x++) {
    vf q[MI_NV];
    MI_UNROLL
    for (int v = 0; v < nv; v++) q[v] = load(qT + x * rows + row + v * MI_VL);
    MI_UNROLL
    for (int b = 0; b < keys; b++) {
      vf element = splat(key[b][x]);
      MI_UNROLL
      for (int v = 0; v < nv; v++) sum[b * nv + v] += q[v] * element;
    }
  }
  MI_UNROLL
  for (int b = 0; b < keys; b++) {
    MI_UNROLL
    for (int v = 0; v < nv; v++) store(sT + b * rows + row + v * MI_VL, sum[b * nv + v]);
  }
}

// oT[x + b][r] = oT[x + b][r] * scale[r] + sum over keys of v[key][x + b] * pT[key][r].
MI_INLINE void value_block(
  const float *pT, int64_t keys, const float *const *values, int64_t x, float *oT,
  const float *scale, const int rows, const int row, const int nv, const int columns
) {
  vf sum[MI_B * MI_NV];
  MI_UNROLL
  for (int v = 0; v < nv; v++) {
    vf factor = load(scale + row + v * MI_VL);
    MI_UNROLL
    for (int b = 0; b < columns; b++) {
      sum[b * nv + v] = load(oT + (x + b) * rows + row + v * MI_VL) * factor;
    }
  }
  MI_ROLLED
  for (int64_t j = 0; j < keys; j++) {
    const float *value = values[j] + x;
    vf p[MI_NV];
    MI_UNROLL
    for (int v = 0; v < nv; v++) p[v] = load(pT + j * rows + row + v * MI_VL);
    MI_UNROLL
    for (int b = 0; b < columns; b++) {
      vf element = splat(value[b]);
      MI_UNROLL
      for (int v = 0; v < nv; v++) sum[b * nv + v] += p[v] * element;
    }
  }
  MI_UNROLL
  for (int b = 0; b < columns; b++) {
    MI_UNROLL
    for (int v = 0; v < nv; v++) store(oT + (x + b) * rows + row + v * MI_VL, sum[b * nv + v]);
  }
}

// Asks for the cache lines of `count` rows of `dim` floats. Keys that were picked one by one are no
// stream that a processor foresees; a few hundred operations ahead is early enough.
MI_INLINE void prefetch_rows(const float *const *row, int64_t count, int64_t dim) {
  for (int64_t i = 0; i < count; i++) {
    for (int64_t x = 0; x < dim; x += 16) __builtin_prefetch(row[i] + x, 0, 2);
  }
}

// Scores of `count` keys; k is padded with readable rows up to a multiple of the register block.
// While keys are scored, the next ones and their values (if any) are brought nearer.
MI_INLINE void score_keys(
  const float *qT, int64_t dim, const float *const *k, const float *const *values, int64_t count,
  float *sT, const int rows
) {
  const int nv = rows < MI_NV * MI_VL ? rows / MI_VL : MI_NV;
  const int step = MI_B * MI_NV / nv;
  for (int64_t j = 0; j < count; j += step) {
    int64_t left = count - j < step ? count - j : step;
    int64_t next = count - j - step < step ? count - j - step : step;
    prefetch_rows(k + j + step, next, dim);
    if (values != NULL) prefetch_rows(values + j, left, dim);
    MI_UNROLL
    for (int row = 0; row < rows; row += nv * MI_VL) {
      score_block(qT, dim, k + j, sT + j * rows, rows, row, nv, step);
    }
  }
}

MI_INLINE void add_values(
  const float *pT, int64_t count, const float *const *values, int64_t dim, float *oT,
  const float *scale, const int rows
) {
  const int nv = rows < MI_NV * MI_VL ? rows / MI_VL : MI_NV;
  const int step = MI_B * MI_NV / nv;
  MI_UNROLL
  for (int row = 0; row < rows; row += nv * MI_VL) {
    int64_t x = 0;
    for (; x + step <= dim; x += step) {
      value_block(pT, count, values, x, oT, scale, rows, row, nv, step);
    }
    // What a head dim leaves over, in blocks that keep their accumulators in registers too.
    if (step > 8) {
      for (; x + 8 <= dim; x += 8) value_block(pT, count, values, x, oT, scale, rows, row, nv, 8);
    }
    for (; x + 4 <= dim; x += 4) value_block(pT, count, values, x, oT, scale, rows, row, nv, 4);
    for (; x < dim; x++) value_block(pT, count, values, x, oT, scale, rows, row, nv, 1);
  }
}

// Keys that a row may see: first_key[r] <= key <= position[r].
typedef struct {
  const int32_t *position;
  const int32_t *first_key;
} mi_visibility;

// Puts -infinity where a row may not see a key.
MI_INLINE void hide_keys(
  float *sT, int64_t count, const int32_t *key, mi_visibility rows_see, const int rows
) {
  for (int64_t j = 0; j < count; j++) {
    vi position = splat_int(key[j]);
    MI_UNROLL
    for (int r = 0; r < rows; r += MI_VL) {
      vi last = *(const vi_unaligned *)(rows_see.position + r);
      vi first = *(const vi_unaligned *)(rows_see.first_key + r);
      vi hidden = (position > last) | (position < first);
      float *s = sT + j * rows + r;
      store(s, select_lanes(hidden, splat(-INFINITY), load(s)));
    }
  }
}

// sT becomes 2^(s - maximum); updates maximum and sum, and gives what older outputs are scaled with.
MI_INLINE void exponentiate(
  float *sT, int64_t count, float *row_maximum, float *row_sum, float *rescale, const int rows
) {
  MI_UNROLL
  for (int r = 0; r < rows; r += MI_VL) {
    vf old = load(row_maximum + r);
    vf highest = old, highest2 = old;
    int64_t j = 0;
    for (; j + 1 < count; j += 2) {
      highest = maximum(load(sT + j * rows + r), highest);
      highest2 = maximum(load(sT + (j + 1) * rows + r), highest2);
    }
    if (j < count) highest = maximum(load(sT + j * rows + r), highest);
    highest = maximum(highest2, highest);
    vf factor = exp2_nonpositive(old - highest);
    vf sum = (vf){}, sum2 = (vf){};
    for (j = 0; j + 1 < count; j += 2) {
      vf p = exp2_nonpositive(load(sT + j * rows + r) - highest);
      vf p2 = exp2_nonpositive(load(sT + (j + 1) * rows + r) - highest);
      store(sT + j * rows + r, p);
      store(sT + (j + 1) * rows + r, p2);
      sum += p;
      sum2 += p2;
    }
    if (j < count) {
      vf p = exp2_nonpositive(load(sT + j * rows + r) - highest);
      store(sT + j * rows + r, p);
      sum += p;
    }
    store(row_sum + r, load(row_sum + r) * factor + (sum + sum2));
    store(row_maximum + r, highest);
    store(rescale + r, factor);
  }
}
