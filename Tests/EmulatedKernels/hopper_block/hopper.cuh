// Stands in for the kernels' hopper.cuh on the CPU. Copies finish some time after they were asked for; products read their
// operands and write their result when they are waited for, as late as the hardware may.
#pragma once

#include <map>

#include "common.cuh"

struct alignas(64) TensorMap {
  const bf16* base;
  long long sizes[3], strides[2];  // elements, innermost first; elements
  int box[3];
};

namespace mi {

template <int count> inline void releaseRegisters() {}
template <int count> inline void claimRegisters() {}
inline int opaqueZero() { return 0; }

inline std::map<int, emulated::Meeting> named;
inline emulated::Meeting& meeting(int id, int threads) {
  emulated::Meeting& m = named.try_emplace(id, emulated::Meeting{threads}).first->second;
  return m;
}
inline void barrierSync(int id, int threads) { meeting(id, threads).meet(); }
inline void barrierArrive(int id, int threads) { meeting(id, threads).arrive(); }

struct Transaction {
  int size, pending, bytes = 0;
  unsigned phase = 0;
  void settle() {
    ++emulated::progress;
    if (pending < 0) abort();
    if (pending == 0 && bytes == 0) pending = size, ++phase;
  }
};
inline std::map<unsigned, Transaction> transactions;
inline void barrierInitialize(unsigned barrier, int arrivals) { transactions[barrier] = {arrivals, arrivals}; }
inline void barrierInitializationFence() {}
inline void barrierArrive(unsigned barrier) {
  Transaction& t = transactions.at(barrier);
  --t.pending;
  t.settle();
}
inline void barrierArriveTimes(unsigned barrier, int times) {
  while (times-- > 0) barrierArrive(barrier);
}
inline void barrierArriveAgain(unsigned barrier) { barrierArrive(barrier); }
inline void barrierExpect(unsigned barrier, int bytes) {
  transactions.at(barrier).bytes += bytes;
  barrierArrive(barrier);
}
inline void barrierWait(unsigned barrier, unsigned parity) {
  emulated::waitUntil([&] { return (transactions.at(barrier).phase & 1) != (parity & 1); });
}
inline unsigned loadShared(unsigned shared) {
  unsigned word;
  memcpy(&word, at(shared), 4);
  return word;
}

enum : unsigned long long { cacheEvictFirst, cacheEvictLast };
inline unsigned swizzled(unsigned address) { return address ^ (address >> 7 & 7) << 4; }
inline void copyBox(unsigned shared, const TensorMap* map, int x, int y, int z, unsigned barrier, unsigned long long) {
  const TensorMap m = *map;
  if (shared & 1023 || m.box[0] != 64) abort();
  memset(at(shared), 0xff, m.box[1] * m.box[2] * 128);  // not a number until the copy is done
  emulated::later.push_back([=] {
    for (int k = 0; k < m.box[2]; ++k)
      for (int j = 0; j < m.box[1]; ++j)
        for (int i = 0; i < 64; ++i) {
          const long long at0 = x + i, at1 = y + j, at2 = z + k;
          const bool inside = at0 >= 0 && at0 < m.sizes[0] && at1 >= 0 && at1 < m.sizes[1] && at2 >= 0 && at2 < m.sizes[2];
          const bf16 value = inside ? m.base[at0 + at1 * m.strides[0] + at2 * m.strides[1]] : 0;
          memcpy(at(swizzled(shared + (k * m.box[1] + j) * 128 + 2 * i)), &value, 2);
        }
    Transaction& t = transactions.at(barrier);
    t.bytes -= m.box[1] * m.box[2] * 128;
    t.settle();
  });
}

// MARK: Products

inline std::vector<std::vector<std::function<void()>>> groups[emulated::threads];
inline void productsBegin() {
  if (groups[emulated::current].empty() || !groups[emulated::current].back().empty()) groups[emulated::current].emplace_back();
}
inline void productsCommit() {}
template <int pending> inline void productsWait() {
  auto& mine = groups[emulated::current];
  while ((int)mine.size() > pending) {
    for (auto& product : mine.front()) product();
    mine.erase(mine.begin());
  }
}
template <int n> inline void pin(float (&)[n]) {}

inline unsigned long long operand(unsigned shared, int leading, int stride) {
  return (unsigned long long)((shared & 0x3ffff) >> 4) | (unsigned long long)(leading >> 4) << 16
      | (unsigned long long)(stride >> 4) << 32 | 1ull << 62;
}
inline float element(unsigned long long descriptor, int byte) {
  bf16 value;
  memcpy(&value, at(swizzled((unsigned)(descriptor & 0x3fff) * 16 + byte)), 2);
  return toFloat(value);
}
inline int stride(unsigned long long descriptor) { return (int)(descriptor >> 32 & 0x3fff) * 16; }
inline int leading(unsigned long long descriptor) { return (int)(descriptor >> 16 & 0x3fff) * 16; }

template <int columns> inline void multiplyShared(float* c, unsigned long long a, unsigned long long b, int accumulate) {
  const int thread = emulated::current;
  groups[thread].back().push_back([=] {
    const int row = (thread >> 5 & 3) * 16 + (thread & 31) / 4;
    for (int i = 0; i < columns / 2; ++i) {
      const int m = row + (i >> 1 & 1) * 8, n = i / 4 * 8 + 2 * (thread & 3) + (i & 1);
      float sum = accumulate ? c[i] : 0.0f;
      for (int k = 0; k < 16; ++k)
        sum += element(a, m / 8 * stride(a) + m % 8 * 128 + 2 * k) * element(b, n / 8 * stride(b) + n % 8 * 128 + 2 * k);
      c[i] = sum;
    }
  });
}
inline void multiplyShared128(float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
  multiplyShared<128>(c, a, b, accumulate);
}
/// The left operand is spread over the quad's registers: its threads meet before each reads the others' when it waits. Registers
/// that change before then would be a mistake of the kernel, so each gives its own at the wait too.
template <int n> inline void multiplyRegisters(float (&c)[n], unsigned& a0, unsigned& a1, unsigned& a2, unsigned& a3, unsigned long long b) {
  const int thread = emulated::current;
  float* to = c;
  unsigned* from[4] = {&a0, &a1, &a2, &a3};
  groups[thread].back().push_back([=] {
    unsigned x[2][8];
    for (int i = 0; i < 4; ++i)
      for (int t = 0; t < 4; ++t) x[i & 1][(i >> 1) * 4 + t] = emulated::shuffle(*from[i], (thread & 28) + t);
    for (int i = 0; i < 2 * n; i += 1) {
      if (i >= n) break;
      const int column = i / 4 * 8 + 2 * (thread & 3) + (i & 1);
      for (int k = 0; k < 16; ++k) {
        const unsigned pair = x[i >> 1 & 1][k / 2];
        to[i] += toFloat((bf16)(k & 1 ? pair >> 16 : pair))
            * element(b, column / 64 * leading(b) + k / 8 * stride(b) + k % 8 * 128 + column % 64 * 2);
      }
    }
  });
}

}  // namespace mi
