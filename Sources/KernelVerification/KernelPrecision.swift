import MInference
import StoredNumbers

/// How exactly a backend's kernels can agree with the reference.
struct KernelPrecision {
  /// Whether activations are bfloat16.
  let isHalf: Bool
  /// Whether activations of float32 are rounded to bfloat16 for products with bfloat16 weights.
  let roundsForBFloat16Weights: Bool

  init(of backend: any Backend) {
    isHalf = backend.activationType == .bfloat16
    roundsForBFloat16Weights = backend.capabilities.roundsForBFloat16Weights
  }

  /// Inputs as the backend holds them.
  func rounded(_ values: [Float]) -> [Float] {
    guard isHalf else { return values }
    return values.map { Float(bfloat16Bits: $0.bfloat16Bits) }
  }

  /// The next width that the backend's kernels take.
  func width(_ width: Int) -> Int { isHalf ? (width + 7) / 8 * 8 : width }

  /// Formats of stored keys and values, for attention of many rows and of few.
  var keyValueTypes: [DataType] { isHalf ? [.bfloat16] : [.float32, .bfloat16] }
  var rowKeyValueTypes: [DataType] { isHalf ? [.bfloat16, .float8] : [.float32, .bfloat16] }

  /// The least tolerance of a kernel, relative to the largest expected value. A result in bfloat16
  /// is off by up to 2^-9 of itself; attention also rounds each weight, a chain of rounded
  /// operations (norm, product) adds up.
  func tolerance(of kernel: String) -> Double {
    guard isHalf else {
      // An activation is off by up to 2^-9 of itself, the sum of a row by about 2^-10 of its size.
      guard roundsForBFloat16Weights else { return 0 }
      if kernel == "decoding experts" { return 2e-2 }
      guard kernel.hasSuffix("bfloat16") else { return 0 }
      // Gate and up are rounded apart, and a clamped gate is steep.
      if kernel.contains("xpert") { return 2e-2 }
      // Norm, product and gate add up.
      if kernel.hasPrefix("decoding"), !kernel.hasPrefix("decoding attention bfloat16"),
        !kernel.hasPrefix("decoding heads")
      {
        return 1.2e-2
      }
      return kernel.hasPrefix("linear") ? 6e-3 : 0
    }
    if kernel.hasPrefix("lastRowSums") { return 1e-3 }
    if kernel.hasPrefix("meanPooled") { return 1e-5 }
    if kernel.hasPrefix("store") || kernel.hasPrefix("gatherRows") { return 1e-9 }
    // A number of float8 that lies about halfway between two may become either: a step is an eighth. In bfloat16 a
    // norm and the two products of a rotation are rounded one by one where they are kernels of their own.
    if kernel.hasPrefix("decoding heads") { return kernel.hasSuffix("float8") ? 0.13 : 8e-3 }
    // Norm, eight bits of activations and gate.
    if kernel.hasPrefix("decoding") { return kernel.contains("gate") ? 4e-2 : 3e-2 }
    if kernel == "route" { return 1e-5 }
    if kernel.contains("xpert") { return 1.2e-2 }
    if ["mostLikely", "draw", "penalize"].contains(kernel) { return 1e-9 }
    if kernel.hasPrefix("scoreTokens") { return 3e-6 }
    if kernel.hasPrefix("divergences") { return 1e-3 }
    return kernel.contains("ttention") || kernel.hasPrefix("linear") ? 1.2e-2 : 6e-3
  }
}
