// Linear layers of decoding steps as they are launched, block by block on the CPU, against sums in double precision: weights of bf16,
// of e4m3 with factors of both kinds, and of blocks, with norms, biases, gates and sums, for one row and several. Outputs begin as NaN.
// And the heads of decoding steps: norms, rotation and storing in bf16 and e4m3 caches.

#include "numbers.cuh"

typedef unsigned char fp8;

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) sum += (signed char)(a >> 8 * i) * (signed char)(b >> 8 * i);
  return sum;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const unsigned long long all = (unsigned long long)high << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= (unsigned)(all >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return result;
}
inline int __float2int_rn(float x) { return (int)nearbyintf(x); }

namespace mi {
inline bf16 toBF16(float x) { return (bf16)roundedBF16(x); }
inline float exp2Approximate(float x) { return exp2f(x); }
inline float quadSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
struct AsFp32 {
  static void load8(const float* source, float (&values)[8]) { memcpy(values, source, 32); }
};
}  // namespace mi

#define stagedRow ((unsigned char*)emulated::memory)
#include "decoding_products.cu"
#define decodingRows ((int*)emulated::memory)
#include "decoding_blocks.cuh"
MI_DECODING_BLOCKS(q8_0, mi::DotQ8_0, 1)
MI_DECODING_BLOCKS(q8_0, mi::DotQ8_0, 8)
#include "decoding_heads.cu"
#define expertInput emulated::memory
#define threads expertThreads
#define warps expertWarps
#include "decoding_experts.cu"
#undef threads
#undef warps

static uint64_t state = 1;
static int below(int bound) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (int)((state >> 33) % bound);
}
static float number() { return (float)below(1 << 20) / (1 << 19) - 1; }
static float rounded(float x) { return mi::toFloat(mi::toBF16(x)); }

enum Kind { bf16Kind, fp8Kind, fp8BlocksKind, q8Kind };
static const char* names[] = {"bf16", "fp8", "fp8 blocks", "q8_0"};

struct Matrix {
  std::vector<float> values;  // [outputs][inputs]
  unsigned char* bytes;
  std::vector<float> scales, bias;
  std::vector<bf16> narrow;
  std::vector<float> wide;
  mi::DecodingMatrix parameters;

  Matrix(Kind kind, int rows, int outputs, int inputs, bool hasBias, bool isWide) : values(outputs * inputs) {
    const int rowBytes = kind == bf16Kind ? 2 * inputs : kind == q8Kind ? inputs / 32 * 34 : inputs;
    bytes = (unsigned char*)aligned_alloc(256, (outputs * rowBytes + 511) / 256 * 256);
    parameters = {};
    const int scaleRows = kind == fp8BlocksKind ? 1 + below(2) * 23 : 1, scaleColumns = kind == fp8BlocksKind ? 128 : inputs;
    const int across = (inputs + scaleColumns - 1) / scaleColumns, firstRow = kind == fp8BlocksKind ? 8 : 0;
    for (int i = 0; i < (outputs + firstRow + scaleRows) / scaleRows * across; ++i) scales.push_back(0.01f * (1 + below(9)));
    for (int o = 0; o < outputs; ++o)
      for (int i = 0; i < inputs; ++i) {
        float& value = values[o * inputs + i];
        if (kind == bf16Kind) {
          const bf16 bits = mi::toBF16(number());
          memcpy(bytes + (o * inputs + i) * 2, &bits, 2);
          value = mi::toFloat(bits);
        } else if (kind == q8Kind) {
          unsigned char* block = bytes + o * rowBytes + i / 32 * 34;
          const int q = below(255) - 127;
          block[0] = 0, block[1] = 0x20;  // 2^-7
          block[2 + i % 32] = (unsigned char)q;
          value = q / 128.f;
        } else {
          const unsigned char code = (unsigned char)(below(0x50) | below(2) << 7);
          bytes[o * inputs + i] = code;
          value = mi::fp8ToFloat(code) * scales[(firstRow + o) / scaleRows * across + i / scaleColumns];
        }
      }
    for (int o = 0; o < outputs; ++o) bias.push_back(number());
    narrow.assign(rows * outputs, 0x7fc0);
    wide.assign(rows * outputs, NAN);
    parameters.weight = bytes;
    parameters.scales = scales.data();
    parameters.bias = hasBias ? bias.data() : nullptr;
    parameters.y = isWide ? (void*)wide.data() : (void*)narrow.data();
    parameters.outputs = outputs;
    parameters.scaleRows = scaleRows, parameters.scaleColumns = scaleColumns, parameters.scalesAcross = across;
    parameters.firstRow = firstRow;
  }
};

/// The worst error of one launch, relative to the largest result.
static double productError(Kind kind, int rows, int inputs, std::vector<int> outputs, bool isGated, bool hasNorm, bool accumulates, bool isWide) {
  bf16* x = (bf16*)aligned_alloc(16, (rows * inputs * 2 + 15) / 16 * 16);
  for (int i = 0; i < rows * inputs; ++i) x[i] = mi::toBF16(2 * number());
  float* norm = (float*)aligned_alloc(16, (inputs * 4 + 15) / 16 * 16);
  for (int i = 0; i < inputs; ++i) norm[i] = 1 + number() / 2;
  std::vector<Matrix> matrices;
  for (size_t i = 0; i < outputs.size(); ++i) matrices.emplace_back(kind, rows, outputs[i], inputs, i != 1, isWide);
  std::vector<std::vector<double>> expected;
  for (auto& m : matrices) {
    m.parameters.weight = m.bytes, m.parameters.scales = m.scales.data();
    if (m.parameters.bias) m.parameters.bias = m.bias.data();
    m.parameters.y = isWide ? (void*)m.wide.data() : (void*)m.narrow.data();
    std::vector<double> y;
    for (int r = 0; r < rows; ++r) {
      double squares = 0;
      for (int i = 0; i < inputs; ++i) squares += (double)mi::toFloat(x[r * inputs + i]) * mi::toFloat(x[r * inputs + i]);
      const double root = hasNorm ? 1 / std::sqrt(squares / inputs + 1e-5) : 1;
      for (int o = 0; o < m.parameters.outputs; ++o) {
        double sum = m.parameters.bias ? m.bias[o] : 0;
        for (int i = 0; i < inputs; ++i)
          sum += mi::toFloat(x[r * inputs + i]) * root * (hasNorm ? norm[i] : 1) * m.values[o * inputs + i];
        if (accumulates) {
          const float before = rounded(number());
          m.narrow[r * m.parameters.outputs + o] = mi::toBF16(before);
          m.wide[r * m.parameters.outputs + o] = before;
          sum += before;
        }
        y.push_back(sum);
      }
    }
    expected.push_back(y);
  }
  if (isGated)
    for (size_t i = 0; i < expected[0].size(); ++i) expected[0][i] = expected[0][i] / (1 + std::exp(-expected[0][i])) * expected[1][i];
  mi::DecodingProduct p = {};
  p.x = x, p.norm = hasNorm ? norm : nullptr, p.rows = rows, p.inputs = inputs, p.isGated = isGated, p.isWide = isWide;
  p.accumulate = accumulates, p.epsilon = 1e-5f, p.parts = 1 << below(4);
  int blocks1 = 0, blocks2 = 0, units = 0;
  for (size_t i = 0; i < matrices.size(); ++i) {
    p.matrices[i] = matrices[i].parameters;
    blocks1 += (outputs[i] + 7) / 8, blocks2 += (outputs[i] + 15) / 16, units += outputs[i];
  }
  const bool two = isGated || below(2);
  if (isGated) blocks2 = (outputs[0] + 7) / 8, units = outputs[0];
  typedef void (*Entry)(mi::DecodingProduct);
  typedef void (*ConstEntry)(const mi::DecodingProduct);
  std::function<void()> work;
  int grid;
  if (kind == q8Kind) {
    grid = 1 + below((units * p.parts + 7) / 8);
    work = [=] {
      if (rows == 1) isGated ? gated_decoding_blocks_q8_0_1(p) : decoding_blocks_q8_0_1(p);
      else isGated ? gated_decoding_blocks_q8_0_8(p) : decoding_blocks_q8_0_8(p);
    };
  } else {
    grid = two ? blocks2 : blocks1;
    // A single row has kernels of its own.
    const bool isStaged = rows == 1 && below(4);
    work = [=] {
      if (isStaged) {
        if (kind == bf16Kind) two ? decoding_row_bf16_2(p) : decoding_row_bf16_1(p);
        if (kind == fp8Kind) two ? decoding_row_fp8_2(p) : decoding_row_fp8_1(p);
        if (kind == fp8BlocksKind) two ? decoding_row_fp8_blocks_2(p) : decoding_row_fp8_blocks_1(p);
        return;
      }
      if (kind == bf16Kind) two ? decoding_product_bf16_2(p) : decoding_product_bf16_1(p);
      if (kind == fp8Kind) two ? decoding_product_fp8_2(p) : decoding_product_fp8_1(p);
      if (kind == fp8BlocksKind) two ? decoding_product_fp8_blocks_2(p) : decoding_product_fp8_blocks_1(p);
    };
  }
  emulated::launch(grid, 1, 1, 256, work);
  double worst = 0, largest = 0;
  for (size_t i = 0; i < (isGated ? 1 : matrices.size()); ++i)
    for (size_t j = 0; j < expected[i].size(); ++j) {
      const double found = isWide ? matrices[i].wide[j] : mi::toFloat(matrices[i].narrow[j]);
      const double error = std::fabs(found - expected[i][j]);
      if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
      largest = std::max(largest, std::fabs(expected[i][j]));
    }
  return worst / largest;
}

static double headError(int headDim, int pairs, bool isInterleaved, bool hasNorms, bool isFp8, int rows) {
  const int heads = 3, kvHeads = 2;
  std::vector<bf16> q(rows * heads * headDim), k(rows * kvHeads * headDim), v(k.size());
  for (auto* all : {&q, &k, &v})
    for (bf16& x : *all) x = mi::toBF16(number());
  std::vector<float> qNorm(headDim), kNorm(headDim), frequencies(pairs), scales(2 * kvHeads);
  for (int i = 0; i < headDim; ++i) qNorm[i] = 1 + number() / 2, kNorm[i] = 1 + number() / 2;
  for (int i = 0; i < pairs; ++i) frequencies[i] = 1.f / (1 + i);
  for (float& scale : scales) scale = 1.f / (1 << (5 + below(3)));
  std::vector<std::vector<unsigned char>> caches;
  std::vector<SequenceRow> sequences;
  std::vector<int> positions;
  for (int r = 0; r < rows; ++r) {
    const int capacity = 3 + below(5);
    positions.push_back(below(capacity));
    for (int i = 0; i < 2; ++i) caches.push_back(std::vector<unsigned char>(kvHeads * capacity * headDim * (isFp8 ? 1 : 2), 0xff));
    sequences.push_back({nullptr, nullptr, scales.data(), scales.data() + kvHeads, (long long)capacity * headDim});
  }
  for (int r = 0; r < rows; ++r) sequences[r].k = caches[2 * r].data(), sequences[r].v = caches[2 * r + 1].data();
  std::vector<bf16> before = q;
  DecodingHeads a = {q.data(), k.data(), v.data(), hasNorms ? qNorm.data() : nullptr, hasNorms ? kNorm.data() : nullptr,
                     frequencies.data(), sequences.data(), positions.data(), rows, heads, kvHeads, headDim, pairs,
                     isInterleaved, isFp8, 1.25f, 1e-5f};
  emulated::launch((rows * (heads + 2 * kvHeads) + 7) / 8, 1, 1, 256, [&] { decoding_heads(a); });
  double worst = 0;
  auto compare = [&](double found, double expected, double step) {
    const double error = std::fabs(found - expected) / std::max(std::fabs(expected), 2.0) / step;
    if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
  };
  for (int r = 0; r < rows; ++r)
    for (int h = 0; h < heads + 2 * kvHeads; ++h) {
      const bool isQuery = h < heads, isKey = !isQuery && h < heads + kvHeads;
      const int own = isQuery ? h : h - heads - (isKey ? 0 : kvHeads);
      const bf16* source = isQuery ? before.data() + (r * heads + own) * headDim : (isKey ? k : v).data() + (r * kvHeads + own) * headDim;
      std::vector<double> x;
      double squares = 0;
      for (int i = 0; i < headDim; ++i) x.push_back(mi::toFloat(source[i])), squares += x[i] * x[i];
      if ((isQuery || isKey) && hasNorms)
        for (int i = 0; i < headDim; ++i) x[i] *= (isQuery ? qNorm : kNorm)[i] / std::sqrt(squares / headDim + 1e-5);
      if (isQuery || isKey)
        for (int p = 0; p < pairs; ++p) {
          const int first = isInterleaved ? 2 * p : p, second = isInterleaved ? 2 * p + 1 : p + pairs;
          const double angle = (float)positions[r] * frequencies[p], c = 1.25 * std::cos(angle), s = 1.25 * std::sin(angle);
          const double y = x[first] * c - x[second] * s;
          x[second] = x[second] * c + x[first] * s;
          x[first] = y;
        }
      for (int i = 0; i < headDim; ++i) {
        if (isQuery) {
          compare(mi::toFloat(q[(r * heads + own) * headDim + i]), x[i], 9e-3);
          continue;
        }
        const auto& cache = caches[2 * r + (isKey ? 0 : 1)];
        const long long place = own * sequences[r].kvHeadStride + positions[r] * headDim + i;
        if (isFp8) {
          compare(mi::fp8ToFloat(cache[place]) * scales[(isKey ? 0 : kvHeads) + own], x[i], 7e-2);
        } else {
          bf16 bits;
          memcpy(&bits, &cache[2 * place], 2);
          compare(mi::toFloat(bits), x[i], 9e-3);
        }
      }
    }
  return worst;
}

/// The worst error of a layer of experts, relative to the largest result.
static double expertError(bool isFp8, int rows, int experts, int perRow, int inputs, int width) {
  auto aligned = [](size_t bytes) { return (bf16*)aligned_alloc(256, (bytes + 511) / 256 * 256); };
  bf16* x = aligned(rows * inputs * 2);
  float* norm = (float*)aligned(inputs * 4);
  for (int i = 0; i < rows * inputs; ++i) x[i] = mi::toBF16(2 * number());
  for (int i = 0; i < inputs; ++i) norm[i] = 1 + number() / 2;
  const int extents[3][2] = {{width, inputs}, {width, inputs}, {inputs, width}};
  unsigned char* bytes[3];
  std::vector<float> values[3], scales[3];
  for (int m = 0; m < 3; ++m) {
    const int outputs = experts * extents[m][0], in = extents[m][1];
    bytes[m] = (unsigned char*)aligned((size_t)outputs * in * 2);
    for (int o = 0; o < outputs; ++o) {
      scales[m].push_back(0.01f * (1 + below(9)));
      for (int i = 0; i < in; ++i) {
        if (isFp8) {
          bytes[m][o * in + i] = (unsigned char)(below(0x40) | below(2) << 7);
          values[m].push_back(mi::fp8ToFloat(bytes[m][o * in + i]) * scales[m][o]);
        } else {
          const bf16 bits = mi::toBF16(number() / 4);
          memcpy(bytes[m] + (o * in + i) * 2, &bits, 2);
          values[m].push_back(mi::toFloat(bits));
        }
      }
    }
  }
  // Each row chooses experts in a row from anywhere on; positions lie in the order of the rows, backwards.
  const int count = rows * perRow;
  std::vector<int> chosen(count), sources(count), places(count);
  std::vector<float> factors(count);
  for (int r = 0; r < rows; ++r) {
    const int first = below(experts);
    for (int j = 0; j < perRow; ++j) {
      const int position = count - 1 - (r * perRow + j);
      places[r * perRow + j] = position, sources[position] = r, chosen[position] = (first + j) % experts;
      factors[r * perRow + j] = 0.1f + below(9) / 10.f;
    }
  }
  bf16 *products = aligned(count * width * 2), *y = aligned(rows * inputs * 2);
  for (int i = 0; i < count * width; ++i) products[i] = 0x7fc0;
  memcpy(y, x, rows * inputs * 2);
  DecodingExperts a = {x, norm, bytes[0], bytes[1], isFp8 ? scales[0].data() : nullptr, isFp8 ? scales[1].data() : nullptr,
                       chosen.data(), sources.data(), nullptr, nullptr, products, perRow, inputs, width, 1e-5f};
  emulated::launch((width + 7) / 8, count, 1, 256, [=] { isFp8 ? decoding_gated_experts_fp8(a) : decoding_gated_experts_bf16(a); });
  DecodingExperts b = {products, nullptr, bytes[2], nullptr, isFp8 ? scales[2].data() : nullptr, nullptr,
                       chosen.data(), nullptr, places.data(), factors.data(), y, perRow, width, inputs, 0};
  emulated::launch((inputs + 7) / 8, rows, 1, 256, [=] { isFp8 ? decoding_expert_sum_fp8(b) : decoding_expert_sum_bf16(b); });
  double worst = 0, largest = 0;
  for (int r = 0; r < rows; ++r) {
    double squares = 0;
    for (int i = 0; i < inputs; ++i) squares += (double)mi::toFloat(x[r * inputs + i]) * mi::toFloat(x[r * inputs + i]);
    const double root = 1 / std::sqrt(squares / inputs + 1e-5);
    std::vector<double> sums(inputs);
    for (int i = 0; i < inputs; ++i) sums[i] = mi::toFloat(x[r * inputs + i]);
    for (int j = 0; j < perRow; ++j) {
      const int expert = chosen[places[r * perRow + j]];
      for (int w = 0; w < width; ++w) {
        double gate = 0, up = 0;
        for (int i = 0; i < inputs; ++i) {
          const double own = mi::toFloat(x[r * inputs + i]) * root * norm[i];
          gate += own * values[0][((size_t)expert * width + w) * inputs + i];
          up += own * values[1][((size_t)expert * width + w) * inputs + i];
        }
        const double product = gate / (1 + std::exp(-gate)) * up * factors[r * perRow + j];
        for (int i = 0; i < inputs; ++i) sums[i] += product * values[2][((size_t)expert * inputs + i) * width + w];
      }
    }
    for (int i = 0; i < inputs; ++i) {
      const double error = std::fabs(mi::toFloat(y[r * inputs + i]) - sums[i]);
      if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
      largest = std::max(largest, std::fabs(sums[i]));
    }
  }
  return worst / largest;
}

// The emulation wants the section to be there.
__shared__ __attribute__((used)) int unusedShared;

int main(int argc, char** argv) {
  if (argc > 1) state = strtoull(argv[1], nullptr, 10);
  int failures = 0;
  for (Kind kind : {bf16Kind, fp8Kind, fp8BlocksKind, q8Kind}) {
    double largest = 0;
    for (int c = 0; c < 16; ++c) {
      const bool isGated = c % 4 == 1, hasNorm = c % 4 < 2, accumulates = c % 4 == 3;
      const int rows = c % 3 == 0 ? 1 : 1 + below(8);
      const int inputs = (1 + below(c < 8 ? 20 : 60)) * (kind == bf16Kind ? 8 : kind == q8Kind ? 32 : 16);
      std::vector<int> outputs = {1 + below(40)};
      if (isGated) outputs.push_back(outputs[0]);
      else while (outputs.size() < 3 && below(2)) outputs.push_back(1 + below(30));
      const double error = productError(kind, rows, inputs, outputs, isGated, hasNorm, accumulates, !isGated && c % 8 > 5);
      largest = std::max(largest, error);
      if (!(error < (kind == q8Kind ? 2e-2 : 8e-3) * (isGated ? 2 : 1))) {
        ++failures;
        printf("%s, case %d: %g (%d rows, %d inputs, %zu matrices, gated %d, norm %d, added %d)\n", names[kind], c, error, rows, inputs,
               outputs.size(), isGated, hasNorm, accumulates);
      }
    }
    printf("products %s: largest error %.1e\n", names[kind], largest);
  }
  for (int c = 0; c < 6; ++c) {
    const int rows = 1 + below(3), experts = 2 + below(4), grain = c % 2 ? 16 : 8;
    const int inputs = grain * (1 + below(c > 3 ? 170 : 40)), width = grain * (1 + below(6));
    const double error = expertError(c % 2, rows, experts, 1 + below(experts), inputs, width);
    if (!(error < 1.5e-2)) ++failures;
    printf("experts %s: %.1e (%d rows, %d inputs, %d wide)\n", c % 2 ? "fp8" : "bf16", error, rows, inputs, width);
  }
  double largest = 0;
  for (int c = 0; c < 24; ++c) {
    const int headDim = c % 3 == 0 ? 64 : c % 3 == 1 ? 96 : 128, pairs = below(2) ? headDim / 2 : headDim / 4;
    const double error = headError(headDim, pairs, below(2), below(2), c / 3 % 2, 1 + below(4));
    largest = std::max(largest, error);
    if (!(error < 1)) ++failures, printf("heads, case %d: %g\n", c, error);
  }
  printf("heads: largest error %.2f of what rounding allows, %d failures\n", largest, failures);
  return failures != 0;
}
