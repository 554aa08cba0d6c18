/// Opens the backends of one kind of device.
///
/// A kind of device is one folder of kernels and one provider; `MInference` lists the providers, and
/// everything that names devices takes the names from that list.
package protocol DeviceProvider: Sendable {
  /// The name that users give: "cpu", "cuda".
  var name: String { get }

  /// Whether this machine is set up for such devices (a driver is installed). If so, a failure to open one is
  /// reported. Opens no device.
  var isPresent: Bool { get }

  /// How many devices of this kind there are.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` where it cannot be found out.
  func deviceCount() throws -> Int

  /// Opens a device.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` where this build or this machine lacks it, or
  ///   the device lacks what the options ask for.
  func make(_ options: DeviceOptions) throws -> any Backend

  /// A CPU backend with which whole models on such a device are compared where the reference takes too long.
  func makeComparison(threads: Int?) throws -> (name: String, backend: any Backend)

  /// The backends to verify: one for each kind of kernels that the device has.
  func makeVariants(threads: Int?) throws -> [(name: String, backend: any Backend)]
}

/// What a device is opened with.
package struct DeviceOptions: Sendable, Hashable {
  /// CPU threads to compute on; nil for one on every processor.
  package var threads: Int?
  /// Which device of its kind, from 0; nil for the first, or the one that the environment names.
  package var ordinal: Int?
  /// What linear layers of a GPU multiply.
  package var linear: LinearPrecision
  /// What attention of prompts multiplies.
  package var attentionPrecision: AttentionPrecision
  /// Whether what is missing to compile kernels has to show when the device is opened, not later.
  package var checksKernels: Bool
  /// What the backend is to tell beside its own notices.
  package var notices: [String]

  package init(
    threads: Int? = nil, ordinal: Int? = nil, linear: LinearPrecision = .bf16,
    attentionPrecision: AttentionPrecision = .native, checksKernels: Bool = false,
    notices: [String] = []
  ) {
    self.threads = threads
    self.ordinal = ordinal
    self.linear = linear
    self.attentionPrecision = attentionPrecision
    self.checksKernels = checksKernels
    self.notices = notices
  }

  /// Whether anything is multiplied in fewer bits than the device does of itself.
  package var isNarrow: Bool { linear != .bf16 || attentionPrecision != .native }
}
