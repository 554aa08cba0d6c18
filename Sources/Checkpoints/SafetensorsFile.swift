package import Files
import JSON

/// One safetensors file, mapped for reading, with its header read and checked.
///
/// Opening looks at the header alone: a file of any size opens in milliseconds.
public final class SafetensorsFile: Sendable {
  /// As given to `init`.
  public let path: String
  package let mapping: MappedFile
  package let header: SafetensorsHeader
  private let entryIndices: [ByteString: Int]

  /// Opens and checks the file at `path`.
  ///
  /// - Throws: `.unreadable`, `.malformedFile`, `.malformedJSON` or `.malformedTensor`.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    mapping = try mapFile(at: path)
    header = try SafetensorsHeader(of: mapping.bytes, path: path)
    var indices: [ByteString: Int] = [:]
    indices.reserveCapacity(header.entries.count)
    for (index, entry) in header.entries.enumerated() {
      indices[ByteString(entry.name)] = index
    }
    entryIndices = indices
  }

  /// Bytes of the file.
  public var byteCount: Int { mapping.count }

  /// In the order of the data.
  public var tensorNames: [String] { header.entries.map(\.name) }

  /// Whether the file holds a tensor of this name, of whatever type.
  public func contains(_ name: String) -> Bool { entryIndices[ByteString(name)] != nil }

  /// The tensor of this name; nil when the file has none.
  ///
  /// - Throws: `.unsupportedElementType` for types other than F32, F16, BF16 and F8_E4M3.
  public func tensor(named name: String) throws(CheckpointError) -> TensorView? {
    guard let index = entryIndices[ByteString(name)] else { return nil }
    let entry = header.entries[index]
    func view(_ format: TensorView.Format) -> TensorView {
      TensorView(
        name: name, format: format, shape: entry.shape, file: path, storage: mapping,
        range: entry.range)
    }
    if entry.storedType == "F8_E4M3" { return view(.float8) }
    guard let elementType = ElementType(rawValue: entry.storedType) else {
      throw .unsupportedElementType(file: path, name: name, found: entry.storedType)
    }
    // A mapping begins at a page, so the offset in the file says how the address is aligned.
    let isAligned = entry.range.lowerBound % elementType.byteCount == 0
    return isAligned ? view(.dense(elementType)) : view(.dense(elementType)).aligned()
  }

  /// The tensor of this name, which is of bytes; nil when the file has none.
  ///
  /// - Throws: `.malformedTensor` for another type.
  func bytes(named name: String) throws(CheckpointError) -> StoredBytes? {
    guard let index = entryIndices[ByteString(name)] else { return nil }
    let entry = header.entries[index]
    guard entry.storedType == "U8" else {
      throw .malformedTensor(
        file: path, tensor: name, problem: "is stored as \(entry.storedType), not as bytes")
    }
    return StoredBytes(
      name: name, shape: entry.shape, file: path, storage: mapping, range: entry.range)
  }

  /// Whether both files hold the tensor in the same type, shape and bytes.
  func hasSameTensor(_ name: String, as other: SafetensorsFile) -> Bool {
    guard let index = entryIndices[ByteString(name)],
      let otherIndex = other.entryIndices[ByteString(name)]
    else { return false }
    let (entry, otherEntry) = (header.entries[index], other.header.entries[otherIndex])
    guard entry.storedType == otherEntry.storedType, entry.shape == otherEntry.shape,
      entry.range.count == otherEntry.range.count
    else { return false }
    return mapping.bytes[entry.range].elementsEqual(other.mapping.bytes[otherEntry.range])
  }
}
