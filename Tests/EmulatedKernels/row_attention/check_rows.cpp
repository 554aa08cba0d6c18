// Attention of a few rows as decoding launches it, all in one launch: every block of a grid one after the other, in any order, on
// the CPU, against sums in double precision. Outputs and the workspace begin as NaN, and counters must be left at zero.

#include <algorithm>
#include <cstdint>

#include "row_attention.cu"
#include "row_attention_sequences.cu"

static uint64_t state;
static int below(int bound) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (int)((state >> 33) % bound);
}
static float number() { return (float)below(1 << 20) / (1 << 19) - 1; }

typedef void (*Entry)(RowAttentionParameters);

/// The worst difference of one case; infinite for NaN, a block that stands still or a counter that is not left at zero.
static double difference(int D, bool isFp8, int kvHeads, int group, int rows, int keys, int splits, int window, bool hasList) {
  const int heads = kvHeads * group, capacity = keys + below(70);
  std::vector<bf16> q(rows * heads * D), o(rows * heads * D, 0x7fc0);
  for (bf16& x : q) x = mi::toBF16(2 * number());
  std::vector<int> positions(rows);
  for (int r = 0; r < rows; ++r) positions[r] = hasList ? below(keys) : keys - rows + r;
  const long long stride = (long long)capacity * D;
  std::vector<unsigned char> k(kvHeads * stride * 2, 0xff), v(kvHeads * stride * 2, 0xff);  // NaN in either format
  std::vector<float> kValues(kvHeads * stride), vValues(kvHeads * stride), scales(2 * kvHeads);
  for (float& scale : scales) scale = 0.25f + below(8) / 8.0f;
  for (int h = 0; h < kvHeads; ++h)
    for (long long i = 0; i < (long long)keys * D; ++i)
      for (int which = 0; which < 2; ++which) {
        auto& bytes = which ? v : k;
        const long long at = h * stride + i;
        float value;
        if (isFp8) {
          const unsigned char code = (unsigned char)(below(0x48) | below(2) << 7);  // up to 4
          bytes[at] = code;
          value = mi::fp8ToFloat(code) * scales[which * kvHeads + h];
        } else {
          const bf16 bits = mi::toBF16(number());
          memcpy(&bytes[2 * at], &bits, 2);
          value = mi::toFloat(bits);
        }
        (which ? vValues : kValues)[at] = value;
      }
  std::vector<float> lse(rows * heads, NAN), workspace((size_t)splits * rows * heads * (D + 2), NAN);
  std::vector<unsigned> counters(kvHeads, 0);
  const float scale = 0.6f / std::sqrt((float)D);
  RowAttentionParameters a = {q.data(), o.data(), lse.data(), k.data(), v.data(), scales.data(), scales.data() + kvHeads,
                              hasList ? positions.data() : nullptr, workspace.data(), counters.data(), stride, rows, heads * D,
                              heads * D, heads, group, splits, *std::max_element(positions.begin(), positions.end()) + 1, window,
                              scale * mi::log2e};
  const Entry entries[3][2] = {{row_attention_m16_d64, row_attention_m16_fp8_d64},
                               {row_attention_m16_d96, row_attention_m16_fp8_d96},
                               {row_attention_m16_d128, row_attention_m16_fp8_d128}};
  std::vector<int> order(splits * kvHeads);
  for (size_t i = 0; i < order.size(); ++i) order[i] = (int)i;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below((int)i)]);
  for (int block : order) {
    blockIdx = {block % splits, 0, block / splits};
    if (!emulated::run([&] { entries[D / 32 - 2][isFp8](a); }, below)) return INFINITY;
  }
  for (unsigned counter : counters)
    if (counter != 0) return INFINITY;

  double worst = 0;
  for (int r = 0; r < rows; ++r)
    for (int h = 0; h < heads; ++h) {
      const float* kv[2] = {kValues.data() + h / group * stride, vValues.data() + h / group * stride};
      std::vector<double> scores, sums(D, 0.0);
      double top = -INFINITY, total = 0;
      const int first = std::max(0, positions[r] - std::min(window - 1, positions[r]));
      for (int j = first; j <= positions[r]; ++j) {
        double score = 0;
        for (int d = 0; d < D; ++d) score += (double)mi::toFloat(q[(r * heads + h) * D + d]) * kv[0][(long long)j * D + d];
        scores.push_back(score * scale);
        top = std::max(top, scores.back());
      }
      for (int j = first; j <= positions[r]; ++j) {
        const double weight = std::exp(scores[j - first] - top);
        total += weight;
        for (int d = 0; d < D; ++d) sums[d] += weight * kv[1][(long long)j * D + d];
      }
      auto add = [&](double found, double expected, double size) {
        const double error = std::fabs(found - expected) / size;
        if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
      };
      for (int d = 0; d < D; ++d) add(mi::toFloat(o[(r * heads + h) * D + d]), sums[d] / total, isFp8 ? 6 : 1);
      add(lse[r * heads + h], top + std::log(total), 1);
    }
  return worst;
}

/// The same for rows of several sequences, each with keys and values of its own.
static double differenceOfSequences(int D, bool isFp8, int kvHeads, int group, int rows, int splits, int window) {
  const int heads = kvHeads * group;
  std::vector<bf16> q(rows * heads * D), o(rows * heads * D, 0x7fc0);
  for (bf16& x : q) x = mi::toBF16(2 * number());
  std::vector<int> positions(rows);
  std::vector<std::vector<unsigned char>> bytes(2 * rows);
  std::vector<std::vector<float>> numbers(2 * rows), scales(rows);
  std::vector<SequenceRow> sequences(rows);
  for (int r = 0; r < rows; ++r) {
    const int keys = 1 + below(500), capacity = keys + below(70);
    positions[r] = keys - 1;
    const long long stride = (long long)capacity * D;
    for (int i = 0; i < 2 * kvHeads; ++i) scales[r].push_back(0.25f + below(8) / 8.0f);
    for (int which = 0; which < 2; ++which) {
      auto& own = bytes[2 * r + which];
      own.assign(kvHeads * stride * 2, 0xff);
      numbers[2 * r + which].assign(kvHeads * stride, 0);
      for (int h = 0; h < kvHeads; ++h)
        for (long long i = 0; i < (long long)keys * D; ++i) {
          const long long at = h * stride + i;
          float& value = numbers[2 * r + which][at];
          if (isFp8) {
            own[at] = (unsigned char)(below(0x48) | below(2) << 7);
            value = mi::fp8ToFloat(own[at]) * scales[r][which * kvHeads + h];
          } else {
            const bf16 bits = mi::toBF16(number());
            memcpy(&own[2 * at], &bits, 2);
            value = mi::toFloat(bits);
          }
        }
    }
    sequences[r] = {bytes[2 * r].data(), bytes[2 * r + 1].data(), scales[r].data(), scales[r].data() + kvHeads, stride};
  }
  std::vector<float> workspace((size_t)splits * rows * heads * (D + 2), NAN);
  std::vector<unsigned> counters(rows * kvHeads, 0);
  const float scale = 0.6f / std::sqrt((float)D);
  RowAttentionParameters a = {q.data(), o.data(), nullptr, nullptr, nullptr, nullptr, nullptr, positions.data(), workspace.data(),
                              counters.data(), 0, rows, heads * D, heads * D, heads, group, splits, 0, window, scale * mi::log2e,
                              sequences.data()};
  const Entry entries[3][2] = {{row_attention_sequences_d64, row_attention_sequences_fp8_d64},
                               {row_attention_sequences_d96, row_attention_sequences_fp8_d96},
                               {row_attention_sequences_d128, row_attention_sequences_fp8_d128}};
  std::vector<int> order(splits * rows * kvHeads);
  for (size_t i = 0; i < order.size(); ++i) order[i] = (int)i;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below((int)i)]);
  gridDim = {splits, rows, kvHeads};
  for (int block : order) {
    blockIdx = {block % splits, block / splits % rows, block / splits / rows};
    if (!emulated::run([&] { entries[D / 32 - 2][isFp8](a); }, below)) return INFINITY;
  }
  for (unsigned counter : counters)
    if (counter != 0) return INFINITY;
  double worst = 0;
  for (int r = 0; r < rows; ++r)
    for (int h = 0; h < heads; ++h) {
      const float* kv[2] = {numbers[2 * r].data() + h / group * sequences[r].kvHeadStride,
                            numbers[2 * r + 1].data() + h / group * sequences[r].kvHeadStride};
      std::vector<double> scores, sums(D, 0.0);
      double top = -INFINITY, total = 0;
      const int first = std::max(0, positions[r] - std::min(window - 1, positions[r]));
      for (int j = first; j <= positions[r]; ++j) {
        double score = 0;
        for (int d = 0; d < D; ++d) score += (double)mi::toFloat(q[(r * heads + h) * D + d]) * kv[0][(long long)j * D + d];
        scores.push_back(score * scale);
        top = std::max(top, scores.back());
      }
      for (int j = first; j <= positions[r]; ++j) {
        const double weight = std::exp(scores[j - first] - top);
        total += weight;
        for (int d = 0; d < D; ++d) sums[d] += weight * kv[1][(long long)j * D + d];
      }
      for (int d = 0; d < D; ++d) {
        const double error = std::fabs(mi::toFloat(o[(r * heads + h) * D + d]) - sums[d] / total) / (isFp8 ? 6 : 1);
        if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
      }
    }
  return worst;
}

int main(int argc, char** argv) {
  state = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1;
  const int cases = argc > 2 ? atoi(argv[2]) : 60;
  int failures = 0;
  double largest = 0;
  for (int c = 0; c < cases; ++c) {
    const int D = 64 + 32 * (c % 3), group = 1 + below(8), rows = 1 + below(std::min(3, 16 / group)), kvHeads = 1 + below(2);
    const bool isFp8 = c / 3 % 2 == 1, hasList = below(2);
    const int keys = rows + below(600), window = below(3) ? 0x7fffffff : 1 + below(200);
    const int splits = 1 + below(std::min(40, 256 / (rows * group)));
    const double error = difference(D, isFp8, kvHeads, group, rows, keys, splits, window, hasList);
    largest = std::max(largest, error);
    if (!(error < 8e-3)) {
      ++failures;
      printf("case %d: %g (d %d, fp8 %d, %d kv heads, group %d, %d rows, %d keys, %d splits, window %d, list %d)\n", c, error, D, isFp8,
             kvHeads, group, rows, keys, splits, window, hasList);
    }
  }
  for (int c = 0; c < cases / 2; ++c) {
    const int D = 64 + 32 * (c % 3), group = 1 + below(16), rows = 1 + below(4), kvHeads = 1 + below(2);
    const int window = below(3) ? 0x7fffffff : 1 + below(200), splits = 1 + below(std::min(12, 256 / group));
    const double error = differenceOfSequences(D, c / 3 % 2 == 1, kvHeads, group, rows, splits, window);
    largest = std::max(largest, error);
    if (!(error < 8e-3)) {
      ++failures;
      printf("sequences, case %d: %g (d %d, %d kv heads, group %d, %d rows, %d splits, window %d)\n", c, error, D, kvHeads, group,
             rows, splits, window);
    }
  }
  printf("%d cases, largest error %.1e, %d failures\n", cases, largest, failures);
  return failures != 0;
}
