import JSON

/// The header of a GGUF file: metadata, and which bytes of the file are which tensor.
///
/// The file is the magic "GGUF", a version, the counts of tensors and of metadata, the metadata, the
/// entries of the tensors, and from the next multiple of `general.alignment` on the data.
/// Source: ggml, `docs/gguf.md`; the Python package `gguf`, `gguf_reader.py`.
///
/// A value of this type has been checked: names appear once, every tensor is aligned, lies inside the
/// file, has the bytes that its shape asks for, and shares none with another.
package struct GGUFHeader: Sendable {
  /// One tensor's entry.
  package struct Entry: Sendable, Equatable {
    package let name: String
    package let type: GGUFTensorType
    /// Outermost dimension first, the reverse of the file's order.
    package let shape: [Int]
    /// Bytes of the file, from its beginning.
    package let range: Range<Int>
  }

  package let metadata: [String: GGUFValue]
  /// In the order of the header.
  package let entries: [Entry]

  package static let magic: [UInt8] = Array("GGUF".utf8)

  /// Reads the header of the file `path`, whose bytes are `bytes`. Looks at the header alone.
  package init(of bytes: UnsafeRawBufferPointer, path: String) throws(CheckpointError) {
    var cursor = GGUFCursor(bytes: bytes, file: path)
    try Self.checkVersion(&cursor)
    // A tensor takes the length of its name, a count of dimensions, a type and an offset at least; a
    // value the length of its key, a type and a byte.
    let tensorCount = try cursor.count(ofAtLeast: 24, "tensors")
    let valueCount = try cursor.count(ofAtLeast: 13, "metadata values")
    var metadata: [String: GGUFValue] = [:]
    for _ in 0..<valueCount {
      let key = try cursor.name("a metadata key")
      let value = try cursor.typedValue(quoted(key))
      guard metadata.updateValue(value, forKey: key) == nil else {
        throw .malformedFile(file: path, problem: "has the metadata key \(quoted(key)) twice")
      }
    }
    var drafts: [Draft] = []
    var names: Set<String> = []
    for _ in 0..<tensorCount {
      let draft = try Draft(&cursor)
      guard names.insert(draft.name).inserted else {
        throw .malformedFile(file: path, problem: "has the tensor \(quoted(draft.name)) twice")
      }
      drafts.append(draft)
    }
    let alignment = try Self.alignment(metadata, path: path)
    // Cannot overflow: the alignment has at most 32 bits.
    let dataStart = (cursor.position + alignment - 1) / alignment * alignment
    var entries: [Entry] = []
    for draft in drafts {
      entries.append(
        try draft.entry(
          alignment: alignment, dataStart: dataStart, fileSize: bytes.count, file: path))
    }
    try Self.checkContents(of: entries, alignment: alignment, fileSize: bytes.count, path: path)
    self.metadata = metadata
    self.entries = entries
  }

  private static func checkVersion(_ cursor: inout GGUFCursor) throws(CheckpointError) {
    let file = cursor.file
    guard cursor.bytes.starts(with: magic) else {
      throw .malformedFile(
        file: file, problem: "is no GGUF file: it does not begin with the letters GGUF")
    }
    _ = try cursor.take(magic.count, "the magic")
    let version = try cursor.word(UInt32.self, "the version")
    guard version & 0xFFFF != 0 else {
      throw .invalidField(
        file: file, field: "the byte order",
        problem: "is big endian: little-endian GGUF is read: convert the file")
    }
    guard version == 2 || version == 3 else {
      throw .invalidField(
        file: file, field: "the GGUF version",
        problem: "is \(version): versions 2 and 3 are read: convert the model again")
    }
  }

  private static func alignment(
    _ metadata: [String: GGUFValue], path: String
  ) throws(CheckpointError) -> Int {
    let field = "general.alignment"
    guard let value = metadata[field] else { return 32 }
    guard case .integer(let number) = value, number > 0, number <= Int64(UInt32.max),
      number & (number - 1) == 0
    else {
      throw .invalidField(
        file: path, field: field, problem: "is \(value.kind): it should be a power of two")
    }
    return Int(number)
  }

  private static func checkContents(
    of entries: [Entry], alignment: Int, fileSize: Int, path: String
  ) throws(CheckpointError) {
    let ordered = entries.sorted {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    for (entry, next) in zip(ordered, ordered.dropFirst())
    where next.range.lowerBound < entry.range.upperBound {
      throw .malformedTensor(
        file: path, tensor: next.name, problem: "overlaps \(quoted(entry.name))")
    }
    guard let last = ordered.last else { return }
    let end = last.range.upperBound
    guard fileSize - end < alignment else {
      throw .malformedFile(
        file: path,
        problem: "is \(fileSize) bytes long where its header accounts for \(end)")
    }
  }
}

/// A tensor's entry as the header has it, before the data's start is known.
private struct Draft {
  let name: String
  let type: GGUFTensorType
  let shape: [Int]
  let byteCount: Int
  let offset: UInt64

  init(_ cursor: inout GGUFCursor) throws(CheckpointError) {
    let name = try cursor.name("the name of a tensor")
    let file = cursor.file
    func failure(_ problem: String) -> CheckpointError {
      .malformedTensor(file: file, tensor: name, problem: problem)
    }
    let rank = try cursor.word(UInt32.self, "the number of dimensions of \(quoted(name))")
    guard (1...4).contains(rank) else { throw failure("has \(rank) dimensions, not 1 to 4") }
    var extents: [Int] = []
    for _ in 0..<rank {
      let extent = try cursor.word(UInt64.self, "a dimension of \(quoted(name))")
      guard extent > 0, let extent = Int(exactly: extent) else {
        throw failure("has a dimension of \(extent)")
      }
      extents.append(extent)
    }
    let number = try cursor.word(UInt32.self, "the type of \(quoted(name))")
    guard let type = GGUFTensorType(number: number) else {
      let found = GGUFTensorType.removed[number].map { " (\($0), which is no longer used)" } ?? ""
      throw .unsupportedTensorType(
        file: file, name: name, found: "type \(number)\(found)", known: GGUFTensorType.readNames)
    }
    guard extents[0] % type.elements == 0 else {
      throw failure(
        "has rows of \(extents[0]) elements, no multiple of the \(type.elements) of a block of "
          + type.name)
    }
    var byteCount = type.bytes
    for factor in [extents[0] / type.elements] + extents.dropFirst() {
      let (product, overflow) = byteCount.multipliedReportingOverflow(by: factor)
      guard !overflow else { throw failure("has more elements than can be counted") }
      byteCount = product
    }
    self.name = name
    self.type = type
    shape = extents.reversed()
    self.byteCount = byteCount
    offset = try cursor.word(UInt64.self, "the offset of \(quoted(name))")
  }

  func entry(
    alignment: Int, dataStart: Int, fileSize: Int, file: String
  ) throws(CheckpointError) -> GGUFHeader.Entry {
    guard offset % UInt64(alignment) == 0 else {
      throw .malformedTensor(
        file: file, tensor: name,
        problem: "begins at data byte \(offset), no multiple of the alignment, \(alignment)")
    }
    let available = fileSize - dataStart
    guard available >= 0, byteCount <= available, offset <= UInt64(available - byteCount) else {
      throw .malformedTensor(
        file: file, tensor: name,
        problem: "takes \(byteCount) bytes from data byte \(offset) on, the file holds "
          + "\(max(0, available)): the file is cut off")
    }
    let start = dataStart + Int(offset)
    if case .dense(let element)? = type.format, start % element.byteCount != 0 {
      throw .malformedTensor(
        file: file, tensor: name,
        problem: "begins at byte \(start) of the file, no multiple of the \(element.byteCount) "
          + "bytes of \(type.name)")
    }
    return .init(name: name, type: type, shape: shape, range: start..<start + byteCount)
  }
}
