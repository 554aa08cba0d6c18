import MInference

/// Matrices of float8 with a scale for each block, as Hugging Face's checkpoints hold them.
extension KernelVerifier {
  mutating func checkFloat8Weights() {
    guard backend.capabilities.weightFormats.contains(.dense(.float8)) else { return }
    for (rows, inputs, outputs, blockRows, blockColumns) in [
      (1, 136, 24, 128, 128), (1, 1024, 72, 1, 1024), (3, 264, 136, 128, 128),
      (40, 264, 136, 32, 64),
    ] {
      for (hasBias, accumulates) in [(true, false), (false, true)] {
        let x = numbers(rows * inputs)
        let matrix = Float8Problem(
          [outputs, inputs], blockRows: blockRows, blockColumns: blockColumns, &random)
        let bias = numbers(outputs)
        let before = numbers(rows * outputs)
        let name =
          "\(rows) x \(inputs) to \(outputs), blocks of \(blockRows) x \(blockColumns)"
          + (hasBias ? ", bias" : ", added")
        check("linear float8", name, tolerance: 1e-5) { side in
          let y = try side.output([rows, outputs])
          if accumulates { try side.backend.write(before, to: y) }
          try side.backend.linear(
            side.tensor(x, [rows, inputs]), weight: matrix.weight(side.backend),
            bias: hasBias ? side.weight(bias, [outputs], type: .float32, as: .bias) : nil, into: y,
            accumulate: accumulates)
          return [try side.backend.read(y)]
        }
      }
    }
  }
}

extension KernelVerifier {
  /// The same of experts: few positions and many, blocks that a matrix cuts off.
  mutating func checkFloat8Experts() {
    guard backend.capabilities.weightFormats.contains(.dense(.float8)) else { return }
    for (rows, experts, perRow, inputs, outputs, blockRows, blockColumns) in [
      (1, 8, 2, 136, 40, 128, 128), (2, 6, 2, 264, 136, 128, 128), (90, 4, 2, 136, 72, 128, 128),
      (60, 16, 3, 264, 136, 32, 64), (40, 5, 2, 64, 48, 1, 64),
    ] {
      let matrices = (0..<experts).map { _ in
        Float8Problem(
          [outputs, inputs], blockRows: blockRows, blockColumns: blockColumns, &random)
      }
      // What the numbers would be is of no interest: the bytes are the weights.
      checkProducts(
        "float8", rows, experts, perRow, inputs, outputs, hasEightBitInputs: true
      ) { side, _, _ in
        try side.backend.prepareExperts(experts) { try matrices[$0].stored() }
      }
    }
  }
}

/// Random bytes, none of them NaN, with powers of two as scales: nothing is rounded in bfloat16.
final class Float8Problem: Sendable {
  private let bytes: [UInt8]
  private let shape: [Int]
  private let scales: StoredScales

  init(
    _ shape: [Int], blockRows: Int, blockColumns: Int, _ random: inout SeededGenerator
  ) {
    self.shape = shape
    bytes = (0..<shape[0] * shape[1]).map { _ in
      UInt8(random.next(below: 0x7F) + 0x80 * random.next(below: 2))
    }
    let blocks =
      (shape[0] + blockRows - 1) / blockRows * ((shape[1] + blockColumns - 1) / blockColumns)
    let factors: [Float] = [0x1p-8, 0x1p-7, 0x1p-6]
    scales = StoredScales(
      values: (0..<blocks).map { _ in factors[random.next(below: 3)] }, rows: blockRows,
      columns: blockColumns)
  }

  func stored() throws -> StoredTensor {
    try bytes.withUnsafeBytes { raw in
      // The array is never written again, so its storage stays where it is.
      try StoredTensor(
        name: "verified float8", bytes: raw, format: .dense(.float8), shape: shape, owner: self,
        scales: scales)
    }
  }

  func weight(_ backend: any Backend) throws -> Weight {
    try backend.prepare(stored(), as: .matrix)
  }
}
