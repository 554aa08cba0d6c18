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
    for (rows, heads, headDim, block) in [(1, 1, 64, 64), (65, 6, 96, 64), (130, 2, 128, 32)] {
      let x = numbers(rows * heads * headDim)
      check("meanPooled", "\(rows) x \(heads) x \(headDim) by \(block)", tolerance: 5e-6) { side in
        try side.backend.readRows(
          side.backend.meanPooled(side.tensor(x, [rows, heads, headDim]), blockSize: block))
      }
    }
  }
}
