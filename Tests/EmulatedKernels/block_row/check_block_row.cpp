// Checks the kernels of block_row.cu against the goldens of Tests/StoredNumbersTests: products of a row with matrices of every
// format, whose activations eight bits hold exactly. Prints one line for each format; exits 1 on a miss.

#include "common.cuh"

inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) sum += (signed char)(a >> 8 * i) * (signed char)(b >> 8 * i);
  return sum;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const unsigned long long all = (unsigned long long)high << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    if (selector >> 4 * i & 8) {
      printf("a selector with a sign\n");
      exit(1);
    }
    result |= (unsigned)(all >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  }
  return result;
}
inline int __float2int_rn(float x) { return (int)nearbyintf(x); }

#include "block_row.cu"
#include "goldens.h"

typedef void (*Row)(const bf16*, const unsigned char*, const float*, void*, int, int, int, int);

static const std::map<std::string, Row> kernels = {
    {"Q4_0", row_q4_0}, {"Q4_1", row_q4_1}, {"Q5_0", row_q5_0}, {"Q5_1", row_q5_1}, {"Q8_0", row_q8_0},
    {"Q2_K", row_q2_k}, {"Q3_K", row_q3_k}, {"Q4_K", row_q4_k}, {"Q5_K", row_q5_k}, {"Q6_K", row_q6_k},
    {"IQ4_NL", row_iq4_nl}, {"IQ4_XS", row_iq4_xs}, {"MXFP4", row_mxfp4},
};

// The emulation wants the section to be there.
__shared__ __attribute__((used)) int unusedShared;

int main(int, char** arguments) {
  const auto goldens = readGoldens(arguments[1]);
  int failed = goldens.size() != kernels.size();
  for (const auto& [name, all] : goldens) {
    const int elements = (int)all[0].values.size();
    // Rows of a few blocks and of more than the threads take at once, all blocks in turn.
    int misses = 0;
    for (const int count : {1, 3, elements == 32 ? 70 : 9}) {
      const int in = count * elements, out = 19;
      std::vector<float> weights;
      // As a matrix on the device, the first block begins at a multiple of 256.
      unsigned char* blocks = (unsigned char*)aligned_alloc(256, (out * count * all[0].bytes.size() + 511) / 256 * 256);
      for (int i = 0; i < out * count; ++i) {
        const Golden& golden = all[(i * 7 + i / 13) % all.size()];
        memcpy(blocks + i * golden.bytes.size(), golden.bytes.data(), golden.bytes.size());
        weights.insert(weights.end(), golden.values.begin(), golden.values.end());
      }
      bf16* x = (bf16*)aligned_alloc(16, 2 * in);
      std::vector<double> exact(in);
      for (int i = 0; i < in; ++i) {
        const int value = i % 32 == 5 ? 127 : i % 32 == 9 ? -127 : (i * 89 + i / 32 * 31) % 255 - 127;
        exact[i] = i / 32 % 5 == 4 ? 0 : value * (i / 32 % 3 ? 1.0 / 64 : 1.0 / 4);
        mi::AsBf16::store(x + i, (float)exact[i]);
      }
      for (int isWide = 0; isWide < 2; ++isWide)
        for (int accumulate = 0; accumulate < 2; ++accumulate) {
          std::vector<float> wide(out + 1, accumulate ? 1.5f : NAN), bias(out);
          std::vector<bf16> narrow(out + 1);
          for (int o = 0; o <= out; ++o) mi::AsBf16::store(&narrow[o], wide[o]);
          for (int o = 0; o < out; ++o) bias[o] = (float)(o - 5);
          void* y = isWide ? (void*)wide.data() : (void*)narrow.data();
          emulated::launch(2, 1, 1, 256, [&] {
            kernels.at(name)(x, blocks, accumulate ? nullptr : bias.data(), y, in, out, accumulate, isWide);
          });
          for (int o = 0; o < out; ++o) {
            double sum = accumulate ? 1.5 : bias[o], size = 1;
            for (int i = 0; i < in; ++i) {
              const double product = (double)weights[o * in + i] * exact[i];
              sum += product, size += fabs(product);
            }
            const double value = isWide ? wide[o] : mi::AsBf16::load(&narrow[o]);
            if (!(size < 1e30)) continue;
            misses += !(fabs(value - sum) <= size * 1e-5 + (isWide ? 0 : fabs(sum) / 128));
          }
          misses += isWide && accumulate && wide[out] != 1.5f;
        }
      // A row with an element that is no number has no outputs.
      std::vector<float> none(out, 0);
      mi::AsBf16::store(x + in - 3, INFINITY);
      emulated::launch(3, 1, 1, 256, [&] { kernels.at(name)(x, blocks, nullptr, none.data(), in, out, 0, 1); });
      for (float value : none) misses += value == value;
      free(blocks), free(x);
    }
    printf("%-8s %s\n", misses ? "FAILED" : "ok", name.c_str());
    failed += misses != 0;
  }
  return failed != 0;
}
