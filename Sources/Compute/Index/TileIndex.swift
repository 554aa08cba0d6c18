/// An index in the host's memory: the row set of every query head.
public struct TileIndex: Sendable {
  /// Position of the chunk's first query row.
  public let firstPosition: Int
  /// Query rows in the chunk.
  public let rows: Int
  public let tile: TileShape
  /// The distinct row sets.
  public let rowSets: [RowSet]
  /// For each query head, which row set it uses.
  public let rowSetOfHead: [Int]
  /// Whether this is a part of an index, whose rows may lack their diagonal tiles.
  public let isPart: Bool

  /// Keys that the chunk may see: all positions up to its last row.
  public var keys: Int { firstPosition + rows }

  /// The absolute tile rows that the chunk touches.
  public var tileRows: Range<Int> {
    firstPosition / tile.rows..<(keys + tile.rows - 1) / tile.rows
  }

  /// Throws ``ComputeError/shapeMismatch(operation:detail:)`` unless every row set has one entry
  /// for each tile row, ascending disjoint runs and columns in range, and its diagonal tiles.
  public init(
    firstPosition: Int, rows: Int, tile: TileShape, rowSets: [RowSet], rowSetOfHead: [Int]
  ) throws {
    self.init(
      checked: firstPosition, rows: rows, tile: tile, rowSets: rowSets, rowSetOfHead: rowSetOfHead,
      isPart: false)
    guard firstPosition >= 0, rows > 0 else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "\(rows) rows from position \(firstPosition)")
    }
    guard rowSetOfHead.allSatisfy(rowSets.indices.contains) else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "a head names a row set that is not there")
    }
    for rowSet in rowSets {
      if case .tiles(let tiles) = rowSet {
        try tiles.validate(tileRows: tileRows, tile: tile, keys: keys)
      }
    }
  }

  private init(
    checked firstPosition: Int, rows: Int, tile: TileShape, rowSets: [RowSet], rowSetOfHead: [Int],
    isPart: Bool
  ) {
    self.firstPosition = firstPosition
    self.rows = rows
    self.tile = tile
    self.rowSets = rowSets
    self.rowSetOfHead = rowSetOfHead
    self.isPart = isPart
  }

  /// Dense causal attention for every head; takes no memory.
  public static func dense(
    firstPosition: Int, rows: Int, heads: Int, tile: TileShape
  ) throws -> TileIndex {
    try TileIndex(
      firstPosition: firstPosition, rows: rows, tile: tile, rowSets: [.all],
      rowSetOfHead: Array(repeating: 0, count: heads))
  }

  /// Whether every head computes every causal pair.
  public var isDense: Bool { rowSets.allSatisfy { $0 == .all } }

  /// For each query head, whether it computes every causal pair.
  package var denseHeads: [Bool] { rowSetOfHead.map { rowSets[$0] == .all } }

  /// The row set of a query head.
  public func rowSet(ofHead head: Int) -> RowSet { rowSets[rowSetOfHead[head]] }

  /// The grid on which this index lies.
  public func grid(slidingWindow: Int? = nil) -> TileGrid {
    TileGrid(firstPosition: firstPosition, rows: rows, tile: tile, slidingWindow: slidingWindow)
  }
}

// MARK: Indices made of checked ones

extension TileIndex {
  /// Some of the pairs of this index; diagonal tiles may be missing.
  func part(rowSets: [RowSet]) -> TileIndex {
    TileIndex(
      checked: firstPosition, rows: rows, tile: tile, rowSets: rowSets, rowSetOfHead: rowSetOfHead,
      isPart: true)
  }

  /// The same pairs on another grid of tiles.
  func same(on tile: TileShape, rowSets: [RowSet]) -> TileIndex {
    TileIndex(
      checked: firstPosition, rows: rows, tile: tile, rowSets: rowSets, rowSetOfHead: rowSetOfHead,
      isPart: isPart)
  }

  /// The same index with every causal pair for some heads.
  package func replacingByAll(heads: Set<Int>) -> TileIndex {
    var replaced: [RowSet] = [.all]
    var numbers: [Int: Int] = [:]
    let rowSetOfHead = rowSetOfHead.enumerated().map { head, rowSet in
      if heads.contains(head) || rowSets[rowSet] == .all { return 0 }
      if let number = numbers[rowSet] { return number }
      numbers[rowSet] = replaced.count
      replaced.append(rowSets[rowSet])
      return replaced.count - 1
    }
    return TileIndex(
      checked: firstPosition, rows: rows, tile: tile, rowSets: replaced,
      rowSetOfHead: rowSetOfHead, isPart: isPart)
  }
}
