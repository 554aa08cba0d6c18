internal import StoredNumbers

/// A tensor of a weight file, in the host's memory as the file holds it: what a ``Weight`` is made from.
public struct StoredTensor {
  /// What messages call it: the tensor's name in the file.
  public let name: String
  public let bytes: UnsafeRawBufferPointer
  public let format: TensorFormat
  /// Extents, slowest first.
  public let shape: [Int]
  /// What elements of float8 are multiplied with; nil for every other format.
  public let scales: StoredScales?
  /// Keeps the bytes where they are for as long as it lives: a mapped file.
  public let owner: any AnyObject & Sendable

  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` unless the bytes are those of the shape.
  public init(
    name: String, bytes: UnsafeRawBufferPointer, format: TensorFormat, shape: [Int],
    owner: any AnyObject & Sendable, scales: StoredScales? = nil
  ) throws {
    guard let row = format.rowByteCount(shape.last ?? 1), shape.allSatisfy({ $0 >= 0 }),
      shape.dropLast().reduce(row, *) == bytes.count
    else {
      throw ComputeError.shapeMismatch(
        operation: name, detail: "\(bytes.count) bytes for \(format) \(shape)")
    }
    guard scales?.suit(shape) ?? true else {
      throw ComputeError.shapeMismatch(
        operation: name, detail: "\(scales?.values.count ?? 0) scales for \(shape)")
    }
    self.name = name
    self.bytes = bytes
    self.format = format
    self.shape = shape
    self.owner = owner
    self.scales = scales
  }

  /// The elements of a matrix of float8 by their definition; nil without scales.
  package var float8Numbers: [Double]? {
    guard let scales, format == .dense(.float8), shape.count == 2 else { return nil }
    let across = (shape[1] + scales.columns - 1) / scales.columns
    return bytes.enumerated().map { index, byte in
      let (row, column) = index.quotientAndRemainder(dividingBy: shape[1])
      let factor = scales.values[row / scales.rows * across + column / scales.columns]
      return Double(float8Bits: byte) * Double(factor)
    }
  }

  /// The element type of a dense tensor.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` for blocks: the backend has no kernels for them.
  package func denseType(on backend: any DeviceOperations) throws -> DataType {
    guard case .dense(let type) = format, type != .float8,
      backend.capabilities.weightFormats.contains(format)
    else {
      throw ComputeError.unavailable(
        what: "weights of \(format) (\(name)) on the device \(backend.name)",
        remedy: Remedy(
          "use a checkpoint with weights of "
            + backend.capabilities.weightFormats.map(\.description).sorted().joined(separator: ", ")
        ))
    }
    return type
  }
}
