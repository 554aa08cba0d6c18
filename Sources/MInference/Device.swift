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
  ///   - linear: What linear layers of a GPU multiply.
  ///   - attentionPrecision: What attention of prompts multiplies; fp8 needs a Hopper GPU.
  /// - Throws: `ComputeError.unavailable` if this build or this machine lacks it.
  public func makeBackend(
    threads: Int? = nil, linear: LinearPrecision = .bf16,
    attentionPrecision: AttentionPrecision = .native
  ) throws -> any Backend {
    func cuda() throws -> CUDABackend {
      try CUDABackend(
        kernels: Self.cudaKernels, linear: linear, attentionPrecision: attentionPrecision)
    }
    switch self {
    case .cpu:
      guard linear == .bf16 else { throw Self.noFloat8Linear }
      guard attentionPrecision == .native else { throw Self.noFloat8Attention }
      return try CPUBackend(threads: threads)
    case .cuda: return try cuda()
    case .auto:
      do {
        let backend = try cuda()
        try backend.prepare()
        return backend
      } catch {
        // Who asks for fp8 asks for a GPU.
        guard linear == .bf16, attentionPrecision == .native else {
          if CUDABackend.hasDriver { throw error }
          throw linear == .bf16 ? Self.noFloat8Attention : Self.noFloat8Linear
        }
        return try Self.processor(threads: threads, insteadOf: error)
      }
    }
  }

  /// The CPU, where ``auto`` found that a GPU will not do.
  static func processor(threads: Int?, insteadOf error: any Error) throws -> any Backend {
    // A machine without an NVIDIA driver was never meant to compute on one; with a driver, what is
    // missing beside it is worth a word.
    let notice = CUDABackend.hasDriver ? ["computing on the CPU: \(error)"] : []
    return try CPUBackend(threads: threads, notices: notice)
  }

  /// What ``auto`` comes to on this machine.
  package var resolved: Device {
    guard self == .auto else { return self }
    return (try? CUDABackend().prepare()) == nil ? .cpu : .cuda
  }

  private static let noFloat8Linear = ComputeError.unavailable(
    what: "fp8 for linear layers on the CPU",
    remedy: "leave out --linear fp8, or use --device cuda on a Hopper GPU")
  private static let noFloat8Attention = ComputeError.unavailable(
    what: "attention with fp8 operands on the CPU",
    remedy: "leave out --attention-precision fp8, which is for Hopper GPUs")

  /// MINFERENCE_CUDA_KERNELS=portable keeps to the kernels that every GPU runs.
  private static var cudaKernels: CUDABackend.Kernels {
    getenv("MINFERENCE_CUDA_KERNELS").flatMap { CUDABackend.Kernels(rawValue: String(cString: $0)) }
      ?? .hopper
  }

  /// What whole models on this device are compared with where the reference takes too long: the CPU
  /// for a GPU, and for the CPU its plainest kernels.
  package func plainBackend(threads: Int?) throws -> (name: String, backend: any Backend) {
    if resolved == .cuda { return ("the CPU in float32", try CPUBackend(threads: threads)) }
    return (
      "the CPU's portable kernels in float32",
      try CPUBackend(threads: threads, instructionSet: .portable, useBLAS: false)
    )
  }

  /// The backends to verify on this device: one for each instruction set that the processor runs,
  /// and one without BLAS; of a GPU, one for each kind of kernels and of linear layers that it has.
  package func variants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    if resolved == .cuda {
      let backend = try CUDABackend(kernels: .portable)
      let name = backend.deviceName
      var variants: [(name: String, backend: any Backend)] = [(name, backend)]
      if backend.hasOwnKernels {
        variants.append((name + ", Hopper", try CUDABackend(kernels: .hopper)))
        variants.append((name + ", fp8", try CUDABackend(attentionPrecision: .fp8)))
      }
      if backend.hasFloat8Linear {
        variants.append((name + ", linear fp8", try CUDABackend(linear: .fp8)))
      }
      return variants
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
