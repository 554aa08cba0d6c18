// Draws tokens with sampling.cu on the CPU and with a plain sort in long double, and compares. Where the sort's choice hangs on
// the last digits, as shown by moving top-p, min-p and the random number a little, any of its choices passes.

#include <algorithm>
#include <cstdint>
#include <set>

#include "sampling.cu"

static uint64_t state;
static uint64_t next() {
  state += 0x9E3779B97F4A7C15u;
  uint64_t mixed = state;
  mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
  return mixed ^ mixed >> 31;
}
static int below(int bound) { return (int)((next() >> 33) % bound); }

struct Options {
  float temperature;
  int topK;
  float topP, minP;
};

static int emulate(const std::vector<float>& logits, Options o, uint64_t random) {
  int id = -2;
  const double topP = o.topP < 1 ? std::max(1.0, (double)o.topP * 0x1p64) : 0;
  const bool ended = emulated::run(
      [&] {
        draw(logits.data(), &id, (int)logits.size(), o.topK, 1.4426950408889634 / (double)o.temperature, (uint64_t)topP,
             (uint64_t)std::ceil((double)o.minP * 0x1p40), random);
      },
      [](int bound) { return below(bound); });
  return ended ? id : -3;
}

static int emulateLargest(const std::vector<float>& logits) {
  int id = -2;
  const bool ended = emulated::run([&] { argmax(logits.data(), &id, (int)logits.size(), 0); }, [](int bound) { return below(bound); });
  return ended ? id : -3;
}

static int naive(const std::vector<float>& logits, Options o, long double p, long double minP, long double u) {
  std::vector<int> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = (int)i;
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  auto weight = [&](int id) { return expl(((long double)logits[id] - logits[ids[0]]) / o.temperature); };
  if (o.topK > 0 && o.topK < (int)ids.size()) ids.resize(o.topK);
  if (p < 1) {
    long double total = 0, sum = 0;
    for (int id : ids) total += weight(id);
    size_t count = 0;
    while (count < ids.size() && (count == 0 || sum < p * total)) sum += weight(ids[count++]);
    ids.resize(count);
  }
  const int first = ids[0];
  ids.erase(std::remove_if(ids.begin(), ids.end(), [&](int id) { return id != first && weight(id) < minP; }), ids.end());
  std::vector<std::pair<int, long double>> kept;
  for (int id : ids) kept.push_back({id, expl(((long double)logits[id] - logits[first]) / o.temperature)});
  std::sort(kept.begin(), kept.end());
  long double total = 0, running = 0;
  for (auto& [id, w] : kept) total += w;
  for (auto& [id, w] : kept) {
    running += w;
    if (running > u * total) return id;
  }
  return kept.back().first;
}

int main(int argc, char** argv) {
  const uint64_t seed = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1;
  const int cases = argc > 2 ? atoi(argv[2]) : 120;
  state = seed;
  int failures = 0, close = 0;
  uint64_t hash = 0xcbf29ce484222325u;
  const int sizes[] = {1, 2, 31, 33, 1000, 1025, 5003};
  for (int c = 0; c < cases; ++c) {
    // Everything by exact arithmetic, so that another program can draw the same: TokenDrawTests does.
    uint64_t own = seed * 1000003 + c;
    std::swap(own, state);
    std::vector<float> logits(sizes[c % 7]);
    const int kind = c / 7 % 4;
    for (float& logit : logits) {
      logit = (float)(int)(next() >> 44) * 0x1p-16f - 8;           // 0 ..< 16, less 8
      if (kind == 1) logit = std::floor(logit);                     // many equals
      if (kind == 2) logit *= 64;                                   // most weigh nothing
      if (kind == 3 && (next() & 3) != 0) logit = -INFINITY;
    }
    if (kind == 3) logits[logits.size() / 2] = -0.0f;
    const Options options = {
        (float)(1 + (int)(next() & 7)) / 4, (next() & 1) ? 0 : 1 + (int)(next() % 60),
        (next() & 1) ? 1.0f : (float)(1 + (int)(next() % 63)) / 64, (next() & 3) ? 0.0f : (float)(next() & 15) / 64};
    const uint64_t random = next();
    std::swap(own, state);
    const int id = emulate(logits, options, random);
    hash = (hash ^ (uint64_t)(uint32_t)id) * 0x100000001b3u;
    const long double u = (long double)random * 0x1p-64L;
    std::set<int> allowed;
    for (int i = -1; i <= 1; ++i)
      for (int j = -1; j <= 1; ++j)
        for (int k = -1; k <= 1; ++k)
          allowed.insert(naive(logits, options, options.topP < 1 ? std::min(0.9999999L, options.topP * (1 + i * 1e-6L)) : 1,
                               options.minP * (1 + j * 1e-6L), std::min(0.9999999L, std::max(0.0L, u * (1 + k * 1e-6L)))));
    if (allowed.size() > 1) ++close;
    if (allowed.count(id) == 0) {
      ++failures;
      printf("case %d: %d of %zu, expected %d (kind %d, t %g, k %d, p %g, min %g)\n", c, id, logits.size(), *allowed.begin(), kind,
             options.temperature, options.topK, options.topP, options.minP);
    }
    if (emulateLargest(logits) != (int)(std::max_element(logits.begin(), logits.end()) - logits.begin())) {
      ++failures;
      printf("case %d: another largest\n", c);
    }
  }
  const Options plain = {1, 0, 1, 0};
  const std::vector<float> refused[] = {{1, NAN, 2}, {0, INFINITY}, {-INFINITY, -INFINITY}};
  for (const auto& logits : refused) failures += (emulate(logits, plain, 1) != -1) + (emulateLargest(logits) != -1);
  printf("%d cases, %d close calls, %d failures, hash %016llx\n", cases, close, failures, (unsigned long long)hash);
  return failures != 0;
}
