import MInference

/// Indices that a device takes from the host row set by row set, against the same ones given whole.
extension KernelVerifier {
  mutating func checkUploadedIndices() {
    guard let device = backend as? any IndexUploading else { return }
    for headDim in [64, 96, 128] {
      for (rows, heads) in [(65, (2, 2)), (700, (6, 2)), (1500, (8, 4))] {
        let shape = AttentionShape(
          queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim)
        let q = numbers(rows * heads.0 * headDim)
        let k = numbers(rows * heads.1 * headDim)
        let precision = precision
        checkPair(
          "makeIndex of row sets", "\(rows) rows, \(heads.0)/\(heads.1) x \(headDim)"
        ) {
          let side = KernelSide(device, precision)
          let grid = TileGrid(
            firstPosition: 0, rows: rows, tile: device.tileShape(headDim: headDim))
          let tiles = RandomTiles(.pairs, density: 0.5, on: grid)
          let sets = (0..<heads.1).map { RowSet.tiles(tiles.draw(seed: UInt64($0))) }
          let setOfHead = (0..<heads.0).map { $0 / shape.groupSize }
          let whole = try TileIndex(
            firstPosition: 0, rows: rows, tile: grid.tile, rowSets: sets, rowSetOfHead: setOfHead)
          let uploaded = try device.makeIndex(rows: rows, shape: shape, rowSetOfHead: setOfHead) {
            sets[$0]
          }
          let layer = try side.layer(k: k, v: k, shape: shape, type: .bfloat16)
          func outputs(_ index: SparseIndex) throws -> [Float] {
            let extents = [rows, heads.0, headDim]
            let o = try side.output(extents)
            let sums = try side.output([rows, heads.0], .float32)
            try device.attention(
              q: side.tensor(q, extents), firstPosition: 0, layer: layer, shape: shape,
              index: index, into: o, logSumExp: sums)
            return try device.read(o) + device.read(sums)
          }
          let pairs = setOfHead.indices.map { Float(whole.computedPairs(ofHead: $0)) }
          let counted = try uploaded.computedPairs().map(Float.init)
          return (
            actual: [counted, try outputs(uploaded)],
            expected: [pairs, try outputs(.tiles(whole))],
            tolerances: [0, 0]
          )
        }
      }
    }
  }
}
