package import Files

/// One GGUF file, mapped for reading, with its header read and checked.
///
/// Opening looks at the header alone, most of which is the vocabulary: a file of any size opens in
/// milliseconds.
package final class GGUFFile: Sendable {
  /// As given to `init`.
  package let path: String
  package let mapping: MappedFile
  package let header: GGUFHeader
  private let entryIndices: [String: Int]

  /// Opens and checks the file at `path`.
  ///
  /// - Throws: `.unreadable`, `.malformedFile`, `.malformedTensor`, `.invalidField` or
  ///   `.unsupportedTensorType`.
  package init(path: String) throws(CheckpointError) {
    self.path = path
    mapping = try mapFile(at: path)
    header = try GGUFHeader(of: mapping.bytes, path: path)
    var indices: [String: Int] = [:]
    for (index, entry) in header.entries.enumerated() { indices[entry.name] = index }
    entryIndices = indices
  }

  /// Whether the file holds a tensor of this name, of whatever type.
  package func contains(_ name: String) -> Bool { entryIndices[name] != nil }

  /// The tensor of this name as the file has it; nil when there is none.
  ///
  /// - Parameter given: The name that the tensor gets.
  /// - Throws: `.unsupportedTensorType` for types that are not read.
  package func tensor(
    named name: String, as given: String? = nil
  ) throws(CheckpointError) -> TensorView? {
    guard let index = entryIndices[name] else { return nil }
    let entry = header.entries[index]
    guard let format = entry.type.format else {
      throw .unsupportedTensorType(
        file: path, name: name, found: entry.type.name, known: GGUFTensorType.readNames)
    }
    return TensorView(
      name: given ?? name, format: format, shape: entry.shape, file: path, storage: mapping,
      range: entry.range)
  }
}
