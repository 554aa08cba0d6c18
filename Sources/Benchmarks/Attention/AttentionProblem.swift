import MInference

/// Random tensors of one attention layer, and the work on them.
struct AttentionProblem {
  let backend: any Backend
  let shape: AttentionShape
  let tokens: Int
  let grid: TileGrid
  private let q: Tensor
  private let o: Tensor
  private let layer: KeyValueLayer

  init(tokens: Int, shape: AttentionShape, backend: any Backend) throws {
    self.backend = backend
    self.shape = shape
    self.tokens = tokens
    grid = TileGrid(
      firstPosition: 0, rows: tokens, tile: backend.tileShape(headDim: shape.headDim),
      slidingWindow: shape.slidingWindow)
    q = try Self.random([tokens, shape.queryHeads, shape.headDim], seed: 2, backend)
    o = try backend.makeTensor(backend.activationType, q.shape, purpose: "benchmark")
    let extents = [shape.keyValueHeads, tokens, shape.headDim]
    layer = KeyValueLayer(
      keys: try Self.random(extents, seed: 3, backend),
      values: try Self.random(extents, seed: 4, backend), count: tokens)
  }

  private static func random(_ shape: [Int], seed: UInt64, _ backend: any Backend) throws -> Tensor
  {
    let type = backend.activationType
    // A GPU's tensors are too large to be filled from the host in a reasonable time.
    if let synthetic = backend as? any SyntheticBackend {
      return try synthetic.makeRandom(type, shape, deviation: 1, seed: seed, purpose: "benchmark")
    }
    let tensor = try backend.makeTensor(type, shape, purpose: "benchmark")
    var random = SeededGenerator(seed: seed)
    try backend.write(
      (0..<tensor.count).map { _ in Float.random(in: -1...1, using: &random) }, to: tensor)
    return tensor
  }

  /// Queries of the last 64 tokens.
  var lastRows: Tensor { q.slice(rows: max(0, tokens - 64)..<tokens) }

  func attend(_ index: SparseIndex) throws {
    try backend.attention(
      q: q, firstPosition: 0, layer: layer, shape: shape, index: index, into: o, logSumExp: nil)
  }

  func estimate() throws {
    _ = try backend.read(
      backend.lastRowSums(
        q: lastRows, firstPosition: tokens - lastRows.rows, layer: layer, shape: shape,
        heads: Array(0..<shape.queryHeads)))
  }

  /// What a layer's planning costs on a device that builds its own indices, the same budgets for every
  /// head.
  func estimateAndPlan(_ budget: SyntheticSelection.Budget, exact: Bool) throws {
    let counts = VerticalSlashRule.estimated.counts(
      vertical: budget.columns, slash: budget.offsets, keys: tokens)
    _ = try plan(
      Array(
        repeating: .scored(
          .lastRows,
          .bandsAndColumns(offsets: .count(counts.offsets), columns: .count(counts.columns))),
        count: shape.queryHeads), exact: exact)
  }

  private func plan(_ heads: [IndexRequest.Head], exact: Bool) throws -> SparseIndex? {
    let rule = VerticalSlashRule.estimated
    guard backend.capabilities.buildsIndices else { return nil }
    return try backend.makeIndex(
      IndexRequest(
        heads: heads,
        chunk: ChunkInputs(
          shape: shape, layer: layer, firstPosition: 0, rows: tokens, lastRows: lastRows),
        forcedColumns: rule.forcedColumns, forcedOffsets: rule.forcedOffsets,
        columnCost: SparseCostModel().columnPair, exact: exact))
  }

  /// An index of row sets that are made one by one.
  func index(rowSetOfHead: [Int], _ rowSet: (Int) throws -> RowSet) throws -> SparseIndex {
    if let device = backend as? any IndexUploading {
      return try device.makeIndex(
        rows: tokens, shape: shape, rowSetOfHead: rowSetOfHead, rowSet: rowSet)
    }
    return .tiles(
      try TileIndex(
        firstPosition: 0, rows: tokens, tile: grid.tile,
        rowSets: (0...(rowSetOfHead.max() ?? 0)).map(rowSet), rowSetOfHead: rowSetOfHead))
  }

  /// The index of given bands, one for each key-value head, as a prompt's planning makes it of a
  /// selection: planned on the device where it does that.
  ///
  /// - Parameter exact: Whether heads stay sparse even where that costs more than dense.
  func index(of bands: [BandSelection], exact: Bool) throws -> SparseIndex {
    let groups = (0..<shape.queryHeads).map { $0 / shape.groupSize }
    let planned = try plan(
      groups.map {
        .bands(
          offsets: bands[$0].offsets, columns: bands[$0].columns, denseFrom: bands[$0].denseFrom)
      }, exact: exact)
    if let planned { return planned }
    let model = SparseCostModel()
    return try index(rowSetOfHead: groups) { group in
      let rowSet = PairSelection.bands(bands[group]).rowSet(
        on: grid, columnsThatFillTile: model.columnsThatFillTile(grid.tile))
      guard !exact, case .tiles(let tiles) = rowSet else { return rowSet }
      let cost = model.cost(grid.pairs(of: tiles), runs: tiles.runs.count)
      return cost > Double(grid.causalPairs) ? .all : rowSet
    }
  }

  // MARK: What attention is measured beside

  func product() throws -> AttentionCase {
    // Large enough that a GPU is busy with it.
    let size = backend is any SyntheticBackend ? 8192 : 4096
    let square = try Self.random([size, size], seed: 5, backend)
    let result = try backend.makeTensor(backend.activationType, [size, size], purpose: "benchmark")
    let backend = backend
    return AttentionCase(
      name: AttentionBenchmark.productName, detail: "\(size) x \(size) x \(size)",
      operations: 2 * Double(size * size * size),
      work: {
        try backend.linear(
          square, weight: Weight(square), bias: nil, into: result, accumulate: false)
      })
  }

  /// One row over all keys, from keys and values as they are and, on a GPU, as float8.
  func decoding() throws -> [AttentionCase] {
    var layers = [layer]
    if backend is any SyntheticBackend { layers.append(try float8Layer()) }
    return layers.map { layer in
      let bytes = layer.keys.byteCount + layer.values.byteCount
      return AttentionCase(
        name: "one row, as in decoding", detail: "keys and values of \(layer.keys.type.rawValue)",
        bytes: Double(bytes),
        work: {
          try backend.rowAttention(
            q: q.slice(rows: tokens - 1..<tokens), positions: [tokens - 1], layer: layer,
            shape: shape, into: o.slice(rows: 0..<1), logSumExp: nil)
        })
    }
  }

  private func float8Layer() throws -> KeyValueLayer {
    let extents = layer.keys.shape
    let scales = try backend.makeTensor(.float32, [2, shape.keyValueHeads], purpose: "benchmark")
    // Normal numbers end below 8, and e4m3 at 448.
    try backend.write(Array(repeating: 0x1p-5, count: scales.count), to: scales)
    let layer = KeyValueLayer(
      keys: try backend.makeTensor(.float8, extents, purpose: "benchmark"),
      values: try backend.makeTensor(.float8, extents, purpose: "benchmark"), count: tokens,
      scales: scales)
    for first in stride(from: 0, to: tokens, by: 65_536) {
      let rows = [min(65_536, tokens - first), shape.keyValueHeads, shape.headDim]
      try backend.store(
        k: Self.random(rows, seed: 6, backend), v: Self.random(rows, seed: 7, backend), in: layer,
        firstPosition: first)
    }
    return layer
  }
}
