// Stands in for the kernels' common.cuh on the CPU: the emulation of the Hopper kernel's block, and what sampling uses besides.
#pragma once

#include <cstdint>

#include "block.cuh"

#undef __shared__
#define __shared__ static

struct BlockSize {
  int x, y, z;
};
inline BlockSize blockDim{EMULATED_THREADS, 1, 1};

template <typename To, typename From> To bitsOf(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return bitsOf<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return bitsOf<float>(x); }
inline int __float_as_int(float x) { return bitsOf<int>(x); }
inline float __int_as_float(int x) { return bitsOf<float>(x); }
inline long long __double_as_longlong(double x) { return bitsOf<long long>(x); }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float __double2float_rd(double x) { return std::nextafter((float)x, -INFINITY); }
inline float __double2float_ru(double x) { return std::nextafter((float)x, INFINITY); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
template <typename T> T __shfl_up_sync(unsigned, T value, int by) {
  const int lane = emulated::current & 31;
  return emulated::shuffle(value, lane < by ? lane : lane - by);
}
inline int __syncthreads_or(int vote) {
  static int votes[2][EMULATED_THREADS], turn[EMULATED_THREADS];
  int* mine = votes[turn[emulated::current]++ & 1];
  mine[emulated::current] = vote;
  __syncthreads();
  int any = 0;
  for (int i = 0; i < EMULATED_THREADS; ++i) any |= mine[i];
  return any;
}
inline int atomicAdd(int* to, int value) {
  const int before = *to;
  *to += value;
  return before;
}

namespace mi {
constexpr int warpSize = 32;
}
