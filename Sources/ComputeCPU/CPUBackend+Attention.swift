internal import CKernels
public import Compute

/// Attention: pieces of work for the kernels, the longest first.
extension CPUBackend {
  /// Query rows that a piece brings together, so that a key read into the cache serves many.
  private static let pieceRows = 256

  public func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    let index = try index.hostTiles("attention")
    let rows = q.rows
    let expected = [rows, shape.queryHeads, shape.headDim]
    guard q.shape == expected, o.shape == expected, index.rowSetOfHead.count == shape.queryHeads,
      index.tile == tileShape(headDim: shape.headDim),
      firstPosition >= index.firstPosition, firstPosition + rows <= index.keys,
      index.keys <= layer.count || firstPosition + rows <= layer.count,
      logSumExp.map({ $0.shape == [rows, shape.queryHeads] }) ?? true
    else {
      throw ComputeError.shapeMismatch(
        operation: "attention",
        detail: "q \(q.shape) at \(firstPosition), o \(o.shape), index of \(index.rows) rows from "
          + "\(index.firstPosition) for \(index.rowSetOfHead.count) heads, \(layer.count) keys")
    }
    guard rows > 0 else { return }
    let sinks = try layer.sinkLogits(of: shape)
    let logSumExp = try logSumExp ?? sinks.map { _ in try logSumExps(expected) }
    let kv = try KeyValuePointers(layer, shape)
    let tileRows =
      firstPosition / index.tile.rows..<(firstPosition + rows + index.tile.rows - 1)
      / index.tile.rows
    let group = shape.groupSize
    let tileRowsAtOnce = max(1, Self.pieceRows / (group * index.tile.rows))
    let pieces = Self.pieces(
      index: index, tileRows: tileRows, tileRowsAtOnce: tileRowsAtOnce, shape: shape)
    var arguments = mi_attention()
    arguments.q = UnsafePointer(try q.floats("attention"))
    arguments.o = try o.floats("attention")
    arguments.log_sum_exp = try logSumExp?.floats("attention")
    arguments.k = UnsafeRawPointer(kv.keys)
    arguments.v = UnsafeRawPointer(kv.values)
    arguments.kv_type = kv.type
    arguments.capacity = Int64(layer.capacity)
    arguments.head_dim = Int32(shape.headDim)
    arguments.query_heads = Int32(shape.queryHeads)
    arguments.group_size = Int32(group)
    arguments.tile_columns = Int32(index.tile.columns)
    arguments.scale = shape.scale
    arguments.sliding_window = Int64(shape.slidingWindow ?? 0)
    arguments.first_position = Int64(firstPosition)
    arguments.rows = Int64(rows)
    arguments.first_tile_row = Int64(index.tileRows.lowerBound)
    let scratchBytes = kernels.scratch_bytes(
      Int32(shape.headDim), Int32(group * tileRowsAtOnce))
    try Self.withRowSets(index) { rowSets in
      var arguments = arguments
      arguments.row_sets = rowSets
      try parallel(pieces.count, scratchBytes: scratchBytes) { piece, memory in
        let piece = pieces[piece]
        withUnsafePointer(to: arguments) {
          kernels.attention(
            $0, Int32(piece.keyValueHead), Int64(piece.tileRow), Int32(piece.tileRows), memory)
        }
      }
    }
    if let sinks, let logSumExp { try add(sinks, to: o, logSumExp: logSumExp) }
  }

  /// Room for the log-sum-exps that sinks are added by: [rows, heads] of q's shape.
  private func logSumExps(_ shape: [Int]) throws -> Tensor {
    try makeTensor(.float32, Array(shape.dropLast()), purpose: "the log-sum-exps of attention")
  }

  /// Attention over keys becomes attention over keys and sinks, as ``AttentionSinks`` has it.
  private func add(_ sinks: Tensor, to o: Tensor, logSumExp: Tensor) throws {
    let logits = UnsafePointer(try sinks.floats("attention"))
    let output = try o.floats("attention")
    let sums = try logSumExp.floats("attention")
    let (heads, width) = (sinks.count, o.shape[2])
    pool.split(logSumExp.count, minimum: 256) { range in
      for index in range {
        let weights = AttentionSinks.weights(sums[index], sink: logits[index % heads])
        sums[index] = weights.logSumExp
        for element in index * width..<(index + 1) * width { output[element] *= weights.factor }
      }
    }
  }

  private struct Piece {
    var keyValueHead: Int
    var tileRow: Int
    var tileRows: Int
    var keys: Int
  }

  /// (key-value head, a few tile rows) with what they cost, the longest first.
  private static func pieces(
    index: TileIndex, tileRows: Range<Int>, tileRowsAtOnce: Int, shape: AttentionShape
  ) -> [Piece] {
    let widths = index.rowSets.map { keysOfTileRows($0, index: index, tileRows: tileRows) }
    var pieces: [Piece] = []
    for head in 0..<shape.keyValueHeads {
      let heads = head * shape.groupSize..<(head + 1) * shape.groupSize
      for first in stride(from: 0, to: tileRows.count, by: tileRowsAtOnce) {
        let range = first..<min(first + tileRowsAtOnce, tileRows.count)
        let keys = heads.reduce(0) { sum, head in
          sum + widths[index.rowSetOfHead[head]][range].reduce(0, +)
        }
        pieces.append(
          Piece(
            keyValueHead: head, tileRow: tileRows.lowerBound + first, tileRows: range.count,
            keys: keys))
      }
    }
    return pieces.sorted { $0.keys > $1.keys }
  }

  /// How many keys each tile row computes, about: its tiles and all columns before it.
  private static func keysOfTileRows(
    _ rowSet: RowSet, index: TileIndex, tileRows: Range<Int>
  ) -> [Int] {
    tileRows.map { tileRow in
      let causal = (tileRow + 1) * index.tile.rows
      guard case .tiles(let tiles) = rowSet else { return causal }
      let runs = tiles.runs(ofRow: tileRow - index.tileRows.lowerBound)
      let inTiles = runs.reduce(0) { $0 + Int($1.end - $1.start) } * index.tile.columns
      return min(causal, inTiles + tiles.columns.count)
    }
  }

  /// The kernels' view of every head's row set, valid during `body`. The numbers of all row sets stand
  /// in one block of memory.
  private static func withRowSets(
    _ index: TileIndex,
    _ body: (UnsafePointer<UnsafePointer<mi_row_set>?>) throws -> Void
  ) throws {
    let count = index.rowSets.reduce(0) { count, rowSet in
      guard case .tiles(let tiles) = rowSet else { return count }
      return count + tiles.rowOffsets.count + 2 * tiles.runs.count + tiles.columns.count
    }
    let numbers = UnsafeMutablePointer<Int32>.allocate(capacity: count)
    defer { numbers.deallocate() }
    let sets = UnsafeMutablePointer<mi_row_set>.allocate(capacity: index.rowSets.count)
    defer { sets.deallocate() }
    var end = numbers
    func append(_ values: UnsafeRawBufferPointer) -> UnsafePointer<Int32> {
      let start = end
      UnsafeMutableRawBufferPointer(start: start, count: values.count).copyMemory(from: values)
      end += values.count / MemoryLayout<Int32>.stride
      return UnsafePointer(start)
    }
    for (number, rowSet) in index.rowSets.enumerated() {
      // Without runs: every causal pair.
      var set = mi_row_set()
      if case .tiles(let tiles) = rowSet {
        set.row_offsets = tiles.rowOffsets.withUnsafeBytes(append)
        set.runs = tiles.runs.withUnsafeBytes(append)
        set.columns = tiles.columns.withUnsafeBytes(append)
        set.column_count = Int64(tiles.columns.count)
      }
      (sets + number).initialize(to: set)
    }
    let ofHead: [UnsafePointer<mi_row_set>?] = index.rowSetOfHead.map { UnsafePointer(sets + $0) }
    try ofHead.withUnsafeBufferPointer {
      if let base = $0.baseAddress { try body(base) }
    }
  }

  public func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    let rows = q.rows
    let expected = [rows, shape.queryHeads, shape.headDim]
    guard q.shape == expected, o.shape == expected, positions.count == rows,
      positions.allSatisfy({ $0 >= 0 && $0 < layer.count }),
      logSumExp.map({ $0.shape == [rows, shape.queryHeads] }) ?? true
    else {
      throw ComputeError.shapeMismatch(
        operation: "rowAttention",
        detail: "q \(q.shape), o \(o.shape), positions up to \(positions.max() ?? 0) of "
          + "\(layer.count)")
    }
    guard rows > 0, let last = positions.max() else { return }
    let sinks = try layer.sinkLogits(of: shape)
    let logSumExp = try logSumExp ?? sinks.map { _ in try logSumExps(expected) }
    let merger = RowAttentionMerger(
      rows: rows, shape: shape, keys: last + 1, threads: threads)
    let kv = try KeyValuePointers(layer, shape)
    var arguments = mi_row_attention()
    arguments.q = UnsafePointer(try q.floats("rowAttention"))
    arguments.k = UnsafeRawPointer(kv.keys)
    arguments.v = UnsafeRawPointer(kv.values)
    arguments.kv_type = kv.type
    arguments.capacity = Int64(layer.capacity)
    arguments.head_dim = Int32(shape.headDim)
    arguments.query_heads = Int32(shape.queryHeads)
    arguments.group_size = Int32(shape.groupSize)
    arguments.scale = shape.scale
    arguments.sliding_window = Int64(shape.slidingWindow ?? 0)
    arguments.rows = Int64(rows)
    let scratchBytes = kernels.scratch_bytes(Int32(shape.headDim), 2)
    let output = try o.floats("rowAttention")
    let lse = try logSumExp?.floats("rowAttention")
    try positions.map(Int64.init).withUnsafeBufferPointer { positions in
      arguments.positions = positions.baseAddress
      try merger.withPartials { partials in
        try parallel(merger.pieces, scratchBytes: scratchBytes) { index, memory in
          let piece = merger.piece(index)
          withUnsafePointer(to: arguments) {
            kernels.row_attention(
              $0, Int32(piece.keyValueHead), Int32(piece.lanes.lowerBound),
              Int32(piece.lanes.count), Int64(piece.keys.lowerBound),
              Int64(piece.keys.upperBound), partials + merger.offset(of: piece), memory)
          }
        }
        merger.merge(partials, into: output, logSumExp: lse)
      }
    }
    if let sinks, let logSumExp { try add(sinks, to: o, logSumExp: logSumExp) }
  }

  /// Runs body(index, scratch memory) for every index on the pool's threads.
  func parallel(
    _ count: Int, scratchBytes: Int, _ body: (Int, UnsafeMutableRawPointer) -> Void
  ) throws {
    // Each thread writes only its own entry.
    let failed = UnsafeMutablePointer<Bool>.allocate(capacity: threads)
    failed.initialize(repeating: false, count: threads)
    defer { failed.deallocate() }
    pool.run(count) { index, thread in
      guard let memory = scratch.memory(thread: thread, bytes: scratchBytes) else {
        failed[thread] = true
        return
      }
      body(index, memory)
    }
    if (0..<threads).contains(where: { failed[$0] }) {
      throw ComputeError.outOfMemory(wantedBytes: scratchBytes, purpose: "kernel scratch memory")
    }
  }
}

/// Where a layer's keys and values lie, checked.
struct KeyValuePointers {
  let keys: UnsafeMutableRawPointer
  let values: UnsafeMutableRawPointer
  let type: mi_type

  init(_ layer: KeyValueLayer, _ shape: AttentionShape) throws {
    guard layer.keys.shape == [shape.keyValueHeads, layer.capacity, shape.headDim],
      layer.values.shape == layer.keys.shape, layer.values.type == layer.keys.type,
      let type = layer.keys.type.storage
    else {
      throw ComputeError.shapeMismatch(
        operation: "attention",
        detail: "keys \(layer.keys.shape), values \(layer.values.shape) for "
          + "\(shape.keyValueHeads) heads of \(shape.headDim)")
    }
    keys = try layer.keys.hostAddress
    values = try layer.values.hostAddress
    self.type = type
  }
}
