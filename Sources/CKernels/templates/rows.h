// Dense attention of a few rows at any positions (decode, recall): one range of keys a call.

#define MI_LANES 16

static void row_attention(
  const mi_row_attention *a, int32_t kv_head, int32_t lane_start, int32_t lanes,
  int64_t key_start, int64_t key_end, float *partial, void *scratch
) {
  if (are_few(a->head_dim, lanes)) {
    few_row_attention(a, kv_head, lane_start, lanes, key_start, key_end, partial, scratch);
    return;
  }
  const int rows = MI_LANES;
  mi_arena arena = {scratch};
  int64_t dim = a->head_dim;
  mi_key_block keys = make_key_block(&arena, dim);
  float *sT = take(&arena, (MI_KEY_BLOCK + MI_B * MI_NV) * MI_LANES * sizeof(float));
  float *qT = take(&arena, (size_t)dim * MI_LANES * sizeof(float));
  float *oT = take(&arena, (size_t)dim * MI_LANES * sizeof(float));
  float row_maximum[MI_LANES], row_sum[MI_LANES], rescale[MI_LANES];
  int32_t visible[MI_LANES], oldest[MI_LANES];
  int64_t fully_visible = INT32_MAX, window_start = 0, first = key_end, limit = key_start;
  for (int32_t i = 0; i < rows; i++) {
    row_maximum[i] = MI_NO_MAXIMUM;
    row_sum[i] = 0;
    visible[i] = -1;
    oldest[i] = 0;
    for (int64_t x = 0; x < dim; x++) qT[x * rows + i] = 0;
    if (i >= lanes) continue;
    // Lane l is row l / group_size, head l % group_size of the group.
    int64_t row = (lane_start + i) / a->group_size;
    int64_t head = kv_head * a->group_size + (lane_start + i) % a->group_size;
    const float *q = a->q + (row * a->query_heads + head) * dim;
    for (int64_t x = 0; x < dim; x++) qT[x * rows + i] = q[x] * (a->scale * MI_LOG2E);
    int64_t position = a->positions[row];
    visible[i] = (int32_t)position;
    if (a->sliding_window > 0 && position >= a->sliding_window) {
      oldest[i] = (int32_t)(position - a->sliding_window + 1);
    }
    if (position < fully_visible) fully_visible = position;
    if (oldest[i] > window_start) window_start = oldest[i];
    if (oldest[i] < first) first = oldest[i];
    if (position + 1 > limit) limit = position + 1;
  }
  memset(oT, 0, (size_t)(dim * rows) * sizeof(float));
  if (first < key_start) first = key_start;
  if (limit > key_end) limit = key_end;
  for (int64_t start = first; start < limit; start += MI_KEY_BLOCK) {
    keys.count = limit - start < MI_KEY_BLOCK ? limit - start : MI_KEY_BLOCK;
    for (int64_t i = 0; i < keys.count; i++) keys.key[i] = (int32_t)(start + i);
    resolve_keys(&keys, a->k, a->v, a->kv_type, kv_head * a->capacity, dim);
    score_keys(qT, dim, keys.k, keys.v, keys.count, sT, rows);
    if (start + keys.count - 1 > fully_visible || start < window_start) {
      hide_keys(sT, keys.count, keys.key, (mi_visibility){visible, oldest}, rows);
    }
    exponentiate(sT, keys.count, row_maximum, row_sum, rescale, rows);
    add_values(sT, keys.count, keys.v, dim, oT, rescale, rows);
  }
  for (int32_t i = 0; i < lanes; i++) {
    float *lane = partial + i * (dim + 2);
    lane[0] = row_maximum[i];
    lane[1] = row_sum[i];
    for (int64_t x = 0; x < dim; x++) lane[2 + x] = oT[x * rows + i];
  }
}
