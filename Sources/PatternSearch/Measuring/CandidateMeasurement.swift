import SparseAttention

/// What one candidate keeps and costs in one head of one sample.
public struct CandidateMeasurement: Sendable, Hashable, Codable {
  /// Mean recall over the rows that count for the pattern.
  public var recall: Double
  /// Nine of ten of these rows have at least this.
  public var tenthPercentile: Double
  /// Over all chunks.
  public var work: IndexWork
  /// norm(o_sparse - o_dense) / norm(o_dense) over every fourth of the sampled rows; nil where the
  /// dense output is zero.
  public var outputError: Double?
  /// What the error does to the model: the mean over the same rows of
  /// norm(g * W (o_sparse - o_dense)) / norm(g * x), W the head's part of the output projection, x the
  /// hidden state behind attention, g the weights of the norm that reads it. Small where the head's
  /// output hardly counts, whatever mass it loses.
  public var residualError: Double

  public init(
    recall: Double, tenthPercentile: Double, work: IndexWork, outputError: Double? = nil,
    residualError: Double = 0
  ) {
    self.recall = recall
    self.tenthPercentile = tenthPercentile
    self.work = work
    self.outputError = outputError
    self.residualError = residualError
  }

  /// - Parameter rows: recall of each row that counts; a pattern that covers all of them loses none.
  init(rows: [Double], work: IndexWork) {
    self.init(
      recall: rows.isEmpty ? 1 : rows.reduce(0, +) / Double(rows.count),
      tenthPercentile: Self.tenthPercentile(rows.sorted()), work: work)
  }

  /// The 10th percentile of ascending numbers, interpolated between neighbours as at run time.
  private static func tenthPercentile(_ rows: [Double]) -> Double {
    guard let last = rows.last else { return 1 }
    let place = 0.1 * Double(rows.count - 1)
    let low = rows[Int(place)]
    let high = Int(place) + 1 < rows.count ? rows[Int(place) + 1] : last
    return low + (place - place.rounded(.down)) * (high - low)
  }
}

extension CostModel {
  /// Predicted seconds of one head over a text that is read in these chunks.
  func seconds(
    _ work: IndexWork, pattern: HeadPattern, chunks: [Range<Int>]
  ) -> Double {
    var seconds = kernelSeconds(work)
    guard pattern != .dense else { return seconds }
    // What grows with runs is there once; what grows with keys, once for each chunk.
    seconds += indexSeconds(work, pattern: .aShape(sink: 0, local: 0), keys: 0, rows: 0)
    let empty = IndexWork(tilePairs: 0, columnPairs: 0, runs: 0, tileRows: 0)
    for chunk in chunks {
      seconds += indexSeconds(
        empty, pattern: pattern, keys: chunk.upperBound, rows: chunk.count)
    }
    return seconds
  }
}
