public import Compute

/// Speed of a backend's attention kernels, beside the matrix product of the same machine.
///
/// Every figure is the median of several runs that take turns, so that a drift of the machine's
/// speed falls on all of them alike. Useful rates count 4 * headDim operations for each computed
/// (query, key) pair.
public struct AttentionBenchmark: Sendable {
  /// One measured line.
  public struct Measurement: Sendable {
    public var name: String
    public var seconds: Double
    /// Useful operations a second; nil where that means nothing.
    public var operationsPerSecond: Double?
    /// Bytes that must be read or written at least, a second; nil where that means nothing.
    public var bytesPerSecond: Double?
    /// Computed pairs / causal pairs.
    public var density: Double?
  }

  public var tokens: Int
  public var shape: AttentionShape
  public var densities: [Double]
  public var repetitions: Int

  public init(
    tokens: Int, shape: AttentionShape, densities: [Double] = [0.05, 0.1, 0.2], repetitions: Int = 3
  ) {
    self.tokens = tokens
    self.shape = shape
    self.densities = densities
    self.repetitions = repetitions
  }

  /// Every case, the median over the repetitions; one run before them warms up.
  public func run(
    on backend: any Backend, progress: (String) -> Void = { _ in }
  ) throws -> [Measurement] {
    let problem = try Problem(self, backend)
    var cases: [(name: String, density: Double?, operations: Double?, work: () throws -> Void)] = []
    cases.append(
      ("matrix product 4096 x 4096 x 4096", nil, 2 * 4096 * 4096 * 4096, problem.multiply))
    let tile = backend.tileShape(headDim: shape.headDim)
    let dense = try SparseIndex.dense(
      firstPosition: 0, rows: tokens, heads: shape.queryHeads, tile: tile)
    var indices: [(String, SparseIndex)] = [("dense", dense)]
    for density in densities {
      indices.append(("random tiles", try problem.randomTiles(density: density, tile: tile)))
      indices.append(
        ("slashes and columns", try problem.slashesAndColumns(density: density, tile: tile)))
    }
    for (name, index) in indices {
      let pairs = (0..<shape.queryHeads).reduce(0) { $0 + index.computedPairs(ofHead: $1) }
      let causal = index.causalPairs() * shape.queryHeads
      cases.append(
        (
          name, Double(pairs) / Double(causal), 4 * Double(shape.headDim) * Double(pairs),
          { try problem.attend(index) }
        ))
    }
    if backend is any IndexBuilding {
      cases.append(
        ("estimation, selection and index of all heads", nil, nil, problem.buildIndex))
    } else {
      cases.append(("estimation of all heads, 64 last rows", nil, nil, problem.estimate))
    }
    let decode = "attention of one row, as in decoding"
    cases.append((decode, nil, nil, problem.decode))
    var seconds = [[Double]](repeating: [], count: cases.count)
    for repetition in 0...repetitions {
      for (index, benchmark) in cases.enumerated() {
        progress("\(repetition)/\(repetitions) \(benchmark.name)")
        // A GPU gets indices of the host's making, which no prompt has, by an upload that is longer than
        // the work: it goes before, and the device keeps the last one.
        if backend is any IndexBuilding { try benchmark.work() }
        let watch = backend.makeStopwatch()
        try watch.time(benchmark.work)
        if repetition > 0 { seconds[index].append(watch.seconds) }
      }
    }
    let cacheBytes = Double(problem.layer.keys.byteCount + problem.layer.values.byteCount)
    return zip(cases, seconds).map { benchmark, seconds in
      let median = seconds.sorted()[seconds.count / 2]
      return Measurement(
        name: benchmark.name, seconds: median,
        operationsPerSecond: benchmark.operations.map { $0 / median },
        bytesPerSecond: benchmark.name == decode ? cacheBytes / median : nil,
        density: benchmark.density)
    }
  }
}

/// Random tensors of one attention layer, and the work on them.
private struct Problem {
  let backend: any Backend
  let shape: AttentionShape
  let tokens: Int
  let q: Tensor
  let o: Tensor
  let layer: KeyValueLayer
  let square: Tensor
  let product: Tensor

  init(_ benchmark: AttentionBenchmark, _ backend: any Backend) throws {
    self.backend = backend
    shape = benchmark.shape
    tokens = benchmark.tokens
    var random = SeededGenerator(seed: 1)
    let type = backend.activationType
    var seed: UInt64 = 1
    func tensor(_ shape: [Int]) throws -> Tensor {
      // A GPU's tensors are too large to be filled from the host in a reasonable time.
      if let synthetic = backend as? any SyntheticBackend {
        seed += 1
        return try synthetic.makeRandom(
          type, shape, deviation: 1, seed: seed, purpose: "benchmark")
      }
      let tensor = try backend.makeTensor(type, shape, purpose: "benchmark")
      try backend.write(
        (0..<tensor.count).map { _ in Float.random(in: -1...1, using: &random) }, to: tensor)
      return tensor
    }
    q = try tensor([tokens, shape.queryHeads, shape.headDim])
    o = try backend.makeTensor(type, q.shape, purpose: "benchmark")
    layer = KeyValueLayer(
      keys: try tensor([shape.keyValueHeads, tokens, shape.headDim]),
      values: try tensor([shape.keyValueHeads, tokens, shape.headDim]), count: tokens)
    square = try tensor([4096, 4096])
    product = try backend.makeTensor(type, [4096, 4096], purpose: "benchmark")
  }

  func multiply() throws {
    try backend.linear(square, weight: square, bias: nil, into: product, accumulate: false)
  }

  func attend(_ index: SparseIndex) throws {
    try backend.attention(
      q: q, firstPosition: 0, layer: layer, shape: shape, index: index, into: o, logSumExp: nil)
  }

  func estimate() throws {
    _ = try backend.lastRowSums(
      q: q.slice(rows: tokens - 64..<tokens), firstPosition: tokens - 64, layer: layer,
      shape: shape, heads: Array(0..<shape.queryHeads))
  }

  /// What a layer's planning costs on a device that builds its own indices, the paper's largest
  /// budgets for every head.
  func buildIndex() throws {
    guard let builder = backend as? any IndexBuilding else { return }
    _ = try builder.makeIndex(
      IndexRequest(
        heads: Array(
          repeating: .estimated(columns: min(1000, tokens), offsets: min(6096, tokens)),
          count: shape.queryHeads),
        firstPosition: 0, rows: tokens, lastRows: q.slice(rows: tokens - 64..<tokens),
        layer: layer, shape: shape, forcedColumns: 30, forcedOffsets: 100, columnCost: 1.5,
        exact: true))
  }

  func decode() throws {
    try backend.rowAttention(
      q: q.slice(rows: tokens - 1..<tokens), positions: [tokens - 1], layer: layer, shape: shape,
      into: o.slice(rows: 0..<1), logSumExp: nil)
  }

  /// Each tile kept with the same probability, drawn for every head; sink and diagonal always.
  func randomTiles(density: Double, tile: TileShape) throws -> SparseIndex {
    try index(tile: tile) { head in
      var random = SeededGenerator(seed: UInt64(head) + 7)
      return (
        { _, keyTile in keyTile == 0 || Double.random(in: 0..<1, using: &random) < density }, []
      )
    }
  }

  /// Half of the pairs in runs of 64 offsets at random distances, a third in single columns, and a
  /// local band: what vertical-slash selections look like.
  func slashesAndColumns(density: Double, tile: TileShape) throws -> SparseIndex {
    try index(tile: tile) { head in
      var random = SeededGenerator(seed: UInt64(head) + 77)
      let distances = (tokens + tile.columns - 1) / tile.columns
      var kept = [Bool](repeating: false, count: distances + 1)
      // A run of 64 offsets covers 64 + rows keys of each tile row; averaged over the triangle a
      // run at a random distance is inside for half of the rows.
      let width = (64 + tile.rows) / tile.columns
      let runs = Int(density * 0.6 * Double(distances) / Double(width))
      for _ in 0..<runs {
        let first = Int.random(in: 0..<max(1, distances - width), using: &random)
        for distance in first..<min(first + width, distances) { kept[distance] = true }
      }
      for distance in 0..<min(8, distances) { kept[distance] = true }
      let columns = (0..<tokens).filter { _ in
        Double.random(in: 0..<1, using: &random) < density * 0.35
      }
      return (
        { diagonal, keyTile in keyTile == 0 || kept[diagonal - keyTile] }, columns.map(Int32.init)
      )
    }
  }

  private func index(
    tile: TileShape,
    choose: (_ head: Int) -> (keep: (_ diagonalTile: Int, _ keyTile: Int) -> Bool, columns: [Int32])
  ) throws -> SparseIndex {
    let rowSets = (0..<shape.queryHeads).map { head -> RowSet in
      let choice = choose(head)
      var offsets: [Int32] = [0]
      var runs: [KeyTileRun] = []
      for tileRow in 0..<(tokens + tile.rows - 1) / tile.rows {
        let firstDiagonal = tileRow * tile.rows / tile.columns
        let end = (min((tileRow + 1) * tile.rows, tokens) - 1) / tile.columns + 1
        let rowStart = runs.count
        for keyTile in 0..<end where keyTile >= firstDiagonal || choice.keep(firstDiagonal, keyTile)
        {
          if runs.count > rowStart, let last = runs.last, Int(last.end) == keyTile {
            runs[runs.count - 1].end += 1
          } else {
            runs.append(KeyTileRun(start: Int32(keyTile), end: Int32(keyTile) + 1))
          }
        }
        offsets.append(Int32(runs.count))
      }
      return .tiles(TileRuns(rowOffsets: offsets, runs: runs, columns: choice.columns))
    }
    return try SparseIndex(
      firstPosition: 0, rows: tokens, tile: tile, rowSets: rowSets,
      rowSetOfHead: Array(rowSets.indices))
  }
}
