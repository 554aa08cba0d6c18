#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Recall of one head over the sampled rows.
public struct HeadRecall: Sendable, Hashable {
  public var mean: Double
  /// The 10th percentile of rows, interpolated between neighbours.
  public var tenthPercentile: Double
  public var rows: Int

  package init(mean: Double, tenthPercentile: Double, rows: Int) {
    self.mean = mean
    self.tenthPercentile = tenthPercentile
    self.rows = rows
  }

  /// Of the recalls of some rows; nil of none.
  package init?(_ values: [Float]) {
    let rows = values.sorted()
    guard let largest = rows.last else { return nil }
    mean = rows.reduce(0.0) { $0 + Double($1) } / Double(rows.count)
    let place = 0.1 * Double(rows.count - 1)
    let low = rows[Int(place)]
    let high = Int(place) + 1 < rows.count ? rows[Int(place) + 1] : largest
    tenthPercentile = Double(low) + (place - place.rounded(.down)) * Double(high - low)
    self.rows = rows.count
  }
}

/// Collects how much of each row's attention mass the sparse index kept.
///
/// The recall of a row is min(1, exp(lse_sparse - lse_dense)) on the sparse run's own q and k: the
/// share of the dense softmax's mass that lies on the computed pairs.
public struct RecallMeter: Sendable {
  /// values[layer][head][row], in the order added.
  private var values: [[[Float]]]

  public init(layers: Int, heads: Int) {
    values = Array(repeating: Array(repeating: [], count: heads), count: layers)
  }

  /// Recall of one row from its log-sum-exps; a row without keys keeps nothing, and neither does one
  /// whose values are not finite.
  public static func recall(sparse: Float, dense: Float) -> Float {
    let share = exp(Double(sparse) - Double(dense))
    return share.isNaN ? 0 : Float(min(1, share))
  }

  /// Adds rows of one layer; both are [rows, heads] log-sum-exps, natural logarithm.
  public mutating func add(layer: Int, sparse: [Float], dense: [Float]) {
    let heads = values[layer].count
    precondition(sparse.count == dense.count && sparse.count % max(heads, 1) == 0)
    for (i, (sparse, dense)) in zip(sparse, dense).enumerated() {
      values[layer][i % heads].append(Self.recall(sparse: sparse, dense: dense))
    }
  }

  /// Adds the recalls of rows of one head.
  package mutating func add(layer: Int, head: Int, _ recalls: [Float]) {
    values[layer][head] += recalls
  }

  /// [layer][head]; nil where no row was added.
  public var headRecalls: [[HeadRecall?]] { values.map { $0.map { HeadRecall($0) } } }

  /// Recall of a head; nil before a row was added.
  public func recall(layer: Int, head: Int) -> HeadRecall? {
    HeadRecall(values[layer][head])
  }

  /// Mean over the heads that were measured, and the head that keeps least; nil if none was.
  public var summary: RecallSummary? {
    var summary: RecallSummary?
    var sum = 0.0
    var count = 0
    for layer in values.indices {
      for head in values[layer].indices {
        guard let recall = recall(layer: layer, head: head) else { continue }
        sum += recall.mean
        count += 1
        if summary.map({ recall.mean < $0.worst.mean }) ?? true {
          summary = RecallSummary(mean: 0, worst: recall, worstLayer: layer, worstHead: head)
        }
      }
    }
    summary?.mean = sum / Double(max(count, 1))
    return summary
  }
}

/// Recall over all heads of a run.
public struct RecallSummary: Sendable, Hashable {
  /// Mean of the heads' means.
  public var mean: Double
  /// The head with the smallest mean.
  public var worst: HeadRecall
  public var worstLayer: Int
  public var worstHead: Int
}
