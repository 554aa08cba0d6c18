/// Key blocks chosen for blocks of query rows: what block-sparse attention asks for.
public struct SelectedBlocks: Sendable, Hashable {
  /// Query rows and keys in a block.
  public var blockSize: Int
  /// The key blocks of query block b are keyBlocks[blockOffsets[b] ..< blockOffsets[b + 1]].
  /// Blocks lie at absolute multiples of the block size, key blocks from 0, query blocks from the
  /// one that holds the chunk's first row (of which the chunk may have a part only).
  public var blockOffsets: [Int32]
  /// Ascending and distinct within a query block.
  public var keyBlocks: [Int32]

  public init(blockSize: Int, blockOffsets: [Int32], keyBlocks: [Int32]) {
    self.blockSize = blockSize
    self.blockOffsets = blockOffsets
    self.keyBlocks = keyBlocks
  }

  /// The key blocks of a query block.
  public func keyBlocks(ofQueryBlock block: Int) -> ArraySlice<Int32> {
    keyBlocks[Int(blockOffsets[block])..<Int(blockOffsets[block + 1])]
  }
}

extension TileRuns {
  /// The selected blocks rounded out to tiles, with the diagonal tiles; causal, and inside the
  /// grid's window.
  ///
  /// The backend's tile may be finer or coarser than the blocks: a tile row takes the blocks of
  /// every query block that it meets. O(selected blocks * tile rows that meet a block + runs).
  ///
  /// - Parameter columns: Single key columns besides, ascending and distinct.
  public init(blocks: SelectedBlocks, columns: [Int32] = [], on grid: TileGrid) {
    var builder = TileRunsBuilder(tileRows: grid.tileRows.count)
    let size = blocks.blockSize
    for tileRow in grid.tileRows {
      let positions = grid.positions(ofTileRow: tileRow)
      let visible = grid.visibleTiles(ofTileRow: tileRow)
      let first = positions.lowerBound / size - grid.firstPosition / size
      let last = (positions.upperBound - 1) / size - grid.firstPosition / size
      var chosen = Array(blocks.keyBlocks(ofQueryBlock: first))
      for block in first..<last {
        chosen.append(contentsOf: blocks.keyBlocks(ofQueryBlock: block + 1))
      }
      if last > first { chosen.sort() }
      let diagonal = tileRow * grid.tilesAcrossDiagonal..<visible.upperBound
      for block in chosen {
        let start = Int(block) * size / grid.tile.columns
        let end = (Int(block + 1) * size + grid.tile.columns - 1) / grid.tile.columns
        // Whatever reaches into the diagonal tiles is part of the run that ends the row.
        builder.add((start..<end).clipped(to: visible.lowerBound..<diagonal.lowerBound))
      }
      builder.add(diagonal)
      builder.endRow()
    }
    self = builder.tileRuns(columns: columns)
  }
}
