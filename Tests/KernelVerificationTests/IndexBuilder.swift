import BackendTesting
import KernelVerification
import MInference

/// The reference backend as one that builds indices, with one fault in those of block-sparse heads.
final class IndexBuilder: FaultyBackend, @unchecked Sendable {
  enum Mistake {
    case none
    /// A mean that is a hundredth too large.
    case means
    /// One key block less in a row of blocks, or another one.
    case missingBlock, otherBlock
    /// A pair less in the count.
    case pairs
    /// Means that begin at the chunk's first block, whatever part of it was pooled.
    case place
    /// A head that costs more than dense stays sparse.
    case cost
    /// Chosen blocks are computed, or their alternative is, whatever the distance.
    case alwaysBlocks, alwaysBands
    /// The least number of chosen blocks is forgotten.
    case leastBlocks

    /// Those of block-sparse heads, and those of chosen blocks.
    static let ofBlockSparse: [Mistake] = [
      .none, .means, .missingBlock, .otherBlock, .pairs, .place, .cost,
    ]
    static let ofAlternatives: [Mistake] = [
      .none, .missingBlock, .pairs, .alwaysBlocks, .alwaysBands, .leastBlocks,
    ]
  }

  private let mistake: Mistake

  init(_ mistake: Mistake) {
    self.mistake = mistake
    super.init(nil, tile: TileShape(rows: 64, columns: 64))
  }

  override var capabilities: DeviceCapabilities {
    var capabilities = super.capabilities
    capabilities.buildsIndices = true
    return capabilities
  }

  override func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    var all = try read(means)
    let first = mistake == .place ? 0 : firstBlock
    let (blocks, d) = (means.shape[1], means.shape[2])
    let pooled = try BlockSparse.pooledQueries(q, firstPosition: firstPosition, backend: self)
    for (head, values) in pooled.enumerated() {
      let start = (head * blocks + first) * d
      all.replaceSubrange(start..<start + values.count, with: values)
    }
    if mistake == .means { all[0] += 0.01 }
    try write(all, to: means)
  }

  override func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    var blocks: [Int: SelectedBlocks] = [:]
    let d = request.chunk.shape.headDim
    let keys = try readRows(
      meanPooledKeys(request.chunk.layer, count: request.chunk.keys, blockSize: 64))
    for (head, wanted) in request.heads.enumerated() {
      guard case .scored(.pooledMeans, .blocks(.count(let topK))) = wanted,
        let means = request.chunk.deviceEstimates.pooledQueries
      else { continue }
      let all = try read(means)
      let count = means.shape[1] * d
      blocks[head] = BlockSparse.selection(
        queries: Array(all[head * count..<(head + 1) * count]),
        keys: keys[head / request.chunk.shape.groupSize], headDim: d,
        firstPosition: request.chunk.firstPosition, topK: topK)
    }
    for head in request.heads.indices {
      blocks[head] = try chosenBlocks(head, request) ?? blocks[head]
    }
    if let head = blocks.keys.max() { blocks[head] = spoiled(blocks[head]) }
    var host = try KernelVerifier.hostIndex(request, self, blocks: blocks)
    if !request.exact && mistake != .cost { host = try withoutCostlyHeads(host, request) }
    var pairs = (0..<request.heads.count).map {
      host.computedPairs(ofHead: $0, slidingWindow: request.chunk.shape.slidingWindow)
    }
    if mistake == .pairs { pairs[0] -= 1 }
    let slidingWindow = request.chunk.shape.slidingWindow
    return .resident(
      BuiltIndex(host, grid: host.grid(slidingWindow: slidingWindow), pairs: pairs))
  }

  /// The blocks that were chosen for a head; nil: it has none, or computes their alternative.
  private func chosenBlocks(_ head: Int, _ request: IndexRequest) throws -> SelectedBlocks? {
    guard var wanted = request.chosenHead(head),
      let choice = request.chunk.deviceEstimates.blockChoices.first(where: {
        $0.request.heads.contains { $0.head == head }
      }) as? HostBlockChoice
    else { return nil }
    if mistake == .leastBlocks { wanted.rule.least = 0 }
    let sums = try read(
      lastRowSums(
        q: request.chunk.lastRows,
        firstPosition: request.chunk.keys - request.chunk.lastRows.rows,
        layer: request.chunk.layer, shape: request.chunk.shape, heads: [head]), at: 0)
    let takesBands =
      switch mistake {
      case .alwaysBlocks: false
      case .alwaysBands: wanted.alternative != nil
      default: choice.alternative(of: wanted, columnSums: sums.vertical) != nil
      }
    return takesBands ? nil : choice.blocks(of: wanted)
  }

  override func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    HostBlockChoice(request, base: self)
  }

  /// The choice with a fault in the first row that has a block to lose.
  private func spoiled(_ blocks: SelectedBlocks?) -> SelectedBlocks? {
    guard var blocks, mistake == .missingBlock || mistake == .otherBlock else { return blocks }
    for row in 0..<blocks.blockOffsets.count - 1 {
      let chosen = blocks.keyBlocks(ofQueryBlock: row)
      // Neither the first block nor the last, which are always there.
      guard chosen.count > 2, let place = chosen.indices.dropFirst().first else { continue }
      let other = (1..<(chosen.last ?? 1)).first { !chosen.contains($0) }
      if mistake == .otherBlock, let other {
        let row = (chosen.filter { $0 != blocks.keyBlocks[place] } + [other]).sorted()
        blocks.keyBlocks.replaceSubrange(chosen.indices, with: row)
        return blocks
      }
      if mistake == .missingBlock {
        blocks.keyBlocks.remove(at: place)
        for later in row + 1..<blocks.blockOffsets.count { blocks.blockOffsets[later] -= 1 }
        return blocks
      }
    }
    return blocks
  }

  private func withoutCostlyHeads(
    _ index: TileIndex, _ request: IndexRequest
  ) throws -> TileIndex {
    let grid = index.grid(slidingWindow: request.chunk.shape.slidingWindow)
    let costly = request.heads.indices.filter { head in
      guard case .tiles(let tiles) = index.rowSet(ofHead: head) else { return false }
      let cost =
        Double(grid.pairs(of: tiles).tilePairs) * request.tileCost
        + Double(tiles.runs.count) * request.runCost
      return cost > Double(grid.causalPairs)
    }
    var rowSets = index.rowSets
    for head in costly { rowSets[index.rowSetOfHead[head]] = .all }
    return try TileIndex(
      firstPosition: index.firstPosition, rows: index.rows, tile: index.tile, rowSets: rowSets,
      rowSetOfHead: index.rowSetOfHead)
  }

  override func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    try super.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape,
      index: (index.resident as? BuiltIndex).map { .tiles($0.index) } ?? index, into: o,
      logSumExp: logSumExp)
  }
}

/// An index on the host that passes for a device's.
private final class BuiltIndex: ResidentIndex, ResidentIndexCounts {
  let index: TileIndex
  let grid: TileGrid
  var counts: any ResidentIndexCounts { self }
  private let pairs: [Int]

  init(_ index: TileIndex, grid: TileGrid, pairs: [Int]) {
    self.index = index
    self.grid = grid
    self.pairs = pairs
  }

  func computedPairs() throws -> [Int] { pairs }
  func isDense() throws -> [Bool] { index.denseHeads }
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex { self }
}
