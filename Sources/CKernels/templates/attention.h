// Sparse causal attention: streams of keys, one for each (query head, tile row) of a piece.
//
// All streams of a piece read the same key-value head. They take turns by the position of their next
// key, so that what one of them brought into the cache serves the others, whether or not their row
// sets agree.

// One (query head, tile row): its queries, its running softmax and where it stands in its keys.
typedef struct {
  float *qT;   // [head_dim][MI_TILE_ROWS], scaled by scale * log2(e)
  float *oT;   // [head_dim][MI_TILE_ROWS]
  float *row_maximum;
  float *row_sum;
  const int32_t *run;
  const int32_t *run_end;
  const int32_t *column;
  const int32_t *column_end;
  int64_t position;    // next key of the current run
  int64_t stop;        // end of the current run; position == stop: no current run
  int64_t limit;       // one past the last key that any row sees
  int64_t first_key;   // before it no row of the tile row sees a key
  int32_t head;
  int32_t visible[MI_TILE_ROWS];  // last key that each row sees, -1 for rows that are not there
  int32_t oldest[MI_TILE_ROWS];   // first key that each row sees
  int32_t fully_visible;          // keys up to here are seen by every row
  int32_t window_start;           // keys from here on are seen by every row
} mi_stream;

static size_t scratch_bytes(int32_t head_dim, int32_t streams) {
  size_t rows = MI_TILE_ROWS;
  size_t stream = sizeof(mi_stream) + 1024 + (2 * (size_t)head_dim * rows + 2 * rows) * sizeof(float);
  size_t block = MI_KEY_BLOCK + MI_B * MI_NV;
  size_t keys = 2 * (size_t)head_dim * block * sizeof(float) + 2 * block * sizeof(float *)
    + block * sizeof(int32_t);
  return (size_t)streams * stream + 2 * keys + (block + 1) * rows * sizeof(float) + 4096;
}

typedef struct {
  char *next;
} mi_arena;

MI_INLINE void *take(mi_arena *arena, size_t bytes) {
  void *result = arena->next;
  arena->next += (bytes + 63) & ~(size_t)63;
  return result;
}

// The keys of one block, as rows to read from.
typedef struct {
  const float **k;
  const float **v;
  int32_t *key;
  float *wide_k;  // where narrow storage is widened to, [block][head_dim]
  float *wide_v;
  int64_t count;
} mi_key_block;

MI_INLINE mi_key_block make_key_block(mi_arena *arena, int64_t dim) {
  size_t block = MI_KEY_BLOCK + MI_B * MI_NV;
  mi_key_block keys;
  keys.k = take(arena, block * sizeof(float *));
  keys.v = take(arena, block * sizeof(float *));
  keys.key = take(arena, block * sizeof(int32_t));
  keys.wide_k = take(arena, block * (size_t)dim * sizeof(float));
  keys.wide_v = take(arena, block * (size_t)dim * sizeof(float));
  keys.count = 0;
  return keys;
}

static void to_float32(const void *source, mi_type type, float *target, int64_t count);

// Resolves key positions to rows of float32, and pads the keys for the register block.
MI_INLINE void resolve_keys(
  mi_key_block *keys, const void *k, const void *v, mi_type type, int64_t first_row, int64_t dim
) {
  for (int64_t i = 0; i < keys->count; i++) {
    int64_t element = (first_row + keys->key[i]) * dim;
    if (type == MI_FLOAT32) {
      keys->k[i] = (const float *)k + element;
      if (v != NULL) keys->v[i] = (const float *)v + element;
    } else {
      float *wide_k = keys->wide_k + i * dim, *wide_v = keys->wide_v + i * dim;
      to_float32((const uint16_t *)k + element, type, wide_k, dim);
      if (v != NULL) to_float32((const uint16_t *)v + element, type, wide_v, dim);
      keys->k[i] = wide_k;
      keys->v[i] = wide_v;
    }
  }
  for (int64_t i = keys->count; i < keys->count + MI_B * MI_NV; i++) keys->k[i] = keys->k[0];
}

// Moves to the next run that any row of the stream sees.
MI_INLINE void open_run(mi_stream *stream, int64_t tile_columns) {
  while (stream->position >= stream->stop && stream->run < stream->run_end) {
    int64_t start = (int64_t)stream->run[0] * tile_columns;
    int64_t stop = (int64_t)stream->run[1] * tile_columns;
    stream->run += 2;
    stream->position = start < stream->first_key ? stream->first_key : start;
    stream->stop = stop < stream->limit ? stop : stream->limit;
  }
}

// The next key of the stream, or INT64_MAX at its end. Columns that a run covers are passed over.
MI_INLINE int64_t next_key(mi_stream *stream) {
  int64_t key = stream->position < stream->stop ? stream->position : INT64_MAX;
  if (stream->column < stream->column_end && *stream->column < key) {
    return *stream->column < stream->limit ? *stream->column : key;
  }
  return key;
}

static void fill_block(mi_stream *stream, int64_t tile_columns, mi_key_block *keys) {
  int64_t count = 0;
  while (count < MI_KEY_BLOCK) {
    if (stream->position >= stream->stop) open_run(stream, tile_columns);
    bool in_run = stream->position < stream->stop;
    int64_t before = in_run ? stream->position : stream->limit;
    while (count < MI_KEY_BLOCK && stream->column < stream->column_end && *stream->column < before) {
      keys->key[count++] = *stream->column++;
    }
    // A full block may leave columns that lie before the run: they begin the next block.
    if (!in_run || count == MI_KEY_BLOCK) break;
    int64_t left = stream->stop - stream->position;
    if (left > MI_KEY_BLOCK - count) left = MI_KEY_BLOCK - count;
    for (int64_t i = 0; i < left; i++) keys->key[count + i] = (int32_t)(stream->position + i);
    count += left;
    stream->position += left;
    while (stream->column < stream->column_end && *stream->column < stream->position) {
      stream->column++;
    }
  }
  keys->count = count;
}

static void open_stream(
  mi_stream *stream, const mi_attention *a, int32_t head, int64_t tile_row, mi_arena *arena
) {
  const int rows = MI_TILE_ROWS;
  int64_t dim = a->head_dim, stride = (int64_t)a->query_heads * dim;
  stream->head = head;
  stream->qT = take(arena, (size_t)(dim * rows) * sizeof(float));
  stream->oT = take(arena, (size_t)(dim * rows) * sizeof(float));
  stream->row_maximum = take(arena, rows * sizeof(float));
  stream->row_sum = take(arena, rows * sizeof(float));
  int64_t end = a->first_position + a->rows, last = 0, fewest = INT32_MAX, newest = 0;
  stream->first_key = INT64_MAX;
  for (int r = 0; r < rows; r++) {
    int64_t position = tile_row * rows + r;
    bool present = position >= a->first_position && position < end;
    int64_t oldest = 0;
    if (a->sliding_window > 0 && position >= a->sliding_window) {
      oldest = position - a->sliding_window + 1;
    }
    stream->visible[r] = present ? (int32_t)position : -1;
    stream->oldest[r] = (int32_t)oldest;
    stream->row_maximum[r] = MI_NO_MAXIMUM;
    stream->row_sum[r] = 0;
    const float *q = a->q + (position - a->first_position) * stride + head * dim;
    float factor = a->scale * MI_LOG2E;
    for (int64_t x = 0; x < dim; x++) stream->qT[x * rows + r] = present ? q[x] * factor : 0;
    // Keys begin where they do for the whole tile row: blocks of keys, and so the order of sums, do not depend on
    // the rows that are there.
    if (oldest < stream->first_key) stream->first_key = oldest;
    if (!present) continue;
    last = position;
    if (position < fewest) fewest = position;
    if (oldest > newest) newest = oldest;
  }
  memset(stream->oT, 0, (size_t)(dim * rows) * sizeof(float));
  stream->limit = last + 1;
  stream->fully_visible = (int32_t)fewest;
  stream->window_start = (int32_t)newest;
  stream->position = 0;
  stream->stop = 0;
  const mi_row_set *set = a->row_sets[head];
  if (set->runs == NULL) {
    stream->run = stream->run_end = NULL;
    stream->column = stream->column_end = NULL;
    stream->position = stream->first_key;
    stream->stop = stream->limit;
  } else {
    int64_t row = tile_row - a->first_tile_row;
    stream->run = set->runs + 2 * (int64_t)set->row_offsets[row];
    stream->run_end = set->runs + 2 * (int64_t)set->row_offsets[row + 1];
    stream->column = set->columns;
    stream->column_end = set->columns + set->column_count;
    while (stream->column < stream->column_end && *stream->column < stream->first_key) {
      stream->column++;
    }
    open_run(stream, a->tile_columns);
  }
}

static void close_stream(const mi_stream *stream, const mi_attention *a) {
  const int rows = MI_TILE_ROWS;
  int64_t dim = a->head_dim, stride = (int64_t)a->query_heads * dim;
  for (int r = 0; r < rows; r++) {
    if (stream->visible[r] < 0) continue;
    int64_t row = stream->visible[r] - a->first_position;
    float sum = stream->row_sum[r];
    float factor = sum == 0 ? 0 : 1 / sum;
    float *o = a->o + row * stride + stream->head * dim;
    for (int64_t x = 0; x < dim; x++) o[x] = stream->oT[x * rows + r] * factor;
    if (a->log_sum_exp != NULL) {
      a->log_sum_exp[row * a->query_heads + stream->head] =
        sum == 0 ? -INFINITY : (stream->row_maximum[r] + log2f(sum)) * MI_LN2;
    }
  }
}

static void attend_block(mi_stream *stream, int64_t dim, const mi_key_block *keys, float *sT, float *rescale) {
  const int rows = MI_TILE_ROWS;
  int64_t count = keys->count;
  score_keys(stream->qT, dim, keys->k, keys->v, count, sT, rows);
  // Keys ascend, so the first and the last tell whether any row may not see one of them.
  if (keys->key[count - 1] > stream->fully_visible || keys->key[0] < stream->window_start) {
    hide_keys(sT, count, keys->key, (mi_visibility){stream->visible, stream->oldest}, rows);
  }
  exponentiate(sT, count, stream->row_maximum, stream->row_sum, rescale, rows);
  add_values(sT, count, keys->v, dim, stream->oT, rescale, rows);
}

// Takes the next block of whichever stream has the earliest key; NULL when all have ended.
static mi_stream *next_block(
  const mi_attention *a, int32_t kv_head, mi_stream *streams, int32_t count, mi_key_block *keys
) {
  mi_stream *first = NULL;
  int64_t first_key = INT64_MAX;
  for (int32_t i = 0; i < count; i++) {
    int64_t key = next_key(&streams[i]);
    if (key < first_key) {
      first_key = key;
      first = &streams[i];
    }
  }
  if (first == NULL) return NULL;
  fill_block(first, a->tile_columns, keys);
  if (first->position >= first->stop) open_run(first, a->tile_columns);
  resolve_keys(keys, a->k, a->v, a->kv_type, kv_head * a->capacity, a->head_dim);
  return first;
}

static void attention(
  const mi_attention *a, int32_t kv_head, int64_t tile_row, int32_t tile_rows, void *scratch
) {
  mi_arena arena = {scratch};
  int64_t dim = a->head_dim;
  mi_key_block blocks[2] = {make_key_block(&arena, dim), make_key_block(&arena, dim)};
  float *sT = take(&arena, (MI_KEY_BLOCK + MI_B * MI_NV) * MI_TILE_ROWS * sizeof(float));
  float *rescale = take(&arena, MI_TILE_ROWS * sizeof(float));
  int32_t count = a->group_size * tile_rows;
  mi_stream *streams = take(&arena, (size_t)count * sizeof(mi_stream));
  for (int32_t i = 0; i < count; i++) {
    int32_t head = kv_head * a->group_size + i % a->group_size;
    open_stream(&streams[i], a, head, tile_row + i / a->group_size, &arena);
  }
  // One block is chosen ahead, so that its first keys arrive while the block before it is computed.
  int at = 0;
  mi_stream *current = next_block(a, kv_head, streams, count, &blocks[at]);
  while (current != NULL) {
    mi_stream *next = next_block(a, kv_head, streams, count, &blocks[1 - at]);
    if (next != NULL) {
      int64_t first = blocks[1 - at].count < MI_B ? blocks[1 - at].count : MI_B;
      prefetch_rows(blocks[1 - at].k, first, dim);
    }
    attend_block(current, dim, &blocks[at], sT, rescale);
    current = next;
    at = 1 - at;
  }
  for (int32_t i = 0; i < count; i++) close_stream(&streams[i], a);
}
