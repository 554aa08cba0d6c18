/// Host memory: allocated zero-filled, or borrowed from an owner such as a mapped file.
public final class HostBuffer: DeviceBuffer, @unchecked Sendable {
  // Unchecked: the memory is shared between tensors by design; who may write when is decided by
  // the caller of the backend, as ``Tensor`` says.
  public let byteCount: Int
  /// The first byte. Borrowed memory must not be written.
  public let start: UnsafeMutableRawPointer
  private let owner: (any AnyObject & Sendable)?

  /// Allocates `byteCount` zero bytes.
  public init(byteCount: Int) {
    self.byteCount = byteCount
    start = .allocate(byteCount: max(1, byteCount), alignment: 64)
    start.initializeMemory(as: UInt8.self, repeating: 0, count: max(1, byteCount))
    owner = nil
  }

  /// Shows `bytes`, which stay valid as long as `owner` lives.
  public init(borrowing bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable) {
    byteCount = bytes.count
    start = UnsafeMutableRawPointer(
      mutating: bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped)
    self.owner = owner
  }

  deinit {
    if owner == nil { start.deallocate() }
  }
}
