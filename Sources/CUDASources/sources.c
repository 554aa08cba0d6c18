#include "CUDASources.h"

#include "Kernels/layouts.cuh"

// The structs of CUDASources.h lie as the kernels read them.
#define MI_HOST_FIELD(type, kernel, host, offset) \
  _Static_assert(offsetof(type, host) == offset, #type "." #host " is not where kernels read it");
#undef MI_CHECK_LAYOUT
#define MI_CHECK_LAYOUT(name, type)     \
  MI_LAYOUT_##name(MI_HOST_FIELD, type) \
  _Static_assert(sizeof(type) == MI_SIZE_##name, #type " has another size in kernels")

MI_CHECK_LAYOUT(HeadPlan, mi_head_plan);
MI_CHECK_LAYOUT(HeadBudget, mi_head_budget);
MI_CHECK_LAYOUT(FixedBands, mi_fixed_bands);
MI_CHECK_LAYOUT(AttentionParameters, mi_attention_parameters);
MI_CHECK_LAYOUT(EstimationParameters, mi_estimation_parameters);
MI_CHECK_LAYOUT(SelectionParameters, mi_selection_parameters);
MI_CHECK_LAYOUT(PlanParameters, mi_plan_parameters);
MI_CHECK_LAYOUT(BlockHead, mi_block_head);
MI_CHECK_LAYOUT(BlockParameters, mi_block_parameters);
MI_CHECK_LAYOUT(ShareHead, mi_share_head);
MI_CHECK_LAYOUT(ShareParameters, mi_share_parameters);
MI_CHECK_LAYOUT(BandChoiceParameters, mi_band_choice_parameters);
MI_CHECK_LAYOUT(PooledScoreParameters, mi_pooled_score_parameters);
MI_CHECK_LAYOUT(HopperParameters, mi_hopper_parameters);
MI_CHECK_LAYOUT(Fp8Parameters, mi_fp8_parameters);
MI_CHECK_LAYOUT(RowAttentionParameters, mi_row_attention_parameters);
MI_CHECK_LAYOUT(SequenceRow, mi_sequence_row);
MI_CHECK_LAYOUT(DecodingHeads, mi_decoding_heads);
MI_CHECK_LAYOUT(DecodingMatrix, mi_decoding_matrix);
MI_CHECK_LAYOUT(DecodingProduct, mi_decoding_product);
MI_CHECK_LAYOUT(DecodingExperts, mi_decoding_experts);
MI_CHECK_LAYOUT(ExpertRule, mi_expert_rule);
MI_CHECK_LAYOUT(ExpertProduct, mi_expert_product);

#pragma clang diagnostic ignored "-Wc23-extensions"

// The files of Kernels/ as they are, each ended by a zero byte. A new file is named here twice.

static const char attention_cu[] = {
#embed "Kernels/attention.cu"
    , 0};

static const char attention_fp8_hopper_cu[] = {
#embed "Kernels/attention_fp8_hopper.cu"
    , 0};

static const char attention_hopper_cu[] = {
#embed "Kernels/attention_hopper.cu"
    , 0};

static const char attention_pair_cuh[] = {
#embed "Kernels/attention_pair.cuh"
    , 0};

static const char attention_step_cuh[] = {
#embed "Kernels/attention_step.cuh"
    , 0};

static const char block_dots_cuh[] = {
#embed "Kernels/block_dots.cuh"
    , 0};

static const char block_row_cu[] = {
#embed "Kernels/block_row.cu"
    , 0};

static const char blocks_cuh[] = {
#embed "Kernels/blocks.cuh"
    , 0};

static const char common_cuh[] = {
#embed "Kernels/common.cuh"
    , 0};

static const char covering_cuh[] = {
#embed "Kernels/covering.cuh"
    , 0};

static const char decoding_experts_cu[] = {
#embed "Kernels/decoding_experts.cu"
    , 0};

static const char decoding_heads_cu[] = {
#embed "Kernels/decoding_heads.cu"
    , 0};

static const char dependent_launch_cuh[] = {
#embed "Kernels/dependent_launch.cuh"
    , 0};

static const char decoding_blocks_cu[] = {
#embed "Kernels/decoding_blocks.cu"
    , 0};

static const char decoding_blocks_cuh[] = {
#embed "Kernels/decoding_blocks.cuh"
    , 0};

static const char decoding_blocks_rows_cu[] = {
#embed "Kernels/decoding_blocks_rows.cu"
    , 0};

static const char decoding_heads_cuh[] = {
#embed "Kernels/decoding_heads.cuh"
    , 0};

static const char decoding_row_cuh[] = {
#embed "Kernels/decoding_row.cuh"
    , 0};

static const char decoding_products_cu[] = {
#embed "Kernels/decoding_products.cu"
    , 0};

static const char decoding_products_cuh[] = {
#embed "Kernels/decoding_products.cuh"
    , 0};

static const char dequantise_cu[] = {
#embed "Kernels/dequantise.cu"
    , 0};

static const char elementwise_cu[] = {
#embed "Kernels/elementwise.cu"
    , 0};

static const char estimation_scores_cuh[] = {
#embed "Kernels/estimation_scores.cuh"
    , 0};

static const char estimation_cu[] = {
#embed "Kernels/estimation.cu"
    , 0};

static const char expert_blocks_cu[] = {
#embed "Kernels/expert_blocks.cu"
    , 0};

static const char expert_products_cu[] = {
#embed "Kernels/expert_products.cu"
    , 0};

static const char expert_products_hopper_cu[] = {
#embed "Kernels/expert_products_hopper.cu"
    , 0};

static const char expert_tiles_cuh[] = {
#embed "Kernels/expert_tiles.cuh"
    , 0};

static const char experts_cu[] = {
#embed "Kernels/experts.cu"
    , 0};

static const char few_expert_rows_cuh[] = {
#embed "Kernels/few_expert_rows.cuh"
    , 0};

static const char few_rows_cuh[] = {
#embed "Kernels/few_rows.cuh"
    , 0};

static const char fp8_blocks_cuh[] = {
#embed "Kernels/fp8_blocks.cuh"
    , 0};

static const char fp8_blocks_hopper_cu[] = {
#embed "Kernels/fp8_blocks_hopper.cu"
    , 0};

static const char fp8_cuh[] = {
#embed "Kernels/fp8.cuh"
    , 0};

static const char flexprefill_cu[] = {
#embed "Kernels/flexprefill.cu"
    , 0};

static const char float8_blocks_cu[] = {
#embed "Kernels/float8_blocks.cu"
    , 0};

static const char fp8_rows_cu[] = {
#embed "Kernels/fp8_rows.cu"
    , 0};

static const char hopper_consumer_cuh[] = {
#embed "Kernels/hopper_consumer.cuh"
    , 0};

static const char hopper_cuh[] = {
#embed "Kernels/hopper.cuh"
    , 0};

static const char hopper_fp8_consumer_cuh[] = {
#embed "Kernels/hopper_fp8_consumer.cuh"
    , 0};

static const char hopper_fp8_cuh[] = {
#embed "Kernels/hopper_fp8.cuh"
    , 0};

static const char hopper_fp8_plan_cuh[] = {
#embed "Kernels/hopper_fp8_plan.cuh"
    , 0};

static const char hopper_fp8_producers_cuh[] = {
#embed "Kernels/hopper_fp8_producers.cuh"
    , 0};

static const char hopper_loader_cuh[] = {
#embed "Kernels/hopper_loader.cuh"
    , 0};

static const char hopper_plan_cuh[] = {
#embed "Kernels/hopper_plan.cuh"
    , 0};

static const char hopper_planner_cuh[] = {
#embed "Kernels/hopper_planner.cuh"
    , 0};

static const char hopper_quads_cuh[] = {
#embed "Kernels/hopper_quads.cuh"
    , 0};

static const char hopper_rows_cuh[] = {
#embed "Kernels/hopper_rows.cuh"
    , 0};

static const char kv_cu[] = {
#embed "Kernels/kv.cu"
    , 0};

static const char largest_cuh[] = {
#embed "Kernels/largest.cuh"
    , 0};

static const char layouts_cuh[] = {
#embed "Kernels/layouts.cuh"
    , 0};

static const char mean_products_cuh[] = {
#embed "Kernels/mean_products.cuh"
    , 0};

static const char merging_cu[] = {
#embed "Kernels/merging.cu"
    , 0};

static const char numbers_cuh[] = {
#embed "Kernels/numbers.cuh"
    , 0};

static const char pairs_cuh[] = {
#embed "Kernels/pairs.cuh"
    , 0};

static const char plan_cu[] = {
#embed "Kernels/plan.cu"
    , 0};

static const char antidiagonal_cu[] = {
#embed "Kernels/antidiagonal.cu"
    , 0};

static const char share_choice_cuh[] = {
#embed "Kernels/share_choice.cuh"
    , 0};

static const char shares_cu[] = {
#embed "Kernels/shares.cu"
    , 0};

static const char shares_cuh[] = {
#embed "Kernels/shares.cuh"
    , 0};

static const char plans_cuh[] = {
#embed "Kernels/plans.cuh"
    , 0};

static const char pooled_shares_cu[] = {
#embed "Kernels/pooled_shares.cu"
    , 0};

static const char pooling_cu[] = {
#embed "Kernels/pooling.cu"
    , 0};

static const char reductions_cuh[] = {
#embed "Kernels/reductions.cuh"
    , 0};

static const char rotation_cuh[] = {
#embed "Kernels/rotation.cuh"
    , 0};

static const char row_attention_cu[] = {
#embed "Kernels/row_attention.cu"
    , 0};

static const char row_attention_kernel_cuh[] = {
#embed "Kernels/row_attention_kernel.cuh"
    , 0};

static const char row_attention_merge_cuh[] = {
#embed "Kernels/row_attention_merge.cuh"
    , 0};

static const char row_attention_sequences_cu[] = {
#embed "Kernels/row_attention_sequences.cu"
    , 0};

static const char row_attention_tile_cuh[] = {
#embed "Kernels/row_attention_tile.cuh"
    , 0};

static const char sampling_cu[] = {
#embed "Kernels/sampling.cu"
    , 0};

static const char scoring_cu[] = {
#embed "Kernels/scoring.cu"
    , 0};

static const char selection_cu[] = {
#embed "Kernels/selection.cu"
    , 0};

static const char synthetic_cu[] = {
#embed "Kernels/synthetic.cu"
    , 0};

static const mi_cuda_source headers[] = {
    {"attention_pair.cuh", attention_pair_cuh},
    {"attention_step.cuh", attention_step_cuh},
    {"block_dots.cuh", block_dots_cuh},
    {"blocks.cuh", blocks_cuh},
    {"common.cuh", common_cuh},
    {"covering.cuh", covering_cuh},
    {"estimation_scores.cuh", estimation_scores_cuh},
    {"expert_tiles.cuh", expert_tiles_cuh},
    {"few_expert_rows.cuh", few_expert_rows_cuh},
    {"few_rows.cuh", few_rows_cuh},
    {"fp8.cuh", fp8_cuh},
    {"fp8_blocks.cuh", fp8_blocks_cuh},
    {"hopper.cuh", hopper_cuh},
    {"hopper_consumer.cuh", hopper_consumer_cuh},
    {"hopper_fp8.cuh", hopper_fp8_cuh},
    {"hopper_fp8_consumer.cuh", hopper_fp8_consumer_cuh},
    {"hopper_fp8_plan.cuh", hopper_fp8_plan_cuh},
    {"hopper_fp8_producers.cuh", hopper_fp8_producers_cuh},
    {"hopper_loader.cuh", hopper_loader_cuh},
    {"hopper_plan.cuh", hopper_plan_cuh},
    {"hopper_planner.cuh", hopper_planner_cuh},
    {"hopper_quads.cuh", hopper_quads_cuh},
    {"hopper_rows.cuh", hopper_rows_cuh},
    {"largest.cuh", largest_cuh},
    {"layouts.cuh", layouts_cuh},
    {"mean_products.cuh", mean_products_cuh},
    {"numbers.cuh", numbers_cuh},
    {"pairs.cuh", pairs_cuh},
    {"plans.cuh", plans_cuh},
    {"share_choice.cuh", share_choice_cuh},
    {"shares.cuh", shares_cuh},
    {"reductions.cuh", reductions_cuh},
    {"row_attention_kernel.cuh", row_attention_kernel_cuh},
    {"row_attention_merge.cuh", row_attention_merge_cuh},
    {"rotation.cuh", rotation_cuh},
    {"decoding_blocks.cuh", decoding_blocks_cuh},
    {"decoding_heads.cuh", decoding_heads_cuh},
    {"decoding_row.cuh", decoding_row_cuh},
    {"decoding_products.cuh", decoding_products_cuh},
    {"dependent_launch.cuh", dependent_launch_cuh},
    {"row_attention_tile.cuh", row_attention_tile_cuh},
};
const mi_cuda_source *const mi_cuda_headers = headers;
const int mi_cuda_header_count = sizeof headers / sizeof *headers;

static const mi_cuda_source kernels[] = {
    {"attention.cu", attention_cu},
    {"attention_fp8_hopper.cu", attention_fp8_hopper_cu},
    {"attention_hopper.cu", attention_hopper_cu},
    {"block_row.cu", block_row_cu},
    {"decoding_blocks.cu", decoding_blocks_cu},
    {"decoding_blocks_rows.cu", decoding_blocks_rows_cu},
    {"decoding_experts.cu", decoding_experts_cu},
    {"decoding_heads.cu", decoding_heads_cu},
    {"decoding_products.cu", decoding_products_cu},
    {"dequantise.cu", dequantise_cu},
    {"elementwise.cu", elementwise_cu},
    {"estimation.cu", estimation_cu},
    {"expert_blocks.cu", expert_blocks_cu},
    {"expert_products.cu", expert_products_cu},
    {"expert_products_hopper.cu", expert_products_hopper_cu},
    {"experts.cu", experts_cu},
    {"flexprefill.cu", flexprefill_cu},
    {"float8_blocks.cu", float8_blocks_cu},
    {"fp8_rows.cu", fp8_rows_cu},
    {"fp8_blocks_hopper.cu", fp8_blocks_hopper_cu},
    {"kv.cu", kv_cu},
    {"merging.cu", merging_cu},
    {"plan.cu", plan_cu},
    {"pooling.cu", pooling_cu},
    {"antidiagonal.cu", antidiagonal_cu},
    {"pooled_shares.cu", pooled_shares_cu},
    {"shares.cu", shares_cu},
    {"row_attention.cu", row_attention_cu},
    {"row_attention_sequences.cu", row_attention_sequences_cu},
    {"sampling.cu", sampling_cu},
    {"scoring.cu", scoring_cu},
    {"selection.cu", selection_cu},
    {"synthetic.cu", synthetic_cu},
};
const mi_cuda_source *const mi_cuda_kernels = kernels;
const int mi_cuda_kernel_count = sizeof kernels / sizeof *kernels;
