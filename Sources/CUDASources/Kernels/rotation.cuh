// Cosine and sine of rotary embeddings.
#ifndef MI_ROTATION_CUH
#define MI_ROTATION_CUH

namespace mi {

/// Sine and cosine of a float32 angle in 0 ..< 2^21, to about 1e-7. One step of reduction in double
/// leaves an error of 1e-10 there, and needs no table in local memory.
__device__ __forceinline__ float2 cosineAndSine(float angle) {
  const double quarterTurns = rint((double)angle * 0.63661977236758134308);
  const float r = (float)fma(quarterTurns, -1.57079632679489661923, (double)angle);
  const int quadrant = (int)quarterTurns;
  const float square = r * r;
  float sine = 2.718311493989822e-6f;
  sine = fmaf(sine, square, -1.9839334836096632e-4f);
  sine = fmaf(sine, square, 8.333329385889463e-3f);
  sine = fmaf(sine, square, -1.6666666641626524e-1f);
  sine = fmaf(sine * square, r, r);
  float cosine = 2.443315711809948e-5f;
  cosine = fmaf(cosine, square, -1.388731625493765e-3f);
  cosine = fmaf(cosine, square, 4.166664568298827e-2f);
  cosine = fmaf(cosine * square, square, fmaf(square, -0.5f, 1.0f));
  const float c = quadrant & 1 ? sine : cosine;
  const float s = quadrant & 1 ? cosine : sine;
  return make_float2((quadrant + 1) & 2 ? -c : c, quadrant & 2 ? -s : s);
}

}  // namespace mi

#endif
