import MInference

/// The primitives that estimators are made of.
extension KernelVerifier {
  mutating func checkEstimation() {
    for type in precision.keyValueTypes {
      for headDim in [64, 96, 128] {
        for heads in Self.groupings {
          for (keys, rows, window) in [
            (1, 1, nil), (17, 17, nil), (64, 64, nil), (300, 64, nil), (130, 63, 70),
          ] as [(Int, Int, Int?)] {
            let shape = AttentionShape(
              queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim, slidingWindow: window)
            let q = numbers(rows * heads.0 * headDim, magnitude: 2)
            let k = numbers(keys * heads.1 * headDim)
            // All heads, and one or two of them out of order.
            let chosen = keys % 2 == 0 ? Array(0..<heads.0) : [heads.0 - 1, 0]
            let name = "last \(rows) of \(keys), \(heads.0)/\(heads.1) x \(headDim)"
            check("lastRowSums \(type)", name, tolerance: 5e-5) { side in
              try side.backend.read(
                side.backend.lastRowSums(
                  q: side.tensor(q, [rows, heads.0, headDim]), firstPosition: keys - rows,
                  layer: side.layer(k: k, v: k, shape: shape, type: type), shape: shape,
                  heads: chosen)
              ).flatMap { [$0.vertical, $0.slash] }
            }
            check("meanPooledKeys \(type)", name, tolerance: 5e-6) { side in
              try side.backend.readRows(
                side.backend.meanPooledKeys(
                  side.layer(k: k, v: k, shape: shape, type: type), count: keys, blockSize: 64))
            }
          }
        }
      }
    }
    checkBlockShares()
    for (rows, heads, headDim, block) in [(1, 1, 64, 64), (65, 6, 96, 64), (130, 2, 128, 32)] {
      let x = numbers(rows * heads * headDim)
      check("meanPooled", "\(rows) x \(heads) x \(headDim) by \(block)", tolerance: 5e-6) { side in
        try side.backend.readRows(
          side.backend.meanPooled(side.tensor(x, [rows, heads, headDim]), blockSize: block))
      }
    }
  }

  /// Shares of key blocks: more groups than one tile of scores, one row, a later part, a window.
  private mutating func checkBlockShares() {
    for type in precision.keyValueTypes where type != .float8 {
      for (headDim, heads, first, rows, stride, queryStride, window) in [
        (64, (4, 2), 0, 300, 8, 1, nil), (96, (2, 1), 37, 130, 16, 1, nil),
        (128, (2, 2), 0, 1, 16, 1, nil), (128, (3, 1), 1024, 200, 8, 1, nil),
        (64, (2, 1), 256, 300, 16, 1, 200), (128, (1, 1), 2048, 130, 16, 1, nil),
        (128, (3, 1), 0, 2700, 16, 2, nil), (64, (2, 2), 37, 1200, 8, 2, 300),
        (96, (2, 1), 128, 500, 16, 4, nil),
      ] as [(Int, (Int, Int), Int, Int, Int, Int, Int?)] {
        let shape = AttentionShape(
          queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim, slidingWindow: window)
        let q = numbers(rows * heads.0 * headDim, magnitude: 3)
        let k = numbers((first + rows) * heads.1 * headDim)
        let name =
          "\(rows) rows from \(first), \(heads.0)/\(heads.1) x \(headDim), stride \(stride)"
          + (queryStride > 1 ? ", every \(queryStride)th group" : "")
        check("blockShares \(type)", name, tolerance: 1e-4) { side in
          [
            try side.backend.read(
              side.backend.blockShares(
                q: side.tensor(q, [rows, heads.0, headDim]), firstPosition: first,
                layer: side.layer(k: k, v: k, shape: shape, type: type), shape: shape,
                heads: Array(0..<heads.0),
                source: .antidiagonals(stride: stride, queryStride: queryStride)))
          ]
        }
      }
      for (headDim, heads, first, rows, window) in [
        (64, (4, 2), 0, 300, nil), (96, (2, 1), 37, 130, nil), (128, (2, 2), 0, 1, nil),
        (128, (3, 1), 1024, 9000, nil), (64, (2, 1), 256, 700, 200),
        (128, (1, 1), 20_000, 130, nil),
      ] as [(Int, (Int, Int), Int, Int, Int?)] {
        let shape = AttentionShape(
          queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim, slidingWindow: window)
        // Means of many numbers are small, and so are their products: large ones tell blocks apart.
        let q = numbers(rows * heads.0 * headDim, magnitude: 20)
        let k = numbers((first + rows) * heads.1 * headDim, magnitude: 4)
        let name = "\(rows) rows from \(first), \(heads.0)/\(heads.1) x \(headDim), means"
        for size in ShareSource.meanSizes {
          // Means of small groups may be rounded to the activations' type.
          check("blockShares \(type)", "\(name) of \(size)", tolerance: size == 128 ? 1e-4 : 2e-2) {
            side in
            [
              try side.backend.read(
                side.backend.blockShares(
                  q: side.tensor(q, [rows, heads.0, headDim]), firstPosition: first,
                  layer: side.layer(k: k, v: k, shape: shape, type: type), shape: shape,
                  heads: Array(0..<heads.0), source: .means(size: size)))
            ]
          }
        }
      }
    }
  }
}
