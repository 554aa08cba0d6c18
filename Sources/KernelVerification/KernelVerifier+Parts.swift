import MInference

/// Attention over a part of an index's keys, and parts joined by their log-sum-exps, as dual chunk attention
/// computes them.
extension KernelVerifier {
  mutating func checkParts() {
    // (first position, rows): one token, odd lengths, chunks that begin anywhere, rows of which most have
    // no key in a part.
    let cases = [
      (0, 1), (0, 17), (0, 65), (0, 150), (64, 33), (37, 90), (130, 1), (45, 300), (500, 77),
    ]
    for headDim in [64, 96, 128] {
      for (number, pattern) in IndexPattern.allCases.enumerated() {
        for (place, (first, rows)) in cases.enumerated() where (number + place) % 3 == 0 {
          checkParts(
            Self.groupings[(number + place / 3) % Self.groupings.count], headDim, first: first,
            rows: rows, pattern: pattern)
        }
      }
    }
  }

  private mutating func checkParts(
    _ heads: (query: Int, keyValue: Int), _ headDim: Int, first: Int, rows: Int,
    pattern: IndexPattern
  ) {
    let shape = AttentionShape(
      queryHeads: heads.query, keyValueHeads: heads.keyValue, headDim: headDim)
    let tile = backend.tileShape(headDim: headDim)
    let keys = first + rows
    let magnitude: Float = keys % 3 == 0 ? 20 : 1
    let q = numbers(rows * heads.query * headDim, magnitude: magnitude)
    let k = numbers(keys * heads.keyValue * headDim)
    let v = numbers(keys * heads.keyValue * headDim)
    // Up to three parts, cut at random tiles.
    let tiles = (keys + tile.columns - 1) / tile.columns
    let cuts = Set((0..<2).map { _ in random.next(below: tiles) * tile.columns })
      .subtracting([0]).sorted()
    let index = Result {
      try pattern.makeIndex(
        first: first, rows: rows, heads: heads.query, tile: tile, random: &random)
    }
    // Rows of a call: all, or those of a block.
    let block = rows > 4 && random.next(below: 2) == 0 ? rows / 3..<rows - 1 : 0..<rows
    let name =
      "\(pattern.rawValue), \(rows) rows from \(first), \(heads.query)/\(heads.keyValue) x "
      + "\(headDim), cut at \(cuts)"
    let precision = precision
    /// The largest error of any part, as a share of what it may be.
    func worst() throws -> Double {
      let index = try index.get()
      let extents = [block.count, heads.query, headDim]
      let rowSize = heads.query * headDim
      let queries = Array(q[block.lowerBound * rowSize..<block.upperBound * rowSize])
      /// Outputs and log-sum-exps of every part, then those of all of them.
      func outputs(_ side: KernelSide) throws -> [[Float]] {
        let layer = try side.layer(
          k: k, v: v, shape: shape, type: precision.keyValueTypes.last ?? .float32)
        let merged = (o: try side.output(extents), sums: try side.output(sumExtents, .float32))
        var results: [[Float]] = []
        for range in Self.parts(of: index, cutAt: cuts).reversed() {
          let o = try side.output(extents)
          let sums = try side.output(sumExtents, .float32)
          try side.backend.attention(
            q: side.tensor(queries, extents), firstPosition: first + block.lowerBound,
            layer: layer, shape: shape, index: index.restricted(toKeys: range), into: o,
            logSumExp: sums)
          results += [try side.backend.read(o), try side.backend.read(sums)]
        }
        try Self.attendInParts(
          side.backend, q: side.tensor(queries, extents), firstPosition: first + block.lowerBound,
          layer: layer, shape: shape, index: index, cutAt: cuts, into: merged.o,
          logSumExp: merged.sums)
        results += [try side.backend.read(merged.o), try side.backend.read(merged.sums)]
        guard try side.guardsAreIntact() else {
          throw ComputeError.shapeMismatch(
            operation: "parts of attention", detail: "wrote beyond its output")
        }
        return results
      }
      let sumExtents = [block.count, heads.query]
      let expected = try outputs(KernelSide(ReferenceBackend(tile: tile), precision))
      let actual = try outputs(KernelSide(backend, precision))
      let tolerance = max(5e-5, precision.tolerance(of: "attention"))
      return expected.indices.reduce(0) { worst, number in
        let error = KernelCheck.relativeError(actual[number], expected[number])
        return max(worst, error / (number % 2 == 0 ? tolerance : 1e-4))
      }
    }
    guard let number = place(of: "parts of attention") else { return }
    do {
      checks[number].add(name, error: try worst(), tolerance: 1)
    } catch {
      checks[number].add("\(name): \(error)", error: .infinity, tolerance: 1)
    }
  }

  static func parts(of index: SparseIndex, cutAt cuts: [Int]) -> [Range<Int>] {
    let edges = [0] + cuts + [index.keys]
    return zip(edges, edges.dropFirst()).map { $0..<$1 }
  }

  /// Attention over the parts of an index, the last keys first, merged. q and o are different tensors.
  static func attendInParts(
    _ backend: any Backend, q: Tensor, firstPosition: Int, layer: KeyValueLayer,
    shape: AttentionShape, index: SparseIndex, cutAt cuts: [Int], into o: Tensor,
    logSumExp: Tensor
  ) throws {
    let part = try backend.makeTensor(q.type, q.shape, purpose: "a verified kernel")
    let partSums = try backend.makeTensor(
      .float32, [q.rows, shape.queryHeads], purpose: "a verified kernel")
    for (number, keys) in parts(of: index, cutAt: cuts).reversed().enumerated() {
      let isFirst = number == 0
      try backend.attention(
        q: q, firstPosition: firstPosition, layer: layer, shape: shape,
        index: index.restricted(toKeys: keys), into: isFirst ? o : part,
        logSumExp: isFirst ? logSumExp : partSums)
      if !isFirst {
        try backend.mergeAttention(part, logSumExp: partSums, into: o, logSumExp: logSumExp)
      }
    }
  }
}
