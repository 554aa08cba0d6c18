import Checkpoints
import Testing

/// Mutated files either parse, with every tensor inside the file, or throw a one-line error.
@Suite struct GGUFFuzzTests {
  private static func seeds() -> [[UInt8]] {
    [tinyLlama().fileBytes(), GGUFWriter(metadata: [], tensors: []).fileBytes()]
  }

  private static func mutated(
    _ seed: [UInt8], using generator: inout DeterministicGenerator
  ) -> [UInt8] {
    var bytes = seed
    for _ in 0..<Int.random(in: 1...3, using: &generator) {
      guard bytes.count > 8 else { break }
      // The header is where mutations matter.
      let position = Int.random(in: 0..<min(bytes.count, 2400), using: &generator)
      switch Int.random(in: 0..<7, using: &generator) {
      case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: bytes[position] = UInt8.random(in: 0...255, using: &generator)
      case 2: bytes.removeLast(bytes.count - position)
      case 3: overwrite(&bytes, at: position, using: &generator)
      case 4:
        let end = min(bytes.count, position + Int.random(in: 1...64, using: &generator))
        bytes.insert(contentsOf: Array(bytes[position..<end]), at: position)
      case 5: bytes.removeSubrange(position..<min(position + 8, bytes.count))
      default:
        let number = UInt8.random(in: 0...16, using: &generator)
        for index in position..<min(position + 4, bytes.count) { bytes[index] = 0 }
        bytes[position] = number
      }
    }
    return bytes
  }

  /// Puts a 64-bit number that sizes stumble over.
  private static func overwrite(
    _ bytes: inout [UInt8], at position: Int, using generator: inout DeterministicGenerator
  ) {
    let numbers: [UInt64] = [
      0, 1, 2, 31, 32, 33, 255, 1 << 16, 1 << 31, 1 << 32, 1 << 62, 1 << 63, .max, .max - 31,
      UInt64(bytes.count),
    ]
    let number = numbers[Int.random(in: 0..<numbers.count, using: &generator)]
    for index in 0..<min(8, bytes.count - position) {
      bytes[position + index] = UInt8(truncatingIfNeeded: number >> (8 * UInt64(index)))
    }
  }

  @Test("Thousands of mutated headers are read within their bounds or refused in one line")
  func survivesMutations() {
    var generator = DeterministicGenerator(state: 20_261_130)
    var (accepted, refused) = (0, 0)
    for seed in Self.seeds() {
      for _ in 0..<fuzzRounds(default: 4000) {
        let bytes = Self.mutated(seed, using: &generator)
        bytes.withUnsafeBytes { bytes in
          do throws(CheckpointError) {
            let header = try GGUFHeader(of: bytes, path: "m.gguf")
            for entry in header.entries where entry.range.upperBound > bytes.count {
              Issue.record("\(entry) ends behind the file")
            }
            accepted += 1
          } catch {
            if !isOneLine(error, naming: "m.gguf") { Issue.record("\(error)") }
            refused += 1
          }
        }
      }
    }
    #expect(accepted > 500)
    #expect(refused > 2000)
  }

  @Test("Hundreds of mutated files are loaded, tensors and vocabulary, or refused in one line")
  func survivesLoading() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "m.gguf")
    var generator = DeterministicGenerator(state: 4)
    var (accepted, refused) = (0, 0)
    for _ in 0..<400 {
      var bytes = tinyLlama().fileBytes()
      let position = Int.random(in: 0..<2400, using: &generator)
      bytes[position] = UInt8.random(in: 0...255, using: &generator)
      try SafetensorsWriter.write(bytes: bytes, to: path)
      do throws(CheckpointError) {
        let model = try GGUFCheckpoint(file: path)
        for name in model.tensorNames { _ = try model.tensor(named: name).floats() }
        _ = try model.tokenizerSource()
        accepted += 1
      } catch {
        #expect(isOneLine(error, naming: path), "\(error)")
        refused += 1
      }
    }
    #expect(accepted > 50)
    #expect(refused > 50)
  }
}
