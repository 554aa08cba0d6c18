import MInference
import StoredNumbers

/// Layers of decoding steps: what a device computes in one launch, against the same operations of the reference.
extension KernelVerifier {
  mutating func checkDecoding() {
    checkDecodingProducts()
    checkDecodingHeads()
    checkDecodingAttention()
    checkDecodingExperts()
    checkHeadsOfRows()
    checkRecordedSteps()
  }

  /// The same of a backend whose linear layers are narrow: weights become rows of float8, here without loss.
  /// Extents are multiples of 16 there.
  mutating func checkNarrowDecoding() {
    for (rows, inputs, outputs) in [
      (1, 64, [16, 16, 16]), (1, 272, [144, 48, 48]), (3, 1040, [48, 16]), (8, 544, [64]),
      (2, 64, [8208]), (19, 96, [48, 16]),
    ] {
      checkProducts(.float8Rows, rows: rows, inputs: inputs, outputs: outputs)
      checkGate(.float8Rows, rows: rows, inputs: inputs, outputs: outputs[0])
      checkRowLinear(.float8Rows, rows: rows, inputs: inputs, outputs: outputs[0])
    }
    checkDecodingExperts()
  }

  /// Numbers of e4m3 times a power of two, with the largest one in every row: rows of float8 hold them exactly.
  private mutating func float8Numbers(rows: Int, width: Int) -> [Float] {
    (0..<rows * width).map { index in
      let bits = UInt8(random.next(below: 0x7F) + 0x80 * random.next(below: 2))
      return (index % width == 0 ? 448 : Float(float8Bits: bits)) * 0x1p-10
    }
  }

  /// The weights of decoding steps.
  enum DecodingWeights: CustomStringConvertible {
    case dense(DataType)
    case float8Rows
    case float8(blockRows: Int, blockColumns: Int)
    case blocks(BlockFormat)

    var description: String {
      switch self {
      case .dense(let type): type.rawValue
      case .float8Rows: "fp8"
      case .float8: "float8"
      case .blocks(let format): format.rawValue
      }
    }

    /// Activations that are multiplied with blocks may be rounded to eight bits.
    var tolerance: Double {
      if case .blocks = self { 2e-2 } else { 2e-5 }
    }

    var format: TensorFormat {
      switch self {
      case .dense(let type): .dense(type)
      case .float8Rows, .float8: .dense(.float8)
      case .blocks(let format): .blocks(format)
      }
    }
  }

  /// A matrix as a checkpoint stores it, on any backend.
  typealias Matrix = (KernelSide) throws -> Weight

  mutating func matrix(
    _ weights: DecodingWeights, _ outputs: Int, _ inputs: Int
  ) -> Matrix {
    switch weights {
    case .dense(let type):
      let values = numbers(outputs * inputs, magnitude: 0.1)
      return { try $0.weight(values, [outputs, inputs], type: type, as: .matrix) }
    case .float8Rows:
      let values = float8Numbers(rows: outputs, width: inputs)
      return { try $0.weight(values, [outputs, inputs], type: .bfloat16, as: .matrix) }
    case .float8(let blockRows, let blockColumns):
      let stored = Float8Problem(
        [outputs, inputs], blockRows: blockRows, blockColumns: blockColumns, &random)
      return { try stored.weight($0.backend) }
    case .blocks(let format):
      let stored = StoredBlocks(format, rows: outputs, width: inputs, &random)
      return { try stored.weight($0.backend, as: .matrix) }
    }
  }

  private mutating func checkDecodingProducts() {
    let kinds: [DecodingWeights] =
      [.dense(.bfloat16), .dense(.float32)]
      + [(128, 128), (1, 4096), (40, 64)].map { .float8(blockRows: $0.0, blockColumns: $0.1) }
      + BlockFormat.allCases.map { .blocks($0) }
    for weights in kinds where backend.capabilities.weightFormats.contains(weights.format) {
      let width = if case .blocks(let format) = weights { format.elementsPerBlock } else { 32 }
      for (rows, blocks, outputs) in [
        (1, 1, [8, 8, 8]), (1, 9, [136, 24, 24]), (3, 3, [40, 16, 72]), (8, 17, [64]),
        (2, 2, [8208]), (1, 96, [40, 8]), (19, 3, [48, 16]),
      ] {
        checkProducts(weights, rows: rows, inputs: blocks * width, outputs: outputs)
        checkGate(weights, rows: rows, inputs: blocks * width, outputs: outputs[0])
        checkRowLinear(weights, rows: rows, inputs: blocks * width, outputs: outputs[0])
      }
    }
  }

  private mutating func checkProducts(
    _ weights: DecodingWeights, rows: Int, inputs: Int, outputs: [Int]
  ) {
    let x = numbers(rows * inputs, magnitude: 3)
    let factors = numbers(inputs).map { 1 + $0 / 4 }
    let matrices = outputs.map { matrix(weights, $0, inputs) }
    let biases = outputs.map { numbers($0) }
    // Products of unlike types of results are no launch together.
    let isWide = outputs.count == 1
    check(
      "decoding products \(weights)", "\(rows) x \(inputs) to \(outputs)",
      tolerance: weights.tolerance
    ) { side in
      let products = try outputs.indices.map { index in
        RowProduct(
          weight: try matrices[index](side),
          bias: index == 1
            ? nil : try side.weight(biases[index], [outputs[index]], type: .float32, as: .bias),
          y: try side.output([rows, outputs[index]], isWide ? .float32 : nil))
      }
      try side.backend.normedLinear(
        side.tensor(x, [rows, inputs]),
        norm: RowNorm(
          weight: side.weight(factors, [inputs], type: .float32, as: .norm), epsilon: 1e-5),
        normed: side.backend.makeLinearInput([rows, inputs], purpose: "a verified kernel"),
        products: products)
      return try products.map { try side.backend.read($0.y) }
    }
  }

  private mutating func checkGate(
    _ weights: DecodingWeights, rows: Int, inputs: Int, outputs: Int
  ) {
    let x = numbers(rows * inputs, magnitude: 0.3)
    let factors = numbers(inputs).map { 1 + $0 / 4 }
    let matrices = [matrix(weights, outputs, inputs), matrix(weights, outputs, inputs)]
    let bias = numbers(outputs)
    check(
      "decoding gate \(weights)", "\(rows) x \(inputs) to \(outputs)",
      tolerance: 2 * weights.tolerance
    ) { side in
      let products = try (0..<2).map { index in
        RowProduct(
          weight: try matrices[index](side),
          bias: index == 0
            ? nil : try side.weight(bias, [outputs], type: .float32, as: .bias),
          y: try side.output([rows, outputs]))
      }
      let result = try side.backend.gatedLinear(
        side.tensor(x, [rows, inputs]),
        norm: RowNorm(
          weight: side.weight(factors, [inputs], type: .float32, as: .norm), epsilon: 1e-5),
        normed: side.backend.makeLinearInput([rows, inputs], purpose: "a verified kernel"),
        gate: products[0], up: products[1], input: nil)
      return [try side.backend.read(result)]
    }
  }

  private mutating func checkRowLinear(
    _ weights: DecodingWeights, rows: Int, inputs: Int, outputs: Int
  ) {
    let x =
      if case .blocks = weights { eightBitNumbers(rows * inputs) } else { numbers(rows * inputs) }
    let matrix = matrix(weights, outputs, inputs)
    let before = numbers(rows * outputs)
    for accumulates in [false, true] {
      check(
        "decoding linear \(weights)",
        "\(rows) x \(inputs) to \(outputs)" + (accumulates ? ", added" : ""), tolerance: 2e-5
      ) { side in
        let y = try side.output([rows, outputs])
        if accumulates { try side.backend.write(before, to: y) }
        try side.backend.rowLinear(
          side.tensor(x, [rows, inputs]), weight: matrix(side), bias: nil, into: y,
          accumulate: accumulates)
        return [try side.backend.read(y)]
      }
    }
  }

  // MARK: Heads and attention of several sequences

  private static let lengths = [[65, 3], [130, 1, 64, 200, 17], [33]]

  /// A layer of each sequence, of so many keys.
  static func layers(
    _ lengths: [Int], _ keys: [[Float]], _ values: [[Float]], _ shape: AttentionShape,
    _ type: DataType, _ side: KernelSide
  ) throws -> [KeyValueLayer] {
    try lengths.indices.map { index in
      try side.layer(
        k: keys[index], v: values[index], shape: shape, type: type, spare: 3 + index)
    }
  }

  private mutating func checkDecodingHeads() {
    for type in precision.rowKeyValueTypes {
      for (headDim, pairs, layout, hasNorms) in [
        (64, 32, RotaryEmbedding.Layout.halves, false), (96, 48, .halves, true),
        (128, 64, .halves, true), (128, 32, .interleaved, false), (64, 16, .halves, true),
      ] {
        for lengths in Self.lengths {
          let shape = AttentionShape(queryHeads: 6, keyValueHeads: 2, headDim: headDim)
          let rows = lengths.count
          let q = numbers(rows * 6 * headDim)
          let (k, v) = (numbers(rows * 2 * headDim), numbers(rows * 2 * headDim))
          let keys = lengths.map { numbers($0 * 2 * headDim) }
          let norms = (numbers(headDim).map { 1 + $0 / 4 }, numbers(headDim).map { 1 + $0 / 4 })
          let rotary = RotaryEmbedding(
            inverseFrequencies: (0..<pairs).map { 1 / Float(1 + $0) }, attentionScaling: 1.1,
            layout: layout)
          let name =
            "rows of \(lengths) keys, heads of \(headDim), \(pairs) pairs"
            + (hasNorms ? ", norms" : "")
          check("decoding heads \(type)", name, tolerance: 2e-5) { side in
            let layers = try Self.layers(lengths, keys, keys, shape, type, side)
            let queries = try side.output([rows, 6, headDim])
            try side.backend.write(side.rounded(q), to: queries)
            try side.backend.storeRows(
              q: queries, k: side.tensor(k, [rows, 2, headDim]),
              v: side.tensor(v, [rows, 2, headDim]),
              headNorms: hasNorms
                ? HeadNorms(
                  q: try side.weight(norms.0, [headDim], type: .float32, as: .norm),
                  k: try side.weight(norms.1, [headDim], type: .float32, as: .norm), epsilon: 1e-5)
                : nil,
              rotaries: Array(repeating: rotary, count: rows), in: layers,
              positions: lengths.map { $0 - 1 })
            return try [try side.backend.read(queries)]
              + layers.flatMap { layer in
                try [layer.keys, layer.values].flatMap { tensor in
                  // Positions that hold numbers, head by head.
                  try (0..<2).map { head in
                    let rows = tensor.reshaped([2 * layer.capacity, headDim])
                    let first = head * layer.capacity
                    return try side.backend.read(rows.slice(rows: first..<first + layer.count))
                  }
                }
              }
          }
        }
      }
    }
  }

  private mutating func checkDecodingAttention() {
    for type in precision.rowKeyValueTypes {
      for headDim in [64, 96, 128] {
        for (queryHeads, keyValueHeads) in [(1, 1), (6, 2), (32, 2), (20, 1)] {
          for lengths in Self.lengths + [[2100, 33, 4300]] {
            let window = lengths.count == 5 ? 40 : nil
            let shape = AttentionShape(
              queryHeads: queryHeads, keyValueHeads: keyValueHeads, headDim: headDim,
              slidingWindow: window)
            let rows = lengths.count
            let q = numbers(rows * queryHeads * headDim, magnitude: 2)
            let keys = lengths.map { numbers($0 * keyValueHeads * headDim) }
            let values = lengths.map { numbers($0 * keyValueHeads * headDim) }
            let name = "rows of \(lengths) keys, \(queryHeads)/\(keyValueHeads) x \(headDim)"
            check("decoding attention \(type)", name, tolerance: 5e-5) { side in
              let o = try side.output([rows, queryHeads, headDim])
              try side.backend.rowAttention(
                q: side.tensor(q, [rows, queryHeads, headDim]), positions: lengths.map { $0 - 1 },
                sequences: Self.layers(lengths, keys, values, shape, type, side), shape: shape,
                into: o)
              return [try side.backend.read(o)]
            }
          }
        }
      }
    }
  }

  // MARK: Experts

  private mutating func checkDecodingExperts() {
    for (rows, inputs, width, count, perRow, hasShared) in [
      (1, 64, 32, 8, 2, false), (1, 528, 48, 16, 8, true), (3, 1056, 144, 16, 4, false),
      (8, 64, 528, 4, 3, true), (20, 64, 32, 8, 4, true),
    ] {
      // More positions are computed as those of a prompt.
      if hasNarrowLinear, rows * perRow > 64 { continue }
      let rule = RoutingRule(
        experts: count, perRow: perRow, score: .softmax, normalizes: true)
      let rowsOfNumbers = numbers(rows * inputs)
      let factors = numbers(inputs).map { 1 + $0 / 4 }
      // Rows far apart choose the same experts on both sides.
      let router = numbers(count * inputs)
      let extents = [(width, inputs), (width, inputs), (inputs, width)]
      let stacks = extents.map { float8Numbers(rows: count * $0.0, width: $0.1) }
      let shared = extents.map { float8Numbers(rows: $0.0, width: $0.1) }
      let name =
        "\(rows) rows of \(inputs), \(perRow) of \(count) x \(width)"
        + (hasShared ? ", shared" : "")
      check("decoding experts", name, tolerance: 2e-5) { side in
        let backend = side.backend
        func tensor(_ shape: [Int], _ type: DataType? = nil) throws -> Tensor {
          try backend.makeTensor(
            type ?? backend.activationType, shape, purpose: "a verified kernel")
        }
        let hidden = try side.output([rows, inputs])
        try backend.write(side.rounded(rowsOfNumbers), to: hidden)
        let routing = try ExpertRouting(
          rows: rows, rule: rule, backend: backend, purpose: "a verified kernel")
        func matrix(_ values: [Float], _ outputs: Int, _ role: WeightRole) throws -> Weight {
          try side.weight(values, [outputs, values.count / outputs], type: .bfloat16, as: role)
        }
        let purpose = "a verified kernel"
        let isNarrow = backend.capabilities.hasNarrowLinearInputs
        let x = try tensor([rows, inputs])
        let positions = routing.positions
        let gathered = try backend.makeLinearInput([positions, inputs], purpose: purpose)
        let sharedExpert =
          hasShared
          ? SharedExpert(
            gate: RowProduct(
              weight: try matrix(shared[0], width, .matrix), bias: nil,
              y: try tensor([rows, width])),
            up: RowProduct(
              weight: try matrix(shared[1], width, .matrix), bias: nil,
              y: try tensor([rows, width])),
            input: isNarrow
              ? try backend.makeLinearInput([rows, width], purpose: purpose) : nil,
            down: try matrix(shared[2], inputs, .matrix), downBias: nil) : nil
        try backend.addExperts(
          to: hidden,
          norm: RowNorm(
            weight: side.weight(factors, [inputs], type: .float32, as: .norm), epsilon: 1e-5),
          experts: RoutedExperts(
            router: matrix(router, count, .vocabulary), routerBias: nil, routingBias: nil,
            gate: side.experts(stacks[0], [count, width, inputs], type: .bfloat16),
            up: side.experts(stacks[1], [count, width, inputs], type: .bfloat16),
            down: side.experts(stacks[2], [count, inputs, width], type: .bfloat16),
            shared: sharedExpert),
          in: ExpertPlaces(
            x: x,
            normed: isNarrow
              ? backend.makeLinearInput([rows, inputs], purpose: purpose) : x,
            logits: tensor([rows, count], .float32), routing: routing, inputs: gathered,
            products: tensor([positions, width]),
            outputs: isNarrow ? tensor([positions, inputs]) : gathered))
        return [try backend.read(hidden)]
      }
    }
  }
}
