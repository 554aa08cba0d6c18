import Compute
import SparseAttention
import Synchronization
import Transformers

/// The reference backend as a device that builds indices itself: it keeps what it was asked for, and makes of
/// it what the host would.
final class IndexBuildingBackend: IndexBuilding {
  let name = "index building"
  let activationType = DataType.float32
  private let reference: ReferenceBackend
  private let seen = Mutex<[IndexRequest]>([])
  private let pooledOnHost = Mutex(0)

  init(tile: TileShape) { reference = ReferenceBackend(tile: tile) }

  var requests: [IndexRequest] { seen.withLock { $0 } }
  /// How often means came to the host.
  var hostPoolings: Int { pooledOnHost.withLock { $0 } }

  func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    var all = try read(means)
    let (blocks, d) = (means.shape[1], means.shape[2])
    let pooled = try BlockSparse.pooledQueries(
      q, firstPosition: firstPosition, backend: reference)
    for (head, values) in pooled.enumerated() {
      let start = (head * blocks + firstBlock) * d
      all.replaceSubrange(start..<start + values.count, with: values)
    }
    try write(all, to: means)
  }

  func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    seen.withLock { $0.append(request) }
    let shape = request.shape
    let grid = TileGrid(
      firstPosition: request.firstPosition, rows: request.rows,
      tile: tileShape(headDim: shape.headDim), slidingWindow: shape.slidingWindow)
    let fill = SparseCostModel(columnPair: request.columnCost).columnsThatFillTile(grid.tile)
    let rowSets = try request.heads.indices.map {
      try selection($0, request).rowSet(on: grid, columnsThatFillTile: fill)
    }
    return SparseIndex(
      firstPosition: request.firstPosition, rows: request.rows, tile: grid.tile,
      resident: HostIndex(
        try SparseIndex(
          firstPosition: request.firstPosition, rows: request.rows, tile: grid.tile,
          rowSets: rowSets, rowSetOfHead: Array(rowSets.indices)),
        slidingWindow: shape.slidingWindow)
    )
  }

  private func selection(_ head: Int, _ request: IndexRequest) throws -> PairSelection {
    let d = request.shape.headDim
    switch request.heads[head] {
    case .dense: return .all
    case .bands(let offsets, let columns, let denseFrom):
      return .bands(BandSelection(offsets: offsets, columns: columns, denseFrom: denseFrom))
    case .estimated(let columns, let offsets):
      let sums = try reference.lastRowSums(
        q: request.lastRows, firstPosition: request.keys - request.lastRows.rows,
        layer: request.layer, shape: request.shape, heads: [head])[0]
      return .bands(
        BandSelection(
          slashOffsets: LargestScores.indices(
            of: sums.slash, count: offsets, forced: request.forcedOffsets),
          columns: LargestScores.indices(
            of: sums.vertical, count: columns, forced: request.forcedColumns)))
    case .blockSparse(let topK):
      guard let means = request.pooledQueries else { return .all }
      let count = means.shape[1] * d
      return .blocks(
        BlockSparse.selection(
          queries: Array(try read(means)[head * count..<(head + 1) * count]),
          keys: try reference.meanPooledKeys(request.layer, count: request.keys, blockSize: 64)[
            head / request.shape.groupSize], headDim: d, firstPosition: request.firstPosition,
          topK: topK))
    }
  }

  func meanPooled(_ x: Tensor, blockSize: Int) throws -> [[Float]] {
    pooledOnHost.withLock { $0 += 1 }
    return try reference.meanPooled(x, blockSize: blockSize)
  }
  func meanPooledKeys(_ layer: KeyValueLayer, count: Int, blockSize: Int) throws -> [[Float]] {
    pooledOnHost.withLock { $0 += 1 }
    return try reference.meanPooledKeys(layer, count: count, blockSize: blockSize)
  }
  func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    try reference.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape,
      index: (index.resident as? HostIndex)?.index ?? index, into: o, logSumExp: logSumExp)
  }

  // MARK: The reference's

  func tileShape(headDim: Int) -> TileShape { reference.tileShape(headDim: headDim) }
  func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions
  ) throws -> any KeyValueStore {
    try reference.makeKeyValueStore(layers: layers, extents: extents, options: options)
  }
  func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    try reference.makeTensor(type, shape, purpose: purpose)
  }
  func makeTensor(
    over bytes: UnsafeRawBufferPointer, type: DataType, shape: [Int],
    owner: any AnyObject & Sendable
  ) throws -> Tensor {
    try reference.makeTensor(over: bytes, type: type, shape: shape, owner: owner)
  }
  func read(_ tensor: Tensor) throws -> [Float] { try reference.read(tensor) }
  func write(_ values: [Float], to tensor: Tensor) throws {
    try reference.write(values, to: tensor)
  }
  func embed(_ ids: [Int32], table: Tensor, into x: Tensor) throws {
    try reference.embed(ids, table: table, into: x)
  }
  func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) throws {
    try reference.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
  }
  func linear(
    _ x: Tensor, weight: Tensor, bias: Tensor?, into y: Tensor, accumulate: Bool
  ) throws {
    try reference.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
  }
  func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    try reference.rotate(x, rotary, firstPosition: firstPosition)
  }
  func swiGLU(gate: Tensor, up: Tensor) throws { try reference.swiGLU(gate: gate, up: up) }
  func add(_ x: Tensor, to y: Tensor) throws { try reference.add(x, to: y) }
  func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    try reference.store(k: k, v: v, in: layer, firstPosition: firstPosition)
  }
  func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try reference.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
  }
  func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> [LastRowSums] {
    try reference.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
  }
}

/// An index on the host that passes for a device's.
private final class HostIndex: ResidentIndex {
  let index: SparseIndex
  private let slidingWindow: Int?

  init(_ index: SparseIndex, slidingWindow: Int?) {
    self.index = index
    self.slidingWindow = slidingWindow
  }

  func computedPairs() throws -> [Int] {
    index.rowSetOfHead.indices.map {
      index.computedPairs(ofHead: $0, slidingWindow: slidingWindow)
    }
  }
  func isDense() throws -> [Bool] { index.rowSetOfHead.map { index.rowSets[$0] == .all } }
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex {
    HostIndex(try index.replacingByAll(heads: heads), slidingWindow: slidingWindow)
  }
}
