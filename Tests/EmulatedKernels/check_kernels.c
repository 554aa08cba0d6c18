// Checks one instruction set's attention, estimation and linear kernels against plain loops in
// double precision. Meant for processors that are not at hand: run_neon.sh builds it for Arm and
// runs it under emulation. Prints one line for each kernel; exits 1 on a miss.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static uint64_t state = 1;

static float random_float(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (float)((double)(state >> 11) / 4503599627370496.0 - 1.0);
}

static float *random_floats(size_t count, float scale) {
  float *values = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
  for (size_t i = 0; i < count; i++) values[i] = scale * random_float();
  return values;
}

enum { HEADS = 3, ROWS = 77, FIRST = 41, KEYS = FIRST + ROWS, CAPACITY = KEYS + 3, SCRATCH = 8 << 20 };

static int failures;

static void report(const char *what, int dim, double error) {
  int ok = error < 2e-5;
  printf("%-8s %-32s head dim %3d  error %.1e\n", ok ? "ok" : "FAILED", what, dim, error);
  if (!ok) failures++;
}

// o and log-sum-exp of one row over keys 0 ..= position.
static double dense_row(
  const float *q, const float *k, const float *v, int dim, int position, float scale, double *o
) {
  double score[KEYS], sum = 0, highest = -INFINITY;
  for (int j = 0; j <= position; j++) {
    score[j] = 0;
    for (int x = 0; x < dim; x++) score[j] += (double)q[x] * k[j * dim + x];
    score[j] *= scale;
    if (score[j] > highest) highest = score[j];
  }
  for (int x = 0; x < dim; x++) o[x] = 0;
  for (int j = 0; j <= position; j++) {
    double p = exp(score[j] - highest);
    sum += p;
    for (int x = 0; x < dim; x++) o[x] += p * v[j * dim + x];
  }
  for (int x = 0; x < dim; x++) o[x] /= sum;
  return highest + log(sum);
}

static double worse(double error, double actual, double expected) {
  double difference = fabs(actual - expected) / (1 + fabs(expected));
  return difference > error || isnan(difference) ? (isnan(difference) ? INFINITY : difference) : error;
}

static void check_attention(const mi_kernels *kernels, int dim, void *scratch) {
  float *q = random_floats(ROWS * HEADS * dim, 3), *k = random_floats(CAPACITY * dim, 1);
  float *v = random_floats(CAPACITY * dim, 1), *o = random_floats(ROWS * HEADS * dim, NAN);
  float *lse = random_floats(ROWS * HEADS, NAN);
  mi_row_set all = {0};
  const mi_row_set *sets[HEADS] = {&all, &all, &all};
  float scale = 1 / sqrtf((float)dim);
  mi_attention a = {
    .q = q, .o = o, .log_sum_exp = lse, .k = k, .v = v, .kv_type = MI_FLOAT32, .capacity = CAPACITY,
    .head_dim = dim, .query_heads = HEADS, .group_size = HEADS, .tile_columns = 16, .scale = scale,
    .first_position = FIRST, .rows = ROWS, .first_tile_row = FIRST / MI_TILE_ROWS, .row_sets = sets};
  for (int t = FIRST / MI_TILE_ROWS; t * MI_TILE_ROWS < KEYS; t++) {
    kernels->attention(&a, 0, t, 1, scratch);
  }
  double error = 0, expected[256];
  for (int r = 0; r < ROWS; r++) {
    for (int h = 0; h < HEADS; h++) {
      double e = dense_row(q + (r * HEADS + h) * dim, k, v, dim, FIRST + r, scale, expected);
      error = worse(error, lse[r * HEADS + h], e);
      for (int x = 0; x < dim; x++) error = worse(error, o[(r * HEADS + h) * dim + x], expected[x]);
    }
  }
  report("attention", dim, error);

  int64_t positions[4] = {0, 17, KEYS - 1, 60};
  mi_row_attention rows = {
    .q = q, .k = k, .v = v, .kv_type = MI_FLOAT32, .capacity = CAPACITY, .head_dim = dim,
    .query_heads = HEADS, .group_size = HEADS, .scale = scale, .positions = positions, .rows = 4};
  float *partial = random_floats(16 * (dim + 2), NAN);
  kernels->row_attention(&rows, 0, 0, 12, 0, KEYS, partial, scratch);
  error = 0;
  for (int lane = 0; lane < 12; lane++) {
    dense_row(q + lane * dim, k, v, dim, (int)positions[lane / HEADS], scale, expected);
    float *p = partial + lane * (dim + 2);
    for (int x = 0; x < dim; x++) error = worse(error, p[2 + x] / p[1], expected[x]);
  }
  report("row attention", dim, error);

  mi_last_rows last = {
    .q = q + (ROWS - 64) * HEADS * dim, .k = k, .kv_type = MI_FLOAT32, .capacity = CAPACITY,
    .head_dim = dim, .query_heads = HEADS, .scale = scale, .first_position = KEYS - 64, .rows = 64};
  int32_t head = 1;
  float highest[64], sum[64], base2[64];
  kernels->last_row_maximum(&last, 0, &head, 1, 0, KEYS, highest, sum, scratch);
  for (int r = 0; r < 64; r++) base2[r] = highest[r] + log2f(sum[r]);
  float *vertical = calloc(KEYS, sizeof(float)), *slash = calloc(KEYS + 2 * 64 + KEYS, sizeof(float));
  kernels->last_row_sums(&last, 0, &head, 1, 0, KEYS, base2, &vertical, &slash, scratch);
  double columns[KEYS] = {0}, offsets[KEYS] = {0};
  for (int r = 0; r < 64; r++) {
    int i = KEYS - 64 + r;
    const float *row = last.q + (r * HEADS + head) * dim;
    double e = dense_row(row, k, v, dim, i, scale, expected);
    for (int j = 0; j <= i; j++) {
      double score = 0;
      for (int x = 0; x < dim; x++) score += (double)row[x] * k[j * dim + x];
      columns[j] += exp(score * scale - e);
      offsets[i - j] += exp(score * scale - e);
    }
  }
  error = 0;
  for (int j = 0; j < KEYS; j++) {
    error = worse(error, vertical[j], columns[j]);
    // Entry e stands for offset first_position - (KEYS - 1) + e - 64.
    error = worse(error, slash[j - (KEYS - 64) + (KEYS - 1) + 64], offsets[j]);
  }
  report("last-row sums", dim, error);

  float *y = random_floats(40 * 50, NAN), *y2 = random_floats(40 * 50, NAN);
  kernels->linear_rows(q, 40, dim, k, MI_FLOAT32, NULL, 0, 50, 50, y, false);
  kernels->linear_block(q, 0, 40, dim, k, 50, 50, y2, false, scratch);
  error = 0;
  for (int r = 0; r < 40; r++) {
    for (int c = 0; c < 50; c++) {
      double dot = 0;
      for (int x = 0; x < dim; x++) dot += (double)q[r * dim + x] * k[c * dim + x];
      error = worse(worse(error, y[r * 50 + c], dot), y2[r * 50 + c], dot);
    }
  }
  report("linear, few rows and blocks", dim, error);
}

int main(void) {
  int seen = 0;
  void *scratch = aligned_alloc(64, SCRATCH);
  for (mi_isa isa = MI_PORTABLE; isa <= MI_AVX512; isa++) {
    const mi_kernels *kernels = mi_kernels_for(isa);
    if (kernels == NULL) continue;
    seen++;
    printf("%s\n", kernels->name);
    check_attention(kernels, 64, scratch);
    check_attention(kernels, 96, scratch);
    check_attention(kernels, 128, scratch);
  }
  printf("%d instruction sets, %d misses\n", seen, failures);
  return failures == 0 && seen > 0 ? 0 : 1;
}
