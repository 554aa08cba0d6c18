import BackendTesting
import Compute
import SparseAttention
import Synchronization
import Transformers

/// The reference backend as a device that builds indices itself: it keeps what it was asked for, and makes of
/// it what the host would.
final class IndexBuildingBackend: ForwardingBackend, @unchecked Sendable {
  override var name: String { "index building" }
  private let seen = Mutex<[IndexRequest]>([])
  private let pooledOnHost = Mutex(0)
  private let readAfter = Mutex<[Int]>([])
  private let residentPartCount = Mutex(0)

  init(tile: TileShape) { super.init(ReferenceBackend(tile: tile)) }

  override var capabilities: DeviceCapabilities {
    var capabilities = super.capabilities
    capabilities.buildsIndices = true
    return capabilities
  }

  var requests: [IndexRequest] { seen.withLock { $0 } }
  /// For each time that counts of an index were asked for, how many indices had been made.
  var countReadings: [Int] { readAfter.withLock { $0 } }
  /// How often attention was asked for a part of an index that the device keeps.
  var residentParts: Int { residentPartCount.withLock { $0 } }
  /// How often means came to the host.
  var hostPoolings: Int { pooledOnHost.withLock { $0 } }

  override func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    var all = try read(means)
    let (blocks, d) = (means.shape[1], means.shape[2])
    let pooled = try BlockSparse.pooledQueries(
      q, firstPosition: firstPosition, backend: base)
    for (head, values) in pooled.enumerated() {
      let start = (head * blocks + firstBlock) * d
      all.replaceSubrange(start..<start + values.count, with: values)
    }
    try write(all, to: means)
  }

  override func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    seen.withLock { $0.append(request) }
    let shape = request.chunk.shape
    let grid = TileGrid(
      firstPosition: request.chunk.firstPosition, rows: request.chunk.rows,
      tile: tileShape(headDim: shape.headDim), slidingWindow: shape.slidingWindow)
    let fill = SparseCostModel(columnPair: request.columnCost).columnsThatFillTile(grid.tile)
    let rowSets = try request.heads.indices.map {
      try selection($0, request).rowSet(on: grid, columnsThatFillTile: fill)
    }
    return .resident(
      HostIndex(
        try TileIndex(
          firstPosition: grid.firstPosition, rows: grid.rows, tile: grid.tile,
          rowSets: rowSets, rowSetOfHead: Array(rowSets.indices)),
        slidingWindow: shape.slidingWindow,
        onReading: { [weak self] in
          guard let self else { return }
          let made = requests.count
          readAfter.withLock { $0.append(made) }
        })
    )
  }

  private func selection(_ head: Int, _ request: IndexRequest) throws -> PairSelection {
    let d = request.chunk.shape.headDim
    switch request.heads[head] {
    case .dense: return .all
    case .bands(let offsets, let columns, let denseFrom):
      return .bands(BandSelection(offsets: offsets, columns: columns, denseFrom: denseFrom))
    case .scored(_, .bandsAndColumns(let offsets, let columns)):
      let sums = try read(
        lastRowSums(
          q: request.chunk.lastRows,
          firstPosition: request.chunk.keys - request.chunk.lastRows.rows,
          layer: request.chunk.layer, shape: request.chunk.shape, heads: [head]), at: 0)
      return .bands(
        BandSelection(
          slashOffsets: offsets.indices(
            of: sums.slash, rows: request.chunk.lastRows.rows, forced: request.forcedOffsets),
          columns: columns.indices(
            of: sums.vertical, rows: request.chunk.lastRows.rows, forced: request.forcedColumns)))
    case .scored(_, .blocks(.share)): return .all
    case .scored(_, .blocks(.count(let topK))):
      guard let means = request.chunk.deviceEstimates.pooledQueries else { return .all }
      let count = means.shape[1] * d
      return .blocks(
        BlockSelection(
          BlockSparse.selection(
            queries: Array(try read(means)[head * count..<(head + 1) * count]),
            keys: try readRows(
              base.meanPooledKeys(request.chunk.layer, count: request.chunk.keys, blockSize: 64))[
                head / request.chunk.shape.groupSize], headDim: d,
            firstPosition: request.chunk.firstPosition, topK: topK)))
    case .chosenBlocks: return try chosenBlocks(head, request)
    }
  }

  /// What the choice of a head holds, with the columns that the last rows look at, or its alternative.
  private func chosenBlocks(_ head: Int, _ request: IndexRequest) throws -> PairSelection {
    let choice = request.chunk.deviceEstimates.blockChoices.first {
      $0.request.heads.contains { $0.head == head }
    }
    guard let choice = choice as? HostBlockChoice, let wanted = request.chosenHead(head) else {
      return .all
    }
    guard wanted.columns > 0 || wanted.alternative != nil else {
      return .blocks(BlockSelection(choice.blocks(of: wanted)))
    }
    let sums = try read(
      lastRowSums(
        q: request.chunk.lastRows,
        firstPosition: request.chunk.keys - request.chunk.lastRows.rows,
        layer: request.chunk.layer, shape: request.chunk.shape, heads: [head]), at: 0)
    if let alternative = choice.alternative(of: wanted, columnSums: sums.vertical) {
      let rows = request.chunk.lastRows.rows
      return .bands(
        BandSelection(
          slashOffsets: alternative.offsets.indices(
            of: sums.slash, rows: rows, forced: request.forcedOffsets),
          columns: alternative.columns.indices(
            of: sums.vertical, rows: rows, forced: request.forcedColumns)))
    }
    let single =
      wanted.columns == 0
      ? []
      : LargestScores.indices(
        of: sums.vertical, count: wanted.columns, forced: request.forcedColumns)
    return .blocks(BlockSelection(choice.blocks(of: wanted), columns: single))
  }

  override func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    HostBlockChoice(request, base: base)
  }

  override func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor {
    pooledOnHost.withLock { $0 += 1 }
    return try base.meanPooled(x, blockSize: blockSize)
  }
  override func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> Tensor {
    pooledOnHost.withLock { $0 += 1 }
    return try base.meanPooledKeys(layer, count: count, blockSize: blockSize)
  }
  override func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    var host = (index.resident as? HostIndex).map { .tiles($0.index) } ?? index
    if let keys = index.keyRange, index.resident != nil {
      host = try host.restricted(toKeys: keys)
      residentPartCount.withLock { $0 += 1 }
    }
    try base.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, index: host, into: o,
      logSumExp: logSumExp)
  }
}

/// An index on the host that passes for a device's.
private final class HostIndex: ResidentIndex, ResidentIndexCounts {
  let index: TileIndex
  var grid: TileGrid { index.grid(slidingWindow: slidingWindow) }
  var counts: any ResidentIndexCounts { self }
  private let slidingWindow: Int?
  private let onReading: @Sendable () -> Void

  init(_ index: TileIndex, slidingWindow: Int?, onReading: @escaping @Sendable () -> Void) {
    self.index = index
    self.slidingWindow = slidingWindow
    self.onReading = onReading
  }

  func computedPairs() throws -> [Int] {
    onReading()
    return index.rowSetOfHead.indices.map {
      index.computedPairs(ofHead: $0, slidingWindow: slidingWindow)
    }
  }
  func isDense() throws -> [Bool] { index.denseHeads }
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex {
    HostIndex(
      index.replacingByAll(heads: heads), slidingWindow: slidingWindow, onReading: onReading)
  }
}
