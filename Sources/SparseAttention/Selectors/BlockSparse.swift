public import Compute

/// Block-sparse: for each block of 64 query rows, the `topK` blocks of 64 keys that score highest,
/// where the score is the product of the blocks' mean query and mean key.
///
/// Blocks lie at absolute multiples of 64. Source: MInference, algorithm 3; upstream's constant is
/// top 100 (at most the number of blocks), without scale, among the blocks up to the query's own.
///
/// Different from upstream, on purpose: the block of the first keys and the query's own block are
/// always computed, beside the top k (upstream may leave both out, so that a row may see neither the
/// sink nor itself); and the mean of a short last block is over the rows it has (upstream divides by
/// 64, zero padding included, which pulls its scores to zero).
public struct BlockSparse: Selector {
  /// Blocks that each query block takes, first and own not counted.
  public var topK: Int

  public init(topK: Int) { self.topK = topK }

  public static let name = "block-sparse"
  public static let budgets = [SelectorBudget.count("top_k", standard: 100)]

  public init(values: [Double]) { self.init(topK: Int(values[0])) }

  public var values: [Double] { [Double(topK)] }
  public var needs: SketchNeeds { SketchNeeds(pooledMeans: true) }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    topK < (keys + Self.blockSize - 1) / Self.blockSize ? needs : .nothing
  }

  public var alwaysComputed: Int { 2 * Self.blockSize }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection {
    guard needs(keys: sketch.keys, isKept: false).pooledMeans else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    let first = sketch.firstPosition / Self.blockSize
    let blocks = (sketch.keys + Self.blockSize - 1) / Self.blockSize - first
    guard let queries = sketch.pooledQueries, let keys = sketch.pooledKeys,
      queries.count == blocks * sketch.headDim
    else { throw sketch.missing("the means of \(blocks) query blocks") }
    return HeadSelection(
      .blocks(
        BlockSelection(
          Self.selection(
            queries: queries, keys: keys, headDim: sketch.headDim,
            firstPosition: sketch.firstPosition, topK: topK))))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest {
    needs(keys: keys, isKept: false).pooledMeans
      ? .estimated(.scored(.pooledMeans, .blocks(.count(topK)))) : .dense(.budgetTakesEverything)
  }

  /// Rows and keys of a block.
  public static let blockSize = 64

  /// Means of the chunk's queries over blocks at absolute multiples of 64; [heads][blocks * headDim].
  ///
  /// - q: [rows, queryHeads, headDim], after rotary; row 0 stands at `firstPosition`. Blocks that
  ///   the rows hold a part of are means over that part.
  public static func pooledQueries(
    _ q: Tensor, firstPosition: Int, backend: any Backend
  ) throws -> [[Float]] {
    let partial = min((blockSize - firstPosition % blockSize) % blockSize, q.rows)
    let head =
      partial > 0
      ? try backend.readRows(
        backend.meanPooled(q.slice(rows: 0..<partial), blockSize: blockSize)) : []
    guard partial < q.rows else { return head }
    let rest = try backend.readRows(
      backend.meanPooled(q.slice(rows: partial..<q.rows), blockSize: blockSize))
    return head.isEmpty ? rest : zip(head, rest).map { $0 + $1 }
  }

  /// The blocks of one head.
  ///
  /// - queries: [blocks * headDim] of the blocks that the chunk touches, from the one that holds
  ///   `firstPosition`; keys: [blocks * headDim] of all key blocks up to the chunk's last row.
  ///
  /// O(query blocks * key blocks * headDim).
  public static func selection(
    queries: [Float], keys: [Float], headDim: Int, firstPosition: Int, topK: Int
  ) -> SelectedBlocks {
    let first = firstPosition / blockSize
    var offsets: [Int32] = [0]
    var chosen: [Int32] = []
    for block in 0..<queries.count / headDim {
      let own = first + block
      let scores = self.scores(
        query: queries[block * headDim..<(block + 1) * headDim], keys: keys, blocks: own + 1)
      var row = LargestScores.indices(of: scores, count: topK)
      if row.first != 0 { row.insert(0, at: 0) }
      if row.last != Int32(own) { row.append(Int32(own)) }
      chosen += row
      offsets.append(Int32(chosen.count))
    }
    return SelectedBlocks(blockSize: blockSize, blockOffsets: offsets, keyBlocks: chosen)
  }

  /// Products of one mean query with the first `blocks` mean keys.
  private static func scores(query: ArraySlice<Float>, keys: [Float], blocks: Int) -> [Float] {
    query.withUnsafeBufferPointer { query in
      keys.withUnsafeBufferPointer { keys in
        (0..<blocks).map { block in
          dot(
            query,
            UnsafeBufferPointer(rebasing: keys[block * query.count..<(block + 1) * query.count]))
        }
      }
    }
  }

  /// Eight partial sums, so that the compiler may use whole registers.
  private static func dot(
    _ x: UnsafeBufferPointer<Float>, _ y: UnsafeBufferPointer<Float>
  ) -> Float {
    var sums = SIMD8<Float>(repeating: 0)
    var d = 0
    while d + 8 <= x.count {
      var a = SIMD8<Float>()
      var b = SIMD8<Float>()
      for lane in 0..<8 {
        a[lane] = x[d + lane]
        b[lane] = y[d + lane]
      }
      sums += a * b
      d += 8
    }
    var sum = sums.sum()
    while d < x.count {
      sum += x[d] * y[d]
      d += 1
    }
    return sum
  }
}
