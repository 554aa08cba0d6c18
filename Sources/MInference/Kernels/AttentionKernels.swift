public import Compute
import SparseAttention

/// The attention kernels alone, as functions on plain arrays.
///
///     let kernels = try AttentionKernels()
///     let batch = try AttentionBatch(q: q, k: k, v: v, shape: shape, lengths: [1000, 37])
///     let indices = try kernels.estimateVerticalSlash(batch, vertical: 100, slash: 200)
///     let output = try kernels.verticalSlash(batch, indices: indices)
///
/// Attention is causal. What is asked for is rounded out to the tiles that the device computes as a
/// unit, and the tiles on the diagonal are always computed: the result is the softmax over at least
/// the pairs that were named, and ``AttentionOutput/computedPairs`` says over how many.
///
/// Functions block the calling thread until they are done; the work runs on threads of its own.
public final class AttentionKernels: Sendable {
  private let backend: any Backend

  /// - Parameter device: A GPU rounds its input to bfloat16 and takes heads of 64, 96 and 128.
  /// - Throws: `ComputeError.unavailable` if there is no such device.
  public init(device: Device = .cpu, threads: Int? = nil) throws {
    backend = try device.makeBackend(threads: threads)
  }

  /// Every key up to the query's own.
  public func dense(_ batch: AttentionBatch) throws -> AttentionOutput {
    try attend(batch) { _, _, _ in .all }
  }

  /// The first `sink` keys and the `local` nearest ones (StreamingLLM).
  public func aShape(_ batch: AttentionBatch, sink: Int, local: Int) throws -> AttentionOutput {
    guard sink >= 0, local >= 1 else {
      throw LanguageModelError.sizeMismatch(
        operation: "aShape", detail: "sink \(sink) and local \(local); give at least 0 and 1")
    }
    return try attend(batch) { _, _, keys in
      AShape.selection(sink: sink, local: local, keys: keys)
    }
  }

  /// The given columns and offsets; indices[sequence][query head].
  ///
  /// Indices may come in any order and repeat; one outside the sequence is an error.
  public func verticalSlash(
    _ batch: AttentionBatch, indices: [[VerticalSlashIndices]]
  ) throws -> AttentionOutput {
    try check(indices, of: batch, "verticalSlash")
    return try attend(batch) { sequence, head, keys in
      let chosen = indices[sequence][head]
      guard (chosen.columns + chosen.offsets).allSatisfy({ $0 >= 0 && Int($0) < keys }) else {
        throw LanguageModelError.sizeMismatch(
          operation: "verticalSlash",
          detail: "sequence \(sequence), head \(head): an index is outside 0 ..< \(keys)")
      }
      return .bands(
        BandSelection(
          slashOffsets: Set(chosen.offsets).sorted(), columns: Set(chosen.columns).sorted()))
    }
  }

  /// The given key blocks for each block of queries; blocks[sequence][query head].
  public func blockSparse(
    _ batch: AttentionBatch, blocks: [[SelectedBlocks]]
  ) throws -> AttentionOutput {
    try check(blocks, of: batch, "blockSparse")
    return try attend(batch) { sequence, head, keys in
      let chosen = blocks[sequence][head]
      let size = chosen.blockSize
      let queryBlocks = size > 0 ? (keys + size - 1) / size : 0
      let isOrdered = zip(chosen.blockOffsets, chosen.blockOffsets.dropFirst()).allSatisfy(<=)
      guard size > 0, chosen.blockOffsets.count == queryBlocks + 1, isOrdered,
        chosen.blockOffsets.first == 0, chosen.blockOffsets.last == Int32(chosen.keyBlocks.count),
        chosen.keyBlocks.allSatisfy({ $0 >= 0 && Int($0) < queryBlocks }),
        (0..<queryBlocks).allSatisfy({ Self.isAscending(chosen.keyBlocks(ofQueryBlock: $0)) })
      else {
        throw LanguageModelError.sizeMismatch(
          operation: "blockSparse",
          detail: "sequence \(sequence), head \(head): give \(queryBlocks) rows of ascending "
            + "blocks below \(queryBlocks)")
      }
      return .blocks(BlockSelection(chosen))
    }
  }

  /// What the last 64 rows of each sequence say of where to look: the `vertical` columns and the
  /// `slash` offsets that hold most of their attention; result[sequence][query head].
  ///
  /// The first 30 columns and the nearest 100 offsets come first whatever they hold, and budgets
  /// below 30 and 50 count as these. Source: MInference, algorithm 2.
  public func estimateVerticalSlash(
    _ batch: AttentionBatch, vertical: Int, slash: Int
  ) throws -> [[VerticalSlashIndices]] {
    try batch.ranges.map { rows in
      guard !rows.isEmpty else {
        return Array(
          repeating: VerticalSlashIndices(columns: [], offsets: []), count: batch.shape.queryHeads)
      }
      let sequence = try SequenceTensors(batch, rows: rows, backend: backend)
      let last = min(VerticalSlashRule.lastRows, rows.count)
      let sums = try backend.lastRowSums(
        q: sequence.q.slice(rows: rows.count - last..<rows.count),
        firstPosition: rows.count - last, layer: sequence.layer, shape: batch.shape,
        heads: Array(0..<batch.shape.queryHeads))
      return try backend.read(sums).map { sums in
        let chosen = VerticalSlash.selection(sums, vertical: vertical, slash: slash)
        return VerticalSlashIndices(columns: chosen.columns, offsets: chosen.slashOffsets)
      }
    }
  }

  /// The `topK` blocks of 64 keys whose means score highest, for each block of 64 queries, beside
  /// the first block and its own; result[sequence][query head]. Source: MInference, algorithm 3.
  public func estimateBlocks(_ batch: AttentionBatch, topK: Int) throws -> [[SelectedBlocks]] {
    try batch.ranges.map { rows in
      guard !rows.isEmpty else {
        let none = SelectedBlocks(
          blockSize: BlockSparse.blockSize, blockOffsets: [0], keyBlocks: [])
        return Array(repeating: none, count: batch.shape.queryHeads)
      }
      let sequence = try SequenceTensors(batch, rows: rows, backend: backend)
      let queries = try BlockSparse.pooledQueries(
        sequence.q, firstPosition: 0, backend: backend)
      let keys = try backend.readRows(
        backend.meanPooledKeys(
          sequence.layer, count: rows.count, blockSize: BlockSparse.blockSize))
      return queries.enumerated().map { head, queries in
        BlockSparse.selection(
          queries: queries, keys: keys[head / batch.shape.groupSize],
          headDim: batch.shape.headDim, firstPosition: 0, topK: topK)
      }
    }
  }

  private static func isAscending(_ blocks: ArraySlice<Int32>) -> Bool {
    zip(blocks, blocks.dropFirst()).allSatisfy(<)
  }

  private func check<Chosen>(
    _ chosen: [[Chosen]], of batch: AttentionBatch, _ operation: String
  ) throws {
    guard chosen.count == batch.lengths.count,
      chosen.allSatisfy({ $0.count == batch.shape.queryHeads })
    else {
      throw LanguageModelError.sizeMismatch(
        operation: operation,
        detail: "give one entry for each of the \(batch.lengths.count) sequences, with one for "
          + "each of the \(batch.shape.queryHeads) query heads")
    }
  }

  /// Attention over the pairs that `select` names for each sequence and head.
  private func attend(
    _ batch: AttentionBatch,
    select: (_ sequence: Int, _ head: Int, _ keys: Int) throws -> PairSelection
  ) throws -> AttentionOutput {
    let shape = batch.shape
    let tile = backend.tileShape(headDim: shape.headDim)
    var output = AttentionOutput()
    for (number, rows) in batch.ranges.enumerated() {
      guard !rows.isEmpty else {
        output.computedPairs.append(Array(repeating: 0, count: shape.queryHeads))
        output.causalPairs.append(0)
        continue
      }
      let grid = TileGrid(
        firstPosition: 0, rows: rows.count, tile: tile, slidingWindow: shape.slidingWindow)
      let rowSets = try (0..<shape.queryHeads).map {
        try select(number, $0, rows.count).rowSet(on: grid)
      }
      let index = try TileIndex(
        firstPosition: 0, rows: rows.count, tile: tile, rowSets: rowSets,
        rowSetOfHead: Array(rowSets.indices))
      let sequence = try SequenceTensors(batch, rows: rows, backend: backend)
      let logSumExp = try backend.makeTensor(
        .float32, [rows.count, shape.queryHeads], purpose: "log-sum-exps")
      try backend.attention(
        q: sequence.q, firstPosition: 0, layer: sequence.layer, shape: shape,
        index: .tiles(index),
        into: sequence.q, logSumExp: logSumExp)
      output.o += try backend.read(sequence.q)
      output.logSumExp += try backend.read(logSumExp)
      output.computedPairs.append(
        rowSets.indices.map {
          index.computedPairs(ofHead: $0, slidingWindow: shape.slidingWindow)
        })
      output.causalPairs.append(index.causalPairs(slidingWindow: shape.slidingWindow))
    }
    return output
  }
}

/// One sequence of a batch on the backend.
private struct SequenceTensors {
  /// [rows, queryHeads, headDim]
  let q: Tensor
  let layer: KeyValueLayer

  init(_ batch: AttentionBatch, rows: Range<Int>, backend: any Backend) throws {
    let shape = batch.shape
    func tensor(_ values: [Float], heads: Int) throws -> Tensor {
      let row = heads * shape.headDim
      let tensor = try backend.makeTensor(
        .float32, [rows.count, heads, shape.headDim], purpose: "a sequence of \(rows.count) rows")
      try backend.write(
        Array(values[rows.lowerBound * row..<rows.upperBound * row]), to: tensor)
      return tensor
    }
    q = try tensor(batch.q, heads: shape.queryHeads)
    let extents = [shape.keyValueHeads, rows.count, shape.headDim]
    layer = KeyValueLayer(
      keys: try backend.makeTensor(.float32, extents, purpose: "keys of \(rows.count) rows"),
      values: try backend.makeTensor(.float32, extents, purpose: "values of \(rows.count) rows"),
      count: rows.count)
    try backend.store(
      k: tensor(batch.k, heads: shape.keyValueHeads),
      v: tensor(batch.v, heads: shape.keyValueHeads), in: layer, firstPosition: 0)
  }
}
