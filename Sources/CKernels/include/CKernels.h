// Kernels of the CPU backend: plain C, compiled once for each instruction set, chosen at run time.
//
// Every pointer is owned by the caller. Matrices are row-major float32 unless a type says otherwise.
// No function allocates; scratch memory is handed in, one piece for each thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Query positions in a tile row, whatever the instruction set.
#define MI_TILE_ROWS 32
// Keys that are scored, exponentiated and summed together.
#define MI_KEY_BLOCK 96
// Most query rows that one estimation works with.
#define MI_LAST_ROWS 64

typedef enum { MI_FLOAT32 = 0, MI_FLOAT16 = 1, MI_BFLOAT16 = 2 } mi_type;

// Blocks of integers with scales; StoredNumbers/Blocks in Swift defines them under these names.
typedef enum {
  MI_Q4_0, MI_Q4_1, MI_Q5_0, MI_Q5_1, MI_Q8_0, MI_Q2_K, MI_Q3_K, MI_Q4_K, MI_Q5_K, MI_Q6_K,
  MI_IQ4_NL, MI_IQ4_XS, MI_MXFP4
} mi_block_format;

typedef enum { MI_PORTABLE = 0, MI_NEON = 1, MI_AVX2 = 2, MI_AVX512 = 3 } mi_isa;

// The row set of one query head. runs holds pairs (start, end) of key tiles; the runs of tile row t
// of the index are row_offsets[t] ..< row_offsets[t + 1]. runs == NULL: every causal pair.
typedef struct {
  const int32_t *row_offsets;
  const int32_t *runs;
  const int32_t *columns;
  int64_t column_count;
} mi_row_set;

// Sparse causal attention of consecutive rows; see Backend.attention for the meaning.
typedef struct {
  const float *q;          // [rows, query_heads, head_dim]
  float *o;                // the same shape; may be q
  float *log_sum_exp;      // [rows, query_heads] or NULL
  const void *k;           // [kv_heads, capacity, head_dim]
  const void *v;
  mi_type kv_type;
  int64_t capacity;
  int32_t head_dim;
  int32_t query_heads;
  int32_t group_size;
  int32_t tile_columns;
  float scale;
  int64_t sliding_window;  // 0: none
  int64_t first_position;  // of row 0
  int64_t rows;
  int64_t first_tile_row;  // absolute tile row of row_offsets[0]
  const mi_row_set *const *row_sets;  // one for each query head
} mi_attention;

// Dense attention of few rows at any positions, one range of keys: partial results to be merged.
typedef struct {
  const float *q;            // [rows, query_heads, head_dim]
  const void *k;
  const void *v;
  mi_type kv_type;
  int64_t capacity;
  int32_t head_dim;
  int32_t query_heads;
  int32_t group_size;
  float scale;
  int64_t sliding_window;
  const int64_t *positions;  // one for each row
  int64_t rows;
} mi_row_attention;

// Sums over the last rows' attention; see Backend.lastRowSums.
typedef struct {
  const float *q;  // [rows, query_heads, head_dim], rows <= MI_LAST_ROWS
  const void *k;
  mi_type kv_type;
  int64_t capacity;
  int32_t head_dim;
  int32_t query_heads;
  float scale;
  int64_t sliding_window;
  int64_t first_position;
  int64_t rows;
} mi_last_rows;

typedef struct {
  const char *name;

  // Bytes of scratch that one thread of attention, row_attention and last_row_* needs. Aligned to
  // 64 bytes by the caller.
  size_t (*scratch_bytes)(int32_t head_dim, int32_t streams);

  // All query heads of one key-value head, tile_rows consecutive tile rows from tile_row (absolute).
  // streams for the scratch: group_size * tile_rows.
  void (*attention)(
    const mi_attention *arguments, int32_t kv_head, int64_t tile_row, int32_t tile_rows,
    void *scratch);

  // Rows row_start ..< row_end (at most 16 lanes: rows * group_size) of one key-value head, keys
  // key_start ..< key_end. Writes for each (row, head of the group) the maximum (base 2, scaled),
  // the sum and the unnormalised output: partial[lane] = {maximum, sum, o[head_dim]}.
  void (*row_attention)(
    const mi_row_attention *arguments, int32_t kv_head, int32_t lane_start, int32_t lanes,
    int64_t key_start, int64_t key_end, float *partial, void *scratch);

  // First pass of the estimation: maximum and sum (base 2) of each row over a range of keys, for
  // `heads` query heads of one key-value head. maximum, sum: [heads, MI_LAST_ROWS].
  void (*last_row_maximum)(
    const mi_last_rows *arguments, int32_t kv_head, const int32_t *heads, int32_t head_count,
    int64_t key_start, int64_t key_end, float *maximum, float *sum, void *scratch);

  // Second pass: adds to vertical[head][key - key_start] and to
  // slash[head][first_position + row - key + MI_LAST_ROWS - (first_position - key_end + 1)].
  // log_sum_exp: [heads, MI_LAST_ROWS], base 2. slash rows hold key_end - key_start + 2 *
  // MI_LAST_ROWS floats, zeroed by the caller.
  void (*last_row_sums)(
    const mi_last_rows *arguments, int32_t kv_head, const int32_t *heads, int32_t head_count,
    int64_t key_start, int64_t key_end, const float *log_sum_exp, float *const *vertical,
    float *const *slash, void *scratch);

  // The softmax (base 2) of one group's scores of the groups first ..< end and of a sink's score (NULL:
  // there is none), summed over key blocks of groups_of_block groups each, times factor:
  // shares[e / groups_of_block] += factor * P[e]. Entries of scores are overwritten; those behind end up
  // to a multiple of 16 may be written too.
  void (*group_shares)(
    float *scores, int64_t first, int64_t end, int64_t groups_of_block, const float *sink,
    float factor, float *shares);

  // y[r][o] (+)= dot(x[r], weight[o]) + bias[o] for output columns out_start ..< out_end and few rows.
  void (*linear_rows)(
    const float *x, int64_t rows, int64_t in, const void *weight, mi_type type, const float *bias,
    int64_t out_start, int64_t out_end, int64_t out, float *y, bool accumulate);

  // y[r][o] (+)= dot(x[r], weight[o]) for rows row_start ..< row_end and all `columns` weight rows;
  // rows of y are `out` apart. Used where no BLAS is found. scratch: MI_TILE_ROWS * (in +
  // MI_KEY_BLOCK + 64) floats.
  void (*linear_block)(
    const float *x, int64_t row_start, int64_t row_end, int64_t in, const float *weight,
    int64_t columns, int64_t out, float *y, bool accumulate, void *scratch);

  // The elements of consecutive blocks.
  void (*dequantise)(mi_block_format format, const void *source, float *target, int64_t blocks);
  void (*to_float32)(const void *source, mi_type type, float *target, int64_t count);
  void (*to_bfloat16)(const float *source, uint16_t *target, int64_t count);
  // Float8 (e4m3) times a factor.
  void (*float8_to_float32)(const uint8_t *source, float factor, float *target, int64_t count);
  void (*rms_norm)(
    const float *x, const float *weight, float epsilon, float *y, int64_t rows, int64_t width);
  void (*swiglu)(float *gate, const float *up, int64_t count);
  // gate = (u + 1) * g * sigmoid(alpha * g), g = gate, at most limit, u = up between -limit and limit.
  void (*clamped_swiglu)(float *gate, const float *up, float alpha, float limit, int64_t count);
  void (*add_bias)(const float *bias, float *y, int64_t rows, int64_t width);
  // cosine, sine: [rows, pairs]; x: [rows, heads, head_dim].
  void (*rotate)(
    float *x, const float *cosine, const float *sine, int64_t rows, int64_t heads,
    int64_t head_dim, int64_t pairs, bool interleaved);
} mi_kernels;

// The kernels for an instruction set, or NULL if this build or this processor lacks it.
const mi_kernels *mi_kernels_for(mi_isa isa);

// MARK: Products with matrices in blocks

// A matrix of rows of blocks, outputs by inputs; width is a multiple of 32.
typedef struct {
  mi_block_format format;
  const void *blocks;
  int64_t row_bytes;
  int64_t width;
} mi_block_matrix;

// Products of activations with matrices in blocks. Activations are made int8 first, with a scale for
// each 32 elements of a row: every product is exact but for that and for the rounding of float32 sums.
// A row with an element that is no number has outputs that are none.
typedef struct {
  const char *name;
  // Outputs that many_rows computes together.
  int32_t panel_outputs;
  // Bytes of quantised rows, and of one thread's scratch for many_rows; both aligned to 64.
  size_t (*activation_bytes)(int64_t rows, int64_t width);
  size_t (*panel_bytes)(int64_t width);
  // Rows row_start ..< row_end of x, [rows, width], for a product with a matrix of that format.
  void (*quantise_rows)(
    mi_block_format format, const float *x, int64_t rows, int64_t width, int64_t row_start,
    int64_t row_end, void *activations);
  // y[r][o] (+)= dot(x[r], matrix[o]) + bias[o] for all quantised rows and outputs out_start ..<
  // out_end; rows of y are y_stride floats apart. Reads the blocks once for every two
  // rows: many_rows is faster for more.
  void (*few_rows)(
    const mi_block_matrix *matrix, const void *activations, int64_t rows, int64_t out_start,
    int64_t out_end, const float *bias, float *y, int64_t y_stride, bool accumulate);
  // The same by panels of outputs.
  void (*many_rows)(
    const mi_block_matrix *matrix, const void *activations, int64_t rows, int64_t out_start,
    int64_t out_end, const float *bias, float *y, int64_t y_stride, bool accumulate,
    void *scratch);
} mi_block_products;

// The products for an instruction set that mi_kernels_for has kernels for; with AVX-512 they are
// those of AVX2 where the processor lacks VNNI.
const mi_block_products *mi_block_products_for(mi_isa isa);

// MARK: Products of bfloat16

// Products with bfloat16 weights by the processor's dot products of pairs: both factors are bfloat16, sums float32.
// A row is bit for bit the same by either function, whatever rows and outputs are beside it.
typedef struct {
  const char *name;
  // Outputs of one call of multiply at most.
  int32_t panel_outputs;
  // Bytes of its scratch, aligned to 64.
  size_t (*panel_bytes)(void);
  // y[r][o] (+)= dot(x[r], weight[o]) for outputs out_start ..< out_end; x: [rows, width], weight:
  // [outputs, width], width even; rows of y are y_stride floats apart.
  void (*multiply)(
    const uint16_t *x, int64_t rows, int64_t width, const uint16_t *weight, int64_t out_start,
    int64_t out_end, float *y, int64_t y_stride, bool accumulate, void *scratch);
  // The same for any number of outputs and without scratch: faster while reading the weights is the cost.
  void (*few_rows)(
    const uint16_t *x, int64_t rows, int64_t width, const uint16_t *weight, int64_t out_start,
    int64_t out_end, float *y, int64_t y_stride, bool accumulate);
} mi_bfloat16_products;

// The products for an instruction set, or NULL if the processor has no such dot products.
const mi_bfloat16_products *mi_bfloat16_products_for(mi_isa isa);

// MARK: Threads

typedef struct mi_pool mi_pool;

// index: which of the pieces; thread: 0 ..< threads, which piece of scratch to use.
typedef void (*mi_task)(void *context, int64_t index, int32_t thread);

// A pool of threads - 1 workers beside the caller; NULL if no thread could be made.
mi_pool *mi_pool_create(int32_t threads);
void mi_pool_destroy(mi_pool *pool);
int32_t mi_pool_threads(const mi_pool *pool);
// Runs task(context, i, thread) for i in 0 ..< count, in ascending order of start, and waits. One
// caller at a time; others wait their turn.
void mi_pool_run(mi_pool *pool, int64_t count, mi_task task, void *context);
