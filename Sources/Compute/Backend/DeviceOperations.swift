/// A device's name and capabilities, and the order and time of its work.
public protocol DeviceOperations: AnyObject, Sendable {
  /// The name that users know it by: "cpu", "cuda", "reference".
  var name: String { get }

  /// What the user should know about this device, one line each: a missing BLAS, for example.
  var notices: [String] { get }

  var capabilities: DeviceCapabilities { get }

  /// The properties on which figures of this device depend, for reproducible reports.
  var properties: [DeviceProperty] { get }

  /// Operations that the host has served so far because the device has no kernel for them, sorted by
  /// name; see ``HostFallback``.
  var hostOperations: [HostFallback.Operation] { get }

  /// Throws ``ComputeError/unavailable(what:remedy:)`` for a model that this backend has no kernels
  /// for, before anything of it is loaded.
  ///
  /// - Parameter widths: Elements of the rows that layers read and write.
  func requireSupport(of shape: AttentionShape, widths: [Int]) throws

  /// Bytes free on a device with memory of its own, and in the host's memory; nil where they are one.
  func availableMemory() throws -> (device: Int, host: Int)?

  /// Waits until everything asked for so far is done; throws what went wrong meanwhile.
  func finish() throws

  /// Waits until all but the latest work is done, so that progress and cancellation are accurate on an
  /// asynchronous device.
  func limitWorkAhead() throws

  /// A new watch at zero.
  func makeStopwatch() -> any WorkStopwatch
}

/// Shorthands for single capabilities.
extension DeviceOperations {
  public var activationType: DataType { capabilities.activationType }
  public var rowBlock: Int { capabilities.rowBlock }
  public var attentionPrecision: AttentionPrecision { capabilities.attentionPrecision }
  public func tileShape(headDim: Int) -> TileShape { capabilities.tile(headDim: headDim) }
}
