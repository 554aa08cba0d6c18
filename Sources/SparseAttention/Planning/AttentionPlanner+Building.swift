import Compute

/// Second half of planning: from the pairs of every head to tiles, where tiles pay.
extension AttentionPlanner {
  /// Heads that ask for the same pairs share a row set, and so its memory and the kernel's loads.
  func build(
    _ selections: [HeadSelection], _ chunk: ChunkInputs, tile: TileShape
  ) throws -> (index: TileIndex, report: IndexReport) {
    let grid = TileGrid(
      firstPosition: chunk.firstPosition, rows: chunk.rows, tile: tile,
      slidingWindow: chunk.shape.slidingWindow)
    let causal = grid.causalPairs
    var rowSets = RowSetCollection(causalPairs: causal)
    var rowSetOfHead: [Int] = []
    var reasons: [DenseReason?] = []
    for selection in selections {
      let place = rowSets.index(of: selection.pairs) { rowSet(selection.pairs, on: grid) }
      rowSetOfHead.append(place)
      reasons.append(selection.denseReason ?? rowSets.entries[place].denseReason)
    }
    let used = rowSets.compacted(&rowSetOfHead)
    let index = try TileIndex(
      firstPosition: chunk.firstPosition, rows: chunk.rows, tile: tile,
      rowSets: used.map(\.rowSet), rowSetOfHead: rowSetOfHead)
    let report = IndexReport(
      seconds: 0, estimationSeconds: 0, computedPairs: rowSetOfHead.map { used[$0].pairs },
      causalPairs: Array(repeating: causal, count: rowSetOfHead.count), denseReasons: reasons)
    return (index, report)
  }

  /// The row set of one selection: tiles, or `all` where tiles leave nothing out or cost more.
  private func rowSet(_ selection: PairSelection, on grid: TileGrid) -> PlannedRowSet {
    let causal = grid.causalPairs
    let rowSet = selection.rowSet(
      on: grid, columnsThatFillTile: costModel.columnsThatFillTile(grid.tile))
    guard case .tiles(let tiles) = rowSet else {
      return PlannedRowSet(
        rowSet: .all, pairs: causal, denseReason: selection == .all ? nil : .indexIsDense)
    }
    let pairs = grid.pairs(of: tiles)
    let cost = costModel.cost(pairs, runs: tiles.runs.count)
    if !exact, cost > Double(causal) {
      return PlannedRowSet(
        rowSet: .all, pairs: causal,
        denseReason: .costsMoreThanDense(ratio: cost / Double(max(causal, 1))))
    }
    return PlannedRowSet(rowSet: rowSet, pairs: pairs.total, denseReason: nil)
  }
}

struct PlannedRowSet {
  var rowSet: RowSet
  var pairs: Int
  var denseReason: DenseReason?
}

/// The distinct row sets of a chunk, by what they were made from.
struct RowSetCollection {
  private(set) var entries: [PlannedRowSet]
  private var places: [PairSelection: Int] = [:]

  init(causalPairs: Int) {
    entries = [PlannedRowSet(rowSet: .all, pairs: causalPairs, denseReason: nil)]
    places[.all] = 0
  }

  mutating func index(of selection: PairSelection, make: () -> PlannedRowSet) -> Int {
    if let place = places[selection] { return place }
    places[selection] = entries.count
    entries.append(make())
    return entries.count - 1
  }

  /// The entries that heads use, the dense ones as one; `rowSetOfHead` is renumbered.
  func compacted(_ rowSetOfHead: inout [Int]) -> [PlannedRowSet] {
    var used: [PlannedRowSet] = []
    var newPlace: [Int: Int] = [:]
    for (head, place) in rowSetOfHead.enumerated() {
      let old = entries[place].rowSet == .all ? 0 : place
      if newPlace[old] == nil {
        newPlace[old] = used.count
        used.append(entries[old])
      }
      rowSetOfHead[head] = newPlace[old] ?? 0
    }
    return used
  }
}
