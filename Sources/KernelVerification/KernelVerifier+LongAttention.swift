import MInference

/// Attention of a whole long prompt, as many thread blocks as a GPU holds at once, against the kernel
/// for single rows: what short prompts cannot show, for the reference would take hours.
extension KernelVerifier {
  mutating func checkLongAttention() {
    guard let device = backend as? any SyntheticBackend else { return }
    for headDim in [64, 128] {
      for (tokens, heads) in [
        (8192, (6, 2)), (65_536, (6, 2)), (131_072, (6, 2)), (32_768, (32, 8)),
      ] {
        let shape = AttentionShape(
          queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim)
        let name = "dense, \(tokens) tokens, \(heads.0)/\(heads.1) x \(headDim)"
        checkPair("attention of long prompts", name) {
          try Self.longAttention(device, shape, tokens: tokens)
        }
      }
      guard device.capabilities.buildsIndices else { continue }
      for (first, rows) in [(0, 65_536), (60_000, 50_001)] {
        let shape = AttentionShape(queryHeads: 6, keyValueHeads: 2, headDim: headDim)
        let name = "sparse, \(rows) rows from \(first), 6/2 x \(headDim)"
        checkPair("attention of long prompts", name) {
          try Self.longSparseAttention(device, shape, first: first, rows: rows)
        }
        // Cut as dual chunk attention cuts keys, and at some other tiles.
        let cuts = [64, 16_384, 49_152]
        checkPair("parts of attention in long prompts", name + ", cut at \(cuts)") {
          try Self.longSparseAttention(device, shape, first: first, rows: rows, cuts: cuts)
        }
      }
      let shape = AttentionShape(queryHeads: 32, keyValueHeads: 4, headDim: headDim)
      let cuts = [16_384, 32_768, 32_832]
      checkPair("parts of attention in long prompts", "dense, 32/4 x \(headDim), cut at \(cuts)") {
        try Self.longAttention(device, shape, tokens: 40_001, cuts: cuts)
      }
    }
  }

  /// Both kernels' outputs and log-sum-exps of rows spread over the prompt.
  private static func longAttention(
    _ device: any SyntheticBackend, _ shape: AttentionShape, tokens: Int, cuts: [Int] = []
  ) throws -> (actual: [[Float]], expected: [[Float]], tolerances: [Double]) {
    func random(_ extents: [Int], _ seed: UInt64) throws -> Tensor {
      try device.makeRandom(
        device.activationType, extents, deviation: 1, seed: seed, purpose: "a verified kernel")
    }
    let q = try random([tokens, shape.queryHeads, shape.headDim], 1)
    let layer = try longLayer(device, shape, tokens: tokens, seed: 2)
    let positions = (1...64).map { tokens * $0 / 64 - 1 }
    let width = q.rowCount
    let rows = try device.makeTensor(
      device.activationType, [positions.count, shape.queryHeads, shape.headDim],
      purpose: "a verified kernel")
    try device.gatherRows(q, rows: positions.map(Int32.init), into: rows)
    let rowSums = try device.makeTensor(
      .float32, [positions.count, shape.queryHeads], purpose: "a verified kernel")
    try device.rowAttention(
      q: rows, positions: positions, layer: layer, shape: shape, into: rows, logSumExp: rowSums)

    let sums = try device.makeTensor(
      .float32, [tokens, shape.queryHeads], purpose: "a verified kernel")
    let index = try SparseIndex.dense(
      firstPosition: 0, rows: tokens, heads: shape.queryHeads,
      tile: device.tileShape(headDim: shape.headDim))
    // In place and block after block, as a layer does it; parts beside the queries, which all of them read.
    let o =
      cuts.isEmpty
      ? q : try device.makeTensor(q.type, q.shape, purpose: "a verified kernel")
    for start in stride(from: 0, to: tokens, by: device.rowBlock) {
      let block = start..<min(start + device.rowBlock, tokens)
      let rows = q.slice(rows: block)
      if cuts.isEmpty {
        try device.attention(
          q: rows, firstPosition: start, layer: layer, shape: shape, index: index, into: rows,
          logSumExp: sums.slice(rows: block))
      } else {
        try attendInParts(
          device, q: rows, firstPosition: start, layer: layer, shape: shape, index: index,
          cutAt: cuts, into: o.slice(rows: block), logSumExp: sums.slice(rows: block))
      }
    }
    let outputs = try positions.flatMap { try device.read(o.slice(rows: $0..<$0 + 1)) }
    let allSums = try device.read(sums)
    let heads = shape.queryHeads
    // Outputs shrink with the row's number of keys: each row is compared by itself.
    let expected = try device.read(rows)
    let actualRows = positions.indices.map { Array(outputs[$0 * width..<($0 + 1) * width]) }
    let expectedRows = positions.indices.map { Array(expected[$0 * width..<($0 + 1) * width]) }
    return (
      actual: actualRows + [positions.flatMap { allSums[$0 * heads..<($0 + 1) * heads] }],
      expected: expectedRows + [try device.read(rowSums)],
      tolerances: Array(repeating: 3e-2, count: positions.count) + [Self.sumTolerance]
    )
  }

  /// Of log-sum-exps up to about 40: 64 keys of 65,536 that are left out, or taken twice, miss it.
  static let sumTolerance = 1e-5

  /// Random keys and values, and a few that many queries cannot pass by, as in the heads of a model:
  /// the first keys, far behind, draw some rows' whole mass, and the values of a few tiles are large. Over
  /// numbers that are all alike, a tile that is lost or taken for another is lost in the noise.
  static func longLayer(
    _ device: any SyntheticBackend, _ shape: AttentionShape, tokens: Int, seed: UInt64
  ) throws -> KeyValueLayer {
    func random(_ extents: [Int], _ deviation: Float, _ seed: UInt64) throws -> Tensor {
      try device.makeRandom(
        device.activationType, extents, deviation: deviation, seed: seed,
        purpose: "a verified kernel")
    }
    let extents = [shape.keyValueHeads, tokens, shape.headDim]
    let layer = KeyValueLayer(
      keys: try random(extents, 1, seed), values: try random(extents, 1, seed + 1), count: tokens)
    for (number, first) in [0, tokens / 3 / 64 * 64, tokens / 2 + 17].enumerated() {
      let rows = [number == 0 ? 4 : 64, shape.keyValueHeads, shape.headDim]
      let seed = seed + 10 * UInt64(number)
      try device.store(
        k: random(rows, number == 0 ? 8 : 1, seed), v: random(rows, 30, seed + 1), in: layer,
        firstPosition: first)
    }
    return layer
  }
}
