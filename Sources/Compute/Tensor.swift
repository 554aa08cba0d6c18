/// Memory that a backend owns: host memory for the CPU, device memory for a GPU.
///
/// A buffer frees its memory when the last tensor that shows it goes away.
public protocol DeviceBuffer: AnyObject, Sendable {
  /// Size in bytes.
  var byteCount: Int { get }
}

/// A dense row-major view of a part of a ``DeviceBuffer``.
///
/// Tensors are cheap values: copies and row slices share memory. Who may write when is decided by
/// the caller; a backend runs the operations that it is given in the order in which they are given.
public struct Tensor: Sendable {
  public let buffer: any DeviceBuffer
  /// Where the first element lies, in bytes from the start of the buffer.
  public let byteOffset: Int
  public let type: DataType
  /// Extents, slowest first.
  public let shape: [Int]

  /// - Precondition: the view lies inside the buffer. Backends and slices are the only makers.
  public init(buffer: any DeviceBuffer, byteOffset: Int = 0, type: DataType, shape: [Int]) {
    self.buffer = buffer
    self.byteOffset = byteOffset
    self.type = type
    self.shape = shape
    precondition(byteOffset >= 0 && byteOffset + byteCount <= buffer.byteCount)
  }

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }

  /// Size of the view in bytes.
  public var byteCount: Int { count * type.byteCount }

  /// Extent of the first axis.
  public var rows: Int { shape.first ?? 1 }

  /// Elements in one entry of the first axis.
  public var rowCount: Int { shape.dropFirst().reduce(1, *) }

  /// The rows `range` of the first axis; shares memory with this tensor.
  public func slice(rows range: Range<Int>) -> Tensor {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Tensor(
      buffer: buffer, byteOffset: byteOffset + range.lowerBound * rowCount * type.byteCount,
      type: type, shape: [range.count] + shape.dropFirst())
  }

  /// The same elements under another shape of the same count.
  public func reshaped(_ shape: [Int]) -> Tensor {
    precondition(shape.reduce(1, *) == count)
    return Tensor(buffer: buffer, byteOffset: byteOffset, type: type, shape: shape)
  }
}
