// The threads of one thread block as fibers of one thread of the CPU: each runs until it has to wait for others.
#pragma once

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

namespace emulated {

#ifndef EMULATED_THREADS
#define EMULATED_THREADS 384
#endif
constexpr int threads = EMULATED_THREADS;
inline int current = 0;
inline long progress = 0;  // counts whatever another fiber may be waiting for
inline ucontext_t scheduler, contexts[threads];
inline bool ended[threads];
inline std::function<void()> body;
inline std::vector<std::function<void()>> later;  // what the copy engine has not done yet

inline void yield() { swapcontext(&contexts[current], &scheduler); }
template <typename Condition> void waitUntil(Condition condition) {
  while (!condition()) yield();
}
inline void start() {
  body();
  ended[current] = true;
  ++progress;
  swapcontext(&contexts[current], &scheduler);
}

/// Runs `work` as every thread of a block, copies finishing in an order drawn by `draw`; false: the block stands still.
template <typename Draw> bool run(std::function<void()> work, Draw draw) {
  body = std::move(work);
  std::vector<std::unique_ptr<char[]>> stacks;
  constexpr int stackBytes = 256 << 10;
  for (int i = 0; i < threads; ++i) {
    stacks.emplace_back(new char[stackBytes]);
    ended[i] = false;
    getcontext(&contexts[i]);
    contexts[i].uc_stack.ss_sp = stacks.back().get();
    contexts[i].uc_stack.ss_size = stackBytes;
    contexts[i].uc_link = &scheduler;
    makecontext(&contexts[i], start, 0);
  }
  for (;;) {
    const long before = progress;
    bool all = true;
    const int warp0 = draw(threads / 32);  // warps in turn, beginning anywhere
    for (int w = 0; w < threads / 32; ++w)
      for (int lane = 0; lane < 32; ++lane) {
        current = (w + warp0) % (threads / 32) * 32 + lane;
        if (ended[current]) continue;
        all = false;
        swapcontext(&scheduler, &contexts[current]);
      }
    if (all) return later.empty();
    if (!later.empty() && (before == progress || draw(3) == 0)) {
      const int i = draw((int)later.size());
      auto copy = std::move(later[i]);
      later.erase(later.begin() + i);
      copy();
      ++progress;
    } else if (before == progress) {
      return false;
    }
  }
}

}  // namespace emulated
