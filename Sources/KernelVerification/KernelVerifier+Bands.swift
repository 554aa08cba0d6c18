import MInference

/// Indices whose bands of keys may begin anywhere, and attention over them, against sums in double precision.
extension KernelVerifier {
  mutating func checkBands(_ builder: any Backend) {
    for headDim in [64, 96, 128] {
      for heads in Self.groupings {
        for (first, rows, window) in [
          (0, 1, nil), (0, 63, nil), (0, 700, nil), (70, 300, nil), (129, 1500, nil),
          (1000, 64, nil), (0, 700, 200), (300, 333, 90), (64, 640, 1),
        ] as [(Int, Int, Int?)] {
          let shape = AttentionShape(
            queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim, slidingWindow: window)
          checkBands(builder, shape, first: first, rows: rows, sampledRows: 12)
        }
      }
      guard choice.allowsLongCases else { continue }
      for (first, keys) in [(0, 40_000), (70_000, 140_001)] {
        let shape = AttentionShape(queryHeads: 6, keyValueHeads: 1, headDim: headDim)
        checkBands(builder, shape, first: first, rows: keys - first, sampledRows: 3)
      }
    }
  }

  private mutating func checkBands(
    _ builder: any Backend, _ shape: AttentionShape, first: Int, rows: Int,
    sampledRows: Int
  ) {
    let keys = first + rows
    let q = numbers(rows * shape.queryHeads * shape.headDim, magnitude: 2)
    let k = numbers(keys * shape.keyValueHeads * shape.headDim)
    let wanted = (0..<shape.queryHeads).map { bandsRequest(head: $0, keys: keys) }
    let name =
      "\(rows) rows from \(first), \(shape.queryHeads)/\(shape.keyValueHeads) x \(shape.headDim)"
      + (shape.slidingWindow.map { ", window \($0)" } ?? "")
    let precision = precision
    checkPair("makeIndex bands", name) {
      let side = KernelSide(builder, precision)
      let layer = try side.layer(k: k, v: k, shape: shape, type: builder.activationType)
      let q = try side.tensor(q, [rows, shape.queryHeads, shape.headDim])
      let request = IndexRequest(
        heads: wanted,
        chunk: ChunkInputs(
          shape: shape, layer: layer, firstPosition: first, rows: rows,
          lastRows: q.slice(rows: max(0, rows - 64)..<rows)),
        forcedColumns: 30, forcedOffsets: 100, columnCost: 1, exact: true)
      let built = try builder.makeIndex(request)
      let expected = try Self.hostIndex(request, builder)
      var actual = [Self.exactly(try Self.pairs(built))]
      var wanted = [
        Self.exactly(
          (0..<shape.queryHeads).map {
            expected.computedPairs(ofHead: $0, slidingWindow: shape.slidingWindow)
          })
      ]
      var tolerances = [0.0]
      let o = try side.output([rows, shape.queryHeads, shape.headDim])
      let sums = try side.output([rows, shape.queryHeads], .float32)
      try builder.attention(
        q: q, firstPosition: first, layer: layer, shape: shape, index: built, into: o,
        logSumExp: sums)
      let (keyValues, allSums) = (try builder.read(layer.keys), try builder.read(sums))
      let stride = layer.keys.shape[1]
      // Evenly spread, the first and the last among them.
      for row in Set((0..<sampledRows).map { $0 * (rows - 1) / max(1, sampledRows - 1) }).sorted() {
        let (outputs, rowSums) = Self.attended(
          try builder.read(q.slice(rows: row..<row + 1)), position: first + row, keys: keyValues,
          values: keyValues, stride: stride, shape, expected)
        actual += [
          try builder.read(o.slice(rows: row..<row + 1)),
          Array(allSums[row * shape.queryHeads..<(row + 1) * shape.queryHeads]),
        ]
        wanted += [outputs, rowSums]
        tolerances += [1e-2, 1e-2]
      }
      return (actual, wanted, tolerances)
    }
  }

  /// Runs of offsets that begin anywhere, single ones far and near, everything, and what an estimate finds.
  private mutating func bandsRequest(head: Int, keys: Int) -> IndexRequest.Head {
    func ranges(_ count: Int, length: ClosedRange<Int>) -> [Range<Int>] {
      var taken = Set<Int>(0..<min(keys, 1 + head % 3 * 40))
      for _ in 0..<count {
        let start = random.next(below: keys)
        let length = length.lowerBound + random.next(below: length.count)
        taken.formUnion(start..<min(keys, start + length))
      }
      return BandSelection(slashOffsets: taken.sorted().map(Int32.init), columns: []).offsets
    }
    let columns = (0..<Int32(keys)).filter { _ in random.next(below: 1 + keys / 90) == 0 }
    switch head % 6 {
    case 0:
      return .bands(
        offsets: ranges(1 + keys / 300, length: 64...64), columns: columns, denseFrom: nil)
    case 1:
      return .bands(
        offsets: ranges(1 + keys / 150, length: 1...1), columns: [0, 1], denseFrom: nil)
    case 2:
      return .bands(
        offsets: ranges(1 + keys / 500, length: 1...200), columns: columns,
        denseFrom: max(0, keys - 66))
    case 3:
      return .lastRows(columns: min(keys, 30 + keys / 40), offsets: min(keys, 150 + keys / 50))
    case 4: return .bands(offsets: [0..<keys], columns: columns, denseFrom: nil)
    default: return .dense
    }
  }
}
