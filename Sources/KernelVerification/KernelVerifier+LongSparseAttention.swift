#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

import MInference

/// Sparse attention of a whole long prompt, by a device's own index, against sums in double precision.
extension KernelVerifier {
  static func longSparseAttention(
    _ device: any SyntheticBackend, _ shape: AttentionShape, first: Int, rows: Int,
    cuts: [Int] = []
  ) throws -> (actual: [[Float]], expected: [[Float]], tolerances: [Double]) {
    let keys = first + rows
    func random(_ extents: [Int], _ seed: UInt64) throws -> Tensor {
      try device.makeRandom(
        device.activationType, extents, deviation: 1, seed: seed, purpose: "a verified kernel")
    }
    let q = try random([rows, shape.queryHeads, shape.headDim], 4)
    let layer = try longLayer(device, shape, tokens: keys, seed: 5)
    // Slashes alone and in runs, columns alone and side by side, a head of each kind that exists.
    let scattered = (0..<400).map { $0 * $0 * 7 % keys }.sorted()
    let slashes = Set(scattered).sorted().map { $0..<$0 + 1 }
    let columns = (0..<3000).map { Int32($0 * 35 % keys) }
    let heads: [IndexRequest.Head] = [
      .bands(offsets: [0..<1000, 30_000..<30_064, 50_001..<50_100], columns: [], denseFrom: nil),
      .bands(offsets: [0..<100], columns: Set(columns).sorted(), denseFrom: nil),
      .dense,
      .bands(
        offsets: [0..<1] + slashes.filter { $0.lowerBound > 0 }, columns: [0, 1, 2], denseFrom: nil),
      .bands(offsets: [0..<64], columns: Array(0..<128), denseFrom: keys - 5000),
      .lastRows(columns: 500, offsets: 700),
    ]
    let sampled = (1...12).map { rows * $0 / 12 - 1 }
    let asked = try sampled.map { try device.read(q.slice(rows: $0..<$0 + 1)) }
    let request = IndexRequest(
      heads: heads,
      chunk: ChunkInputs(
        shape: shape, layer: layer, firstPosition: first, rows: rows,
        lastRows: q.slice(rows: rows - 64..<rows)), forcedColumns: 30, forcedOffsets: 100,
      columnCost: 1, exact: true)
    let index = try device.makeIndex(request)
    let host = try hostIndex(request, device)
    let sums = try device.makeTensor(
      .float32, [rows, shape.queryHeads], purpose: "a verified kernel")
    // In place, as a layer does it; parts beside the queries, which all of them read.
    let o =
      cuts.isEmpty
      ? q : try device.makeTensor(q.type, q.shape, purpose: "a verified kernel")
    if cuts.isEmpty {
      try device.attention(
        q: q, firstPosition: first, layer: layer, shape: shape, index: index, into: q,
        logSumExp: sums)
    } else {
      try attendInParts(
        device, q: q, firstPosition: first, layer: layer, shape: shape, index: index, cutAt: cuts,
        into: o, logSumExp: sums)
    }

    let k = try device.read(layer.keys)
    let v = try device.read(layer.values)
    let allSums = try device.read(sums)
    var actual: [[Float]] = []
    var expected: [[Float]] = []
    for (row, query) in zip(sampled, asked) {
      actual.append(try device.read(o.slice(rows: row..<row + 1)))
      actual.append(Array(allSums[row * shape.queryHeads..<(row + 1) * shape.queryHeads]))
      let (outputs, sums) = attended(
        query, position: first + row, keys: k, values: v, stride: keys, shape, host)
      expected += [outputs, sums]
    }
    return (actual, expected, actual.indices.map { $0 % 2 == 0 ? 3e-2 : sumTolerance })
  }

  /// One row's outputs, [heads x headDim], and log-sum-exps over the pairs of an index.
  static func attended(
    _ query: [Float], position: Int, keys: [Float], values: [Float], stride: Int,
    _ shape: AttentionShape, _ index: TileIndex
  ) -> (outputs: [Float], sums: [Float]) {
    let d = shape.headDim
    var outputs: [Float] = []
    var sums: [Float] = []
    for head in 0..<shape.queryHeads {
      let base = head / (shape.queryHeads / shape.keyValueHeads) * stride
      let computed = computedKeys(ofHead: head, position: position, index).filter {
        position - $0 < shape.slidingWindow ?? .max
      }
      let scores = computed.map { key in
        (0..<d).reduce(0.0) {
          $0 + Double(query[head * d + $1]) * Double(keys[(base + key) * d + $1])
        }
          / Double(d).squareRoot()
      }
      let highest = scores.max() ?? 0
      let weights = scores.map { exp($0 - highest) }
      let total = weights.reduce(0, +)
      var output = [Double](repeating: 0, count: d)
      for (key, weight) in zip(computed, weights) {
        for i in 0..<d { output[i] += weight / total * Double(values[(base + key) * d + i]) }
      }
      outputs += output.map(Float.init)
      sums.append(Float(highest + log(total)))
    }
    return (outputs, sums)
  }

  private static func computedKeys(
    ofHead head: Int, position: Int, _ index: TileIndex
  ) -> [Int] {
    guard case .tiles(let tiles) = index.rowSet(ofHead: head) else { return Array(0...position) }
    let row = position / index.tile.rows - index.tileRows.lowerBound
    let runs = tiles.runs(ofRow: row)
    var keys = Set(tiles.columns.map(Int.init))
    for run in runs {
      keys.formUnion(Int(run.start) * index.tile.columns..<Int(run.end) * index.tile.columns)
    }
    return keys.filter { $0 <= position }.sorted()
  }
}
