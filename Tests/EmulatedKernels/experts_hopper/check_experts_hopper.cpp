// Checks Hopper's products of rows with the matrices of their experts against their definition, in both types, over random rows of
// experts with none, few and many. Prints one line for each case that fails and one at the end; exits 1 on a miss.

#include "expert_products_hopper.cu"

#include <random>

// This kernel has no static shared memory; the emulation wants the section to be there.
__shared__ __attribute__((used)) int unusedShared;

struct Random {
  std::mt19937 engine;
  int between(int low, int high) { return low + (int)(engine() % (unsigned)(high - low + 1)); }
};

template <typename Element> static float value(Element x) {
  if constexpr (sizeof(Element) == 1) return fp8ToFloat(x);
  else return toFloat(x);
}

template <typename Element>
static const char* check(int outputs, int inputs, const std::vector<int>& counts, bool gated, int blocks, Random& random) {
  constexpr bool isFloat8 = sizeof(Element) == 1;
  const int experts = (int)counts.size();
  std::vector<int> offsets = {0}, expertOf;
  for (int e = 0; e < experts; ++e) {
    offsets.push_back(offsets.back() + counts[e]);
    expertOf.insert(expertOf.end(), counts[e], e);
  }
  const int positions = offsets.back();
  auto numbers = [&](size_t count) {
    std::vector<Element> values(count);
    for (Element& x : values)
      x = isFloat8 ? (Element)(random.between(0, 0x3f) | random.between(0, 1) << 7)
                   : (Element)(__float_as_uint((float)random.between(-8, 8) / 4) >> 16);
    return values;
  };
  auto factors = [&](size_t count) {
    std::vector<float> values(count);
    for (float& x : values) x = random.between(1, 8) / 8.f;
    return values;
  };
  const auto x = numbers((size_t)positions * inputs), w = numbers((size_t)experts * outputs * inputs), u = numbers(w.size());
  const auto xs = factors(positions), ws = factors(experts * outputs), us = factors(experts * outputs);
  const bf16 guard = 0x7fc1;
  std::vector<bf16> y((size_t)(positions + 1) * outputs, guard);
  ExpertProduct p{};
  p.y = y.data(), p.offsets = offsets.data(), p.experts = experts, p.outputs = outputs, p.inputs = inputs;
  if (isFloat8) p.xScales = xs.data(), p.weightScales = ws.data(), p.upScales = us.data();
  auto map = [&](const std::vector<Element>& from, int rows, int matrices) {
    const long long row = inputs * (long long)sizeof(Element);
    return TensorMap{(const unsigned char*)from.data(), sizeof(Element), {inputs, rows, matrices}, {row, row * rows},
        {128 / (int)sizeof(Element), 128, 1}};
  };
  const TensorMap rows = map(x, positions, 1), weights = map(w, outputs, experts), ups = map(u, outputs, experts);
  emulated::launch(blocks, 1, 1, 384, [&] {
    if constexpr (isFloat8) gated ? gated_experts_fp8(p, rows, weights, ups) : expert_linear_fp8(p, rows, weights, weights);
    else gated ? gated_experts_bf16(p, rows, weights, ups) : expert_linear_bf16(p, rows, weights, weights);
  });
  for (int position = 0; position < positions; ++position)
    for (int o = 0; o < outputs; ++o) {
      double sum = 0, up = 0, size = 0;
      const size_t output = (size_t)expertOf[position] * outputs + o;
      for (int i = 0; i < inputs; ++i) {
        const double a = value(x[(size_t)position * inputs + i]);
        sum += a * value(w[output * inputs + i]), up += a * value(u[output * inputs + i]);
        size += fabs(a * value(w[output * inputs + i]));
      }
      if (isFloat8) sum *= xs[position] * ws[output], up *= xs[position] * us[output];
      if (gated) sum = sum / (1 + exp(-sum)) * up;
      if (!(fabs(toFloat(y[(size_t)position * outputs + o]) - sum) <= fabs(sum) / 100 + size * 1e-5)) return "outputs";
    }
  for (int o = 0; o < outputs; ++o)
    if (y[(size_t)positions * outputs + o] != guard) return "what lies behind the output";
  return nullptr;
}

int main(int count, char** arguments) {
  Random random{std::mt19937(count > 1 ? (unsigned)atoi(arguments[1]) : 1)};
  int failed = 0, cases = 0;
  auto report = [&](const char* what, const char* name) {
    ++cases;
    if (what) printf("%s: %s\n", name, what), ++failed;
  };
  for (bool gated : {false, true}) {
    report(check<bf16>(8, 8, {1}, gated, 2, random), "bf16");
    // More steps than stages, tiles that are not full, experts without rows, and more tiles than blocks.
    report(check<bf16>(136, 360, {130, 0, 1}, gated, 1, random), "bf16");
    report(check<bf16>(264, 72, {3, 0, 60}, gated, 3, random), "bf16");
    report(check<unsigned char>(16, 16, {2}, gated, 1, random), "e4m3");
    report(check<unsigned char>(144, 688, {0, 20, 129}, gated, 2, random), "e4m3");
  }
  printf("Hopper's experts: %d cases, %d failed\n", cases, failed);
  return failed ? 1 : 0;
}
