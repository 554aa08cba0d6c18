// Stands in for the kernels' common.cuh on the CPU: the emulation that pooling runs on, and what planning
// uses besides.
#pragma once

#include "block.cuh"

struct int2 {
  int x, y;
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline unsigned __ballot_sync(unsigned, bool vote) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) votes |= (unsigned)emulated::exchange((int)vote, lane) << lane;
  return votes;
}
inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
