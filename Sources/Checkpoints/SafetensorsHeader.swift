import JSON

/// The header of a safetensors file: which bytes of the file are which tensor.
///
/// The file is 8 bytes of header length (little endian), the header as a JSON object
/// `{"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {..}}`, and the data,
/// in which the tensors follow one another without gap or overlap.
/// Source: https://github.com/huggingface/safetensors, "Format".
///
/// A value of this type has been checked: every tensor lies inside the file and, when its type is one
/// that safetensors has, takes the bytes that its shape asks for. Data may begin, and tensors may lie, at
/// any byte: writers need not pad the header.
package struct SafetensorsHeader: Sendable {
  /// One tensor's entry.
  package struct Entry: Sendable, Equatable {
    package let name: String
    /// As the file spells it.
    package let storedType: String
    package let shape: [Int]
    /// Bytes of the file, from its beginning.
    package let range: Range<Int>
  }

  /// Headers beyond this many bytes are refused, as the format says.
  package static let maximumLength = 100_000_000

  /// In the order of the data.
  package let entries: [Entry]

  /// Reads the header of the file `path`, whose bytes are `bytes`. Looks at the header alone.
  package init(of bytes: UnsafeRawBufferPointer, path: String) throws(CheckpointError) {
    let text = try Self.headerBytes(of: bytes, path: path)
    let value: JSONValue
    do {
      value = try JSONValue(parsing: text, policy: .python)
    } catch {
      throw .malformedJSON(file: path, offset: 8 + error.offset, problem: error.problem)
    }
    guard case .object(let members) = value else {
      throw .malformedFile(file: path, problem: "the header is \(value.kind), not an object")
    }
    let dataStart = 8 + text.count
    var entries: [Entry] = []
    entries.reserveCapacity(members.count)
    for member in members where !haveSameBytes(member.key, "__metadata__") {
      entries.append(
        try EntryReader(path: path, name: member.key, value: member.value)
          .entry(dataStart: dataStart, fileSize: bytes.count))
    }
    entries.sort {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    try Self.checkContiguity(
      of: entries, dataStart: dataStart, fileSize: bytes.count, path: path)
    self.entries = entries
  }

  private static func headerBytes(
    of bytes: UnsafeRawBufferPointer, path: String
  ) throws(CheckpointError) -> UnsafeRawBufferPointer {
    guard bytes.count >= 8 else {
      throw .malformedFile(
        file: path,
        problem: "is cut off: \(bytes.count) bytes, where the header's length alone takes 8")
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(maximumLength) else {
      throw .malformedFile(
        file: path,
        problem: "says its header is \(length) bytes, more than the \(maximumLength) allowed")
    }
    guard length <= UInt64(bytes.count - 8) else {
      throw .malformedFile(
        file: path,
        problem: "is cut off: its header should end at byte \(8 + length), the file at "
          + "\(bytes.count)")
    }
    let text = UnsafeRawBufferPointer(rebasing: bytes[8..<8 + Int(length)])
    guard text.first == UInt8(ascii: "{") else {
      throw .malformedFile(file: path, problem: "is no safetensors file: its header is not JSON")
    }
    return text
  }

  private static func checkContiguity(
    of entries: [Entry], dataStart: Int, fileSize: Int, path: String
  ) throws(CheckpointError) {
    var end = dataStart
    var previous = ""
    for entry in entries {
      let begin = entry.range.lowerBound
      if begin < end {
        throw .malformedTensor(
          file: path, tensor: entry.name,
          problem: "overlaps \(quoted(previous)): begins at data byte \(begin - dataStart), which "
            + "the other holds up to \(end - dataStart)")
      }
      if begin > end {
        throw .malformedTensor(
          file: path, tensor: entry.name,
          problem: "begins at data byte \(begin - dataStart), \(begin - end) bytes after the end "
            + "of what comes before")
      }
      end = entry.range.upperBound
      previous = entry.name
    }
    guard end == fileSize else {
      throw .malformedFile(
        file: path,
        problem: "is \(fileSize) bytes long where its header accounts for \(end)")
    }
  }
}

/// Reads one member of the header.
private struct EntryReader {
  let path: String
  let name: String
  let value: JSONValue

  private func failure(_ problem: String) -> CheckpointError {
    .malformedTensor(file: path, tensor: name, problem: problem)
  }

  func entry(dataStart: Int, fileSize: Int) throws(CheckpointError) -> SafetensorsHeader.Entry {
    guard case .object = value else { throw failure("its entry is \(value.kind), not an object") }
    guard case .string(let type)? = value["dtype"] else {
      throw failure("dtype is \(value["dtype"]?.kind ?? "missing")")
    }
    guard type.utf8.count <= 16 else { throw failure("dtype is \(quoted(type)), which is no type") }
    let shape = try wholeNumbers("shape")
    let offsets = try wholeNumbers("data_offsets")
    guard offsets.count == 2 else {
      throw failure("data_offsets has \(offsets.count) numbers, not 2")
    }
    guard offsets[0] <= offsets[1] else {
      throw failure("data_offsets \(offsets) end before they begin")
    }
    guard offsets[1] <= fileSize - dataStart else {
      throw failure(
        "ends at data byte \(offsets[1]), but the file holds \(fileSize - dataStart): "
          + "the file is cut off")
    }
    // A type of a later version of the format can be stepped over: the model may not need it.
    if let bits = StoredType.bitCount(of: type) {
      let count = try byteCount(shape: shape, bits: bits)
      guard offsets[1] - offsets[0] == count else {
        throw failure(
          "shape \(shape) of \(type) takes \(count) bytes, data_offsets \(offsets) "
            + "hold \(offsets[1] - offsets[0])")
      }
    }
    return .init(
      name: name, storedType: type, shape: shape,
      range: dataStart + offsets[0]..<dataStart + offsets[1])
  }

  private func wholeNumbers(_ key: String) throws(CheckpointError) -> [Int] {
    guard case .array(let values)? = value[key] else {
      throw failure("\(key) is \(value[key]?.kind ?? "missing")")
    }
    var numbers: [Int] = []
    numbers.reserveCapacity(values.count)
    for value in values {
      guard case .integer(let number) = value, number >= 0 else {
        throw failure("\(key) holds \(value.kind) where a whole number from 0 up should be")
      }
      numbers.append(number)
    }
    return numbers
  }

  private func byteCount(shape: [Int], bits: Int) throws(CheckpointError) -> Int {
    var product = 1
    var overflow = false
    for factor in shape + [bits] {
      let (next, overflows) = product.multipliedReportingOverflow(by: factor)
      product = next
      overflow = overflow || overflows
    }
    guard !overflow else { throw failure("shape \(shape) has more elements than can be counted") }
    guard product % 8 == 0 else {
      throw failure("shape \(shape) takes \(product) bits, which are no whole bytes")
    }
    return product / 8
  }
}
