import Checkpoints
import Files
import StoredNumbers
import Testing

/// Headers and tensors of GGUF files.
@Suite struct GGUFTests {
  private static let golden: String = {
    let folder = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    return "/" + folder + "/Goldens/every-kind.gguf"
  }()

  @Test("A file that the Python package wrote is read value for value")
  func readsGolden() throws {
    let file = try GGUFFile(path: Self.golden)
    let metadata = file.header.metadata
    #expect(metadata["general.alignment"] == .integer(64))
    #expect(metadata["test.uint8"] == .integer(200))
    #expect(metadata["test.int8"] == .integer(-100))
    #expect(metadata["test.uint16"] == .integer(60000))
    #expect(metadata["test.int16"] == .integer(-30000))
    #expect(metadata["test.uint32"] == .integer(4_000_000_000))
    #expect(metadata["test.int32"] == .integer(-2_000_000_000))
    #expect(metadata["test.uint64"] == .large(.max))
    #expect(metadata["test.int64"] == .integer(-(1 << 62)))
    #expect(metadata["test.float32"] == .real(Double(Float(0.1))))
    #expect(metadata["test.float64"] == .real(0.1))
    #expect(metadata["test.true"] == .boolean(true))
    #expect(metadata["test.false"] == .boolean(false))
    guard case .string(let range)? = metadata["test.string"] else {
      Issue.record("test.string is no string")
      return
    }
    #expect(Array(file.mapping.bytes[range]) == Array("Gr\u{FC}\u{DF}e \u{1F600}".utf8))
    guard case .array(.array, count: 2, _)? = metadata["test.nested"],
      case .array(.string, count: 3, _)? = metadata["test.strings"]
    else {
      Issue.record("the lists are not what they should be")
      return
    }

    #expect(try file.tensor(named: "vector")?.floats() == [0, 1, 2, 3, 4])
    let matrix: [Float] = (0..<192).map { Float($0) / 7 - 12 }
    func isNear(_ values: [Float], within tolerance: Float) -> Bool {
      values.count == matrix.count
        && zip(values, matrix).allSatisfy { abs($0.0 - $0.1) < tolerance }
    }
    let half = try #require(try file.tensor(named: "half"))
    #expect(half.format == .dense(.float16) && half.shape == [6, 32])
    #expect(isNear(half.floats(), within: 0.01))
    let blocks = try #require(try file.tensor(named: "blocks"))
    #expect(blocks.format == .blocks(.q80) && blocks.shape == [6, 32] && blocks.count == 192)
    #expect(isNear(blocks.floats(), within: 0.1))
    #expect(blocks.firstNonFiniteIndex() == nil)
    #expect(try file.tensor(named: "experts")?.shape == [2, 3, 4])
    #expect(try file.tensor(named: "nothing") == nil)
  }

  /// The error of a header with this content; nil when it is read.
  private func failure(_ bytes: [UInt8]) -> CheckpointError? {
    bytes.withUnsafeBytes { bytes in
      CheckpointsTests.failure { () throws(CheckpointError) in
        try GGUFHeader(of: bytes, path: "m.gguf")
      }
    }
  }

  private static let small = GGUFWriter(
    metadata: [("general.architecture", .string("llama")), ("a", .strings(["x", "y"]))],
    tensors: [
      .init(name: "t", type: 0, shape: [2, 3], bytes: [UInt8](repeating: 0, count: 24)),
      .init(name: "u", type: 8, shape: [1, 32], bytes: [UInt8](repeating: 0, count: 34)),
    ])

  @Test("Versions 2 and 3 are read, others and big endian are refused by name")
  func checksVersions() {
    var writer = Self.small
    for version: UInt32 in [2, 3] {
      writer.version = version
      #expect(failure(writer.fileBytes()) == nil)
    }
    for version: UInt32 in [1, 4, 0x0300_0000] {
      writer.version = version
      #expect(isOneLine(failure(writer.fileBytes()), naming: "m.gguf", "convert"))
    }
    #expect(isOneLine(failure(Array("safetensors".utf8)), naming: "m.gguf", "no GGUF file"))
    #expect(isOneLine(failure([]), naming: "m.gguf"))
  }

  @Test("A file cut off at any byte of its header is refused in one line")
  func refusesTruncation() {
    let bytes = Self.small.fileBytes()
    for count in 0..<bytes.count - 32 {
      #expect(isOneLine(failure(Array(bytes[..<count])), naming: "m.gguf"), "\(count) bytes")
    }
  }

  @Test("Counts and lengths beyond the file are refused before anything is made of them")
  func refusesHugeCounts() {
    let bytes = Self.small.fileBytes()
    // The counts of tensors and of metadata, and the length of the first key.
    for offset in [8, 16, 24] {
      for number: UInt64 in [1 << 63, .max, 1 << 40, 1 << 32] {
        var changed = bytes
        for index in 0..<8 {
          changed[offset + index] = UInt8(truncatingIfNeeded: number >> (8 * UInt64(index)))
        }
        #expect(isOneLine(failure(changed), naming: "m.gguf"))
      }
    }
  }

  @Test("Tensors that do not fit are refused by name")
  func refusesMisfits() {
    func refused(_ tensor: GGUFWriter.Tensor, naming part: String) -> Bool {
      var writer = Self.small
      writer.tensors = [tensor]
      return isOneLine(failure(writer.fileBytes()), naming: "m.gguf", part)
    }
    let zeros = [UInt8](repeating: 0, count: 64)
    #expect(refused(.init(name: "t", type: 2, shape: [33], bytes: zeros), naming: "block"))
    #expect(refused(.init(name: "t", type: 0, shape: [1, 1, 1, 1, 1], bytes: zeros), naming: "5"))
    #expect(refused(.init(name: "t", type: 0, shape: [0], bytes: zeros), naming: "dimension of 0"))
    #expect(refused(.init(name: "t", type: 0, shape: [.max], bytes: zeros), naming: "counted"))
    #expect(
      refused(
        .init(name: "t", type: 0, shape: [1 << 62, 1 << 62], bytes: zeros), naming: "counted"))
    #expect(refused(.init(name: "t", type: 0, shape: [17], bytes: zeros), naming: "cut off"))
    #expect(
      refused(.init(name: "t", type: 0, shape: [1], bytes: zeros + zeros), naming: "accounts"))
    #expect(refused(.init(name: "t", type: 4, shape: [32], bytes: zeros), naming: "Q4_2"))
    #expect(refused(.init(name: "t", type: 99, shape: [32], bytes: zeros), naming: "Q4_K"))
  }

  @Test("Names appear once, and files are not concatenated")
  func refusesDoubles() {
    var writer = Self.small
    writer.tensors.append(writer.tensors[0])
    #expect(isOneLine(failure(writer.fileBytes()), naming: "m.gguf", "\"t\" twice"))
    writer = Self.small
    writer.metadata.append(("a", .uint32(1)))
    #expect(isOneLine(failure(writer.fileBytes()), naming: "m.gguf", "\"a\" twice"))
    let bytes = Self.small.fileBytes()
    #expect(isOneLine(failure(bytes + bytes), naming: "m.gguf", "accounts for"))
  }

  @Test("An alignment is a power of two")
  func checksAlignment() {
    for (value, isRead): (GGUFWriter.Value, Bool) in [
      (.uint32(32), true), (.uint64(32), true), (.uint32(0), false), (.uint32(48), false),
      (.uint64(1 << 63), false), (.uint64(1 << 40), false), (.string("32"), false),
      (.float32(32), false),
    ] {
      var writer = Self.small
      writer.metadata.append(("general.alignment", value))
      let error = failure(writer.fileBytes())
      #expect(isRead ? error == nil : isOneLine(error, naming: "m.gguf", "general.alignment"))
    }
    // Elements lie where they can be read, whatever the alignment.
    var writer = Self.small
    writer.alignment = 1
    writer.metadata.append(("general.alignment", .uint32(1)))
    writer.tensors[0].name = "shifts what follows"
    let sizes = (0..<4).map { count in
      var writer = writer
      writer.metadata.append(("pad", .string(String(repeating: "x", count: count))))
      return failure(writer.fileBytes()) == nil
    }
    #expect(sizes.count { $0 } == 1)
  }

  @Test("Lists within lists are read to a depth and no further")
  func limitsNesting() {
    func nested(_ depth: Int) -> [UInt8] {
      var bytes: [UInt8] = Array("GGUF".utf8) + [3, 0, 0, 0] + [UInt8](repeating: 0, count: 8)
      bytes += [1] + [UInt8](repeating: 0, count: 7)
      bytes += [1] + [UInt8](repeating: 0, count: 7) + [UInt8(ascii: "k")] + [9, 0, 0, 0]
      for _ in 0..<depth { bytes += [9, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 7) }
      return bytes + [0, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 7) + [7]
        + [UInt8](repeating: 0, count: 64)
    }
    #expect(failure(nested(3)) == nil)
    #expect(isOneLine(failure(nested(8)), naming: "m.gguf", "deeper"))
    #expect(isOneLine(failure(nested(100_000)), naming: "m.gguf", "deeper"))
  }
}
