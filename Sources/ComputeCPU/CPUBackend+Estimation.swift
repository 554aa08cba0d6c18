internal import CKernels
public import Compute
internal import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The estimation primitives.
extension CPUBackend {
  /// Keys that one piece of an estimation pass reads.
  private static let estimationKeys = 8192

  public func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    let keys = firstPosition + q.rows
    guard q.shape == [q.rows, shape.queryHeads, shape.headDim], q.rows > 0,
      q.rows <= Int(MI_LAST_ROWS), firstPosition >= 0, keys <= layer.count,
      heads.allSatisfy((0..<shape.queryHeads).contains)
    else {
      throw ComputeError.shapeMismatch(
        operation: "lastRowSums",
        detail: "q \(q.shape) at \(firstPosition), heads \(heads), \(layer.count) keys")
    }
    let kv = try KeyValuePointers(layer, shape)
    var arguments = mi_last_rows()
    arguments.q = UnsafePointer(try q.floats("lastRowSums"))
    arguments.k = UnsafeRawPointer(kv.keys)
    arguments.kv_type = kv.type
    arguments.capacity = Int64(layer.capacity)
    arguments.head_dim = Int32(shape.headDim)
    arguments.query_heads = Int32(shape.queryHeads)
    arguments.scale = shape.scale
    arguments.sliding_window = Int64(shape.slidingWindow ?? 0)
    arguments.first_position = Int64(firstPosition)
    arguments.rows = Int64(q.rows)
    let pass = EstimationPass(
      heads: heads, shape: shape, keys: keys, keysAtOnce: Self.estimationKeys)
    let scratchBytes = kernels.scratch_bytes(Int32(shape.headDim), Int32(shape.groupSize))
    let partial = try partialMaxima(pass, arguments, scratchBytes)
    let sinks = try layer.sinkLogits(of: shape).map { try $0.floats("lastRowSums") }
    return try sums(
      pass, arguments, scratchBytes,
      logSumExp: pass.logSumExp(partial, sinks: heads.map { head in sinks.map { $0[head] } }))
  }

  /// First pass: (maximum, sum) of each piece's rows.
  private func partialMaxima(
    _ pass: EstimationPass, _ arguments: mi_last_rows, _ scratchBytes: Int
  ) throws -> (maximum: [Float], sum: [Float]) {
    var maximum = [Float](repeating: 0, count: pass.pieces.count * pass.rowsPerPiece)
    var sum = maximum
    try maximum.withUnsafeMutableBufferPointer { maximum in
      try sum.withUnsafeMutableBufferPointer { sum in
        guard let maximum = maximum.baseAddress, let sum = sum.baseAddress else { return }
        try parallel(pass.pieces.count, scratchBytes: scratchBytes) { index, memory in
          let piece = pass.pieces[index]
          let offset = index * pass.rowsPerPiece
          withUnsafePointer(to: arguments) {
            kernels.last_row_maximum(
              $0, Int32(piece.keyValueHead), piece.heads, Int32(piece.heads.count),
              Int64(piece.keys.lowerBound), Int64(piece.keys.upperBound), maximum + offset,
              sum + offset, memory)
          }
        }
      }
    }
    return (maximum, sum)
  }

  /// Second pass: the sums of each piece, added into those of its heads.
  private func sums(
    _ pass: EstimationPass, _ arguments: mi_last_rows, _ scratchBytes: Int, logSumExp: [[Float]]
  ) throws -> DeviceRowSums {
    let keys = pass.keys
    let margin = Int(MI_LAST_ROWS)
    let rows = Int(arguments.rows)
    let firstPosition = Int(arguments.first_position)
    let result = DeviceRowSums(
      vertical: try zeros(pass.heads.count, keys), slash: try zeros(pass.heads.count, keys),
      keys: keys, rows: Array(pass.heads.indices))
    let vertical = try result.vertical.floats("lastRowSums")
    let slash = try result.slash.floats("lastRowSums")
    // Pieces add to the offset sums of their heads one after the other.
    let turn = Mutex(())
    try parallel(pass.pieces.count, scratchBytes: scratchBytes) { index, memory in
      let piece = pass.pieces[index]
      let width = piece.keys.count + 2 * margin
      let local = UnsafeMutablePointer<Float>.allocate(capacity: piece.heads.count * width)
      defer { local.deallocate() }
      local.initialize(repeating: 0, count: piece.heads.count * width)
      var columns: [UnsafeMutablePointer<Float>?] = piece.slots.map {
        vertical + $0 * keys + piece.keys.lowerBound
      }
      var offsets: [UnsafeMutablePointer<Float>?] = piece.slots.indices.map { local + $0 * width }
      withUnsafePointer(to: arguments) {
        kernels.last_row_sums(
          $0, Int32(piece.keyValueHead), piece.heads, Int32(piece.heads.count),
          Int64(piece.keys.lowerBound), Int64(piece.keys.upperBound),
          piece.slots.flatMap { logSumExp[$0] }, &columns, &offsets, memory)
      }
      // Entry e of the local sums stands for offset firstPosition - (keys.end - 1) + e - margin;
      // at most two pieces meet in an offset, so the order of adding does not show.
      let firstOffset = firstPosition - (piece.keys.upperBound - 1) - margin
      let low = max(0, firstOffset)
      let high = min(keys, firstOffset + width, firstPosition + rows)
      turn.withLock { _ in
        for (i, slot) in piece.slots.enumerated() where low < high {
          let source = local + i * width - firstOffset
          let target = slash + slot * keys
          for offset in low..<high { target[offset] += source[offset] }
        }
      }
    }
    return result
  }

  private func zeros(_ heads: Int, _ keys: Int) throws -> Tensor {
    let tensor = try makeTensor(.float32, [heads, keys], purpose: "estimation over \(keys) keys")
    try tensor.floats("lastRowSums").initialize(repeating: 0, count: tensor.count)
    return tensor
  }

  public func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor {
    guard x.shape.count == 3, blockSize > 0 else {
      throw ComputeError.shapeMismatch(
        operation: "meanPooled", detail: "x \(x.shape), blocks of \(blockSize)")
    }
    let (rows, heads, dim) = (x.shape[0], x.shape[1], x.shape[2])
    let values = try x.floats("meanPooled")
    return try pooled(heads: heads, rows: rows, dim: dim, blockSize: blockSize) { head, row in
      values + (row * heads + head) * dim
    }
  }

  public func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> Tensor {
    guard count <= layer.count, blockSize > 0, let type = layer.keys.type.storage else {
      throw ComputeError.shapeMismatch(
        operation: "meanPooledKeys", detail: "\(count) of \(layer.count) keys")
    }
    let (heads, capacity, dim) = (
      layer.keys.shape[0], layer.keys.shape[1], layer.keys.shape[2]
    )
    let base = try layer.keys.hostAddress
    if type == MI_FLOAT32 {
      let values = base.assumingMemoryBound(to: Float.self)
      return try pooled(heads: heads, rows: count, dim: dim, blockSize: blockSize) { head, row in
        values + (head * capacity + row) * dim
      }
    }
    let row = UnsafeMutablePointer<Float>.allocate(capacity: dim)
    defer { row.deallocate() }
    return try pooled(heads: heads, rows: count, dim: dim, blockSize: blockSize) { head, position in
      let element = (head * capacity + position) * dim
      kernels.to_float32(base + element * layer.keys.type.byteCount, type, row, Int64(dim))
      return row
    }
  }

  private func pooled(
    heads: Int, rows: Int, dim: Int, blockSize: Int,
    row: (_ head: Int, _ row: Int) -> UnsafeMutablePointer<Float>
  ) throws -> Tensor {
    let blocks = (rows + blockSize - 1) / blockSize
    let means = try makeTensor(
      .float32, [heads, blocks, dim], purpose: "means of \(blocks) blocks")
    let result = try means.floats("meanPooled")
    result.initialize(repeating: 0, count: means.count)
    for head in 0..<heads {
      for block in 0..<blocks {
        let range = block * blockSize..<min((block + 1) * blockSize, rows)
        let mean = result + (head * blocks + block) * dim
        for position in range {
          let values = row(head, position)
          for x in 0..<dim { mean[x] += values[x] }
        }
        for x in 0..<dim { mean[x] /= Float(range.count) }
      }
    }
    return means
  }

  public func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    throw ComputeError.buildsNoIndices(name)
  }

  public func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    throw ComputeError.buildsNoIndices(name)
  }

  public func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    throw ComputeError.buildsNoIndices(name)
  }
}

/// How an estimation is cut in pieces: (key-value head, range of keys), all wanted heads of the
/// group together.
struct EstimationPass {
  struct Piece {
    var keyValueHead: Int
    var keys: Range<Int>
    /// Query heads, and where each stands in ``EstimationPass/heads``.
    var heads: [Int32]
    var slots: [Int]
  }

  let heads: [Int]
  let keys: Int
  let pieces: [Piece]
  /// Entries of the row maxima that a piece may use.
  let rowsPerPiece: Int

  init(heads: [Int], shape: AttentionShape, keys: Int, keysAtOnce: Int) {
    self.heads = heads
    self.keys = keys
    rowsPerPiece = shape.groupSize * Int(MI_LAST_ROWS)
    var pieces: [Piece] = []
    for keyValueHead in 0..<shape.keyValueHeads {
      let slots = heads.indices.filter { heads[$0] / shape.groupSize == keyValueHead }
      for chunk in stride(from: 0, to: slots.count, by: shape.groupSize) {
        let some = Array(slots[chunk..<min(chunk + shape.groupSize, slots.count)])
        for start in stride(from: 0, to: keys, by: keysAtOnce) {
          pieces.append(
            Piece(
              keyValueHead: keyValueHead, keys: start..<min(start + keysAtOnce, keys),
              heads: some.map { Int32(heads[$0]) }, slots: some))
        }
      }
    }
    self.pieces = pieces
  }

  /// Joins the pieces' partial softmaxes: base-2 log-sum-exp of each row, [head][MI_LAST_ROWS].
  ///
  /// - Parameter sinks: Of each head the sink that is counted too, natural logarithm; nil: none.
  func logSumExp(
    _ partial: (maximum: [Float], sum: [Float]), sinks: [Float?]
  ) -> [[Float]] {
    let rows = Int(MI_LAST_ROWS)
    var result = heads.map { _ in [Float](repeating: 0, count: rows) }
    var parts = heads.map { _ in [Int]() }
    for (index, piece) in pieces.enumerated() {
      for (i, slot) in piece.slots.enumerated() {
        parts[slot].append(index * rowsPerPiece + i * rows)
      }
    }
    for slot in heads.indices {
      for row in 0..<rows {
        let sink = sinks[slot].map { $0 * log2OfE } ?? -.infinity
        let maximum = parts[slot].reduce(max(sink, -Float.greatestFiniteMagnitude)) {
          max($0, partial.maximum[$1 + row])
        }
        let sum = parts[slot].reduce(exp2f(sink - maximum)) {
          $0 + partial.sum[$1 + row] * exp2f(partial.maximum[$1 + row] - maximum)
        }
        // Rows that are not there have no sum; any finite value keeps their masked scores at zero.
        result[slot][row] = sum == 0 ? 0 : maximum + log2f(sum)
      }
    }
    return result
  }
}
