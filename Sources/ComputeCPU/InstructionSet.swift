internal import CKernels

/// The instruction sets that CPU kernels are compiled for.
public enum InstructionSet: String, Sendable, CaseIterable {
  case portable
  case neon
  case avx2
  case avx512

  var kernels: UnsafePointer<mi_kernels>? {
    switch self {
    case .portable: mi_kernels_for(MI_PORTABLE)
    case .neon: mi_kernels_for(MI_NEON)
    case .avx2: mi_kernels_for(MI_AVX2)
    case .avx512: mi_kernels_for(MI_AVX512)
    }
  }

  /// Those that this build has and this processor runs, the fastest last.
  public static var available: [InstructionSet] { allCases.filter { $0.kernels != nil } }
}
