package import Compute

/// Opens NVIDIA GPUs.
package struct CUDAProvider: DeviceProvider {
  package let name = "cuda"
  /// Opens the processor, for comparisons.
  private let processor: any DeviceProvider

  package init(processor: any DeviceProvider) { self.processor = processor }

  package var isPresent: Bool { CUDABackend.hasDriver }

  package func deviceCount() throws -> Int { try CUDABackend.deviceCount() }

  package func make(_ options: DeviceOptions) throws -> any Backend {
    let backend = try CUDABackend(
      kernels: Self.kernels, linear: options.linear,
      attentionPrecision: options.attentionPrecision, ordinal: options.ordinal)
    if options.checksKernels { try backend.prepare() }
    return backend
  }

  /// MINFERENCE_CUDA_KERNELS=portable keeps to the kernels that every GPU runs.
  private static var kernels: CUDABackend.Kernels {
    HostSystem.environment("MINFERENCE_CUDA_KERNELS").flatMap(CUDABackend.Kernels.init) ?? .hopper
  }

  /// The processor in float32.
  package func makeComparison(threads: Int?) throws -> (name: String, backend: any Backend) {
    ("the CPU in float32", try processor.make(DeviceOptions(threads: threads)))
  }

  /// One for each kind of kernels and of linear layers that the GPU has.
  package func makeVariants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    let backend = try CUDABackend(kernels: .portable)
    try backend.prepare()
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
}
