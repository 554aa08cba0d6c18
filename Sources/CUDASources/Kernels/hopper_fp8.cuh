// Warpgroup products of e4m3 operands and plain bulk copies (sm_90a), for attention with fp8 operands.
//
// Both operands of an e4m3 product are K-major. Its A fragment in registers is that of m16n8k32: thread t of a warp holds, of 32
// contraction indices, bytes 4(t%4) and the three after it (a0: row t/4, a1: row t/4 + 8) and the same 16 later (a2, a3).

#pragma once

#include "fp8.cuh"
#include "hopper.cuh"

namespace mi {

/// Copies `bytes` consecutive bytes (a multiple of 16, both ends aligned) to shared memory.
__device__ __forceinline__ void copyBytes(
    unsigned shared, const void* global, int bytes, unsigned barrier, unsigned long long hint) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(shared),
      "l"(global), "r"(bytes), "r"(barrier), "l"(hint)
      : "memory");
}

/// Makes shared memory that this thread wrote visible to warpgroup products and bulk copies.
__device__ __forceinline__ void publishShared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Shared-memory operand in rows of 64 bytes with the 64-byte swizzle (16-byte chunk ^= row / 2 % 4), 512-byte aligned.
__device__ __forceinline__ unsigned long long operand64(unsigned shared) {
  return (unsigned long long)((shared & 0x3ffff) >> 4) | 1ull << 16 | (unsigned long long)(512 >> 4) << 32 | 2ull << 62;
}

/// Four e4m3 in a word, the first in the low byte.
__device__ __forceinline__ unsigned packFp8(float a, float b, float c, float d) {
  unsigned r;
  asm("{\n.reg .b16 l, h;\ncvt.rn.satfinite.e4m3x2.f32 l, %2, %1;\ncvt.rn.satfinite.e4m3x2.f32 h, %4, %3;\nmov.b32 %0, {l, h};\n}"
      : "=r"(r)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return r;
}

#define MI_EIGHT(c, i) \
  "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), "+f"(c[i + 7])

/// c = a * b^T (+ c where `accumulate`): a 64 x 32 in registers, b 128 x 32 from shared memory.
__device__ __forceinline__ void multiplyFp8(
    float (&c)[64], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\nwgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
               "}, {%64, %65, %66, %67}, %68, p, 1, 1;\n}\n"
               : MI_EIGHT(c, 0), MI_EIGHT(c, 8), MI_EIGHT(c, 16), MI_EIGHT(c, 24),
                 MI_EIGHT(c, 32), MI_EIGHT(c, 40), MI_EIGHT(c, 48), MI_EIGHT(c, 56)
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b), "r"(accumulate));
}

/// c[0..<64] = a * b^T (+ c where `accumulate`): a 64 x 32 and b 128 x 32 from shared memory, both K-major.
__device__ __forceinline__ void multiplySharedFp8(float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
               "}, %64, %65, p, 1, 1;\n}\n"
               : MI_EIGHT(c, 0), MI_EIGHT(c, 8), MI_EIGHT(c, 16), MI_EIGHT(c, 24),
                 MI_EIGHT(c, 32), MI_EIGHT(c, 40), MI_EIGHT(c, 48), MI_EIGHT(c, 56)
               : "l"(a), "l"(b), "r"(accumulate));
}

#undef MI_EIGHT

}  // namespace mi
