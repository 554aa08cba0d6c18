package import MInference

/// Indices of heads that compute blocks or, where the shares of these are not trusted, columns and offsets: what a
/// device decides, against the host's rule on the device's own sums and shares.
extension KernelVerifier {
  /// The checks of these heads alone, for a backend that builds indices.
  package static func verifyBandAlternatives(
    _ backend: any Backend, isThorough: Bool
  ) -> [KernelCheck] {
    var verifier = KernelVerifier(backend: backend)
    verifier.checkBandAlternatives(backend, isThorough: isThorough)
    return verifier.checks
  }

  /// - Parameter isThorough: All head sizes and chunks, and prompts that only a GPU is fast enough for.
  mutating func checkBandAlternatives(_ builder: any Backend, isThorough: Bool) {
    let chunks: [(first: Int, rows: Int, window: Int?)] = [
      (130, 450, nil), (0, 700, nil), (0, 1024, nil), (300, 1301, nil), (1024, 513, 400),
      (777, 650, 300),
    ]
    for headDim in isThorough ? [64, 96, 128] : [64] {
      for chunk in isThorough ? chunks : [chunks[0]] {
        checkBandAlternatives(builder, headDim: headDim, chunk)
      }
    }
    guard isThorough, choice.allowsLongCases else { return }
    // More blocks of keys than a tile of scores has, and queries that come in many parts.
    checkBandAlternatives(builder, headDim: 128, (4_070, 18_001, nil))
    checkBandAlternatives(builder, headDim: 64, (0, 20_000, 9_000))
  }

  private mutating func checkBandAlternatives(
    _ builder: any Backend, headDim: Int, _ chunk: (first: Int, rows: Int, window: Int?)
  ) {
    let shape = AttentionShape(
      queryHeads: 6, keyValueHeads: 2, headDim: headDim, slidingWindow: chunk.window)
    let keys = chunk.first + chunk.rows
    // A vector of each block of 128 beside the noise: means differ, and no share is nearly another.
    let problem = ChosenBlocksProblem(
      shape: shape, firstPosition: chunk.first, rows: chunk.rows,
      q: blocks(0..<chunk.rows, heads: 6, headDim: headDim, magnitude: 2),
      k: blocks(0..<keys, heads: 2, headDim: headDim, magnitude: 1))
    let precision = precision
    checkPair(
      "makeIndex bands or blocks",
      "\(chunk.rows) rows from \(chunk.first), 6/2 x \(headDim)"
        + (chunk.window.map { ", window \($0)" } ?? "")
    ) {
      try problem.compare(builder, KernelSide(builder, precision)) { q, layer in
        try problem.patternsOnBothSides(builder, q, layer)
      }
    }
  }

  /// Noise, and a vector of this magnitude that all rows of a block of 128 have. [rows, heads, headDim].
  private mutating func blocks(
    _ rows: Range<Int>, heads: Int, headDim: Int, magnitude: Float
  ) -> [Float] {
    let width = heads * headDim
    var values = numbers(rows.count * width)
    let vectors = numbers((rows.count - 1) / ShareRule.blockSize * width + width)
    for row in rows {
      let block = row / ShareRule.blockSize * width
      for d in 0..<width { values[row * width + d] += magnitude * vectors[block + d] }
    }
    return values
  }
}

extension ChosenBlocksProblem {
  /// Heads with an alternative, of which every second one takes it: their tau lies a twentieth beside the distance
  /// of the device's own sums and shares. Others besides.
  ///
  /// - Throws: `ComputeError.shapeMismatch` for a distance that cannot be told from none.
  fileprivate func patternsOnBothSides(
    _ builder: any Backend, _ q: Tensor, _ layer: KeyValueLayer
  ) throws -> [HeadPattern] {
    let heads = Array(0..<shape.queryHeads)
    let sums = try builder.read(
      builder.lastRowSums(
        q: q.slice(rows: rows - 64..<rows), firstPosition: firstPosition + rows - 64, layer: layer,
        shape: shape, heads: heads))
    let shares = try builder.blockShares(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads,
      source: .means(size: ShareRule.blockSize))
    let lastShares = try builder.readRows(shares).map { Array($0.suffix(shares.shape[2])) }
    let distances = zip(sums, lastShares).map {
      BandAlternative.distance(columnSums: $0.vertical, shares: $1)
    }
    guard distances.allSatisfy({ $0 > 0.01 && $0 < 1 }) else {
      throw ComputeError.shapeMismatch(
        operation: "blockShares", detail: "distances of \(distances) from the last rows")
    }
    func pattern(_ head: Int, share: Float, leastKeys: Int, takesBands: Bool) -> HeadPattern {
      HeadPattern(
        FlexPrefill(
          share: share, tau: Float(distances[head]) * (takesBands ? 0.95 : 1.05),
          leastKeys: leastKeys))
    }
    return [
      pattern(0, share: 0.5, leastKeys: 100, takesBands: false),
      pattern(1, share: 0.5, leastKeys: 100, takesBands: true),
      HeadPattern(PooledBlocks(rule: ShareRule(share: 0.5, floor: 0.1), columns: 30, last: 128)),
      pattern(3, share: 0.3, leastKeys: 300, takesBands: false),
      HeadPattern(VerticalSlashShare(share: 0.4, vertical: 40, slash: 110)),
      pattern(5, share: 0.2, leastKeys: 130, takesBands: true),
    ]
  }
}
