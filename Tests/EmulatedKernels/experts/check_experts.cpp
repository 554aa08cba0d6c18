// Checks the kernels of mixtures of experts against their definitions, over random rows: who is chosen, in which order positions lie,
// products tile by tile and output by output, and sums. Prints one line for each case that fails and one at the end; exits 1 on a miss.

#include "expert_products.cu"
#include "experts.cu"

#include <numeric>
#include <random>

struct Random {
  std::mt19937 engine;
  int between(int low, int high) { return low + (int)(engine() % (unsigned)(high - low + 1)); }
  /// A bf16 of few digits: sums are exact.
  bf16 number() { return (bf16)(__float_as_uint((float)between(-8, 8) / 4) >> 16); }
};

struct Routing {
  std::vector<int> places, sources, experts, offsets;
  std::vector<float> weights;
};

/// As RoutingRule of Swift defines it.
static void choose(std::vector<double> logits, const std::vector<float>& bias, const ExpertRule& rule,
    std::vector<int>& chosen, std::vector<double>& weights) {
  const int n = rule.experts;
  // A bias is a part of the logits of a softmax.
  for (int e = 0; !rule.isSigmoid && e < (int)bias.size(); ++e) logits[e] += bias[e];
  std::vector<double> scores(n), choices(n);
  const double largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (int e = 0; e < n; ++e) total += exp(logits[e] - largest);
  for (int e = 0; e < n; ++e) {
    scores[e] = rule.isSigmoid ? 1 / (1 + exp(-logits[e])) : exp(logits[e] - largest) / total;
    choices[e] = rule.isSigmoid ? scores[e] + (bias.empty() ? 0 : bias[e]) : logits[e];
  }
  if (rule.groups > 1) {
    const int size = n / rule.groups;
    std::vector<std::pair<double, int>> sums;
    for (int g = 0; g < rule.groups; ++g) {
      std::vector<double> group(choices.begin() + g * size, choices.begin() + (g + 1) * size);
      std::sort(group.rbegin(), group.rend());
      sums.push_back({-(group[0] + group[1]), g});
    }
    std::sort(sums.begin(), sums.end());
    for (int g = rule.chosenGroups; g < rule.groups; ++g)
      for (int e = 0; e < size; ++e) choices[sums[g].second * size + e] = -INFINITY;
  }
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return choices[a] > choices[b]; });
  double sum = 0;
  for (int j = 0; j < rule.perRow; ++j) sum += scores[order[j]];
  for (int j = 0; j < rule.perRow; ++j) {
    chosen.push_back(order[j]);
    weights.push_back(scores[order[j]] * rule.scaling / (rule.normalizes ? sum + 1e-20 : 1));
  }
}

static Routing route(const std::vector<float>& logits, const std::vector<float>& bias, const ExpertRule& rule, int rows) {
  const int count = rows * rule.perRow;
  Routing r;
  r.places.assign(count, -7), r.sources.assign(count, -7), r.experts.assign(count, -7), r.offsets.assign(rule.experts + 1, -7);
  r.weights.assign(count, NAN);
  const float* b = bias.empty() ? nullptr : bias.data();
  if (count <= fewChoices) {
    emulated::launch(1, 1, 1, 256, [&] {
      route_few(logits.data(), b, rule, rows, r.places.data(), r.sources.data(), r.experts.data(), r.offsets.data(),
          r.weights.data());
    });
    return r;
  }
  // Sixteen-byte loads want an array that is aligned so.
  std::vector<int4> room(count / 4 + 1);
  int* chosen = (int*)room.data();
  std::vector<int> counts(rule.experts, -7);
  emulated::launch((rows + 7) / 8, 1, 1, 256, [&] { choose_experts(logits.data(), b, rule, rows, chosen, r.weights.data()); });
  emulated::launch(rule.experts, 1, 1, 256, [&] { count_experts(chosen, count, counts.data()); });
  emulated::launch(rule.experts, 1, 1, 256, [&] {
    order_positions(chosen, count, rule.perRow, counts.data(), r.places.data(), r.sources.data(), r.experts.data(),
        r.offsets.data());
  });
  return r;
}

static const char* checkRouting(const ExpertRule& rule, int rows, bool hasBias, Random& random) {
  std::vector<float> logits(rows * rule.experts), bias;
  for (int row = 0; row < rows; ++row) {
    // Differences that no rounding changes.
    std::vector<int> order(rule.experts);
    std::iota(order.begin(), order.end(), -rule.experts / 2);
    std::shuffle(order.begin(), order.end(), random.engine);
    for (int e = 0; e < rule.experts; ++e) logits[row * rule.experts + e] = order[e] / 64.f;
  }
  for (int e = 0; hasBias && e < rule.experts; ++e) bias.push_back(random.between(0, 63) / (rule.isSigmoid ? 512.f : 8192.f));
  const Routing r = route(logits, bias, rule, rows);
  std::vector<int> chosen;
  std::vector<double> weights;
  for (int row = 0; row < rows; ++row)
    choose({logits.begin() + row * rule.experts, logits.begin() + (row + 1) * rule.experts}, bias, rule, chosen, weights);
  int position = 0;
  for (int e = 0; e < rule.experts; ++e) {
    if (r.offsets[e] != position) return "offsets";
    for (int i = 0; i < (int)chosen.size(); ++i) {
      if (chosen[i] != e) continue;
      if (r.places[i] != position || r.sources[position] != i / rule.perRow || r.experts[position] != e) return "positions";
      ++position;
    }
  }
  if (r.offsets[rule.experts] != position) return "the last offset";
  for (size_t i = 0; i < weights.size(); ++i)
    if (!(fabs(r.weights[i] - weights[i]) <= 1e-5 * rule.scaling)) return "weights";
  const int width = 8 * random.between(1, 40);
  std::vector<uint4> roomX(chosen.size() * width / 8), roomY(rows * width / 8);
  bf16 *x = (bf16*)roomX.data(), *y = (bf16*)roomY.data();
  for (size_t i = 0; i < chosen.size() * width; ++i) x[i] = random.number();
  for (int i = 0; i < rows * width; ++i) y[i] = random.number();
  std::vector<bf16> before(y, y + rows * width);
  emulated::launch(rows, 1, 1, 256, [&] { add_experts(x, r.places.data(), r.weights.data(), y, rule.perRow, width); });
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < width; ++column) {
      double sum = toFloat(before[row * width + column]);
      for (int j = 0; j < rule.perRow; ++j)
        sum += weights[row * rule.perRow + j] * toFloat(x[(size_t)r.places[row * rule.perRow + j] * width + column]);
      if (!(fabs(toFloat(y[row * width + column]) - sum) <= fabs(sum) / 256 + 1e-4)) return "sums";
    }
  return nullptr;
}

static const char* checkProducts(int experts, int outputs, int inputs, const std::vector<int>& counts, bool gated, Random& random) {
  std::vector<int> offsets = {0}, expertOf;
  for (int e = 0; e < experts; ++e) {
    offsets.push_back(offsets.back() + counts[e]);
    expertOf.insert(expertOf.end(), counts[e], e);
  }
  const int positions = offsets.back();
  std::vector<uint4> roomX(positions * inputs / 8 + 1), roomW(experts * outputs * inputs / 8), roomU(roomW.size());
  std::vector<uint4> roomY((positions + 1) * outputs / 8), roomF(roomY.size());
  bf16 *x = (bf16*)roomX.data(), *w = (bf16*)roomW.data(), *u = (bf16*)roomU.data();
  for (int i = 0; i < positions * inputs; ++i) x[i] = random.number();
  for (int i = 0; i < experts * outputs * inputs; ++i) w[i] = random.number(), u[i] = random.number();
  const bf16 guard = 0x7fc1;
  bf16 *tiles = (bf16*)roomY.data(), *few = (bf16*)roomF.data();
  std::fill(tiles, tiles + (positions + 1) * outputs, guard), std::fill(few, few + (positions + 1) * outputs, guard);
  ExpertProduct p{};
  p.x = x, p.weight = w, p.up = u, p.offsets = offsets.data(), p.experts = experts, p.outputs = outputs, p.inputs = inputs;
  p.y = tiles;
  // Of about half of the cases biases, and of gated ones bounds that many gates and ups are beyond.
  std::vector<float> biases(experts * outputs), upBiases(experts * outputs);
  for (float& b : biases) b = random.between(-8, 8) / 4.f;
  for (float& b : upBiases) b = random.between(-8, 8) / 4.f;
  const bool isBiased = experts > 1;
  if (isBiased) p.bias = biases.data(), p.upBias = upBiases.data(), p.alpha = 1.702f, p.limit = 3;
  const int columns = gated ? 64 : 128, most = positions / 128 + std::min(positions, experts);
  emulated::launch((outputs + columns - 1) / columns, most, 1, 256, [&] { gated ? gated_experts_bf16(p) : expert_linear_bf16(p); });
  p.y = few;
  const bool isFew = positions <= 64;
  if (isFew)
    emulated::launch((outputs + 7) / 8, positions, 1, 256,
        [&] { gated ? few_gated_experts_bf16(p, expertOf.data()) : few_expert_linear_bf16(p, expertOf.data()); });
  for (int position = 0; position < positions; ++position)
    for (int o = 0; o < outputs; ++o) {
      double sum = 0, up = 0;
      const size_t row = ((size_t)expertOf[position] * outputs + o) * inputs;
      for (int i = 0; i < inputs; ++i) {
        sum += toFloat(x[position * inputs + i]) * toFloat(w[row + i]);
        up += toFloat(x[position * inputs + i]) * toFloat(u[row + i]);
      }
      const size_t output = (size_t)expertOf[position] * outputs + o;
      if (isBiased) sum += biases[output], up += upBiases[output];
      if (gated && isBiased) {
        sum = std::min(sum, 3.0), up = std::max(-3.0, std::min(up, 3.0));
        sum = sum / (1 + exp(-1.702f * sum)) * (up + 1);
      } else if (gated) {
        sum = sum / (1 + exp(-sum)) * up;
      }
      for (const bf16* y : {tiles, few})
        if ((y == tiles || isFew) && !(fabs(toFloat(y[position * outputs + o]) - sum) <= fabs(sum) / 128 + 1e-4)) return y == tiles ? "tiles" : "few rows";
    }
  for (int o = 0; o < outputs; ++o)
    if (tiles[positions * outputs + o] != guard || few[positions * outputs + o] != guard) return "what lies behind the output";
  return nullptr;
}

/// Every code of e4m3 but NaN through the products of few rows.
static const char* checkFloat8(Random& random) {
  const int inputs = 256, outputs = 16;
  alignas(16) static unsigned char x[inputs], w[outputs * inputs];
  for (int i = 0; i < inputs; ++i) x[i] = (i & 0x7f) == 0x7f ? 0 : i;
  for (unsigned char& code : w) code = random.between(0, 0x47);
  const float xScale = 0.5f;
  std::vector<float> scales(outputs);
  for (float& scale : scales) scale = random.between(1, 8) / 8.f;
  std::vector<uint4> room(outputs / 8);
  const int expert = 0;
  ExpertProduct p{};
  p.x = x, p.weight = w, p.y = (bf16*)room.data(), p.xScales = &xScale, p.weightScales = scales.data();
  p.experts = 1, p.outputs = outputs, p.inputs = inputs;
  emulated::launch(outputs / 8, 1, 1, 256, [&] { few_expert_linear_fp8(p, &expert); });
  for (int o = 0; o < outputs; ++o) {
    double sum = 0, size = 0;
    for (int i = 0; i < inputs; ++i) {
      const double term = fp8ToFloat(x[i]) * fp8ToFloat(w[o * inputs + i]) * xScale * scales[o];
      sum += term, size += fabs(term);
    }
    if (!(fabs(toFloat(p.y[o]) - sum) <= fabs(sum) / 128 + size * 1e-6)) return "e4m3";
  }
  return nullptr;
}

int main(int count, char** arguments) {
  Random random{std::mt19937(count > 1 ? (unsigned)atoi(arguments[1]) : 1)};
  int failed = 0, cases = 0;
  auto report = [&](const char* what, const char* name) {
    ++cases;
    if (what) printf("%s: %s\n", name, what), ++failed;
  };
  const std::pair<ExpertRule, int> rules[] = {
      {{1, 1, 0, 1, 1, 1, 1.f}, 1},       {{128, 8, 0, 1, 1, 1, 1.f}, 1},   {{7, 3, 0, 1, 1, 0, 1.5f}, 5},
      {{128, 8, 0, 1, 1, 1, 1.f}, 33},    {{60, 4, 0, 1, 1, 1, 1.f}, 90},  {{512, 32, 1, 1, 1, 1, 1.f}, 9},
      {{160, 6, 1, 8, 3, 1, 2.5f}, 70},   {{8, 3, 1, 4, 2, 0, 1.f}, 3},     {{64, 2, 1, 32, 1, 1, 1.f}, 140},
  };
  for (const auto& [rule, rows] : rules)
    for (bool hasBias : {false, true})
      report(checkRouting(rule, rows, hasBias, random), "routing");
  for (bool gated : {false, true}) {
    report(checkProducts(1, 8, 8, {1}, gated, random), "products");
    report(checkProducts(3, 40, 200, {0, 5, 0}, gated, random), "products");
    report(checkProducts(4, 136, 64, {130, 0, 1, 128}, gated, random), "products");
    report(checkProducts(40, 72, 136, std::vector<int>(40, 3), gated, random), "products");
  }
  report(checkFloat8(random), "products");
  printf("experts: %d cases, %d failed\n", cases, failed);
  return failed ? 1 : 0;
}
