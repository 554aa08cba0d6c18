import Checkpoints

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Dual chunk attention: the distances at which a query sees keys.
///
/// Positions are cut into chunks of ``stride``. Query i of chunk c sees
/// - the keys of its own chunk at their true distance,
/// - those of the chunk before at their true distance too, but as if i stood no further than
///   ``chunkSize`` behind that chunk's beginning,
/// - those of earlier chunks as if it stood ``chunkSize`` behind their chunk's beginning.
///
/// So no distance exceeds ``chunkSize``. Keys are stored rotated by their true positions, and queries are
/// rotated differently for each chunk of keys, since only relative positions matter. The cache is an
/// ordinary one, and indices are estimated on continuous positions, as the report specifies.
///
/// Source: Qwen2.5-1M, https://arxiv.org/abs/2501.15383, section 4; An et al.,
/// https://arxiv.org/abs/2402.17463.
struct DualChunk: Sendable, Equatable {
  /// Positions of a chunk.
  let stride: Int
  /// The largest distance.
  let chunkSize: Int
  /// See ``attentionScaling(forLength:)``.
  let originalLength: Int?

  init(_ configuration: DualChunkConfiguration) {
    stride = configuration.stride
    chunkSize = configuration.chunkSize
    originalLength = configuration.originalMaxPositionEmbeddings
  }

  /// Consecutive keys that a query sees under one rotation.
  struct Region: Sendable, Hashable {
    let firstKey: Int
    /// nil: up to the query itself.
    let endKey: Int?
    /// Where the query is taken to stand; nil: at its own position.
    let queryPosition: Int?
  }

  /// The parts of `rows` that lie in one chunk each.
  func chunks(_ rows: Range<Int>) -> [Range<Int>] { ChunkPlan.cut(rows, every: stride) }

  /// The parts of `rows` within which all rows have the same regions.
  func cut(_ rows: Range<Int>) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var start = rows.lowerBound
    while start < rows.upperBound {
      let chunk = start / stride * stride
      // Rows up to here are not too far from the chunk before.
      let far = chunk + chunkSize - stride + 1
      let boundary = start < far && chunk > 0 ? min(far, chunk + stride) : chunk + stride
      let end = min(boundary, rows.upperBound)
      parts.append(start..<end)
      start = end
    }
    return parts
  }

  /// What rows of one part of ``cut(_:)`` see; disjoint, and all keys up to the row together.
  func regions(ofRowsFrom row: Int) -> [Region] {
    let chunk = row / stride
    var regions: [Region] = []
    var earlier = chunk
    if chunk > 0, row % stride + stride <= chunkSize {
      regions.append(Region(firstKey: (chunk - 1) * stride, endKey: nil, queryPosition: nil))
      earlier = chunk - 1
    } else {
      regions.append(Region(firstKey: chunk * stride, endKey: nil, queryPosition: nil))
    }
    for other in (0..<earlier).reversed() {
      let first = other * stride
      regions.append(
        Region(firstKey: first, endKey: first + stride, queryPosition: first + chunkSize))
    }
    return regions
  }

  /// What queries and keys are multiplied with in a sequence of so many tokens:
  /// 0.1 ln(length / original length) + 1, as in YaRN, and never less than 1.
  func attentionScaling(forLength length: Int) -> Float {
    guard let originalLength, length > originalLength else { return 1 }
    return Float(0.1 * log(Double(length) / Double(originalLength)) + 1)
  }
}
