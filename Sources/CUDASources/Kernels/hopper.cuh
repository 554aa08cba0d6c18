// Hopper's own instructions (sm_90a): transaction barriers, bulk tensor copies, warpgroup matrix products.
//
// Names follow the PTX manual. A warpgroup is four consecutive warps; thread t of warp w of it holds, of a 64 x N accumulator,
// rows 16w + t/4 and 8 more, columns 8b + 2(t%4) and the next, as c[4b], c[4b+1] (first row), c[4b+2], c[4b+3] (second row).
// Operand tiles in shared memory are rows of 128 bytes in the 128-byte swizzle that bulk tensor copies write, 1024-byte aligned.

#pragma once

#include "common.cuh"

/// CUtensorMap: opaque, encoded on the host by cuTensorMapEncodeTiled.
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

namespace mi {

// MARK: Registers and warps

template <int count> __device__ __forceinline__ void releaseRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count> __device__ __forceinline__ void claimRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

/// Zero, but the compiler takes it for a value that differs between threads.
__device__ __forceinline__ int opaqueZero() {
  unsigned thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return (int)(thread >> 10);
}

/// Waits on named barrier `id` until `threads` threads have arrived at it, this one included.
__device__ __forceinline__ void barrierSync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrierArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// MARK: Transaction barriers (64-bit words of shared memory)

__device__ __forceinline__ void barrierInitialize(unsigned barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrierInitializationFence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrierExpect(unsigned barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrierArrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// Arrives `times` times, for threads that do not.
__device__ __forceinline__ void barrierArriveTimes(unsigned barrier, int times) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(times) : "memory");
}
/// Arrives once, but told apart by the compiler, which would otherwise join two branches that end alike.
__device__ __forceinline__ void barrierArriveAgain(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0]; // again" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ bool barrierTry(unsigned barrier, unsigned parity) {
  unsigned done;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done;
}
/// Waits until the phase of that parity has completed. Built with MI_BOUNDED_WAITS, a wait that never ends traps instead.
__device__ __forceinline__ void barrierWait(unsigned barrier, unsigned parity) {
#ifdef MI_BOUNDED_WAITS
  for (int tries = 0; !barrierTry(barrier, parity); ++tries)
    if (tries > (1 << 20)) __trap();
#else
  while (!barrierTry(barrier, parity)) {}
#endif
}

__device__ __forceinline__ unsigned loadShared(unsigned shared) {
  unsigned word;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(shared) : "memory");
  return word;
}

// MARK: Bulk tensor copies

enum : unsigned long long {
  cacheEvictNormal = 0x1000000000000000ull,
  cacheEvictFirst = 0x12F0000000000000ull,
  cacheEvictLast = 0x14F0000000000000ull
};

__device__ __forceinline__ void prefetchTensorMap(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/// Brings the box at (x, y, z) of a three-dimensional map to shared memory; elements outside the tensor become zeros.
__device__ __forceinline__ void copyBox(
    unsigned shared, const TensorMap* map, int x, int y, int z, unsigned barrier, unsigned long long hint) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
      " [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(shared),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier), "l"(hint)
      : "memory");
}

// MARK: Warpgroup matrix products

__device__ __forceinline__ void productsBegin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void productsCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `pending` committed groups are under way.
template <int pending> __device__ __forceinline__ void productsWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// Keeps the compiler from moving uses of registers that a product writes across this point.
template <int n> __device__ __forceinline__ void pin(unsigned (&c)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) asm volatile("" : "+r"(c[i])::"memory");
}
template <int n> __device__ __forceinline__ void pin(float (&c)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) asm volatile("" : "+f"(c[i])::"memory");
}

/// Shared-memory operand: 128-byte swizzle; `stride` is the distance of groups of 8 rows (K-major: of M or N; MN-major: of K),
/// `leading` the distance of blocks of 64 elements of an MN-major operand, in bytes.
__device__ __forceinline__ unsigned long long operand(unsigned shared, int leading, int stride) {
  return (unsigned long long)((shared & 0x3ffff) >> 4) | (unsigned long long)(leading >> 4) << 16
      | (unsigned long long)(stride >> 4) << 32 | 1ull << 62;
}

#define MI_EIGHT(c, i) \
  "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), "+f"(c[i + 7])

/// c[0..<64] = a * b^T (+ c where `accumulate`): a 64 x 16 and b 128 x 16 from shared memory, both K-major.
__device__ __forceinline__ void multiplyShared128(float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
               "}, %64, %65, p, 1, 1, 0, 0;\n}\n"
               : MI_EIGHT(c, 0), MI_EIGHT(c, 8), MI_EIGHT(c, 16), MI_EIGHT(c, 24),
                 MI_EIGHT(c, 32), MI_EIGHT(c, 40), MI_EIGHT(c, 48), MI_EIGHT(c, 56)
               : "l"(a), "l"(b), "r"(accumulate));
}

/// c += a * b: a 64 x 16 in registers (the layout of an m16n8k16 A fragment per warp), b 16 x 128 from shared
/// memory with its rows contiguous (MN-major).
__device__ __forceinline__ void multiplyRegisters(float (&c)[64], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned long long b) {
  asm volatile("{\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
               "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n}\n"
               : MI_EIGHT(c, 0), MI_EIGHT(c, 8), MI_EIGHT(c, 16), MI_EIGHT(c, 24),
                 MI_EIGHT(c, 32), MI_EIGHT(c, 40), MI_EIGHT(c, 48), MI_EIGHT(c, 56)
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}

/// As above with b 16 x 64.
__device__ __forceinline__ void multiplyRegisters(float (&c)[32], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned long long b) {
  asm volatile("{\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
               "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n}\n"
               : MI_EIGHT(c, 0), MI_EIGHT(c, 8), MI_EIGHT(c, 16), MI_EIGHT(c, 24)
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}

#undef MI_EIGHT

}  // namespace mi
