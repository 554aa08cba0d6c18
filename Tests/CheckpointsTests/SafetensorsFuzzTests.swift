import Checkpoints
import Testing

/// Mutated files either parse, with every tensor inside the file, or throw a one-line error.
@Suite struct SafetensorsFuzzTests {
  private static func seeds() -> [[UInt8]] {
    [
      SafetensorsWriter.fileBytes(
        [
          .init(name: "model.embed.weight", shape: [3, 4], floats: (0..<12).map(Float.init)),
          .init(name: "b", shape: [8], floats: [Float](repeating: 1, count: 8), as: .bfloat16),
          .init(name: "h", shape: [2, 2], floats: [1, 2, 3, 4], as: .float16),
          .init(name: "ids", storedType: "I64", shape: [1], bytes: [UInt8](repeating: 1, count: 8)),
        ], metadata: [("format", "pt")]),
      SafetensorsWriter.fileBytes([.init(name: "s", shape: [], floats: [1])]),
      SafetensorsWriter.fileBytes([]),
    ]
  }

  /// Text that headers stumble over.
  private static let fragments = [
    "\"", "{", "}", "[", "]", ",", ":", "\\", "\\u0000", "\\ud800", "-1", "0", "1e9", "1e999",
    "9223372036854775807", "9223372036854775808", "4294967296", "null", "true", "\"F32\"",
    "\"I64\"",
    "\"__metadata__\"", "\"data_offsets\"", "[[[[", "{\"a\":", "\n", "\u{0}", "\u{1F600}", "NaN",
    "        ",
  ]

  private static func mutated(
    _ seed: [UInt8], using generator: inout DeterministicGenerator
  ) -> [UInt8] {
    var bytes = seed
    for _ in 0..<Int.random(in: 1...2, using: &generator) {
      guard !bytes.isEmpty else { break }
      let position = Int.random(in: 0..<bytes.count, using: &generator)
      switch Int.random(in: 0..<7, using: &generator) {
      case 0:
        bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1:
        bytes[position] = UInt8.random(in: 0...255, using: &generator)
      case 2:
        bytes.removeLast(bytes.count - position)
      case 3:
        let fragment = fragments[Int.random(in: 0..<fragments.count, using: &generator)]
        bytes.insert(contentsOf: fragment.utf8, at: position)
      case 4:
        editNumber(in: &bytes, from: position, using: &generator)
      case 5:
        let end = Int.random(in: position...bytes.count, using: &generator)
        bytes.insert(contentsOf: Array(bytes[position..<end]), at: position)
      default:
        bytes.removeSubrange(position..<Swift.min(position + 4, bytes.count))
      }
    }
    // Half of the results get a header length that fits, so that mutations reach the deeper checks.
    if Bool.random(using: &generator) { fitLength(of: &bytes) }
    return bytes
  }

  private static func editNumber(
    in bytes: inout [UInt8], from position: Int, using generator: inout DeterministicGenerator
  ) {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let start = bytes[position...].firstIndex(where: { digits.contains($0) }) else { return }
    let end = bytes[start...].firstIndex { !digits.contains($0) } ?? bytes.count
    let numbers = [0, 1, 2, 3, 4, 7, 8, 16, 48, 64, 65, 1 << 31, 1 << 32, 1 << 62, Int.max]
    let number = numbers[Int.random(in: 0..<numbers.count, using: &generator)]
    bytes.replaceSubrange(start..<end, with: String(number).utf8)
  }

  private static func fitLength(of bytes: inout [UInt8]) {
    guard let brace = bytes.lastIndex(of: UInt8(ascii: "}")), brace >= 8 else { return }
    // The blanks that pad the header belong to it.
    let end = bytes[brace...].dropFirst().firstIndex { $0 != UInt8(ascii: " ") } ?? bytes.count
    let length = UInt64(end - 8)
    for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: length >> (8 * index)) }
  }

  @Test func `Thousands of mutated files are read within their bounds or refused in one line`()
    throws
  {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "mutated.safetensors")
    var generator = DeterministicGenerator(state: 1)
    var accepted = 0
    var refused = 0
    for seed in Self.seeds() {
      for _ in 0..<1400 {
        let bytes = Self.mutated(seed, using: &generator)
        try SafetensorsWriter.write(bytes: bytes, to: path)
        do {
          let file = try SafetensorsFile(path: path)
          try checkBounds(of: file, count: bytes.count)
          accepted += 1
        } catch let error as CheckpointError {
          #expect(isOneLine(error, naming: "mutated.safetensors"), "\(error)")
          refused += 1
        }
      }
    }
    // Both outcomes must be common, or the mutations test nothing.
    #expect(accepted > 200)
    #expect(refused > 1500)
  }

  private func checkBounds(of file: SafetensorsFile, count: Int) throws {
    for entry in file.header.entries {
      try #require(entry.range.lowerBound >= 8 && entry.range.upperBound <= count)
    }
    for name in file.tensorNames {
      do {
        guard let tensor = try file.tensor(named: name) else {
          Issue.record("a listed tensor is not there")
          continue
        }
        guard case .dense(let element) = tensor.format else {
          Issue.record("a safetensors file has blocks")
          continue
        }
        #expect(tensor.bytes.count == tensor.shape.reduce(element.byteCount, *))
        // Touches every byte: outside the mapping this would crash.
        #expect(tensor.floats().count == tensor.count)
      } catch {
        guard case .unsupportedElementType = error else { throw error }
      }
    }
  }
}
