public import Compute

/// Estimates made of all queries of a chunk, a part of the rows at a time, for heads whose selectors need them:
/// means of blocks, and shares of key blocks. If the backend builds the index, they stay on the device.
public struct QuerySketch {
  private let backend: any Backend
  private let shape: AttentionShape
  /// Position of the chunk's first row.
  private let firstPosition: Int

  /// Whether some head selects by means.
  private let pools: Bool
  /// Whether the estimates stay on the device, which builds the index from them.
  private let isResident: Bool
  private var means: [[Float]]?
  /// [queryHeads, blocks, headDim] on a device that builds indices; nil: means are read as they come.
  private var residentMeans: Tensor?

  /// Heads that choose by shares on the host, by source, and the shares found so far.
  private var sources: [(source: ShareSource, heads: [Int])] = []
  private var shares: [Int: HeadBlockShares] = [:]
  private var choices: [any ResidentBlockChoice] = []

  /// A sketch of the chunk; nil where no head of the layer needs all queries.
  ///
  /// - Parameters:
  ///   - rows: Rows of the chunk; at least one.
  ///   - needsHostIndex: As in ``AttentionPlanner/planIndex(layer:_:backend:memory:needsHostIndex:)``.
  public init?(
    _ planner: AttentionPlanner, layer: Int, backend: any Backend, shape: AttentionShape,
    firstPosition: Int, rows: Int, needsHostIndex: Bool
  ) throws {
    guard planner.needsAllQueries(layer: layer, firstPosition: firstPosition, rows: rows) else {
      return nil
    }
    self.backend = backend
    self.shape = shape
    self.firstPosition = firstPosition
    let keys = firstPosition + rows
    let needs = planner.configuration.patterns[layer].map {
      $0.selector.needs(keys: keys, isKept: false)
    }
    pools = needs.contains(where: \.pooledMeans)
    isResident = !needsHostIndex && backend.capabilities.buildsIndices
    if pools, isResident {
      let first = firstPosition / BlockSparse.blockSize
      let blocks = (keys - 1) / BlockSparse.blockSize - first + 1
      residentMeans = try backend.makeTensor(
        .float32, [shape.queryHeads, blocks, shape.headDim],
        purpose: "means of \(blocks) blocks of queries")
    }
    var headsOfSource: [ShareSource: [Int]] = [:]
    for (head, needs) in needs.enumerated() {
      if let source = needs.blockShares { headsOfSource[source, default: []].append(head) }
    }
    for (source, heads) in headsOfSource.sorted(by: { $0.value[0] < $1.value[0] }) {
      guard isResident else {
        sources.append((source, heads))
        continue
      }
      let chosen = heads.compactMap { head -> ShareRequest.Head? in
        let request = planner.pattern(layer: layer, head: head).selector.deviceRequest(keys: keys)
        guard case .chosenBlocks(_, let rule, let columns, let denseFrom, let bands) = request
        else { return nil }
        return ShareRequest.Head(
          head: head, rule: rule, columns: columns, denseFrom: denseFrom, alternative: bands)
      }
      guard !chosen.isEmpty else { continue }
      choices.append(
        try backend.makeBlockChoice(
          ShareRequest(
            heads: chosen, source: source, firstPosition: firstPosition, rows: rows, shape: shape)))
    }
  }

  /// Adds the rows that follow those already added.
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim], after rotary.
  ///   - position: That of row 0: the chunk's first, or a multiple of 128.
  ///   - layer: Keys up to the last of these rows are written.
  public mutating func add(
    _ q: Tensor, firstPosition position: Int, layer: KeyValueLayer
  ) throws {
    for choice in choices { try choice.add(q, firstPosition: position, layer: layer) }
    for (source, heads) in sources {
      let found = try backend.blockShares(
        q: q, firstPosition: position, layer: layer, shape: shape, heads: heads, source: source)
      let keyBlocks = found.shape[2]
      let firstBlock = position / ShareRule.blockSize
      for (index, head) in heads.enumerated() {
        let values = try backend.read(found.slice(rows: index..<index + 1))
        shares[head, default: HeadBlockShares(rows: [])].rows +=
          (0..<found.shape[1]).map { row in
            Array(values[row * keyBlocks..<row * keyBlocks + firstBlock + row + 1])
          }
      }
    }
    guard pools else { return }
    if let residentMeans {
      let firstBlock = position / BlockSparse.blockSize - firstPosition / BlockSparse.blockSize
      return try backend.poolQueries(
        q, firstPosition: position, into: residentMeans, firstBlock: firstBlock)
    }
    let added = try BlockSparse.pooledQueries(q, firstPosition: position, backend: backend)
    means = means.map { zip($0, added).map { $0 + $1 } } ?? added
  }

  /// What was found of the queries that were added.
  public var estimates: QueryEstimates {
    isResident
      ? .device(DeviceQueryEstimates(pooledQueries: residentMeans, blockChoices: choices))
      : .host(HostQueryEstimates(pooledQueries: means, blockShares: shares))
  }
}
