package import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Opens the processor.
package struct CPUProvider: DeviceProvider {
  package let name = "cpu"
  package let isPresent = true

  package init() {}

  package func deviceCount() -> Int { 1 }

  package func make(_ options: DeviceOptions) throws -> any Backend {
    guard options.linear == .bf16 else {
      throw ComputeError.unavailable(
        what: "fp8 for linear layers on the CPU",
        remedy: Remedy("it needs a Hopper GPU", use: .bfloat16Linear, .gpu))
    }
    guard options.attentionPrecision == .native else {
      throw ComputeError.unavailable(
        what: "attention with fp8 operands on the CPU",
        remedy: Remedy("they need a Hopper GPU", use: .nativeAttention))
    }
    return try CPUBackend(
      threads: options.threads, usesBFloat16Products: try Self.usesBFloat16Products(),
      notices: options.notices)
  }

  /// Whether BF16 weights are multiplied in pairs: where the processor has such products, unless
  /// MINFERENCE_CPU_PRODUCTS is float32. bf16 asks for them.
  private static func usesBFloat16Products() throws -> Bool {
    let value = getenv("MINFERENCE_CPU_PRODUCTS").map { String(cString: $0) } ?? ""
    switch value {
    case "": return CPUBackend.hasBFloat16Products
    case "float32": return false
    case "bf16":
      guard CPUBackend.hasBFloat16Products else {
        throw ComputeError.unavailable(
          what: "a product of bfloat16 pairs on this processor",
          remedy: Remedy("unset MINFERENCE_CPU_PRODUCTS"))
      }
      return true
    default:
      throw ComputeError.unavailable(
        what: "MINFERENCE_CPU_PRODUCTS=\(value)",
        remedy: Remedy("the known values are bf16 and float32; unset it"))
    }
  }

  /// The portable kernels without BLAS.
  package func makeComparison(threads: Int?) throws -> (name: String, backend: any Backend) {
    (
      "the CPU's portable kernels in float32",
      try CPUBackend(threads: threads, instructionSet: .portable, useBLAS: false)
    )
  }

  /// One for each instruction set that the processor runs, with products of bfloat16 pairs where it has them, and
  /// one without these and without BLAS.
  package func makeVariants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    var variants: [(name: String, backend: any Backend)] = []
    for set in InstructionSet.available {
      let backend = try CPUBackend(
        threads: threads, instructionSet: set, usesBFloat16Products: true)
      variants.append(("cpu \(set.rawValue)", backend))
    }
    if let best = InstructionSet.available.last {
      let backend = try CPUBackend(threads: threads, instructionSet: best, useBLAS: false)
      variants.append(("cpu \(best.rawValue), no BLAS", backend))
    }
    return variants
  }
}
