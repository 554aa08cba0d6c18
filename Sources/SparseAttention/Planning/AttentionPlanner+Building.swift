import Compute

/// Second half of planning: from the pairs of every head to tiles, or to dense attention where that costs
/// less.
extension AttentionPlanner {
  /// Heads with the same selection share a row set, its memory and the kernel's loads.
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
      let number = rowSets.index(of: selection.pairs) { rowSet(selection.pairs, on: grid) }
      rowSetOfHead.append(number)
      reasons.append(selection.denseReason ?? rowSets.entries[number].denseReason)
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

/// The distinct row sets of a chunk, by the selections that they were made from.
struct RowSetCollection {
  private(set) var entries: [PlannedRowSet]
  private var numbers: [PairSelection: Int] = [:]

  init(causalPairs: Int) {
    entries = [PlannedRowSet(rowSet: .all, pairs: causalPairs, denseReason: nil)]
    numbers[.all] = 0
  }

  mutating func index(of selection: PairSelection, make: () -> PlannedRowSet) -> Int {
    if let number = numbers[selection] { return number }
    numbers[selection] = entries.count
    entries.append(make())
    return entries.count - 1
  }

  /// The entries that heads use, the dense ones as one; `rowSetOfHead` is renumbered.
  func compacted(_ rowSetOfHead: inout [Int]) -> [PlannedRowSet] {
    var used: [PlannedRowSet] = []
    var renumbered: [Int: Int] = [:]
    for (head, number) in rowSetOfHead.enumerated() {
      let old = entries[number].rowSet == .all ? 0 : number
      if renumbered[old] == nil {
        renumbered[old] = used.count
        used.append(entries[old])
      }
      rowSetOfHead[head] = renumbered[old] ?? 0
    }
    return used
  }
}
