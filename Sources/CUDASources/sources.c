#include "CUDASources.h"

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

static const char common_cuh[] = {
#embed "Kernels/common.cuh"
    , 0};

static const char elementwise_cu[] = {
#embed "Kernels/elementwise.cu"
    , 0};

static const char estimation_cu[] = {
#embed "Kernels/estimation.cu"
    , 0};

static const char fp8_cuh[] = {
#embed "Kernels/fp8.cuh"
    , 0};

static const char fp8_rows_cu[] = {
#embed "Kernels/fp8_rows.cu"
    , 0};

static const char fp8_blocks_cuh[] = {
#embed "Kernels/fp8_blocks.cuh"
    , 0};

static const char fp8_blocks_hopper_cu[] = {
#embed "Kernels/fp8_blocks_hopper.cu"
    , 0};

static const char hopper_cuh[] = {
#embed "Kernels/hopper.cuh"
    , 0};

static const char hopper_consumer_cuh[] = {
#embed "Kernels/hopper_consumer.cuh"
    , 0};

static const char hopper_fp8_cuh[] = {
#embed "Kernels/hopper_fp8.cuh"
    , 0};

static const char hopper_fp8_consumer_cuh[] = {
#embed "Kernels/hopper_fp8_consumer.cuh"
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

static const char hopper_rows_cuh[] = {
#embed "Kernels/hopper_rows.cuh"
    , 0};

static const char kv_cu[] = {
#embed "Kernels/kv.cu"
    , 0};

static const char largest_cuh[] = {
#embed "Kernels/largest.cuh"
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

static const char plans_cuh[] = {
#embed "Kernels/plans.cuh"
    , 0};

static const char pooling_cu[] = {
#embed "Kernels/pooling.cu"
    , 0};

static const char reductions_cuh[] = {
#embed "Kernels/reductions.cuh"
    , 0};

static const char row_attention_cu[] = {
#embed "Kernels/row_attention.cu"
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
    {"common.cuh", common_cuh},
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
    {"hopper_rows.cuh", hopper_rows_cuh},
    {"largest.cuh", largest_cuh},
    {"numbers.cuh", numbers_cuh},
    {"pairs.cuh", pairs_cuh},
    {"plans.cuh", plans_cuh},
    {"reductions.cuh", reductions_cuh},
};
const mi_cuda_source *const mi_cuda_headers = headers;
const int mi_cuda_header_count = sizeof headers / sizeof *headers;

static const mi_cuda_source kernels[] = {
    {"attention.cu", attention_cu},
    {"attention_fp8_hopper.cu", attention_fp8_hopper_cu},
    {"attention_hopper.cu", attention_hopper_cu},
    {"elementwise.cu", elementwise_cu},
    {"estimation.cu", estimation_cu},
    {"fp8_rows.cu", fp8_rows_cu},
    {"fp8_blocks_hopper.cu", fp8_blocks_hopper_cu},
    {"kv.cu", kv_cu},
    {"merging.cu", merging_cu},
    {"plan.cu", plan_cu},
    {"pooling.cu", pooling_cu},
    {"row_attention.cu", row_attention_cu},
    {"sampling.cu", sampling_cu},
    {"scoring.cu", scoring_cu},
    {"selection.cu", selection_cu},
    {"synthetic.cu", synthetic_cu},
};
const mi_cuda_source *const mi_cuda_kernels = kernels;
const int mi_cuda_kernel_count = sizeof kernels / sizeof *kernels;
