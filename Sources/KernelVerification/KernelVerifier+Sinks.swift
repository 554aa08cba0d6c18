import MInference

/// Attention sinks: a logit of each head's own in its softmax, for attention and for what selectors look at.
extension KernelVerifier {
  /// A sink that takes next to nothing, about as much as the keys, and next to all.
  private mutating func sinks(_ heads: Int) -> [Float] {
    (0..<heads).map { [-4, 2, 9][$0 % 3] + numbers(1)[0] }
  }

  mutating func checkSinks() {
    for type in precision.rowKeyValueTypes {
      for headDim in [64, 96, 128] {
        for (heads, count, positions, window) in [
          ((6, 2), 1, [0], nil), ((7, 1), 200, [3, 199, 0, 77], nil), ((8, 4), 130, [129], 40),
          ((8, 1), 2100, [2099], nil),
        ] as [((Int, Int), Int, [Int], Int?)] {
          checkRowSinks(type, headDim, heads, keys: count, positions: positions, window: window)
        }
      }
    }
    for type in precision.keyValueTypes {
      for headDim in [64, 96, 128] {
        for (heads, first, rows, pattern, window) in [
          ((6, 2), 0, 131, .sparse, nil), ((6, 2), 45, 70, .dense, 50),
          ((8, 1), 37, 90, .sparse, nil),
          ((2, 2), 0, 300, .dense, 128),
        ] as [((Int, Int), Int, Int, SinkPattern, Int?)] {
          checkSinks(
            type, headDim, heads, first: first, rows: rows, isDense: pattern == .dense,
            window: window)
        }
        for (heads, keys, rows, window) in [
          ((6, 2), 300, 64, nil), ((8, 1), 130, 63, 70), ((2, 2), 1, 1, nil),
        ] as [((Int, Int), Int, Int, Int?)] {
          checkEstimatedSinks(type, headDim, heads, keys: keys, rows: rows, window: window)
        }
      }
    }
  }

  private enum SinkPattern { case dense, sparse }

  private mutating func checkRowSinks(
    _ type: DataType, _ headDim: Int, _ heads: (query: Int, keyValue: Int), keys: Int,
    positions: [Int], window: Int?
  ) {
    let shape = AttentionShape(
      queryHeads: heads.query, keyValueHeads: heads.keyValue, headDim: headDim,
      slidingWindow: window)
    let q = numbers(positions.count * heads.query * headDim, magnitude: 2)
    let k = numbers(keys * heads.keyValue * headDim)
    let v = numbers(keys * heads.keyValue * headDim)
    let sinks = sinks(heads.query)
    let name = "rows \(positions) of \(keys) keys, \(heads.query)/\(heads.keyValue) x \(headDim)"
    for hasSums in [true, false] {
      check("sinks of rowAttention \(type)", name, tolerance: 5e-5) { side in
        let extents = [positions.count, heads.query, headDim]
        let o = try side.output(extents)
        let sums = hasSums ? try side.output([positions.count, heads.query], .float32) : nil
        try side.backend.rowAttention(
          q: side.tensor(q, extents), positions: positions,
          layer: side.layer(k: k, v: v, shape: shape, type: type, sinks: sinks), shape: shape,
          into: o, logSumExp: sums)
        return try [side.backend.read(o)] + (sums.map { [try side.backend.read($0)] } ?? [])
      }
    }
  }

  private mutating func checkSinks(
    _ type: DataType, _ headDim: Int, _ heads: (query: Int, keyValue: Int), first: Int, rows: Int,
    isDense: Bool, window: Int?
  ) {
    let shape = AttentionShape(
      queryHeads: heads.query, keyValueHeads: heads.keyValue, headDim: headDim,
      slidingWindow: window)
    let tile = backend.tileShape(headDim: headDim)
    let q = numbers(rows * heads.query * headDim)
    let k = numbers((first + rows) * heads.keyValue * headDim)
    let v = numbers((first + rows) * heads.keyValue * headDim)
    let sinks = sinks(heads.query)
    let index = Result {
      isDense
        ? try SparseIndex.dense(firstPosition: first, rows: rows, heads: heads.query, tile: tile)
        : try IndexPattern.allCases[rows % IndexPattern.allCases.count].makeIndex(
          first: first, rows: rows, heads: heads.query, tile: tile, random: &random)
    }
    let name =
      "\(isDense ? "dense" : "sparse"), \(rows) rows from \(first), \(heads.query)/"
      + "\(heads.keyValue) x \(headDim)" + (window.map { ", window \($0)" } ?? "")
    for hasSums in [true, false] {
      check("sinks of attention \(type)", name, tolerance: 5e-5, tile: tile) { side in
        let extents = [rows, heads.query, headDim]
        let o = try side.output(extents)
        let sums = hasSums ? try side.output([rows, heads.query], .float32) : nil
        try side.backend.attention(
          q: side.tensor(q, extents), firstPosition: first,
          layer: side.layer(k: k, v: v, shape: shape, type: type, sinks: sinks), shape: shape,
          index: index.get(), into: o, logSumExp: sums)
        return try [side.backend.read(o)] + (sums.map { [try side.backend.read($0)] } ?? [])
      }
    }
  }

  /// What selectors look at where heads have sinks.
  private mutating func checkEstimatedSinks(
    _ type: DataType, _ headDim: Int, _ heads: (query: Int, keyValue: Int), keys: Int, rows: Int,
    window: Int?
  ) {
    let shape = AttentionShape(
      queryHeads: heads.query, keyValueHeads: heads.keyValue, headDim: headDim,
      slidingWindow: window)
    let q = numbers(rows * heads.query * headDim, magnitude: 2)
    let k = numbers(keys * heads.keyValue * headDim)
    let sinks = sinks(heads.query)
    let name = "last \(rows) of \(keys), \(heads.query)/\(heads.keyValue) x \(headDim)"
    check("sinks of lastRowSums \(type)", name, tolerance: 5e-5) { side in
      try side.backend.read(
        side.backend.lastRowSums(
          q: side.tensor(q, [rows, heads.query, headDim]), firstPosition: keys - rows,
          layer: side.layer(k: k, v: k, shape: shape, type: type, sinks: sinks), shape: shape,
          heads: Array(0..<heads.query))
      ).flatMap { [$0.vertical, $0.slash] }
    }
    guard type != .float8 else { return }
    for source in [ShareSource.antidiagonals(stride: 16, queryStride: 1), .means(size: 128)] {
      check("sinks of blockShares \(type)", "\(name), \(source)", tolerance: 1e-4) { side in
        [
          try side.backend.read(
            side.backend.blockShares(
              q: side.tensor(q, [rows, heads.query, headDim]), firstPosition: keys - rows,
              layer: side.layer(k: k, v: k, shape: shape, type: type, sinks: sinks), shape: shape,
              heads: Array(0..<heads.query), source: source))
        ]
      }
    }
  }
}
