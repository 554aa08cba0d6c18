public import Compute

/// Queries, keys and values of sequences of any lengths, packed one after another.
///
/// With T the sum of the lengths: q is [T, queryHeads, headDim], k and v are
/// [T, keyValueHeads, headDim], row-major, float32. Query head h reads key-value head
/// h / (queryHeads / keyValueHeads); k and v are never expanded. Positions begin at 0 in every
/// sequence; whatever rotary embedding the model has is in q and k already.
public struct AttentionBatch: Sendable {
  public let q: [Float]
  public let k: [Float]
  public let v: [Float]
  public let shape: AttentionShape
  /// Rows of each sequence; a sequence may have none.
  public let lengths: [Int]

  /// - Parameter lengths: nil for one sequence of all rows.
  /// - Throws: ``LanguageModelError/sizeMismatch(operation:detail:)`` if the buffers do not fit the
  ///   shape and the lengths.
  public init(
    q: [Float], k: [Float], v: [Float], shape: AttentionShape, lengths: [Int]? = nil
  ) throws {
    let rowOfQ = shape.queryHeads * shape.headDim
    let rowOfK = shape.keyValueHeads * shape.headDim
    let lengths = lengths ?? [q.count / rowOfQ]
    let rows = lengths.reduce(0, +)
    guard lengths.allSatisfy({ $0 >= 0 }), q.count == rows * rowOfQ, k.count == rows * rowOfK,
      v.count == rows * rowOfK
    else {
      throw LanguageModelError.sizeMismatch(
        operation: "AttentionBatch",
        detail: "lengths \(lengths) with \(shape.queryHeads) query and \(shape.keyValueHeads) "
          + "key-value heads of \(shape.headDim) need \(rows * rowOfQ) numbers in q and "
          + "\(rows * rowOfK) in k and v; there are \(q.count), \(k.count) and \(v.count)")
    }
    self.q = q
    self.k = k
    self.v = v
    self.shape = shape
    self.lengths = lengths
  }

  /// The rows of each sequence.
  var ranges: [Range<Int>] {
    var start = 0
    return lengths.map { length in
      defer { start += length }
      return start..<start + length
    }
  }
}

/// What attention over an ``AttentionBatch`` gives.
public struct AttentionOutput: Sendable {
  /// [T, queryHeads, headDim]
  public internal(set) var o: [Float] = []
  /// [T, queryHeads], natural logarithm of each row's sum of exponentials.
  ///
  /// exp(sparse - dense) of two runs on the same q and k is the row's recall.
  public internal(set) var logSumExp: [Float] = []
  /// [sequence][query head], pairs of a query and a key that were computed.
  public internal(set) var computedPairs: [[Int]] = []
  /// [sequence], the pairs that dense attention computes for each head.
  public internal(set) var causalPairs: [Int] = []

  /// Computed / causal pairs over all sequences and heads; 1 if there are none.
  public var density: Double {
    let causal = zip(causalPairs, computedPairs).reduce(0.0) {
      $0 + Double($1.0) * Double($1.1.count)
    }
    return causal == 0 ? 1 : computedPairs.joined().reduce(0.0) { $0 + Double($1) } / causal
  }
}

/// The key columns and the offsets query - key that a vertical-slash head computes.
public struct VerticalSlashIndices: Sendable, Hashable {
  /// Key columns; ascending and distinct after ``AttentionKernels`` made them, in any order before.
  public var columns: [Int32]
  /// Offsets, 0 is the diagonal; likewise.
  public var offsets: [Int32]

  public init(columns: [Int32], offsets: [Int32]) {
    self.columns = columns
    self.offsets = offsets
  }
}
