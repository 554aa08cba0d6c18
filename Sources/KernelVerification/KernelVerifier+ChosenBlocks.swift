import MInference

/// Indices of blocks that a device chooses by their shares, against the host's rule on the device's own shares:
/// what is chosen, dense rows and columns, counts, and attention by them.
extension KernelVerifier {
  mutating func checkChosenBlocks(_ builder: any Backend) {
    for (first, rows, window) in [(0, 700, nil), (300, 1300, nil), (1024, 500, 400)]
      as [(Int, Int, Int?)]
    {
      for headDim in [64, 128] {
        let shape = AttentionShape(
          queryHeads: 6, keyValueHeads: 2, headDim: headDim, slidingWindow: window)
        var problem = ChosenBlocksProblem(
          shape: shape, firstPosition: first, rows: rows,
          q: numbers(rows * shape.queryHeads * headDim, magnitude: 6),
          k: numbers((first + rows) * shape.keyValueHeads * headDim, magnitude: 2))
        let precision = precision
        for sinks in [nil, [-2, 3, 6, 8, 1, 4]] as [[Float]?] {
          problem.sinks = sinks
          checkPair(
            "makeIndex chosen blocks",
            "\(rows) rows from \(first), 6/2 x \(headDim)"
              + (window.map { ", window \($0)" } ?? "") + (sinks == nil ? "" : ", sinks")
          ) {
            try problem.compare(builder, KernelSide(builder, precision)) { _, _ in problem.patterns
            }
          }
        }
      }
    }
  }
}

/// One chunk's queries and keys, and what host and device choose of them.
struct ChosenBlocksProblem {
  let shape: AttentionShape
  let firstPosition: Int
  let rows: Int
  /// [rows, queryHeads, headDim]
  let q: [Float]
  /// [keys, keyValueHeads, headDim]; serve as values too.
  let k: [Float]
  /// [queryHeads]; nil: there are none.
  var sinks: [Float]?

  /// Heads of both sources, with and without floor, cap, columns and dense rows, which differ from head to head.
  fileprivate var patterns: [HeadPattern] {
    [
      HeadPattern(Antidiagonal(rule: ShareRule(share: 0.6), columns: 0, last: 0)),
      HeadPattern(
        Antidiagonal(
          rule: ShareRule(share: 0.4, floor: 0.2, cap: 0.6), queryStride: 2, columns: 40,
          last: 256)),
      HeadPattern(PooledBlocks(rule: ShareRule(share: 0.5, floor: 0.1), columns: 30, last: 128)),
      HeadPattern(
        PooledBlocks(rule: ShareRule(share: 0.3, floor: 0.3), poolSize: 16, columns: 0, last: 0)),
      HeadPattern(Antidiagonal(rule: ShareRule(share: 0.5), stride: 8, columns: 60, last: 0)),
      .dense,
    ]
  }

  /// Counts of pairs, outputs and log-sum-exps by the device's index, and by the host's.
  ///
  /// - Parameter patterns: Of each head, for these queries and keys.
  func compare(
    _ builder: any Backend, _ side: KernelSide,
    patterns: (_ q: Tensor, _ layer: KeyValueLayer) throws -> [HeadPattern]
  ) throws -> (actual: [[Float]], expected: [[Float]], tolerances: [Double]) {
    let tensor = try side.tensor(q, [rows, shape.queryHeads, shape.headDim])
    let layer = try side.layer(
      k: k, v: k, shape: shape, type: side.backend.activationType, sinks: sinks)
    var planner = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [try patterns(tensor, layer)]), exact: true,
      costModel: SparseCostModel(denseBelow: 0, columnPair: 0))
    // On the device's tiles, as the host makes them.
    planner.freeBands = false
    func made(onHost: Bool) throws -> (pairs: [Float], outputs: [Float]) {
      var sketch = try QuerySketch(
        planner, layer: 0, backend: builder, shape: shape, firstPosition: firstPosition,
        rows: rows, needsHostIndex: onHost)
      // Parts end at multiples of 128.
      let cut = (firstPosition / 128 + 3) * 128 - firstPosition
      for part in [0..<cut, cut..<rows] {
        try sketch?.add(
          tensor.slice(rows: part), firstPosition: firstPosition + part.lowerBound, layer: layer)
      }
      let chunk = ChunkInputs(
        shape: shape, layer: layer, firstPosition: firstPosition, rows: rows,
        lastRows: tensor.slice(rows: rows - 64..<rows), estimates: sketch?.estimates)
      let (index, report) = try planner.makeIndex(
        layer: 0, chunk, backend: builder, memory: SelectionMemory(), needsHostIndex: onHost)
      guard (index.resident == nil) == onHost else {
        throw ComputeError.shapeMismatch(
          operation: "makeIndex", detail: "the index was not made where it was asked for")
      }
      let o = try side.output([rows, shape.queryHeads, shape.headDim])
      let sums = try side.output([rows, shape.queryHeads], .float32)
      try builder.attention(
        q: tensor, firstPosition: firstPosition, layer: layer, shape: shape, index: index, into: o,
        logSumExp: sums)
      return (
        KernelVerifier.exactly(report.computedPairs), try builder.read(o) + builder.read(sums)
      )
    }
    let (device, host) = (try made(onHost: false), try made(onHost: true))
    return ([device.pairs, device.outputs], [host.pairs, host.outputs], [0, 1e-2])
  }
}
