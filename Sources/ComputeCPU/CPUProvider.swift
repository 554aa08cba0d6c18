package import Compute

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
    return try CPUBackend(threads: options.threads, notices: options.notices)
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
