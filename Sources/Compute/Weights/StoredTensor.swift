/// A tensor of a weight file, in the host's memory as the file holds it: what a ``Weight`` is made from.
public struct StoredTensor {
  /// What messages call it: the tensor's name in the file.
  public let name: String
  public let bytes: UnsafeRawBufferPointer
  public let format: TensorFormat
  /// Extents, slowest first.
  public let shape: [Int]
  /// Keeps the bytes where they are for as long as it lives: a mapped file.
  public let owner: any AnyObject & Sendable

  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` unless the bytes are those of the shape.
  public init(
    name: String, bytes: UnsafeRawBufferPointer, format: TensorFormat, shape: [Int],
    owner: any AnyObject & Sendable
  ) throws {
    guard let row = format.rowByteCount(shape.last ?? 1), shape.allSatisfy({ $0 >= 0 }),
      shape.dropLast().reduce(row, *) == bytes.count
    else {
      throw ComputeError.shapeMismatch(
        operation: name, detail: "\(bytes.count) bytes for \(format) \(shape)")
    }
    self.name = name
    self.bytes = bytes
    self.format = format
    self.shape = shape
    self.owner = owner
  }

  /// The element type of a dense tensor.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` for blocks: the backend has no kernels for them.
  package func denseType(on backend: any DeviceOperations) throws -> DataType {
    guard case .dense(let type) = format, backend.capabilities.weightFormats.contains(format) else {
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
