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
      threads: options.threads, usesBFloat16Products: try Self.asksForBFloat16Products(),
      notices: options.notices)
  }

  /// Whether MINFERENCE_CPU_PRODUCTS is bf16: twice the speed for digits is the user's choice.
  private static func asksForBFloat16Products() throws -> Bool {
    guard let value = getenv("MINFERENCE_CPU_PRODUCTS").map({ String(cString: $0) }),
      !value.isEmpty
    else { return false }
    guard value == "bf16", CPUBackend.hasBFloat16Products else {
      throw ComputeError.unavailable(
        what: value == "bf16"
          ? "a product of bfloat16 pairs on this processor" : "MINFERENCE_CPU_PRODUCTS=\(value)",
        remedy: Remedy(
          value == "bf16" ? "unset MINFERENCE_CPU_PRODUCTS" : "the known value is bf16; unset it"))
    }
    return true
  }

  /// The portable kernels without BLAS.
  package func makeComparison(threads: Int?) throws -> (name: String, backend: any Backend) {
    (
      "the CPU's portable kernels in float32",
      try CPUBackend(threads: threads, instructionSet: .portable, useBLAS: false)
    )
  }

  /// One for each instruction set that the processor runs, and one without BLAS.
  package func makeVariants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    var variants: [(name: String, backend: any Backend)] = []
    for set in InstructionSet.available {
      let backend = try CPUBackend(threads: threads, instructionSet: set)
      variants.append(("cpu \(set.rawValue)", backend))
    }
    if let best = InstructionSet.available.last {
      let backend = try CPUBackend(threads: threads, instructionSet: best, useBLAS: false)
      variants.append(("cpu \(best.rawValue), no BLAS", backend))
    }
    return variants
  }
}
