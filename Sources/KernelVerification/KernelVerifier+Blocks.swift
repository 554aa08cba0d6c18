import MInference
import StoredNumbers

/// Matrices in blocks, as GGUF files store them.
extension KernelVerifier {
  mutating func checkBlocks() {
    for format in BlockFormat.allCases
    where backend.capabilities.weightFormats.contains(.blocks(format)) {
      checkBlockEmbedding(format)
      checkBlockLinear(format)
    }
  }

  private mutating func checkBlockEmbedding(_ format: BlockFormat) {
    for (rows, vocabulary, blocks) in [(1, 3, 1), (70, 100, 9)] {
      let hidden = blocks * format.elementsPerBlock
      let table = StoredBlocks(format, rows: vocabulary, width: hidden, &random)
      let ids = (0..<rows).map { _ in Int32(random.next(below: vocabulary)) }
      check("embed \(format.rawValue)", "\(rows) of \(vocabulary) x \(hidden)", tolerance: 1e-6) {
        side in
        let x = try side.output([rows, hidden])
        try side.backend.embed(ids, table: table.weight(side.backend, as: .vocabulary), into: x)
        return [try side.backend.read(x)]
      }
    }
  }

  private mutating func checkBlockLinear(_ format: BlockFormat) {
    for (rows, blocks, outputs) in [(1, 1, 8), (1, 9, 136), (3, 2, 40), (8, 5, 64), (131, 3, 72)] {
      for (hasBias, accumulates) in [(false, false), (true, false), (false, true)] {
        let inputs = blocks * format.elementsPerBlock
        let x = eightBitNumbers(rows * inputs)
        let weight = StoredBlocks(format, rows: outputs, width: inputs, &random)
        let bias = numbers(outputs)
        let before = numbers(rows * outputs)
        let name =
          "\(rows) x \(inputs) to \(outputs)" + (hasBias ? ", bias" : "")
          + (accumulates ? ", added" : "")
        check("linear \(format.rawValue)", name, tolerance: 1e-5) { side in
          let y = try side.output([rows, outputs])
          if accumulates { try side.backend.write(before, to: y) }
          try side.backend.linear(
            side.tensor(x, [rows, inputs]), weight: weight.weight(side.backend, as: .matrix),
            bias: hasBias ? side.weight(bias, [outputs], type: .float32, as: .bias) : nil, into: y,
            accumulate: accumulates)
          return [try side.backend.read(y)]
        }
      }
      // Any activations: a backend may multiply by 8 bits of them.
      let inputs = blocks * format.elementsPerBlock
      let x = numbers(rows * inputs)
      let weight = StoredBlocks(format, rows: outputs, width: inputs, &random)
      check(
        "linear \(format.rawValue)", "\(rows) x \(inputs) to \(outputs), any activations",
        tolerance: 2e-2
      ) { side in
        let y = try side.output([rows, outputs])
        try side.backend.linear(
          side.tensor(x, [rows, inputs]), weight: weight.weight(side.backend, as: .matrix),
          bias: nil, into: y, accumulate: false)
        return [try side.backend.read(y)]
      }
    }
  }

  /// Activations that 8 bits with a scale for each 32 hold exactly: a product that quantises them is as
  /// exact as one that does not.
  mutating func eightBitNumbers(_ count: Int) -> [Float] {
    var step: Float = 1
    return (0..<count).map { index in
      guard index % 32 == 0 else { return Float(random.next(below: 255) - 127) * step }
      step = [1 / 32, 1 / 64, 1 / 128][random.next(below: 3)]
      return random.next(below: 2) == 0 ? 127 * step : -127 * step
    }
  }
}

/// Blocks of random integers, with scales of ordinary size.
final class StoredBlocks: Sendable {
  private let bytes: [UInt8]
  private let format: BlockFormat
  private let shape: [Int]

  init(_ format: BlockFormat, rows: Int, width: Int, _ random: inout SeededGenerator) {
    self.format = format
    shape = [rows, width]
    var bytes: [UInt8] = []
    for _ in 0..<rows * width / format.elementsPerBlock {
      var block = (0..<format.bytesPerBlock).map { _ in UInt8(random.next(below: 256)) }
      // Halves between 2^-7 and 2^-5, of either sign; of MXFP4 an exponent.
      for offset in Self.scaleOffsets(format) {
        block[offset + 1] = UInt8(0x20 + random.next(below: 8) + 0x80 * random.next(below: 2))
      }
      if format == .mxfp4 { block[0] = UInt8(118 + random.next(below: 7)) }
      bytes += block
    }
    self.bytes = bytes
  }

  /// Where the halves of a block are.
  private static func scaleOffsets(_ format: BlockFormat) -> [Int] {
    switch format {
    case .q40, .q50, .q80, .iq4NL, .iq4XS: [0]
    case .q41, .q51, .q4K, .q5K: [0, 2]
    case .q2K: [80, 82]
    case .q3K: [108]
    case .q6K: [208]
    case .mxfp4: []
    }
  }

  func weight(_ backend: any Backend, as role: WeightRole) throws -> Weight {
    try backend.prepare(stored(), as: role)
  }

  func stored() throws -> StoredTensor {
    try bytes.withUnsafeBytes { raw in
      // The array is never written again, so its storage stays where it is.
      try StoredTensor(
        name: "verified blocks", bytes: raw, format: .blocks(format), shape: shape, owner: self)
    }
  }
}
