public import Compute

/// The pairs that a head's estimator selects, before they are rounded out to tiles.
///
/// The output of every selector; a ``Compute/SparseIndex`` is made from it for the backend's tile.
public enum PairSelection: Sendable, Hashable {
  /// Every causal pair.
  case all
  /// Offsets, columns and dense last rows.
  case bands(BandSelection)
  /// Key blocks for each query block.
  case blocks(BlockSelection)

  /// Whether the pair (i, j), j <= i, of a chunk that begins at `firstPosition` is asked for.
  public func contains(query i: Int, key j: Int, firstPosition: Int) -> Bool {
    switch self {
    case .all: return true
    case .bands(let bands): return bands.contains(query: i, key: j)
    case .blocks(let selection):
      let blocks = selection.blocks
      let block = i / blocks.blockSize - firstPosition / blocks.blockSize
      return blocks.keyBlocks(ofQueryBlock: block).contains(Int32(j / blocks.blockSize))
        || selection.columns.contains(Int32(j))
    }
  }

  /// The selection rounded out to tiles; `all` where the tiles leave nothing out.
  ///
  /// - Parameter columnsThatFillTile: see ``Compute/TileRuns/init(offsets:columns:denseFrom:columnsThatFillTile:on:)``.
  public func rowSet(on grid: TileGrid, columnsThatFillTile: Int? = nil) -> RowSet {
    let tiles: TileRuns
    switch self {
    case .all: return .all
    case .bands(let bands):
      tiles = TileRuns(
        offsets: bands.offsets, columns: bands.columns, denseFrom: bands.denseFrom,
        columnsThatFillTile: columnsThatFillTile, on: grid)
    case .blocks(let selection):
      tiles = TileRuns(blocks: selection.blocks, columns: selection.columns, on: grid)
    }
    return grid.isDense(tiles) ? .all : .tiles(tiles)
  }
}

/// Key blocks for each query block, united with single key columns.
public struct BlockSelection: Sendable, Hashable {
  public var blocks: SelectedBlocks
  /// Ascending, distinct key columns.
  public var columns: [Int32]

  public init(_ blocks: SelectedBlocks, columns: [Int32] = []) {
    self.blocks = blocks
    self.columns = columns
  }
}

/// Offsets i - j, key columns, and rows from which on everything is computed.
public struct BandSelection: Sendable, Hashable {
  /// Ascending, disjoint ranges of offsets.
  public var offsets: [Range<Int>]
  /// Ascending, distinct key columns.
  public var columns: [Int32]
  /// Rows at this position and after it see every key; nil: none.
  public var denseFrom: Int?

  public init(offsets: [Range<Int>], columns: [Int32], denseFrom: Int? = nil) {
    self.offsets = offsets
    self.columns = columns
    self.denseFrom = denseFrom
  }

  /// - Parameter slashOffsets: single offsets, ascending and distinct.
  public init(slashOffsets: [Int32], columns: [Int32]) {
    var ranges: [Range<Int>] = []
    for offset in slashOffsets.lazy.map(Int.init) {
      if let last = ranges.last, last.upperBound == offset {
        ranges[ranges.count - 1] = last.lowerBound..<offset + 1
      } else {
        ranges.append(offset..<offset + 1)
      }
    }
    self.init(offsets: ranges, columns: columns)
  }

  /// The single offsets, ascending.
  public var slashOffsets: [Int32] { offsets.flatMap { $0.map(Int32.init) } }

  /// Whether the pair (i, j), j <= i, is asked for.
  public func contains(query i: Int, key j: Int) -> Bool {
    if let denseFrom, i >= denseFrom { return true }
    let column = columns.partitioningIndex { Int($0) >= j }
    if column < columns.count, Int(columns[column]) == j { return true }
    let range = offsets.partitioningIndex { $0.upperBound > i - j }
    return range < offsets.count && offsets[range].contains(i - j)
  }
}
