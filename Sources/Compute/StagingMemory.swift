/// Host memory through which bytes go to a device, or come from one, as they are stored.
///
/// A device copies to and from memory that its own backend made faster than to and from other memory.
public protocol StagingMemory: AnyObject, Sendable {
  /// Aligned to 4,096 bytes.
  var start: UnsafeMutableRawPointer { get }
  var byteCount: Int { get }

  /// Returns when the copies that were begun to and from this memory are over.
  ///
  /// - Throws: What the device says.
  func wait() throws
}

/// Elements of a tensor, and the byte of staging memory from which on they are there.
public struct StagedPart: Sendable {
  public let offset: Int
  public let tensor: Tensor

  public init(offset: Int, tensor: Tensor) {
    self.offset = offset
    self.tensor = tensor
  }
}

/// Staging memory of backends that compute in the memory of the host: copies are over when they return.
public final class HostStagingMemory: StagingMemory, @unchecked Sendable {
  // Unchecked: whoever has the memory decides who uses it when.
  public let start: UnsafeMutableRawPointer
  public let byteCount: Int

  public init(_ byteCount: Int) {
    self.byteCount = byteCount
    start = .allocate(byteCount: max(1, byteCount), alignment: 4096)
  }

  deinit { start.deallocate() }

  public func wait() {}
}

extension StagingMemory {
  /// The bytes of a part.
  ///
  /// - Throws: `ComputeError.shapeMismatch` where they do not fit.
  public func bytes(
    of part: StagedPart, _ operation: String
  ) throws -> UnsafeMutableRawBufferPointer {
    let (offset, tensor) = (part.offset, part.tensor)
    try require(
      offset >= 0 && offset + tensor.byteCount <= byteCount, operation,
      "\(tensor.type) \(tensor.shape) at byte \(offset) of \(byteCount)")
    return UnsafeMutableRawBufferPointer(start: start + offset, count: tensor.byteCount)
  }
}
