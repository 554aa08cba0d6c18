// Products of activations with a matrix on one core: the kernels of Sources/CKernels, OpenBLAS and oneDNN.
//
//   clang -O2 -I Sources/CKernels/include -I ONEDNN/include Benchmarks/products.c Sources/CKernels/*.c
//     -L ONEDNN/lib -ldnnl -ldl -lm -lpthread -o products
//   OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=SkylakeX ./products [in out]...
//
// ONEDNN holds oneDNN 3 (for example the wheels onednn-cpu-gomp and onednn-devel-cpu-gomp). Without -I and
// -ldnnl the columns of oneDNN are left out, without libopenblas.so.0 those of OpenBLAS.
//
// Prints billions of operations (two for each multiplication and addition) a second of processor time, medians of
// interleaved runs. Activations are float32 and results are float32; their conversion counts. Matrices are
// taken in turn from more memory than the third-level cache holds, as the layers of a model are. Matrices of
// oneDNN are packed before in the layout that it asks for; converting them does not count.
//
// oneDNN's int8 products have one scale for each output and one for all activations, where blocks have scales for
// every 16 or 32 elements: they are the bound of what a library could do for blocks, not the same product.
#include "CKernels.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#define HAS_ONEDNN 1
#endif

enum { repetitions = 9, resident_bytes = 96 << 20, panel_elements = 4 << 20 };

static double processor_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *memory(size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (p == NULL) {
    fprintf(stderr, "products: out of memory\n");
    exit(71);
  }
  return p;
}

static uint32_t random_state = 1;
static uint32_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  return random_state ^= random_state << 5;
}

// MARK: The product at hand

static const mi_kernels *kernels;
static const mi_block_products *blocks;
static const mi_bfloat16_products *pairs;
static int64_t rows, in, out;
static float *x, *y;
static void *scratch, *narrow;

typedef struct method {
  const char *name;
  // Whether it multiplies the bfloat16 weights, whose product the first method's is the measure of.
  bool is_of_weights;
  size_t bytes;                // of one matrix
  int copies;
  void **weights;
  mi_block_format format;
  size_t block_bytes, block_elements;
  void (*run)(struct method *, int copy);
  void *state;
  double seconds[repetitions];
} method;

// MARK: Kernels of this repository

static void run_few(method *m, int copy) {
  kernels->linear_rows(
    x, rows, in, m->weights[copy], MI_BFLOAT16, NULL, 0, out, out, y, false);
}

static void run_pairs(method *m, int copy) {
  kernels->to_bfloat16(x, narrow, rows * in);
  if (rows <= 16) {
    pairs->few_rows(narrow, rows, in, m->weights[copy], 0, out, y, out, false);
    return;
  }
  for (int64_t o = 0; o < out; o += pairs->panel_outputs) {
    const int64_t end = o + pairs->panel_outputs < out ? o + pairs->panel_outputs : out;
    pairs->multiply(narrow, rows, in, m->weights[copy], o, end, y, out, false, scratch);
  }
}

static void run_blocks(method *m, int copy) {
  const mi_block_matrix matrix = {
    m->format, m->weights[copy], in / (int64_t)m->block_elements * (int64_t)m->block_bytes, in};
  blocks->quantise_rows(m->format, x, rows, in, 0, rows, narrow);
  if (rows <= 2) {
    blocks->few_rows(&matrix, narrow, rows, 0, out, NULL, y, out, false);
    return;
  }
  for (int64_t o = 0; o < out; o += blocks->panel_outputs) {
    const int64_t end = o + blocks->panel_outputs < out ? o + blocks->panel_outputs : out;
    blocks->many_rows(&matrix, narrow, rows, o, end, NULL, y, out, false, scratch);
  }
}

// MARK: OpenBLAS

typedef void (*sgemm_function)(
  int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
static sgemm_function sgemm;

static void open_openblas(void) {
  void *library = dlopen("libopenblas.so.0", RTLD_NOW);
  if (library == NULL) return;
  sgemm = (sgemm_function)dlsym(library, "cblas_sgemm");
  void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
  if (set_threads != NULL) set_threads(1);
  const char *(*name)(void) = (const char *(*)(void))dlsym(library, "openblas_get_corename");
  printf("OpenBLAS: kernels %s\n", name != NULL ? name() : "unknown");
}

static void run_sgemm(method *m, int copy) {
  const int64_t at_once = panel_elements / in < out ? panel_elements / in : out;
  for (int64_t o = 0; o < out; o += at_once) {
    const int64_t count = out - o < at_once ? out - o : at_once;
    kernels->to_float32(
      (uint16_t *)m->weights[copy] + o * in, MI_BFLOAT16, scratch, count * in);
    sgemm(
      101, 111, 112, (int)rows, (int)count, (int)in, 1, x, (int)in, scratch, (int)in, 0, y + o,
      (int)out);
  }
}

// MARK: oneDNN

#if HAS_ONEDNN
#define CHECK(call)                                                                        \
  do {                                                                                     \
    const dnnl_status_t status = (call);                                                   \
    if (status != dnnl_success) return false;                                              \
  } while (0)

static dnnl_engine_t engine;
static dnnl_stream_t stream;

typedef struct {
  dnnl_primitive_t convert, multiply;
  dnnl_memory_t x, converted, y, scales, x_scale;
  dnnl_memory_t *weights;
  bool has_scales;
} product;

static bool memory_of(dnnl_memory_t *made, const_dnnl_memory_desc_t shape, void *bytes) {
  CHECK(dnnl_memory_create(made, shape, engine, bytes));
  return true;
}

static bool desc_of(
  dnnl_memory_desc_t *made, int64_t height, int64_t width, dnnl_data_type_t type,
  dnnl_format_tag_t tag
) {
  const dnnl_dims_t dims = {height, width};
  CHECK(dnnl_memory_desc_create_with_tag(made, 2, dims, type, tag));
  return true;
}

static bool reorder_of(
  dnnl_primitive_t *made, const_dnnl_memory_desc_t source, const_dnnl_memory_desc_t target,
  bool has_scale
) {
  dnnl_primitive_desc_t description;
  dnnl_primitive_attr_t attributes;
  CHECK(dnnl_primitive_attr_create(&attributes));
  if (has_scale) CHECK(dnnl_primitive_attr_set_scales_mask(attributes, DNNL_ARG_DST, 0));
  CHECK(dnnl_reorder_primitive_desc_create(
    &description, source, engine, target, engine, attributes));
  CHECK(dnnl_primitive_create(made, description));
  return true;
}

// A product of activations of a type with matrices of a type, packed as oneDNN asks (or left as they are).
static bool prepare_product(
  method *m, dnnl_data_type_t activations, dnnl_data_type_t weights, bool is_packed, bool has_scales,
  void **stored
) {
  product *p = memory(sizeof *p);
  memset(p, 0, sizeof *p);
  dnnl_memory_desc_t wide, source, given, matrix, target, factor, factors;
  if (
    !desc_of(&wide, rows, in, dnnl_f32, dnnl_ab) || !desc_of(&source, rows, in, activations, dnnl_ab)
    || !desc_of(&given, in, out, weights, dnnl_ba)
    || !desc_of(&matrix, in, out, weights, is_packed ? dnnl_format_tag_any : dnnl_ba)
    || !desc_of(&target, rows, out, dnnl_f32, dnnl_ab)
  )
    return false;
  const dnnl_dims_t one = {1}, every = {out};
  CHECK(dnnl_memory_desc_create_with_tag(&factor, 1, one, dnnl_f32, dnnl_a));
  CHECK(dnnl_memory_desc_create_with_tag(&factors, 1, every, dnnl_f32, dnnl_a));
  dnnl_primitive_attr_t attributes;
  CHECK(dnnl_primitive_attr_create(&attributes));
  p->has_scales = has_scales;
  if (has_scales) {
    CHECK(dnnl_primitive_attr_set_scales_mask(attributes, DNNL_ARG_SRC, 0));
    CHECK(dnnl_primitive_attr_set_scales_mask(attributes, DNNL_ARG_WEIGHTS, 1 << 1));
  }
  dnnl_primitive_desc_t description;
  CHECK(dnnl_matmul_primitive_desc_create(
    &description, engine, source, matrix, NULL, target, attributes));
  CHECK(dnnl_primitive_create(&p->multiply, description));
  const char *implementation;
  dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &implementation);
  printf("  oneDNN, %s: %s\n", m->name, implementation);
  if (activations != dnnl_f32 && !reorder_of(&p->convert, wide, source, has_scales)) return false;
  const_dnnl_memory_desc_t packed =
    dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
  dnnl_primitive_t pack;
  if (!reorder_of(&pack, given, packed, false)) return false;
  float *ones = memory((size_t)out * sizeof(float)), *step = memory(sizeof(float));
  for (int64_t o = 0; o < out; o++) ones[o] = 1e-3f;
  *step = 1.0f / 127;
  if (
    !memory_of(&p->x, wide, x) || !memory_of(&p->converted, source, activations == dnnl_f32 ? x : narrow)
    || !memory_of(&p->y, target, y) || !memory_of(&p->x_scale, factor, step)
    || !memory_of(&p->scales, factors, ones)
  )
    return false;
  p->weights = memory(sizeof *p->weights * (size_t)m->copies);
  for (int c = 0; c < m->copies; c++) {
    dnnl_memory_t from;
    if (
      !memory_of(&from, given, stored[c])
      || !memory_of(&p->weights[c], packed, is_packed ? DNNL_MEMORY_ALLOCATE : stored[c])
    )
      return false;
    if (is_packed) {
      const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, p->weights[c]}};
      CHECK(dnnl_primitive_execute(pack, stream, 2, arguments));
      CHECK(dnnl_stream_wait(stream));
    }
    dnnl_memory_destroy(from);
  }
  dnnl_primitive_destroy(pack);
  dnnl_primitive_desc_destroy(description);
  m->state = p;
  return true;
}

static void run_product(method *m, int copy) {
  product *p = m->state;
  if (p->convert != NULL) {
    const dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_FROM, p->x},
      {DNNL_ARG_TO, p->converted},
      {DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, p->x_scale}};
    dnnl_primitive_execute(p->convert, stream, p->has_scales ? 3 : 2, arguments);
  }
  const dnnl_exec_arg_t arguments[] = {
    {DNNL_ARG_SRC, p->converted},
    {DNNL_ARG_WEIGHTS, p->weights[copy]},
    {DNNL_ARG_DST, p->y},
    {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, p->x_scale},
    {DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, p->scales}};
  dnnl_primitive_execute(p->multiply, stream, p->has_scales ? 5 : 3, arguments);
  dnnl_stream_wait(stream);
}

static void forget_product(product *p, int copies) {
  for (int c = 0; c < copies; c++) dnnl_memory_destroy(p->weights[c]);
  const dnnl_memory_t others[] = {p->x, p->converted, p->y, p->scales, p->x_scale};
  for (int i = 0; i < 5; i++) dnnl_memory_destroy(others[i]);
  dnnl_primitive_destroy(p->multiply);
  if (p->convert != NULL) dnnl_primitive_destroy(p->convert);
  free(p->weights);
  free(p);
}
#endif

// MARK: Measuring

static void **copies_of(method *m) {
  void **made = memory(sizeof(void *) * (size_t)m->copies);
  for (int c = 0; c < m->copies; c++) {
    uint8_t *bytes = made[c] = memory(m->bytes);
    for (size_t i = 0; i + 4 <= m->bytes; i += 4) {
      const uint32_t r = random_bits();
      memcpy(bytes + i, &r, 4);
    }
    // Scales, or whole numbers, of ordinary size.
    if (m->block_bytes > 0) {
      for (size_t i = 0; i + m->block_bytes <= m->bytes; i += m->block_bytes) {
        const uint32_t scale = 0x20002000;
        memcpy(bytes + i, &scale, m->block_bytes > 100 ? 4 : 2);
      }
    } else if (m->is_of_weights) {
      for (size_t i = 0; i + 2 <= m->bytes; i += 2) {
        uint16_t bits;
        memcpy(&bits, bytes + i, 2);
        bits = (uint16_t)((bits & 0x80ff) | 0x3c00);
        memcpy(bytes + i, &bits, 2);
      }
    }
  }
  return made;
}

static void free_copies(void **made, int count) {
  for (int c = 0; c < count; c++) free(made[c]);
  free(made);
}

static int ascending(const void *a, const void *b) {
  const double d = *(const double *)a - *(const double *)b;
  return d < 0 ? -1 : d > 0;
}

static void measure(int64_t count) {
  rows = count;
  x = memory((size_t)(rows * in) * sizeof(float));
  y = memory((size_t)(rows * out) * sizeof(float));
  float *wanted = memory((size_t)(rows * out) * sizeof(float));
  for (int64_t i = 0; i < rows * in; i++) x[i] = (float)(int32_t)random_bits() * 0x1p-31f;
  const size_t activation_bytes = blocks->activation_bytes(rows, in);
  const size_t narrow_bytes = (size_t)(rows * in) * 4;
  narrow = memory(activation_bytes > narrow_bytes ? activation_bytes : narrow_bytes);
  size_t scratch_bytes = blocks->panel_bytes(in);
  if (scratch_bytes < panel_elements * sizeof(float)) scratch_bytes = panel_elements * sizeof(float);
  scratch = memory(scratch_bytes);

  method methods[12] = {{0}};
  int n = 0;
  const size_t elements = (size_t)(in * out);
#define ADD(...) methods[n++] = (method){__VA_ARGS__}
  if (sgemm != NULL) {
    ADD(.name = "sgemm", .is_of_weights = true, .bytes = 2 * elements, .run = run_sgemm);
  }
  if (rows <= 8) {
    ADD(.name = "bf16 rows", .is_of_weights = true, .bytes = 2 * elements, .run = run_few);
  }
  if (pairs != NULL) {
    ADD(.name = "bf16 pairs", .is_of_weights = true, .bytes = 2 * elements, .run = run_pairs);
  }
  const struct { const char *name; mi_block_format format; size_t bytes, elements; } kinds[] = {
    {"Q8_0", MI_Q8_0, 34, 32}, {"Q5_0", MI_Q5_0, 22, 32}, {"Q4_K", MI_Q4_K, 144, 256}};
  for (int k = 0; k < 3; k++) {
    if (in % (int64_t)kinds[k].elements != 0) continue;
    ADD(.name = kinds[k].name, .bytes = elements / kinds[k].elements * kinds[k].bytes,
        .format = kinds[k].format, .block_bytes = kinds[k].bytes,
        .block_elements = kinds[k].elements, .run = run_blocks);
  }
  const int ours = n;
#if HAS_ONEDNN
  ADD(.name = "bf16 packed", .is_of_weights = true, .bytes = 2 * elements, .run = run_product);
  ADD(.name = "bf16 stored", .is_of_weights = true, .bytes = 2 * elements, .run = run_product);
  ADD(.name = "s8 packed", .bytes = elements, .run = run_product);
  ADD(.name = "u8 packed", .bytes = elements, .run = run_product);
#endif
  void **bfloat16 = NULL;
  for (int i = 0; i < n; i++) {
    method *m = methods + i;
    m->copies = (int)(resident_bytes / m->bytes) + 1;
    if (m->is_of_weights) {
      if (bfloat16 == NULL) bfloat16 = copies_of(m);
      m->weights = bfloat16;
    } else {
      m->weights = copies_of(m);
    }
#if HAS_ONEDNN
    if (i < ours) continue;
    const int kind = i - ours;
    const bool works = kind < 2
      ? prepare_product(m, dnnl_bf16, dnnl_bf16, kind == 0, false, m->weights)
      : prepare_product(m, kind == 2 ? dnnl_s8 : dnnl_u8, dnnl_s8, true, true, m->weights);
    if (!works) {
      printf("  oneDNN, %s: not supported\n", m->name);
      m->run = NULL;
    }
#endif
  }
  (void)ours;
  const double operations = 2.0 * (double)rows * (double)in * (double)out;
  const int calls = 1 + (int)(4e9 / operations) / (rows <= 8 ? 16 : 1);
  for (int r = -1; r < repetitions; r++) {
    for (int i = 0; i < n; i++) {
      method *m = methods + i;
      if (m->run == NULL) continue;
      static int turn = 0;
      const double start = processor_time();
      for (int c = 0; c < calls; c++) m->run(m, turn++ % m->copies);
      if (r >= 0) m->seconds[r] = (processor_time() - start) / calls;
    }
  }
  printf("%5lld x %5lld x %5lld", (long long)rows, (long long)in, (long long)out);
  bool has_reference = false;
  for (int i = 0; i < n; i++) {
    method *m = methods + i;
    if (m->run == NULL) continue;
    qsort(m->seconds, repetitions, sizeof(double), ascending);
    printf(" | %s %.0f", m->name, 1e-9 * operations / m->seconds[repetitions / 2]);
    if (!m->is_of_weights) continue;
    m->run(m, 0);
    if (!has_reference) {
      memcpy(wanted, y, (size_t)(rows * out) * sizeof(float));
      has_reference = true;
      continue;
    }
    double error = 0, size = 0;
    for (int64_t j = 0; j < rows * out; j++) {
      error += pow((double)y[j] - wanted[j], 2);
      size += pow(wanted[j], 2);
    }
    printf(" (error %.1e)", sqrt(error / size));
  }
  printf("\n");
  fflush(stdout);
  for (int i = 0; i < n; i++) {
#if HAS_ONEDNN
    if (methods[i].state != NULL) forget_product(methods[i].state, methods[i].copies);
#endif
    if (!methods[i].is_of_weights) free_copies(methods[i].weights, methods[i].copies);
  }
  free_copies(bfloat16, (int)(resident_bytes / (2 * elements)) + 1);
  free(x), free(y), free(wanted), free(narrow), free(scratch);
}

int main(int count, char **arguments) {
  const mi_isa isa = mi_kernels_for(MI_AVX512) != NULL ? MI_AVX512
    : mi_kernels_for(MI_AVX2) != NULL                  ? MI_AVX2
    : mi_kernels_for(MI_NEON) != NULL                  ? MI_NEON
                                                       : MI_PORTABLE;
  kernels = mi_kernels_for(isa);
  blocks = mi_block_products_for(isa);
  pairs = mi_bfloat16_products_for(isa);
  printf("Kernels: %s, blocks %s, pairs %s\n", kernels->name, blocks->name, pairs ? pairs->name : "none");
  open_openblas();
#if HAS_ONEDNN
  const dnnl_version_t *version = dnnl_version();
  printf("oneDNN %d.%d.%d, instructions %#x\n", version->major, version->minor, version->patch,
    dnnl_get_effective_cpu_isa());
  if (
    dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success
    || dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) != dnnl_success
  ) {
    fprintf(stderr, "products: oneDNN has no engine for the processor\n");
    return 69;
  }
#endif
  // Qwen2.5 of 0.5B and 1.5B: gate or up, and down.
  static const int64_t shapes[][2] = {{896, 4864}, {4864, 896}, {1536, 8960}, {8960, 1536}};
  static const int64_t counts[] = {1, 8, 64, 512, 2048};
  for (int s = 0; s < (count > 2 ? (count - 1) / 2 : 4); s++) {
    in = count > 2 ? atoll(arguments[1 + 2 * s]) : shapes[s][0];
    out = count > 2 ? atoll(arguments[2 + 2 * s]) : shapes[s][1];
    for (int c = 0; c < 5; c++) measure(counts[c]);
  }
  return 0;
}
