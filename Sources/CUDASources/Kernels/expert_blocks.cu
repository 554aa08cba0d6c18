// Products of few rows with the matrices of their experts, where these are in blocks as GGUF files have them.

#include "blocks.cuh"
#include "few_expert_rows.cuh"

using namespace mi;

MI_FEW_EXPERT_ROWS(q4_0, Q4_0)
MI_FEW_EXPERT_ROWS(q4_1, Q4_1)
MI_FEW_EXPERT_ROWS(q5_0, Q5_0)
MI_FEW_EXPERT_ROWS(q5_1, Q5_1)
MI_FEW_EXPERT_ROWS(q8_0, Q8_0)
MI_FEW_EXPERT_ROWS(q2_k, Q2_K)
MI_FEW_EXPERT_ROWS(q3_k, Q3_K)
MI_FEW_EXPERT_ROWS(q4_k, Q4_K)
MI_FEW_EXPERT_ROWS(q5_k, Q5_K)
MI_FEW_EXPERT_ROWS(q6_k, Q6_K)
MI_FEW_EXPERT_ROWS(iq4_nl, IQ4_NL)
MI_FEW_EXPERT_ROWS(iq4_xs, IQ4_XS)
MI_FEW_EXPERT_ROWS(mxfp4, MXFP4)
