// The CUDA backend's kernels as text, and the few C types of the driver's and cuBLASLt's interfaces
// that it uses. Nothing of the toolkit is included: libraries are opened at run time.
#pragma once

#include <stddef.h>
#include <stdint.h>

// One source file, ending in a zero byte.
typedef struct {
  const char *name;
  const char *text;
} mi_cuda_source;

// Files that kernels include, by the name they include them with.
extern const mi_cuda_source *const mi_cuda_headers;
extern const int mi_cuda_header_count;

// Files that are compiled into a module each.
extern const mi_cuda_source *const mi_cuda_kernels;
extern const int mi_cuda_kernel_count;

// CUtensorMap of cuda.h: how the copy engine of Hopper reads a matrix; wants 64-byte alignment.
typedef struct {
  uint64_t words[16];
} mi_tensor_map;

// CUlaunchAttribute of cuda.h.
typedef struct {
  int32_t identifier;
  int32_t padding;
  int32_t value[16];
} mi_launch_attribute;

// CUlaunchConfig of cuda.h.
typedef struct {
  uint32_t grid[3];
  uint32_t block[3];
  uint32_t shared_bytes;
  void *stream;
  mi_launch_attribute *attributes;
  uint32_t attribute_count;
} mi_launch_configuration;

// cublasLtMatmulHeuristicResult_t of cublasLt.h.
typedef struct {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int32_t status;
  float waves;
  int32_t reserved[4];
} mi_matmul_heuristic;

// What one query head computes: HeadPlan of Kernels/plans.cuh, 64 bytes; addresses are the device's.
typedef struct {
  int32_t kind;
  int32_t step_count;
  uint64_t steps;
  uint64_t step_offsets;
  uint64_t starts;
  uint64_t columns;
  int32_t column_count;
  int32_t dense_from;
  int32_t padding[4];
} mi_head_plan;

// HeadBudget of Kernels/plans.cuh.
typedef struct {
  int32_t vertical;
  int32_t slash;
  int32_t wanted;
  float share;
} mi_head_budget;

// FixedBands of Kernels/plans.cuh.
typedef struct {
  int32_t wanted;
  int32_t range_start;
  int32_t range_count;
  int32_t column_start;
  int32_t column_count;
  int32_t dense_from;
  int32_t padding[2];
} mi_fixed_bands;

// EstimationParameters of Kernels/estimation.cu.
typedef struct {
  uint64_t q;
  uint64_t k;
  uint64_t budgets;
  uint64_t partial;
  uint64_t vertical;
  uint64_t slash;
  uint64_t log_sum_exp;
  uint64_t sinks;
  int64_t kv_head_stride;
  int64_t sum_stride;
  int32_t rows;
  int32_t first_position;
  int32_t q_stride;
  int32_t query_heads;
  int32_t group_size;
  int32_t window;
  int32_t splits;
  int32_t keys_per_split;
  float scale_log2;
} mi_estimation_parameters;

// SelectionParameters of Kernels/selection.cu.
typedef struct {
  uint64_t vertical;
  uint64_t slash;
  uint64_t budgets;
  uint64_t columns;
  uint64_t offsets;
  uint64_t counts;
  int64_t sum_stride;
  int32_t keys;
  int32_t maximum_columns;
  int32_t maximum_offsets;
  int32_t forced_columns;
  int32_t forced_offsets;
  float mass_unit;
  int32_t has_sinks;
  int32_t padding;
} mi_selection_parameters;

// PlanParameters of Kernels/plan.cu.
typedef struct {
  uint64_t plans;
  uint64_t pairs;
  uint64_t bands;
  uint64_t starts;
  uint64_t steps;
  uint64_t columns;
  uint64_t offsets;
  uint64_t counts;
  uint64_t budgets;
  uint64_t fixed;
  uint64_t ranges;
  int32_t bands_stride;
  int32_t starts_stride;
  int32_t maximum_columns;
  int32_t maximum_offsets;
  int32_t rows;
  int32_t first_position;
  int32_t window;
  float column_cost;
  int32_t exact;
  int32_t aligned;
} mi_plan_parameters;

// BlockHead of Kernels/pooling.cu.
typedef struct {
  int32_t head;
  int32_t top_k;
} mi_block_head;

// BlockParameters of Kernels/pooling.cu.
typedef struct {
  uint64_t queries;
  uint64_t keys;
  uint64_t scores;
  uint64_t heads;
  uint64_t rooms;
  uint64_t step_counts;
  uint64_t work;
  uint64_t steps;
  uint64_t step_offsets;
  uint64_t plans;
  uint64_t pair_counts;
  int32_t query_blocks;
  int32_t key_blocks;
  int32_t score_stride;
  int32_t pairs;
  int32_t slab_pair;
  int32_t slab_pairs;
  int32_t rows;
  int32_t first_position;
  int32_t head_dim;
  int32_t group_size;
  int32_t top_k;
  int32_t window;
  float tile_cost;
  float run_cost;
  int32_t exact;
} mi_block_parameters;

// ShareHead of Kernels/shares.cuh.
typedef struct {
  int32_t head;
  float share;
  float floor;
  float cap;
  int32_t has_columns;
  int32_t dense_from;
  int32_t least;
  float band_distance;
} mi_share_head;

// ShareParameters of Kernels/shares.cuh.
typedef struct {
  uint64_t q;
  uint64_t k;
  uint64_t heads;
  uint64_t sums;
  uint64_t maxima;
  uint64_t bits;
  uint64_t work;
  uint64_t step_counts;
  uint64_t steps;
  uint64_t step_offsets;
  uint64_t columns;
  uint64_t column_counts;
  uint64_t plans;
  uint64_t pair_counts;
  int64_t kv_head_stride;
  int32_t part_rows;
  int32_t part_position;
  int32_t first_position;
  int32_t rows;
  int32_t part_groups;
  int32_t sum_stride;
  int32_t maximum_stride;
  int32_t words;
  int32_t chunk_blocks;
  int32_t step_capacity;
  int32_t column_stride;
  int32_t q_stride;
  int32_t group_size;
  int32_t stride;
  int32_t query_stride;
  int32_t window;
  float scale_log2;
  float tile_cost;
  float run_cost;
  float column_cost;
  int32_t exact;
  uint64_t takes_bands;
  uint64_t sinks;
} mi_share_parameters;

// BandChoiceParameters of Kernels/flexprefill.cu.
typedef struct {
  uint64_t heads;
  uint64_t sums;
  uint64_t maxima;
  uint64_t last_shares;
  uint64_t column_sums;
  uint64_t takes_bands;
  int64_t column_sum_stride;
  int32_t keys;
  int32_t key_blocks;
  int32_t part_blocks;
  int32_t sum_stride;
  int32_t maximum_stride;
  int32_t first_row;
  int32_t window;
} mi_band_choice_parameters;

// PooledScoreParameters of Kernels/pooled_shares.cu.
typedef struct {
  uint64_t queries;
  uint64_t keys;
  uint64_t heads;
  uint64_t sums;
  uint64_t maxima;
  int32_t part_block;
  int32_t part_blocks;
  int32_t key_blocks;
  int32_t sum_stride;
  int32_t maximum_stride;
  int32_t head_dim;
  int32_t group_size;
  int32_t window;
  float scale_log2;
} mi_pooled_score_parameters;

// AttentionParameters of Kernels/plans.cuh.
typedef struct {
  uint64_t q;
  uint64_t o;
  uint64_t log_sum_exp;
  uint64_t k;
  uint64_t v;
  int64_t kv_head_stride;
  uint64_t heads;
  int32_t rows;
  int32_t first_position;
  int32_t plan_first_position;
  int32_t q_stride;
  int32_t o_stride;
  int32_t query_heads;
  int32_t group_size;
  int32_t window;
  float scale_log2;
  int32_t first_key;
  int32_t end_key;
} mi_attention_parameters;

// HopperParameters of Kernels/hopper_plan.cuh.
typedef struct {
  uint64_t counter;
  int32_t pair_heads;
} mi_hopper_parameters;

// Fp8Parameters of Kernels/hopper_fp8_plan.cuh.
typedef struct {
  uint64_t keys;
  uint64_t values;
  uint64_t column_keys;
  uint64_t column_values;
  uint64_t factors;
  int32_t blocks;
  int32_t column_blocks;
} mi_fp8_parameters;

// RowAttentionParameters of Kernels/row_attention.cu.
typedef struct {
  uint64_t q;
  uint64_t o;
  uint64_t log_sum_exp;
  uint64_t k;
  uint64_t v;
  uint64_t key_scales;
  uint64_t value_scales;
  uint64_t positions;
  uint64_t workspace;
  uint64_t counters;
  int64_t kv_head_stride;
  int32_t rows;
  int32_t q_stride;
  int32_t o_stride;
  int32_t query_heads;
  int32_t group_size;
  int32_t splits;
  int32_t keys;
  int32_t window;
  float scale_log2;
  uint64_t sequences;
} mi_row_attention_parameters;

// SequenceRow of Kernels/row_attention_tile.cuh.
typedef struct {
  uint64_t k;
  uint64_t v;
  uint64_t key_scales;
  uint64_t value_scales;
  int64_t kv_head_stride;
} mi_sequence_row;

// DecodingHeads of Kernels/decoding_heads.cu.
typedef struct {
  uint64_t q;
  uint64_t k;
  uint64_t v;
  uint64_t q_norm;
  uint64_t k_norm;
  uint64_t inverse_frequencies;
  uint64_t sequences;
  uint64_t positions;
  int32_t rows;
  int32_t query_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t pairs;
  int32_t is_interleaved;
  int32_t is_fp8;
  float attention_scaling;
  float epsilon;
} mi_decoding_heads;

// DecodingMatrix of Kernels/decoding_products.cuh.
typedef struct {
  uint64_t weight;
  uint64_t scales;
  uint64_t bias;
  uint64_t y;
  int32_t outputs;
  int32_t scale_rows;
  int32_t scale_columns;
  int32_t scales_across;
  int32_t first_row;
  int32_t role;
} mi_decoding_matrix;

// DecodingProduct of Kernels/decoding_products.cuh.
typedef struct {
  uint64_t x;
  uint64_t norm;
  mi_decoding_matrix matrices[3];
  int32_t rows;
  int32_t inputs;
  int32_t is_gated;
  int32_t is_wide;
  int32_t accumulate;
  int32_t parts;
  float epsilon;
} mi_decoding_product;

// DecodingExperts of Kernels/decoding_experts.cu.
typedef struct {
  uint64_t x;
  uint64_t norm;
  uint64_t weight;
  uint64_t up;
  uint64_t scales;
  uint64_t up_scales;
  uint64_t experts;
  uint64_t sources;
  uint64_t places;
  uint64_t factors;
  uint64_t y;
  int32_t per_row;
  int32_t inputs;
  int32_t outputs;
  float epsilon;
} mi_decoding_experts;

// ExpertRule of Kernels/experts.cu.
typedef struct {
  int32_t experts;
  int32_t per_row;
  int32_t is_sigmoid;
  int32_t groups;
  int32_t chosen_groups;
  int32_t normalizes;
  float scaling;
} mi_expert_rule;

// ExpertProduct of Kernels/expert_tiles.cuh.
typedef struct {
  uint64_t x;
  uint64_t weight;
  uint64_t up;
  uint64_t y;
  uint64_t offsets;
  uint64_t x_scales;
  uint64_t weight_scales;
  uint64_t up_scales;
  uint64_t bias;
  uint64_t up_bias;
  int32_t experts;
  int32_t outputs;
  int32_t inputs;
  float alpha;
  float limit;
  int32_t padding;
} mi_expert_product;
