import MInference

/// Attention, decode attention and the cache.
extension KernelVerifier {
  /// Query heads, key-value heads: one to one, the built-in model's, Qwen2's 7, all on one.
  static let groupings = [(2, 2), (6, 2), (7, 1), (8, 4)]

  mutating func checkCache() {
    for type in precision.rowKeyValueTypes {
      for headDim in [64, 96, 128] {
        for count in [1, 7, 65] {
          let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: headDim)
          let k = numbers(count * 2 * headDim)
          let v = numbers(count * 2 * headDim)
          check("store \(type)", "\(count) x 2 x \(headDim)", tolerance: 1e-9) { side in
            let layer = try side.layer(k: k, v: v, shape: shape, type: type)
            // NaN where nothing was stored: made comparable by a number that cannot occur.
            return try [layer.keys, layer.values].map { tensor in
              try side.backend.read(tensor).map { $0.isNaN ? 1e9 : $0 }
            }
          }
        }
      }
    }
  }

  mutating func checkAttention() {
    for type in precision.keyValueTypes {
      for headDim in [64, 96, 128] {
        for (number, grouping) in Self.groupings.enumerated() {
          // (first position, rows): one token, odd lengths, later chunks that begin anywhere.
          for (first, rows) in [(0, 1), (0, 17), (0, 65), (0, 150), (64, 33), (37, 90), (130, 1)] {
            let pattern = IndexPattern.allCases[
              (number + first + rows) % IndexPattern.allCases.count]
            checkAttention(
              type, headDim, grouping, first: first, rows: rows, pattern: pattern, window: nil)
          }
        }
        for pattern in IndexPattern.allCases {
          checkAttention(
            type, headDim, (6, 2), first: 0, rows: 131, pattern: pattern, window: nil)
          checkAttention(type, headDim, (6, 2), first: 45, rows: 70, pattern: pattern, window: 50)
        }
        // A question after a long prompt: a GPU splits the keys.
        for (rows, window) in [(17, nil), (9, 3000)] where headDim == 128 {
          checkAttention(
            type, headDim, (2, 1), first: 4200, rows: rows, pattern: .dense, window: window)
        }
      }
    }
  }

  private mutating func checkAttention(
    _ type: DataType, _ headDim: Int, _ heads: (query: Int, keyValue: Int), first: Int, rows: Int,
    pattern: IndexPattern, window: Int?
  ) {
    let shape = AttentionShape(
      queryHeads: heads.query, keyValueHeads: heads.keyValue, headDim: headDim,
      slidingWindow: window)
    let tile = backend.tileShape(headDim: headDim)
    // Every third case has scores in the hundreds, where a softmax without its maximum overflows.
    let magnitude: Float = (first + rows) % 3 == 0 ? 20 : 1
    let q = numbers(rows * heads.query * headDim, magnitude: magnitude)
    let k = numbers((first + rows) * heads.keyValue * headDim)
    let v = numbers((first + rows) * heads.keyValue * headDim)
    // Rows of the index that are asked for: all of them, and a part that begins and ends anywhere.
    let parts = rows > 4 ? [0..<rows, rows / 3..<rows - 1] : [0..<rows]
    let name =
      "\(pattern.rawValue), \(rows) rows from \(first), \(heads.query)/\(heads.keyValue) x "
      + "\(headDim)" + (window.map { ", window \($0)" } ?? "")
    let index = Result {
      try pattern.makeIndex(
        first: first, rows: rows, heads: heads.query, tile: tile, random: &random)
    }
    check("attention \(type)", name, tolerance: 5e-5, tile: tile) { side in
      let index = try index.get()
      let layer = try side.layer(k: k, v: v, shape: shape, type: type)
      var results: [[Float]] = []
      for part in parts {
        let extents = [part.count, heads.query, headDim]
        let o = try side.output(extents)
        let logSumExp = try side.output([part.count, heads.query], .float32)
        let rowSize = heads.query * headDim
        let part = part.lowerBound * rowSize..<part.upperBound * rowSize
        try side.backend.attention(
          q: side.tensor(Array(q[part]), extents),
          firstPosition: first + part.lowerBound / rowSize, layer: layer, shape: shape,
          index: index, into: o, logSumExp: logSumExp)
        results += [try side.backend.read(o), try side.backend.read(logSumExp)]
      }
      return results
    }
  }

  mutating func checkRowAttention() {
    for type in precision.rowKeyValueTypes {
      for headDim in [64, 96, 128] {
        for heads in Self.groupings {
          var cases = [
            (1, [0]), (65, [64]), (200, [199]), (200, [3, 199, 0, 77]), (130, [128, 129]),
          ]
          // Enough keys that a GPU splits them over many blocks.
          if headDim == 128 { cases += [(2100, [2099]), (4300, [4299])] }
          for (count, positions) in cases {
            let window = count == 130 ? 40 : nil
            let shape = AttentionShape(
              queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim, slidingWindow: window)
            let q = numbers(positions.count * heads.0 * headDim, magnitude: 2)
            let k = numbers(count * heads.1 * headDim)
            let v = numbers(count * heads.1 * headDim)
            let name = "rows \(positions) of \(count) keys, \(heads.0)/\(heads.1) x \(headDim)"
            check("rowAttention \(type)", name, tolerance: 5e-5) { side in
              let extents = [positions.count, heads.0, headDim]
              let o = try side.output(extents)
              let logSumExp = try side.output([positions.count, heads.0], .float32)
              try side.backend.rowAttention(
                q: side.tensor(q, extents), positions: positions,
                layer: side.layer(k: k, v: v, shape: shape, type: type), shape: shape, into: o,
                logSumExp: logSumExp)
              return [try side.backend.read(o), try side.backend.read(logSumExp)]
            }
          }
        }
      }
    }
  }
}
