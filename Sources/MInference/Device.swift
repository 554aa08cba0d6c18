public import Compute
import ComputeCPU
import ComputeCUDA

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where a model runs.
public enum Device: String, Sendable, Hashable, CaseIterable {
  /// The fastest device that this build and this machine have.
  case auto
  case cpu
  case cuda

  /// A backend for this device.
  ///
  /// - Parameters:
  ///   - threads: CPU threads to compute on; nil for one on every processor.
  ///   - attentionPrecision: What attention of prompts multiplies; fp8 needs a Hopper GPU.
  /// - Throws: `ComputeError.unavailable` if this build or this machine lacks it.
  public func makeBackend(
    threads: Int? = nil, attentionPrecision: AttentionPrecision = .native
  ) throws -> any Backend {
    switch self {
    case .cpu:
      guard attentionPrecision == .native else {
        throw ComputeError.unavailable(
          what: "attention with fp8 operands on the CPU",
          remedy: "leave out --attention-precision fp8, which is for Hopper GPUs")
      }
      return try CPUBackend(threads: threads)
    case .cuda: return try Self.cudaBackend(attentionPrecision)
    case .auto:
      // Who asks for fp8 asks for a GPU.
      if attentionPrecision == .fp8 { return try Self.cudaBackend(attentionPrecision) }
      do {
        let backend = try Self.cudaBackend(.native)
        try backend.prepare()
        return backend
      } catch {
        // A machine without an NVIDIA driver was never meant to compute on one; with a driver, what
        // is missing beside it is worth a word.
        let notice = CUDABackend.hasDriver ? ["computing on the CPU: \(error)"] : []
        return try CPUBackend(threads: threads, notices: notice)
      }
    }
  }

  private static func cudaBackend(_ precision: AttentionPrecision) throws -> CUDABackend {
    try CUDABackend(kernels: cudaKernels, attentionPrecision: precision)
  }

  /// MINFERENCE_CUDA_KERNELS=portable keeps to the kernels that every GPU runs.
  private static var cudaKernels: CUDABackend.Kernels {
    getenv("MINFERENCE_CUDA_KERNELS").flatMap { CUDABackend.Kernels(rawValue: String(cString: $0)) }
      ?? .hopper
  }

  /// The backends to verify on this device: one for each instruction set that the processor runs,
  /// and one without BLAS.
  package func variants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    if self == .cuda {
      let backend = try CUDABackend(kernels: .portable)
      let name = backend.deviceName
      guard backend.hasOwnKernels else { return [(name, backend)] }
      return [
        (name, backend), (name + ", Hopper", try CUDABackend(kernels: .hopper)),
        (name + ", fp8", try CUDABackend(kernels: .hopper, attentionPrecision: .fp8)),
      ]
    }
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
