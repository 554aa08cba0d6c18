package import MInference

/// Indices that a device builds, against those that the host makes of the same device's sums.
extension KernelVerifier {
  mutating func checkIndexBuilding() {
    guard backend.capabilities.buildsIndices, wantsIndexChecks else { return }
    let builder = backend
    for headDim in [64, 96, 128] {
      for heads in Self.groupings {
        for (first, rows, window) in [
          (0, 64, nil), (0, 500, nil), (0, 1000, nil), (70, 300, nil), (129, 1500, nil),
          (0, 700, 200), (300, 333, 90),
        ] as [(Int, Int, Int?)] {
          let shape = AttentionShape(
            queryHeads: heads.0, keyValueHeads: heads.1, headDim: headDim, slidingWindow: window)
          checkIndexBuilding(builder, shape, first: first, rows: rows)
        }
      }
      guard choice.allowsLongCases else { continue }
      // A few long ones: positions beyond 16 bits, lists of thousands.
      for (keys, first) in [(40_000, 0), (140_001, 70_000)] {
        let shape = AttentionShape(queryHeads: 4, keyValueHeads: 1, headDim: headDim)
        checkIndexBuilding(builder, shape, first: first, rows: keys - first)
      }
    }
    checkBlockIndices(builder, isThorough: true)
    checkChosenBlocks(builder)
    checkBandAlternatives(builder, isThorough: true)
    checkBands(builder)
  }

  /// Whether some check of indices is wanted: their numbers take a while to make.
  var wantsIndexChecks: Bool {
    choice.takesSome(beginningWith: "makeIndex")
  }

  private mutating func checkIndexBuilding(
    _ builder: any Backend, _ shape: AttentionShape, first: Int, rows: Int
  ) {
    let keys = first + rows
    let q = numbers(min(64, rows) * shape.queryHeads * shape.headDim, magnitude: 2)
    let k = numbers(keys * shape.keyValueHeads * shape.headDim)
    let wanted = (0..<shape.queryHeads).map { head -> IndexRequest.Head in
      switch head % 6 {
      case 4:
        .scored(
          .lastRows,
          .bandsAndColumns(
            offsets: .share(0.5, least: min(keys, 50)), columns: .share(0.5, least: min(keys, 30))))
      case 0:
        .lastRows(
          columns: min(keys, 30 + 7 * head + keys / 40),
          offsets: min(keys, 50 + 11 * head + keys / 50))
      case 1: .bands(offsets: [0..<min(keys, 70)], columns: [0, 1, 5], denseFrom: nil)
      case 2: .lastRows(columns: min(keys, 200), offsets: 1)
      case 3: .bands(offsets: [0..<1, 90..<91], columns: [], denseFrom: max(0, keys - 66))
      default: .dense
      }
    }
    let name =
      "\(rows) rows from \(first), \(shape.queryHeads)/\(shape.keyValueHeads) x \(shape.headDim)"
      + (shape.slidingWindow.map { ", window \($0)" } ?? "")
    let precision = precision
    checkPair("makeIndex", name) {
      let side = KernelSide(builder, precision)
      let layer = try side.layer(k: k, v: k, shape: shape, type: .bfloat16)
      let lastRows = try side.tensor(q, [min(64, rows), shape.queryHeads, shape.headDim])
      var request = IndexRequest(
        heads: wanted,
        chunk: ChunkInputs(
          shape: shape, layer: layer, firstPosition: first, rows: rows, lastRows: lastRows),
        forcedColumns: 30, forcedOffsets: 100, columnCost: 1, exact: true)
      // On the device's tiles, so that its attention kernel reads either index.
      request.freeBands = false
      let built = try builder.makeIndex(request)
      let expected = try Self.hostIndex(request, builder)
      let pairs = Self.exactly(
        (0..<shape.queryHeads).map {
          expected.computedPairs(ofHead: $0, slidingWindow: shape.slidingWindow)
        })
      func outputs(_ index: SparseIndex) throws -> [Float] {
        let part = max(0, rows - 64)..<rows
        let o = try side.output([part.count, shape.queryHeads, shape.headDim])
        let sums = try side.output([part.count, shape.queryHeads], .float32)
        try builder.attention(
          q: side.tensor(q, [part.count, shape.queryHeads, shape.headDim]),
          firstPosition: first + part.lowerBound, layer: layer, shape: shape, index: index,
          into: o, logSumExp: sums)
        return try builder.read(o) + builder.read(sums)
      }
      let counted = Self.exactly(try Self.pairs(built))
      return (
        actual: [counted, try outputs(built)], expected: [pairs, try outputs(.tiles(expected))],
        tolerances: [0, 1e-2]
      )
    }
  }

  /// What a device counted of an index that it built.
  ///
  /// - Throws: `ComputeError.shapeMismatch` for an index that it did not keep.
  static func pairs(_ built: SparseIndex) throws -> [Int] {
    guard case .resident(let index) = built else {
      throw ComputeError.shapeMismatch(
        operation: "makeIndex", detail: "the index is in the host's memory")
    }
    return try index.computedPairs()
  }

  /// Counts of pairs as numbers that lose no digit: the upper and the lower halves.
  static func exactly(_ pairs: [Int]) -> [Float] {
    pairs.map { Float($0 >> 24) } + pairs.map { Float($0 & 0xFF_FFFF) }
  }

  /// The index that the host makes of the device's own sums; on tiles of single keys if bands of it may begin
  /// anywhere.
  ///
  /// - Parameter blocks: The choice of each block-sparse head, and of each head of chosen blocks that does not compute
  ///   their alternative.
  package static func hostIndex(
    _ request: IndexRequest, _ backend: any Backend, blocks: [Int: SelectedBlocks] = [:]
  ) throws -> TileIndex {
    let chunk = request.chunk
    let isFree = request.freeBands && request.heads.contains(where: \.hasOffsets)
    let deviceTile = backend.tileShape(headDim: chunk.shape.headDim)
    let tile = isFree ? TileShape(rows: deviceTile.rows, columns: 1) : deviceTile
    let grid = TileGrid(
      firstPosition: chunk.firstPosition, rows: chunk.rows, tile: tile,
      slidingWindow: chunk.shape.slidingWindow)
    let estimated = request.heads.indices.filter {
      switch request.heads[$0] {
      case .scored(.lastRows, _): true
      case .chosenBlocks:
        (request.chosenHead($0)?.columns ?? 0) > 0 || request.estimatedBands($0) != nil
      case .dense, .bands, .scored: false
      }
    }
    let sums = Dictionary(
      uniqueKeysWithValues: zip(
        estimated,
        estimated.isEmpty
          ? []
          : try backend.read(
            backend.lastRowSums(
              q: chunk.lastRows, firstPosition: chunk.keys - chunk.lastRows.rows,
              layer: chunk.layer, shape: chunk.shape, heads: estimated))))
    /// Columns and offsets by the sums of the last rows.
    func estimatedBands(_ head: Int) -> BandSelection? {
      request.estimatedBands(head).map {
        BandSelection(
          slashOffsets: $0.offsets.indices(
            of: sums[head]?.slash ?? [], rows: chunk.lastRows.rows, forced: request.forcedOffsets),
          columns: $0.columns.indices(
            of: sums[head]?.vertical ?? [], rows: chunk.lastRows.rows,
            forced: request.forcedColumns))
      }
    }
    let rowSets = try request.heads.enumerated().map { head, wanted -> RowSet in
      let bands: BandSelection
      switch wanted {
      case .dense: return .all
      case .scored(_, .blocks):
        guard let chosen = blocks[head] else {
          throw ComputeError.shapeMismatch(
            operation: "hostIndex", detail: "head \(head) is block-sparse and has no blocks")
        }
        return PairSelection.blocks(BlockSelection(chosen)).rowSet(on: grid)
      case .chosenBlocks:
        let count = request.chosenHead(head)?.columns ?? 0
        guard let chosen = blocks[head] else {
          if let alternative = estimatedBands(head) {
            bands = alternative
            break
          }
          throw ComputeError.shapeMismatch(
            operation: "hostIndex", detail: "head \(head) chooses blocks and has none")
        }
        let columns =
          count == 0
          ? []
          : LargestScores.indices(
            of: sums[head]?.vertical ?? [], count: count, forced: request.forcedColumns)
        // No key tile becomes one because of its columns: the device gathers them all.
        return PairSelection.blocks(BlockSelection(chosen, columns: columns))
          .rowSet(on: grid, columnsThatFillTile: .max)
      case .bands(let offsets, let columns, let denseFrom):
        bands = BandSelection(
          offsets: offsets, columns: columns.filter { Int($0) < chunk.keys },
          denseFrom: denseFrom)
      case .scored(_, .bandsAndColumns):
        guard let found = estimatedBands(head) else {
          throw ComputeError.shapeMismatch(
            operation: "hostIndex", detail: "head \(head) is not estimated from last rows")
        }
        bands = found
      }
      if isFree {
        let times = backend.capabilities.bandTimes
        let starts =
          if backend.attentionPrecision == .native, let times {
            BandCover.chosen(bands.offsets, keys: chunk.keys, times: times)
          } else {
            BandCover.aligned(bands.offsets, keys: chunk.keys)
          }
        return BandCover.rowSet(
          starts: starts, columns: bands.columns, denseFrom: bands.denseFrom, on: grid)
      }
      // No key tile becomes one because of its columns: the device gathers them all.
      return PairSelection.bands(bands).rowSet(on: grid, columnsThatFillTile: .max)
    }
    return try TileIndex(
      firstPosition: chunk.firstPosition, rows: chunk.rows, tile: tile, rowSets: rowSets,
      rowSetOfHead: Array(rowSets.indices))
  }

  /// Compares two results of one backend.
  mutating func checkPair(
    _ kernel: String, _ name: String,
    body: () throws -> (actual: [[Float]], expected: [[Float]], tolerances: [Double])
  ) {
    guard let number = place(of: kernel) else { return }
    do {
      let result = try body()
      for part in result.actual.indices {
        let error = KernelCheck.relativeError(result.actual[part], result.expected[part])
        checks[number].add(
          name, error: error, tolerance: max(result.tolerances[part], .leastNormalMagnitude))
      }
    } catch {
      checks[number].add("\(name): \(error)", error: .infinity, tolerance: 1)
    }
  }
}

extension IndexRequest.Head {
  /// So many columns and offsets, estimated from the last rows.
  static func lastRows(columns: Int, offsets: Int) -> Self {
    .scored(.lastRows, .bandsAndColumns(offsets: .count(offsets), columns: .count(columns)))
  }

  /// So many key blocks for each query block, estimated from pooled means.
  static func pooledBlocks(_ count: Int) -> Self { .scored(.pooledMeans, .blocks(.count(count))) }

  /// Whether the head's tiles come from offsets.
  fileprivate var hasOffsets: Bool {
    switch self {
    case .bands, .scored(_, .bandsAndColumns): true
    case .dense, .scored(_, .blocks), .chosenBlocks: false
    }
  }
}
