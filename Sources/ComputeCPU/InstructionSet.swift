internal import CKernels

/// The instruction sets that CPU kernels are compiled for.
public enum InstructionSet: String, Sendable, CaseIterable {
  case portable
  case neon
  case avx2
  case avx512

  var kernels: UnsafePointer<mi_kernels>? { mi_kernels_for(kernelSet) }

  /// Products with matrices in blocks; for AVX-512 those of VNNI where the processor has it.
  var blockProducts: UnsafePointer<mi_block_products>? { mi_block_products_for(kernelSet) }

  /// Products of bfloat16 pairs, where the processor has them.
  var bfloat16Products: UnsafePointer<mi_bfloat16_products>? {
    mi_bfloat16_products_for(kernelSet)
  }

  private var kernelSet: mi_isa {
    switch self {
    case .portable: MI_PORTABLE
    case .neon: MI_NEON
    case .avx2: MI_AVX2
    case .avx512: MI_AVX512
    }
  }

  /// Those that this build has and this processor runs, the fastest last.
  public static var available: [InstructionSet] { allCases.filter { $0.kernels != nil } }
}
