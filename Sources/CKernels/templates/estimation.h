// Column and offset sums of the attention of a prompt's last rows, made as the scores are made.
//
// Two passes over a range of keys, the first for the rows' log-sum-exps; K is read twice and nothing
// of size rows x keys exists. With query rows along the lanes a key's offsets i - key are neighbours,
// so its contribution to the offset sums is one vector addition.

// The queries of up to 64 last rows of one head, transposed in two tiles of 32.
typedef struct {
  float *qT[2];
  int32_t visible[MI_LAST_ROWS];
  int32_t oldest[MI_LAST_ROWS];
} mi_last_tile;

static mi_last_tile open_last_rows(const mi_last_rows *a, int32_t head, mi_arena *arena) {
  const int rows = MI_TILE_ROWS;
  int64_t dim = a->head_dim, stride = (int64_t)a->query_heads * dim;
  mi_last_tile tile;
  for (int t = 0; t < 2; t++) {
    tile.qT[t] = take(arena, (size_t)(dim * rows) * sizeof(float));
    for (int r = 0; r < rows; r++) {
      int64_t row = t * rows + r, position = a->first_position + row;
      bool present = row < a->rows;
      tile.visible[row] = present ? (int32_t)position : -1;
      tile.oldest[row] = 0;
      if (a->sliding_window > 0 && position >= a->sliding_window) {
        tile.oldest[row] = (int32_t)(position - a->sliding_window + 1);
      }
      const float *q = a->q + row * stride + head * dim;
      for (int64_t x = 0; x < dim; x++) {
        tile.qT[t][x * rows + r] = present ? q[x] * (a->scale * MI_LOG2E) : 0;
      }
    }
  }
  return tile;
}

// Scores of one block for one tile of 32 rows, with what a row may not see hidden.
MI_INLINE void score_last_rows(
  const mi_last_rows *a, const mi_last_tile *tile, int t, const mi_key_block *keys, float *sT
) {
  const int rows = MI_TILE_ROWS;
  score_keys(tile->qT[t], a->head_dim, keys->k, NULL, keys->count, sT, rows);
  bool all_see = keys->key[keys->count - 1] <= a->first_position && a->sliding_window == 0
    && a->rows == MI_LAST_ROWS;
  if (!all_see) {
    mi_visibility see = {tile->visible + t * rows, tile->oldest + t * rows};
    hide_keys(sT, keys->count, keys->key, see, rows);
  }
}

MI_INLINE void load_keys(
  mi_key_block *keys, const mi_last_rows *a, int32_t kv_head, int64_t start, int64_t key_end
) {
  keys->count = key_end - start < MI_KEY_BLOCK ? key_end - start : MI_KEY_BLOCK;
  for (int64_t i = 0; i < keys->count; i++) keys->key[i] = (int32_t)(start + i);
  resolve_keys(keys, a->k, NULL, a->kv_type, kv_head * a->capacity, a->head_dim);
}

static void last_row_maximum(
  const mi_last_rows *a, int32_t kv_head, const int32_t *heads, int32_t head_count,
  int64_t key_start, int64_t key_end, float *row_maximum, float *row_sum, void *scratch
) {
  mi_arena arena = {scratch};
  mi_key_block keys = make_key_block(&arena, a->head_dim);
  float *sT = take(&arena, (MI_KEY_BLOCK + MI_B * MI_NV) * MI_TILE_ROWS * sizeof(float));
  float rescale[MI_TILE_ROWS];
  mi_last_tile *tiles = take(&arena, (size_t)head_count * sizeof(mi_last_tile));
  for (int32_t h = 0; h < head_count; h++) tiles[h] = open_last_rows(a, heads[h], &arena);
  for (int64_t i = 0; i < head_count * MI_LAST_ROWS; i++) {
    row_maximum[i] = MI_NO_MAXIMUM;
    row_sum[i] = 0;
  }
  int tile_count = a->rows > MI_TILE_ROWS ? 2 : 1;
  for (int64_t start = key_start; start < key_end; start += MI_KEY_BLOCK) {
    load_keys(&keys, a, kv_head, start, key_end);
    for (int32_t h = 0; h < head_count; h++) {
      for (int t = 0; t < tile_count; t++) {
        int64_t at = h * MI_LAST_ROWS + t * MI_TILE_ROWS;
        score_last_rows(a, &tiles[h], t, &keys, sT);
        exponentiate(sT, keys.count, row_maximum + at, row_sum + at, rescale, MI_TILE_ROWS);
      }
    }
  }
}

static void last_row_sums(
  const mi_last_rows *a, int32_t kv_head, const int32_t *heads, int32_t head_count,
  int64_t key_start, int64_t key_end, const float *log_sum_exp, float *const *vertical,
  float *const *slash, void *scratch
) {
  const int rows = MI_TILE_ROWS;
  mi_arena arena = {scratch};
  mi_key_block keys = make_key_block(&arena, a->head_dim);
  float *sT = take(&arena, (MI_KEY_BLOCK + MI_B * MI_NV) * MI_TILE_ROWS * sizeof(float));
  mi_last_tile *tiles = take(&arena, (size_t)head_count * sizeof(mi_last_tile));
  for (int32_t h = 0; h < head_count; h++) tiles[h] = open_last_rows(a, heads[h], &arena);
  int tile_count = a->rows > MI_TILE_ROWS ? 2 : 1;
  for (int64_t start = key_start; start < key_end; start += MI_KEY_BLOCK) {
    load_keys(&keys, a, kv_head, start, key_end);
    for (int32_t h = 0; h < head_count; h++) {
      for (int t = 0; t < tile_count; t++) {
        score_last_rows(a, &tiles[h], t, &keys, sT);
        const float *lse = log_sum_exp + h * MI_LAST_ROWS + t * rows;
        for (int64_t j = 0; j < keys.count; j++) {
          int64_t key = keys.key[j];
          // Offset of row 0 of this tile, from the smallest offset of the range less a margin.
          float *offsets = slash[h] + (key_end - 1 - key) + t * rows + MI_LAST_ROWS;
          vf total = (vf){};
          MI_UNROLL
          for (int r = 0; r < rows; r += MI_VL) {
            vf exponent = load(sT + j * rows + r) - load(lse + r);
            // Rounding may leave a single key slightly above its own log-sum-exp.
            vf p = exp2_nonpositive(select_lanes(exponent > splat(0), splat(0), exponent));
            total += p;
            store(offsets + r, load(offsets + r) + p);
          }
          vertical[h][key - key_start] += sum_lanes(total);
        }
      }
    }
  }
}

// Softmax of one group's scores over the groups it sees, added up over key blocks.
static void group_shares(
  float *scores, int64_t first, int64_t end, int64_t groups_of_block, const float *sink,
  float factor, float *shares
) {
  if (first >= end) return;
  float highest = scores[first];
  for (int64_t e = first; e < end; e++) highest = scores[e] > highest ? scores[e] : highest;
  if (sink && *sink > highest) highest = *sink;
  int64_t padded = (end + 15) / 16 * 16;
  for (int64_t e = end; e < padded; e++) scores[e] = MI_NO_MAXIMUM;
  int64_t start = first / 16 * 16;
  for (int64_t e = start; e < first; e++) scores[e] = MI_NO_MAXIMUM;
  vf sum = splat(0);
  for (int64_t e = start; e < padded; e += MI_VL) {
    vf p = exp2_nonpositive(load(scores + e) - splat(highest));
    store(scores + e, p);
    sum += p;
  }
  float total = sum_lanes(sum);
  if (sink) total += exp2_nonpositive(splat(*sink - highest))[0];
  float weight = factor / total;
  for (int64_t block = first / groups_of_block; block * groups_of_block < end; block++) {
    int64_t from = block * groups_of_block, to = from + groups_of_block;
    float mass = 0;
    for (int64_t e = from > first ? from : first; e < (to < end ? to : end); e++) mass += scores[e];
    shares[block] += mass * weight;
  }
}
