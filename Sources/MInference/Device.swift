public import Compute
import ComputeCPU
import ComputeCUDA
import Synchronization

/// Where a model runs: the kind of device by its name, or the fastest that there is.
public struct Device: RawRepresentable, Sendable, Hashable, CaseIterable {
  public let rawValue: String

  /// nil for a name that no provider has.
  public init?(rawValue: String) {
    guard rawValue == "auto" || DeviceRegistry.provider(named: rawValue) != nil else { return nil }
    self.rawValue = rawValue
  }

  private init(known name: String) { rawValue = name }

  /// The fastest device that this build and this machine have.
  public static let auto = Device(known: "auto")
  public static let cpu = Device(known: DeviceRegistry.processor.name)
  public static let cuda = Device(known: "cuda")

  public static var allCases: [Device] {
    [auto, cpu] + DeviceRegistry.accelerators.map { Device(known: $0.name) }
  }

  /// The most CPU threads that ``makeBackend(threads:linear:attentionPrecision:)`` takes.
  public static let mostThreads = CPUBackend.mostThreads

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
    let options = DeviceOptions(
      threads: threads, linear: linear, attentionPrecision: attentionPrecision)
    return try provider.map { try $0.make(options) } ?? DeviceRegistry.makeFastest(options)
  }

  /// Calls `body` with one line of text before a device of this process compiles kernels, which takes seconds
  /// and happens once for a machine: "compiling GPU kernels (3 of at most 21)". It is called on the thread
  /// that needs them. nil: nobody is told.
  public static func onKernelCompilation(_ body: (@Sendable (String) -> Void)?) {
    guard let body else { return KernelCompilation.onCompilation(nil) }
    KernelCompilation.onCompilation { body("\($0)") }
  }

  /// nil for ``auto``.
  private var provider: (any DeviceProvider)? { DeviceRegistry.provider(named: rawValue) }

  /// The CPU, where ``auto`` found that a device will not do.
  static func processor(threads: Int?, insteadOf error: any Error) throws -> any Backend {
    try DeviceRegistry.makeProcessor(DeviceOptions(threads: threads), insteadOf: [error])
  }

  /// What ``auto`` comes to on this machine. Opens a device only where this process has not yet opened
  /// one as ``auto``.
  package var resolved: Device { Device(known: resolvedProvider.name) }

  private var resolvedProvider: any DeviceProvider { provider ?? DeviceRegistry.fastest }

  /// What whole models on this device are compared with where the reference takes too long: the CPU
  /// for a GPU, and for the CPU its portable kernels.
  package func comparisonBackend(threads: Int?) throws -> (name: String, backend: any Backend) {
    try resolvedProvider.makeComparison(threads: threads)
  }

  /// The backends to verify on this device: one for each instruction set that the processor runs,
  /// and one without BLAS; of a GPU, one for each kind of kernels and of linear layers that it has.
  package func variants(threads: Int?) throws -> [(name: String, backend: any Backend)] {
    try resolvedProvider.makeVariants(threads: threads)
  }
}

/// The kinds of devices of this build. A further kind is one more provider here.
enum DeviceRegistry {
  static let processor: any DeviceProvider = CPUProvider()
  /// The fastest first.
  static let accelerators: [any DeviceProvider] = [CUDAProvider(processor: processor)]

  /// What was found to be the fastest device, once one was opened.
  private static let found = Mutex<(any DeviceProvider)?>(nil)

  static func provider(named name: String) -> (any DeviceProvider)? {
    (accelerators + [processor]).first { $0.name == name }
  }

  /// The fastest device that can be opened.
  ///
  /// Options that no processor serves ask for an accelerator: what keeps it from being opened is thrown
  /// then.
  static func makeFastest(_ options: DeviceOptions) throws -> any Backend {
    var checked = options
    checked.checksKernels = true
    var failures: [any Error] = []
    for provider in accelerators {
      do {
        let backend = try provider.make(checked)
        found.withLock { $0 = provider }
        return backend
      } catch {
        guard provider.isPresent else { continue }
        if options.isNarrow { throw error }
        failures.append(error)
      }
    }
    let backend = try makeProcessor(options, insteadOf: failures)
    found.withLock { $0 = processor }
    return backend
  }

  /// The processor, with a notice for each accelerator of this machine that would not do.
  static func makeProcessor(
    _ options: DeviceOptions, insteadOf failures: [any Error]
  ) throws -> any Backend {
    var options = options
    if accelerators.contains(where: \.isPresent) {
      options.notices += failures.map { "computing on the CPU: \($0)" }
    }
    return try processor.make(options)
  }

  /// The provider of what ``makeFastest(_:)`` opened, or would open.
  static var fastest: any DeviceProvider {
    if let provider = found.withLock({ $0 }) { return provider }
    guard accelerators.contains(where: \.isPresent) else { return processor }
    _ = try? makeFastest(DeviceOptions())
    return found.withLock { $0 } ?? processor
  }
}
