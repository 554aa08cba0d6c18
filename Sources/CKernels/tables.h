#pragma once

#include "CKernels.h"

extern const mi_kernels mi_kernels_portable;
extern const mi_kernels mi_kernels_neon;
extern const mi_kernels mi_kernels_avx2;
extern const mi_kernels mi_kernels_avx512;
