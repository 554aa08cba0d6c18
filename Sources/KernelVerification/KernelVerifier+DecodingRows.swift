import MInference
import StoredNumbers

/// Products of decoding steps with what stands before or behind them: heads that they store, and attention that they
/// project.
extension KernelVerifier {
  mutating func checkHeadsOfRows() {
    let kinds: [[DecodingWeights]] = [
      [.dense(.bfloat16)], [.float8(blockRows: 128, blockColumns: 128)], [.blocks(.q4K)],
      [.blocks(.q6K), .blocks(.q4K)], [.blocks(.q80), .dense(.bfloat16)],
    ]
    for weights in kinds
    where weights.allSatisfy({ backend.capabilities.weightFormats.contains($0.format) }) {
      for type in precision.rowKeyValueTypes {
        for (lengths, headDim, pairs, layout) in [
          ([70], 64, 32, RotaryEmbedding.Layout.halves), ([1], 128, 64, .halves),
          ([1100], 128, 64, .halves), ([40], 96, 48, .halves), ([33], 64, 16, .halves),
          ([33], 64, 32, .interleaved), ([65, 3], 128, 64, .halves),
        ] {
          let rotary = RotaryEmbedding(
            inverseFrequencies: (0..<pairs).map { 1 / Float(1 + $0) }, attentionScaling: 1.1,
            layout: layout)
          let shape = AttentionShape(queryHeads: 6, keyValueHeads: 2, headDim: headDim)
          // Of other keys the operations are those that checkDecodingHeads and checkDecodingProducts check.
          if type == .bfloat16 { checkProjections(weights, lengths, shape, rotary, type) }
          checkProjectedAttention(weights[0], lengths, shape, type)
        }
        // More keys than splits that are left to the projection.
        checkProjectedAttention(
          weights[0], [8300], AttentionShape(queryHeads: 6, keyValueHeads: 2, headDim: 64), type)
      }
    }
  }

  private static func tolerance(_ weights: [DecodingWeights]) -> Double {
    // What is rounded to bfloat16 in between may fall to the other side.
    max(8e-3, weights.map(\.tolerance).max() ?? 0)
  }

  private mutating func checkProjections(
    _ weights: [DecodingWeights], _ lengths: [Int], _ shape: AttentionShape,
    _ rotary: RotaryEmbedding, _ type: DataType
  ) {
    let (rows, inputs, headDim) = (lengths.count, 512, shape.headDim)
    let heads = [shape.queryHeads, shape.keyValueHeads, shape.keyValueHeads]
    let x = numbers(rows * inputs, magnitude: 3)
    let factors = numbers(inputs).map { 1 + $0 / 4 }
    var matrices: [Matrix] = []
    for (index, count) in heads.enumerated() {
      matrices.append(matrix(weights[index % weights.count], count * headDim, inputs))
    }
    let biases = heads.map { numbers($0 * headDim) }
    let keys = lengths.map { numbers($0 * shape.keyValueHeads * headDim) }
    check(
      "decoding projections \(weights[0])",
      "rows of \(lengths) keys, heads of \(headDim), \(rotary.inverseFrequencies.count) pairs, "
        + "\(weights), \(type.rawValue)", tolerance: Self.tolerance(weights)
    ) { side in
      let layers = try Self.layers(lengths, keys, keys, shape, type, side)
      let outputs = try heads.map { try side.output([rows, $0, headDim]) }
      try side.backend.storeProjections(
        of: side.tensor(x, [rows, inputs]),
        norm: RowNorm(
          weight: side.weight(factors, [inputs], type: .float32, as: .norm), epsilon: 1e-5),
        normed: side.backend.makeLinearInput([rows, inputs], purpose: "a verified kernel"),
        products: try outputs.indices.map { index in
          RowProduct(
            weight: try matrices[index](side),
            bias: index == 1
              ? nil
              : try side.weight(biases[index], [biases[index].count], type: .float32, as: .bias),
            y: outputs[index].reshaped([rows, outputs[index].rowCount]))
        },
        heads: ProjectedHeads(
          q: outputs[0], k: outputs[1], v: outputs[2], norms: nil,
          rotaries: Array(repeating: rotary, count: rows)), in: layers,
        positions: lengths.map { $0 - 1 })
      return try [try side.backend.read(outputs[0])]
        + layers.flatMap { layer in
          try [layer.keys, layer.values].flatMap { tensor in
            // Positions that hold numbers, head by head.
            try (0..<shape.keyValueHeads).map { head in
              let rows = tensor.reshaped([shape.keyValueHeads * layer.capacity, headDim])
              let first = head * layer.capacity
              return try side.backend.read(rows.slice(rows: first..<first + layer.count))
            }
          }
        }
    }
  }

  private mutating func checkProjectedAttention(
    _ weights: DecodingWeights, _ lengths: [Int], _ shape: AttentionShape, _ type: DataType
  ) {
    let (rows, outputs) = (lengths.count, 72)
    let width = shape.queryHeads * shape.headDim
    // Blocks of 256 elements need whole ones.
    if case .blocks(let format) = weights, width % format.elementsPerBlock != 0 { return }
    let q = numbers(rows * width, magnitude: 2)
    let keys = lengths.map { numbers($0 * shape.keyValueHeads * shape.headDim) }
    let values = lengths.map { numbers($0 * shape.keyValueHeads * shape.headDim) }
    let before = numbers(rows * outputs)
    let projection = matrix(weights, outputs, width)
    check(
      "decoding attention and projection \(weights)",
      "rows of \(lengths) keys, 6/2 x \(shape.headDim), \(type.rawValue)",
      tolerance: Self.tolerance([weights])
    ) { side in
      let queries = try side.output([rows, shape.queryHeads, shape.headDim])
      try side.backend.write(side.rounded(q), to: queries)
      let y = try side.output([rows, outputs])
      try side.backend.write(side.rounded(before), to: y)
      try side.backend.rowAttention(
        q: queries, positions: lengths.map { $0 - 1 },
        sequences: Self.layers(lengths, keys, values, shape, type, side), shape: shape,
        projection: RowProduct(weight: projection(side), bias: nil, y: y), accumulate: true)
      return [try side.backend.read(y)]
    }
  }
}
