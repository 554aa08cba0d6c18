// Checks the kernels of dequantise.cu against the goldens of Tests/StoredNumbersTests: every block of every format, through a
// matrix and through rows of an embedding. Prints one line for each format; exits 1 on a miss.

#include "dequantise.cu"
#include "goldens.h"

typedef void (*Dequantise)(const unsigned char*, bf16*, long long);
typedef void (*Embed)(const int*, const unsigned char*, bf16*, int);
typedef void (*Linear)(const bf16*, const unsigned char*, const float*, void*, int, int, int, int, int);
struct Kernels {
  Dequantise dequantise;
  Embed embed;
  Linear linear;
};

static const std::map<std::string, Kernels> kernels = {
    {"Q4_0", {dequantise_q4_0, embed_q4_0, linear_q4_0}},
    {"Q4_1", {dequantise_q4_1, embed_q4_1, linear_q4_1}},
    {"Q5_0", {dequantise_q5_0, embed_q5_0, linear_q5_0}},
    {"Q5_1", {dequantise_q5_1, embed_q5_1, linear_q5_1}},
    {"Q8_0", {dequantise_q8_0, embed_q8_0, linear_q8_0}},
    {"Q2_K", {dequantise_q2_k, embed_q2_k, linear_q2_k}},
    {"Q3_K", {dequantise_q3_k, embed_q3_k, linear_q3_k}},
    {"Q4_K", {dequantise_q4_k, embed_q4_k, linear_q4_k}},
    {"Q5_K", {dequantise_q5_k, embed_q5_k, linear_q5_k}},
    {"Q6_K", {dequantise_q6_k, embed_q6_k, linear_q6_k}},
    {"IQ4_NL", {dequantise_iq4_nl, embed_iq4_nl, linear_iq4_nl}},
    {"IQ4_XS", {dequantise_iq4_xs, embed_iq4_xs, linear_iq4_xs}},
    {"MXFP4", {dequantise_mxfp4, embed_mxfp4, linear_mxfp4}},
};

// These kernels have no shared memory; the emulation wants the section to be there.
__shared__ __attribute__((used)) int unusedShared;

/// Whether `y` is `expected` rounded to bf16, give or take the order of fp32's operations.
static bool isClose(bf16 y, float expected, float largest) {
  const float value = __uint_as_float((unsigned)y << 16);
  return fabsf(value - expected) <= fabsf(expected) / 256 + largest * 1e-6f + 1e-40f;
}

int main(int, char** arguments) {
  const auto goldens = readGoldens(arguments[1]);
  int failed = goldens.size() != kernels.size();
  for (const auto& [name, all] : goldens) {
    const int elements = (int)all[0].values.size(), count = (int)all.size();
    std::vector<unsigned char> blocks;
    std::vector<float> expected, largest;
    for (const Golden& golden : all) {
      blocks.insert(blocks.end(), golden.bytes.begin(), golden.bytes.end());
      float most = 0;
      for (float x : golden.values) most = fmaxf(most, fabsf(x));
      for (float x : golden.values) expected.push_back(x), largest.push_back(most);
    }
    int misses = 0;
    // A guard behind the elements, and vectors whose storage is aligned.
    const int total = elements * count;
    bf16* y = (bf16*)aligned_alloc(16, 2 * (total + 8));
    for (int i = 0; i < total + 8; ++i) y[i] = 0x7FC1;
    const long long groups = total / 8;
    emulated::launch((unsigned)((groups + 255) / 256), 1, 1, 256, [&] { kernels.at(name).dequantise(blocks.data(), y, groups); });
    for (int i = 0; i < total; ++i) misses += !isClose(y[i], expected[i], largest[i]);
    for (int i = total; i < total + 8; ++i) misses += y[i] != 0x7FC1;
    // Rows of three blocks, in another order and one of them twice.
    const int ids[4] = {2, 0, 1, 2}, hidden = 3 * elements;
    bf16* x = (bf16*)aligned_alloc(16, 2 * (4 * hidden + 8));
    for (int i = 0; i < 4 * hidden + 8; ++i) x[i] = 0x7FC1;
    emulated::launch(4, 1, 1, 256, [&] { kernels.at(name).embed(ids, blocks.data(), x, hidden); });
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < hidden; ++i) misses += x[r * hidden + i] != y[ids[r] * hidden + i];
    for (int i = 4 * hidden; i < 4 * hidden + 8; ++i) misses += x[i] != 0x7FC1;
    // Products of 1 to 8 rows with three outputs of three blocks each.
    const int out = 3;
    bf16* input = (bf16*)aligned_alloc(16, 2 * (8 * hidden));
    for (int i = 0; i < 8 * hidden; ++i) mi::AsBf16::store(input + i, (float)((i * 37 + i / 11) % 17 - 8) / 1024);
    const float bias[3] = {0.5f, -2, 3};
    for (int rows = 1; rows <= 8; rows += rows == 1 ? 2 : 5) {
      for (int isWide = 0; isWide < 2; ++isWide) {
        for (int accumulate = 0; accumulate < 2; ++accumulate) {
          float wide[8 * 3 + 1];
          bf16 narrow[8 * 3 + 1];
          for (int i = 0; i < 25; ++i) wide[i] = accumulate ? 1.5f : NAN, mi::AsBf16::store(narrow + i, wide[i]);
          void* y2 = isWide ? (void*)wide : (void*)narrow;
          const float* added = accumulate ? nullptr : bias;
          emulated::launch(1, 1, 1, 256, [&] {
            kernels.at(name).linear(input, blocks.data(), added, y2, rows, hidden, out, accumulate, isWide);
          });
          for (int r = 0; r < rows; ++r)
            for (int o = 0; o < out; ++o) {
              double sum = accumulate ? 1.5 : bias[o], size = 1;
              for (int i = 0; i < hidden; ++i) {
                const double product = (double)expected[o * hidden + i] * mi::AsBf16::load(input + r * hidden + i);
                sum += product, size += fabs(product);
              }
              const int place = r * out + o;
              const double value = isWide ? wide[place] : mi::AsBf16::load(narrow + place);
              misses += !(fabs(value - sum) <= size * 1e-5 + (isWide ? 0 : fabs(sum) / 128));
            }
          for (int i = rows * out; i < 25; ++i) misses += isWide && accumulate && wide[i] != 1.5f;
        }
      }
    }
    free(input);
    printf("%-8s %s, %d blocks\n", misses ? "FAILED" : "ok", name.c_str(), count);
    failed += misses != 0;
    free(x), free(y);
  }
  return failed != 0;
}
