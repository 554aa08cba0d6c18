public import Compute
import ComputeCPU

/// Where a model runs.
public enum Device: String, Sendable, Hashable, CaseIterable {
  /// The fastest device that this build and this machine have.
  case auto
  case cpu
  case cuda

  /// A backend for this device.
  ///
  /// - Parameter threads: CPU threads to compute on; nil for one on every processor.
  /// - Throws: `ComputeError.unavailable` if this build or this machine lacks it.
  public func makeBackend(threads: Int? = nil) throws -> any Backend {
    switch self {
    case .auto, .cpu: return try CPUBackend(threads: threads)
    case .cuda:
      throw ComputeError.unavailable(
        what: "the CUDA device", remedy: "this build has no CUDA backend yet; use the CPU")
    }
  }

  /// The backends to verify on this device: one for each instruction set that the processor runs,
  /// and one without BLAS.
  package func variants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    guard self != .cuda else { return [("cuda", try makeBackend())] }
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
