package import MInference

/// Indices with block-sparse heads that a device builds, against the host's rule on the same numbers.
///
/// Queries and keys are small integers: means of 64 of them and the products of these are exact in
/// float32, so that scores are equal or far apart, and rounding has no effect. Many scores are equal.
extension KernelVerifier {
  /// The checks of block-sparse indices alone, for a backend that builds them.
  package static func verifyBlockIndices(
    _ backend: any Backend, isThorough: Bool
  ) -> [KernelCheck] {
    var verifier = KernelVerifier(backend: backend)
    verifier.checkBlockIndices(backend, isThorough: isThorough)
    return verifier.checks
  }

  /// - Parameter isThorough: All head sizes and groupings, and prompts that only a GPU is fast enough for.
  mutating func checkBlockIndices(_ builder: any Backend, isThorough: Bool) {
    let chunks: [(first: Int, rows: Int, window: Int?)] = [
      (0, 1, nil), (0, 64, nil), (191, 1, nil), (0, 500, nil), (70, 300, nil), (129, 1500, nil),
      (64, 640, nil), (0, 700, 200), (300, 333, 90), (1000, 129, 2000),
    ]
    for headDim in isThorough ? [64, 96, 128] : [64] {
      for heads in isThorough ? Self.groupings : [(6, 2)] {
        let shape = AttentionShape(
          queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim)
        for chunk in isThorough ? chunks : [chunks[2], chunks[4], chunks[8]] {
          checkBlockIndices(builder, shape, chunk)
        }
      }
    }
    guard isThorough, choice.allowsLongCases else { return }
    // Lists of thousands; and more scores than are made at once, behind a long context.
    checkBlockIndices(
      builder, AttentionShape(queryHeads: 4, keyValueHeads: 1, headDim: 128), (70_000, 40_001, nil))
    checkBlockIndices(
      builder, AttentionShape(queryHeads: 16, keyValueHeads: 1, headDim: 64), (400_000, 22_000, nil)
    )
  }

  private mutating func checkBlockIndices(
    _ builder: any Backend, _ shape: AttentionShape,
    _ chunk: (first: Int, rows: Int, window: Int?)
  ) {
    var shape = shape
    shape.slidingWindow = chunk.window
    let problem = BlockIndexProblem(
      shape: shape, firstPosition: chunk.first, rows: chunk.rows,
      q: integers(chunk.rows * shape.queryHeads * shape.headDim, below: 3),
      k: integers((chunk.first + chunk.rows) * shape.keyValueHeads * shape.headDim, below: 2))
    let name =
      "\(chunk.rows) rows from \(chunk.first), \(shape.queryHeads)/\(shape.keyValueHeads) x "
      + "\(shape.headDim)" + (chunk.window.map { ", window \($0)" } ?? "")
    let precision = precision
    checkPair("makeIndex block-sparse", name) {
      try problem.compareMixed(builder, KernelSide(builder, precision))
    }
    // Chunks that a planner makes dense have no index on the device.
    guard chunk.rows >= 64, chunk.first + chunk.rows > BlockSparse.blockSize else { return }
    checkPair("makeIndex block-sparse plan", name) {
      try problem.comparePlans(builder, KernelSide(builder, precision))
    }
  }

  /// Integers between -limit and limit, exclusive.
  private mutating func integers(_ count: Int, below limit: Int) -> [Float] {
    (0..<count).map { _ in Float(random.next(below: 2 * limit - 1) - limit + 1) }
  }
}

/// One chunk's queries and keys, and the indices that host and device make of them.
private struct BlockIndexProblem {
  let shape: AttentionShape
  let firstPosition: Int
  let rows: Int
  /// [rows, queryHeads, headDim]
  let q: [Float]
  /// [keys, keyValueHeads, headDim]; serve as values too.
  let k: [Float]

  typealias Comparison = (actual: [[Float]], expected: [[Float]], tolerances: [Double])

  private var keys: Int { firstPosition + rows }

  /// Heads of all kinds in one request: means, pairs and attention.
  func compareMixed(_ builder: any Backend, _ side: KernelSide) throws -> Comparison {
    let tensors = try tensors(side)
    let means = try pool(tensors.q, builder, side)
    let heads = (0..<shape.queryHeads).map { head -> IndexRequest.Head in
      switch head % 4 {
      case 0: .pooledBlocks(head == 0 ? 0 : 3 + head)
      case 1: .pooledBlocks(2 + keys / 640)
      case 2: .bands(offsets: [0..<min(keys, 70)], columns: [0], denseFrom: nil)
      default: .lastRows(columns: min(keys, 90), offsets: min(keys, 150))
      }
    }
    var request = IndexRequest(
      heads: heads,
      chunk: chunk(tensors, .device(DeviceQueryEstimates(pooledQueries: means))),
      forcedColumns: 30,
      forcedOffsets: 100, columnCost: 1, exact: true)
    request.freeBands = false
    let built = try builder.makeIndex(request)
    let (queries, pooledKeys) = try hostMeans()
    var blocks: [Int: SelectedBlocks] = [:]
    for (head, wanted) in heads.enumerated() {
      guard case .scored(.pooledMeans, .blocks(.count(let topK))) = wanted else { continue }
      blocks[head] = BlockSparse.selection(
        queries: queries[head], keys: pooledKeys[head / shape.groupSize], headDim: shape.headDim,
        firstPosition: firstPosition, topK: topK)
    }
    let expected = try KernelVerifier.hostIndex(request, builder, blocks: blocks)
    var comparison = try compare(
      built, .tiles(expected),
      pairs: (
        try KernelVerifier.pairs(built),
        (0..<shape.queryHeads).map {
          expected.computedPairs(ofHead: $0, slidingWindow: shape.slidingWindow)
        }
      ), tensors, builder, side)
    comparison.actual.append(try builder.read(means))
    comparison.expected.append(queries.flatMap { $0 })
    comparison.tolerances.append(1e-6)
    return comparison
  }

  /// What a planner makes of a layer on the device and on the host, with heads that cost more than dense.
  func comparePlans(_ builder: any Backend, _ side: KernelSide) throws -> Comparison {
    let tensors = try tensors(side)
    // A lone head takes few blocks, so that something stays sparse.
    let patterns = (0..<shape.queryHeads).map { head -> HeadPattern in
      head % 5 == 4 ? .dense : .blockSparse(topK: 1 + head * (1 + keys / 320))
    }
    let planner = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [patterns]),
      costModel: SparseCostModel(denseBelow: 0, tilePair: 1.25))
    let host = try planner.makeHostIndex(
      layer: 0, chunk(tensors, .host(HostQueryEstimates(pooledQueries: hostMeans().queries))),
      backend: builder, memory: SelectionMemory())
    let means = try pool(tensors.q, builder, side)
    let device = try planner.makeIndex(
      layer: 0, chunk(tensors, .device(DeviceQueryEstimates(pooledQueries: means))),
      backend: builder, memory: SelectionMemory())
    return try compare(
      device.index, .tiles(host.index),
      pairs: (device.report.computedPairs, host.report.computedPairs),
      tensors, builder, side)
  }

  private struct Tensors {
    let q: Tensor
    let lastRows: Tensor
    let layer: KeyValueLayer
  }

  private func tensors(_ side: KernelSide) throws -> Tensors {
    let q = try side.tensor(q, [rows, shape.queryHeads, shape.headDim])
    return Tensors(
      q: q, lastRows: q.slice(rows: max(0, rows - 64)..<rows),
      layer: try side.layer(k: k, v: k, shape: shape, type: side.backend.activationType))
  }

  private func chunk(_ tensors: Tensors, _ estimates: QueryEstimates) -> ChunkInputs {
    ChunkInputs(
      shape: shape, layer: tensors.layer, firstPosition: firstPosition, rows: rows,
      lastRows: tensors.lastRows, estimates: estimates)
  }

  /// Means on the device, from parts of the rows that end at multiples of 64.
  private func pool(
    _ q: Tensor, _ builder: any Backend, _ side: KernelSide
  ) throws -> Tensor {
    let blocks = (keys - 1) / 64 - firstPosition / 64 + 1
    let means = try side.output([shape.queryHeads, blocks, shape.headDim], .float32)
    var start = firstPosition
    while start < keys {
      let end = min(keys, (start / 64 + max(1, blocks / 3)) * 64)
      try builder.poolQueries(
        q.slice(rows: start - firstPosition..<end - firstPosition), firstPosition: start,
        into: means, firstBlock: start / 64 - firstPosition / 64)
      start = end
    }
    return means
  }

  private func hostMeans() throws -> (queries: [[Float]], keys: [[Float]]) {
    let reference = ReferenceBackend()
    let tensor = try reference.makeTensor(
      .float32, [rows, shape.queryHeads, shape.headDim], purpose: "verified means")
    try reference.write(q, to: tensor)
    return (
      try BlockSparse.pooledQueries(tensor, firstPosition: firstPosition, backend: reference),
      ReferenceEstimation.meanPooled(
        k, rows: keys, heads: shape.keyValueHeads, headDim: shape.headDim, blockSize: 64)
    )
  }

  /// Pairs, and attention of rows at both ends and in the middle, in parts that begin anywhere.
  private func compare(
    _ built: SparseIndex, _ expected: SparseIndex, pairs: (actual: [Int], expected: [Int]),
    _ tensors: Tensors, _ builder: any Backend, _ side: KernelSide
  ) throws -> Comparison {
    func outputs(_ index: SparseIndex) throws -> (o: [Float], sums: [Float]) {
      var all: (o: [Float], sums: [Float]) = ([], [])
      let starts = Set([0, rows / 2 - 37, rows - 150].map { max(0, $0) }).sorted()
      for start in starts {
        let part = start..<min(start + 150, rows)
        let o = try side.output([part.count, shape.queryHeads, shape.headDim])
        let sums = try side.output([part.count, shape.queryHeads], .float32)
        try builder.attention(
          q: tensors.q.slice(rows: part), firstPosition: firstPosition + start,
          layer: tensors.layer, shape: shape, index: index, into: o, logSumExp: sums)
        all.o += try builder.read(o)
        all.sums += try builder.read(sums)
      }
      return all
    }
    let (actual, wanted) = (try outputs(built), try outputs(expected))
    guard built.resident != nil, try side.guardsAreIntact() else {
      throw ComputeError.shapeMismatch(
        operation: "makeIndex", detail: "the index is not the device's, or a guard row was written")
    }
    return (
      [KernelVerifier.exactly(pairs.actual), actual.o, actual.sums],
      [KernelVerifier.exactly(pairs.expected), wanted.o, wanted.sums], [0, 1e-2, 1e-4]
    )
  }
}
