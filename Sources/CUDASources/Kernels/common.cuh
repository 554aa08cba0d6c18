// Shared device helpers of every CUDA kernel: number formats, tensor core steps, asynchronous copies.
//
// Compiled by NVRTC without toolkit headers, so whatever a toolkit header would give is inline PTX here. Everything in this
// file compiles for sm_80 and later. Layout names follow the PTX manual: fragment A of m16n8k16 is four registers of bf16
// pairs, fragment B two, the accumulator four floats; thread t of a warp holds rows t/4 and t/4 + 8.

#pragma once

typedef unsigned short bf16;  // raw bits; arithmetic is done in fp32
typedef unsigned char fp8;    // raw bits of e4m3 (bias 7, no infinities)

namespace mi {

constexpr int warpSize = 32;
constexpr float log2e = 1.4426950408889634f;
constexpr float ln2 = 0.6931471805599453f;

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

template <typename T> __device__ __forceinline__ T minimum(T a, T b) { return a < b ? a : b; }
template <typename T> __device__ __forceinline__ T maximum(T a, T b) { return a > b ? a : b; }

// MARK: Number formats

/// bf16 bits to fp32, exact.
__device__ __forceinline__ float toFloat(bf16 x) { return __uint_as_float((unsigned)x << 16); }

/// The two halves of a packed pair; element 0 is the low half.
__device__ __forceinline__ float lowFloat(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float highFloat(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

/// fp32 to bf16, nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ bf16 toBF16(float x) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}

/// Two fp32 values to a packed bf16 pair, nearest, ties to even; `low` becomes element 0.
__device__ __forceinline__ unsigned toBF16Pair(float low, float high) {
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

/// e4m3 values in the upper bytes of both halves (value << 8) to a bf16 pair, exact, on every architecture from sm_80.
/// The exponent and mantissa bits are moved into bf16's fields, which scales by 2^-120; one multiplication undoes that and
/// normalises the subnormal values. The NaN codes 0x7f and 0xff become +-480: a cache must not hold them.
__device__ __forceinline__ unsigned fp8HighBytesToBF16Pair(unsigned x) {
  const unsigned bits = (x & 0x80008000u) | ((x >> 4) & 0x07f007f0u);
  unsigned r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(bits), "r"(0x7b807b80u), "r"(0x80008000u));
  return r;
}

/// Two fp32 values to a packed fp16 pair, nearest, ties to even; `low` becomes element 0. Beyond 65504: infinity.
__device__ __forceinline__ unsigned toF16Pair(float low, float high) {
  unsigned r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

/// Four e4m3 values to two fp16 pairs, exact: bytes 0 and 1, bytes 2 and 3. A cache must not hold the NaN codes 0x7f, 0xff.
__device__ __forceinline__ void fp8ToF16Pairs(unsigned x, unsigned& low, unsigned& high) {
#if __CUDA_ARCH__ >= 890
  asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.rn.f16x2.e4m3x2 %0, a; cvt.rn.f16x2.e4m3x2 %1, b; }"
      : "=r"(low), "=r"(high)
      : "r"(x));
#else
  // Exponent and mantissa bits moved into fp16's fields scale by 2^-8, which one multiplication undoes.
  const unsigned a = __byte_perm(x, 0, 0x1404), b = __byte_perm(x, 0, 0x3424);
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(low) : "r"((a & 0x80008000u) | ((a & 0x7f007f00u) >> 1)), "r"(0x5c005c00u));
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(high) : "r"((b & 0x80008000u) | ((b & 0x7f007f00u) >> 1)), "r"(0x5c005c00u));
#endif
}

// MARK: Transcendentals (approximate units; inputs and results of subnormal size are flushed)

__device__ __forceinline__ float exp2Approximate(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

__device__ __forceinline__ float log2Approximate(float x) {
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// MARK: Reductions

/// Over the four threads that hold one row of an accumulator.
__device__ __forceinline__ float quadMaximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ __forceinline__ float quadSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
__device__ __forceinline__ float warpMaximum(float x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, m));
  return x;
}
__device__ __forceinline__ float warpSum(float x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) x += __shfl_xor_sync(0xffffffffu, x, m);
  return x;
}

// MARK: Shared memory and asynchronous copies

/// Address of a shared memory location in its own 32-bit window.
__device__ __forceinline__ unsigned sharedAddress(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

/// Copies 16 bytes from global to shared memory past L1; both addresses are multiples of 16.
__device__ __forceinline__ void copyAsync16(unsigned shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}

/// As `copyAsync16`, but writes zeros and reads nothing when `valid` is false. `global` must still be a valid address.
__device__ __forceinline__ void copyAsync16(unsigned shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0) : "memory");
}

/// Copies 4 bytes from global to shared memory; both addresses are multiples of 4. Writes zeros and reads nothing when `valid`
/// is false. `global` must still be a valid address.
__device__ __forceinline__ void copyAsync4(unsigned shared, const void* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(valid ? 4 : 0) : "memory");
}

__device__ __forceinline__ void copyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `pending` of this thread's committed groups are under way.
template <int pending> __device__ __forceinline__ void copyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// MARK: Tensor cores

/// Four 8 x 8 matrices of 16-bit elements; lanes 8i..8i+7 give the row addresses of matrix i.
__device__ __forceinline__ void loadMatrix4(unsigned (&r)[4], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared)
               : "memory");
}

/// As `loadMatrix4`, each matrix transposed.
__device__ __forceinline__ void loadMatrix4Transposed(unsigned (&r)[4], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared)
               : "memory");
}

/// c += a * b: a 16 x 16, b 16 x 8 (column-major fragments), c 16 x 8; bf16 operands, fp32 sums.
__device__ __forceinline__ void multiplyAdd(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// As `multiplyAdd` with fp16 operands.
__device__ __forceinline__ void multiplyAddF16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace mi
