import Checkpoints
import Testing

@Suite struct SafetensorsHeaderTests {
  private func header(_ bytes: [UInt8]) throws(CheckpointError) -> SafetensorsHeader {
    let result = bytes.withUnsafeBytes { buffer in
      Result { () throws(CheckpointError) in try SafetensorsHeader(of: buffer, path: "a.st") }
    }
    return try result.get()
  }

  private func header(
    _ text: String, dataBytes: Int
  ) throws(CheckpointError) -> SafetensorsHeader {
    try header(
      SafetensorsWriter.fileBytes(header: text, data: [UInt8](repeating: 0, count: dataBytes)))
  }

  private func failure(header text: String, dataBytes: Int) -> CheckpointError? {
    CheckpointsTests.failure { () throws(CheckpointError) in
      try header(
        SafetensorsWriter.fileBytes(header: text, data: [UInt8](repeating: 0, count: dataBytes)))
    }
  }

  @Test func `Entries come in the order of the data whatever the order of the header`() throws {
    let text =
      #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},"#
      + #""a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"#
      + #""c":{"dtype":"I64","shape":[0,7],"data_offsets":[12,12]}}"#
    let bytes = SafetensorsWriter.fileBytes(header: text, data: [UInt8](repeating: 0, count: 12))
    let entries = try header(bytes).entries
    let start = bytes.count - 12
    #expect(entries.map(\.name) == ["a", "b", "c"])
    #expect(entries.map(\.shape) == [[1, 2], [2], [0, 7]])
    #expect(
      entries.map(\.range) == [start..<start + 8, start + 8..<start + 12, start + 12..<start + 12])
  }

  @Test func `A scalar has an empty shape and one element`() throws {
    let text = #"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#
    let entries = try header(SafetensorsWriter.fileBytes(header: text, data: [0, 0, 0, 0])).entries
    #expect(entries.first?.range.count == 4)
  }

  @Test func `A file shorter than a header's length is refused with its size`() {
    for count in 0..<8 {
      let error = CheckpointsTests.failure { () throws(CheckpointError) in
        try header([UInt8](repeating: 0, count: count))
      }
      #expect(isOneLine(error, naming: "a.st", "\(count) bytes"))
    }
  }

  @Test func `A header that ends past the file is refused with both numbers`() {
    let error = CheckpointsTests.failure { () throws(CheckpointError) in
      try header([200, 0, 0, 0, 0, 0, 0, 0, UInt8(ascii: "{")])
    }
    #expect(isOneLine(error, naming: "a.st", "208", "9"))
  }

  @Test func `A header of more than 100 MB is refused before anything is read`() {
    for length in [UInt64(100_000_001), .max, 1 << 63] {
      let bytes = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
      let error = CheckpointsTests.failure { () throws(CheckpointError) in try header(bytes) }
      #expect(isOneLine(error, naming: "a.st", "\(length)", "100000000"))
    }
  }

  @Test(arguments: ["[]", "null", "{\"a\":1}", "{\"a\":", "{} {}", "{\"a\":[]}"])
  func `A header that is not an object of objects is refused`(text: String) {
    #expect(isOneLine(failure(header: text, dataBytes: 0), naming: "a.st"))
  }

  /// Header text, data bytes, and what the message must name.
  static let malformed: [(text: String, dataBytes: Int, names: [String])] = [
    (#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, ["8", "4", "cut off"]),
    (#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 12, ["long"]),
    (#"{"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, ["[3]", "12", "8"]),
    (#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, ["[8, 0]"]),
    (#"{"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, ["-2"]),
    (#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, 8, ["-8"]),
    (#"{"t":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}"#, 8, ["2.5"]),
    (#"{"t":{"dtype":"F32","shape":"2","data_offsets":[0,8]}}"#, 8, ["shape"]),
    (#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, 8, ["data_offsets", "1"]),
    (#"{"t":{"dtype":"F32","shape":[2]}}"#, 8, ["data_offsets", "missing"]),
    (#"{"t":{"dtype":"F32","data_offsets":[0,8]}}"#, 8, ["shape", "missing"]),
    (#"{"t":{"shape":[2],"data_offsets":[0,8]}}"#, 8, ["dtype", "missing"]),
    (#"{"t":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, 2, ["12 bits"]),
    (
      #"{"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0,
      ["4294967296", "counted"]
    ),
    (
      #"{"t":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}"#, 8, ["shape"]
    ),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
        + #""t":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#, 6, ["overlaps", "\"a\"", "2"]
    ),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
        + #""t":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}"#, 10, ["6", "2 bytes after"]
    ),
    (#"{"t":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, 8, ["4 bytes after"]),
  ]

  @Test(arguments: malformed.indices)
  func `An entry that fits neither itself nor the file is refused with its numbers`(index: Int) {
    let example = Self.malformed[index]
    let error = failure(header: example.text, dataBytes: example.dataBytes)
    #expect(isOneLine(error, naming: "a.st"))
    let text = error?.description ?? ""
    for name in example.names { #expect(text.contains(name), "\(text)") }
    if case .malformedTensor(_, let tensor, _) = error { #expect(tensor == "t") }
  }

  @Test func `Of a name that stands twice the last entry counts, as in the safetensors library`()
    throws
  {
    let text =
      #"{"t":{"dtype":"U8","shape":[9],"data_offsets":[0,9]},"#
      + #""t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#
    #expect(try header(text, dataBytes: 4).entries.map(\.shape) == [[4]])
  }

  @Test func `A type of a later version is stepped over`() throws {
    let text = #"{"t":{"dtype":"F12","shape":[2],"data_offsets":[0,3]}}"#
    #expect(try header(text, dataBytes: 3).entries.map(\.storedType) == ["F12"])
    #expect(
      isOneLine(
        failure(
          header: #"{"t":{"dtype":"a type of many letters","shape":[],"data_offsets":[0,0]}}"#,
          dataBytes: 0), naming: "a.st", "no type"))
  }

  @Test func `A hostile name cannot break the line of a message`() {
    let text = #"{"x\n\u001b[2Jy\u2028":{"dtype":"F32","shape":[9],"data_offsets":[0,0]}}"#
    let error = failure(header: text, dataBytes: 0)
    #expect(isOneLine(error, naming: "a.st", "[9]"))
    #expect(error?.description.unicodeScalars.contains("\u{1B}") == false)
  }
}
