/// A matrix or vector of a model, as the backend that prepared it multiplies by it.
///
/// Made once, when a model is loaded (``WeightOperations/prepare(_:as:)``), and never changed after, so
/// that any number of threads may read it. Activations are ``Tensor``.
public struct Weight: Sendable {
  /// What holds the elements. Its layout is the business of the backend that made it.
  public let storage: any DeviceBuffer
  /// Where the first element lies, in bytes from the start of the storage.
  public let byteOffset: Int
  public let format: TensorFormat
  /// What stored elements are multiplied with, a float32 for each row; nil: nothing.
  public let scales: Tensor?
  /// What stored elements are multiplied with, a float32 for each block of the matrix; nil: nothing.
  public let blockScales: BlockScales?
  /// Extents, slowest first: [out, in], [vocabulary, hidden], [width].
  public let shape: [Int]

  public init(
    storage: any DeviceBuffer, byteOffset: Int = 0, format: TensorFormat, scales: Tensor? = nil,
    blockScales: BlockScales? = nil, shape: [Int]
  ) {
    self.storage = storage
    self.byteOffset = byteOffset
    self.format = format
    self.scales = scales
    self.blockScales = blockScales
    self.shape = shape
  }

  /// Numbers that the backend computed, as a matrix to multiply by; shares their memory.
  public init(_ tensor: Tensor) {
    self.init(
      storage: tensor.buffer, byteOffset: tensor.byteOffset, format: .dense(tensor.type),
      shape: tensor.shape)
  }

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// Extent of the first axis: outputs of a matrix.
  public var rows: Int { shape.first ?? 1 }
  /// Elements in one entry of the first axis: inputs of a matrix.
  public var rowCount: Int { shape.dropFirst().reduce(1, *) }

  /// The rows `range`; shares memory with this weight.
  public func slice(rows range: Range<Int>) -> Weight {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    // Rows of blocks are whole blocks; a weight with other rows cannot have been prepared.
    let rowBytes = format.rowByteCount(rowCount) ?? 0
    return Weight(
      storage: storage, byteOffset: byteOffset + range.lowerBound * rowBytes, format: format,
      scales: scales?.slice(rows: range), blockScales: blockScales?.slice(rows: range),
      shape: [range.count] + shape.dropFirst())
  }

  /// The elements as a tensor, where they are dense and without scales; shares their memory.
  public var tensor: Tensor? {
    guard case .dense(let type) = format, scales == nil, blockScales == nil else { return nil }
    return Tensor(buffer: storage, byteOffset: byteOffset, type: type, shape: shape)
  }

  /// ``tensor`` for an operation that has no other use for the weight.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)``.
  package func tensor(for operation: String) throws -> Tensor {
    guard let tensor else {
      throw ComputeError.shapeMismatch(
        operation: operation,
        detail: "dense weights expected, \(format)"
          + (scales == nil && blockScales == nil ? "" : " with scales") + " passed")
    }
    return tensor
  }
}
