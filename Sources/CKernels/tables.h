#pragma once

#include "CKernels.h"

extern const mi_kernels mi_kernels_portable;
extern const mi_kernels mi_kernels_neon;
extern const mi_kernels mi_kernels_avx2;
extern const mi_kernels mi_kernels_avx512;

extern const mi_bfloat16_products mi_bfloat16_products_avx512;

extern const mi_block_products mi_block_products_portable;
extern const mi_block_products mi_block_products_neon;
extern const mi_block_products mi_block_products_neon_dot;
extern const mi_block_products mi_block_products_avx2;
extern const mi_block_products mi_block_products_avxvnni;
extern const mi_block_products mi_block_products_avx512;
