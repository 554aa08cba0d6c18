// Stands in for the kernels' hopper.cuh and hopper_fp8.cuh on the CPU: transaction barriers, bulk copies in the 128-byte swizzle, and
// warpgroup products, which are done when they are asked for.
#pragma once

#include <map>

#include "common.cuh"

/// What a tensor map of rank 3 says.
struct TensorMap {
  const unsigned char* start;
  int elementBytes;
  long long sizes[3];
  long long strides[2];
  int box[3];
};

namespace emulated {
struct TransactionBarrier {
  int wanted, missing, bytes, phase;
};
inline std::map<unsigned, TransactionBarrier> barriers;
inline void settle(TransactionBarrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.wanted;
  barrier.phase ^= 1;
}
/// Lets the other threads run.
inline void yield() {
  const int self = threadIdx.x;
  swapcontext(&contexts[self], &scheduler);
  threadIdx.x = self;
}
}  // namespace emulated

namespace mi {

enum : unsigned long long { cacheEvictNormal };

template <int count> void releaseRegisters() {}
template <int count> void claimRegisters() {}

inline void barrierInitialize(unsigned barrier, int arrivals) {
  if (barrier % 8 || barrier + 8 > sizeof emulated::memory) {
    printf("a barrier that is not aligned, or beyond shared memory\n");
    exit(1);
  }
  emulated::barriers[barrier] = {arrivals, arrivals, 0, 0};
}
inline void barrierInitializationFence() {}
inline void barrierArrive(unsigned barrier) {
  auto& b = emulated::barriers.at(barrier);
  if (--b.missing < 0) {
    printf("more arrivals at a barrier than it waits for\n");
    exit(1);
  }
  emulated::settle(b);
}
inline void barrierExpect(unsigned barrier, int bytes) {
  emulated::barriers.at(barrier).bytes += bytes;
  barrierArrive(barrier);
}
inline void barrierWait(unsigned barrier, unsigned parity) {
  for (long tries = 0; emulated::barriers.at(barrier).phase == (int)parity; ++tries) {
    if (tries > 1000000) {
      printf("a wait that does not end\n");
      exit(1);
    }
    emulated::yield();
  }
}

inline unsigned swizzled(unsigned address) { return address ^ (address >> 7 & 7) << 4; }

inline void copyBox(unsigned shared, const TensorMap* map, int x, int y, int z, unsigned barrier, unsigned long long) {
  const int rowBytes = map->box[0] * map->elementBytes;
  if (shared % 1024 || rowBytes != 128) {
    printf("a box that is not aligned, or whose rows are not 128 bytes\n");
    exit(1);
  }
  for (int row = 0; row < map->box[1]; ++row)
    for (int i = 0; i < map->box[0]; ++i) {
      unsigned char* to = emulated::memory + swizzled(shared + row * 128 + i * map->elementBytes);
      if (x + i < map->sizes[0] && y + row < map->sizes[1] && z < map->sizes[2])
        memcpy(to, map->start + z * map->strides[1] + (y + row) * map->strides[0] + (long long)(x + i) * map->elementBytes,
            map->elementBytes);
      else
        memset(to, 0, map->elementBytes);
    }
  auto& b = emulated::barriers.at(barrier);
  b.bytes -= rowBytes * map->box[1];
  emulated::settle(b);
}

inline void productsBegin() {}
inline void productsCommit() {}
template <int pending> void productsWait() {}
template <int n> void pin(float (&)[n]) {}

inline unsigned long long operand(unsigned shared, int, int stride) {
  if (stride != 1024) {
    printf("groups of eight rows are not 1024 bytes apart\n");
    exit(1);
  }
  return (shared & 0x3ffff) >> 4;
}
inline unsigned operandAddress(unsigned long long operand) { return (unsigned)(operand & 0x3fff) << 4; }

inline float elementAt(unsigned start, int row, int i, bool isFloat8) {
  const unsigned address = swizzled(start + row * 128 + i * (isFloat8 ? 1 : 2));
  if (isFloat8) return fp8ToFloat(emulated::memory[address]);
  ::bf16 bits;
  memcpy(&bits, emulated::memory + address, 2);
  return toFloat(bits);
}

/// This thread's numbers of a 64 x 128 product of a warpgroup.
inline void multiplyWarpgroup(float (&c)[64], unsigned long long a, unsigned long long b, int accumulate, bool isFloat8) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3;
  for (int i = 0; i < 64; ++i) {
    const int row = 16 * warp + lane / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
    float sum = accumulate ? c[i] : 0;
    for (int k = 0; k < (isFloat8 ? 32 : 16); ++k)
      sum += elementAt(operandAddress(a), row, k, isFloat8) * elementAt(operandAddress(b), column, k, isFloat8);
    c[i] = sum;
  }
}
inline void multiplyShared128(float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
  multiplyWarpgroup(c, a, b, accumulate, false);
}
inline void multiplySharedFp8(float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
  multiplyWarpgroup(c, a, b, accumulate, true);
}

}  // namespace mi

#define __syncwarp() emulated::exchange(0, 0)
