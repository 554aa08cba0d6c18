/// Why a head is dense although its pattern is not.
public enum DenseReason: Sendable, Hashable, CustomStringConvertible {
  /// The chunk has fewer rows than an estimate is made from.
  case fewRows(Int)
  /// The chunk sees fewer keys than the crossover.
  case fewKeys(Int, crossover: Int)
  /// The pattern's budgets take every column or every offset.
  case budgetTakesEverything
  /// The index, rounded out to tiles, leaves nothing out.
  case indexIsDense
  /// The index would cost this many times as much as dense.
  case costsMoreThanDense(ratio: Double)

  /// Whether the head computes more than its pattern asks for, tiles aside.
  public var isFallback: Bool {
    switch self {
    case .fewRows, .fewKeys, .costsMoreThanDense: true
    case .budgetTakesEverything, .indexIsDense: false
    }
  }

  public var description: String {
    switch self {
    case .fewRows(let rows): "the chunk has \(rows) rows, fewer than 64"
    case .fewKeys(let keys, let crossover):
      "\(keys) keys are fewer than the \(crossover) from which sparse is faster"
    case .budgetTakesEverything: "the budgets take every key"
    case .indexIsDense: "the index leaves no tile out"
    case .costsMoreThanDense(let ratio):
      "the index costs \((ratio * 100).rounded() / 100) times as much as dense"
    }
  }
}

/// What an index of one (layer, chunk) holds and what it took to make it.
public struct IndexReport: Sendable {
  /// Time for estimation, selection and building.
  public var seconds: Double
  /// The part of it that the backend took for sums and means.
  public var estimationSeconds: Double
  /// Pairs that each head computes.
  public var computedPairs: [Int]
  /// Causal pairs of each head (within the model's own window).
  public var causalPairs: [Int]
  /// For each head, why it is dense although its pattern is not; nil where it is not so.
  public var denseReasons: [DenseReason?]

  /// The heads that were made dense although their pattern asks for less, with the reason in words.
  public var fallbacks: [Int: String] {
    var fallbacks: [Int: String] = [:]
    for (head, reason) in denseReasons.enumerated() {
      if let reason, reason.isFallback { fallbacks[head] = reason.description }
    }
    return fallbacks
  }

  /// Computed pairs / causal pairs over all heads.
  public var density: Double {
    let causal = causalPairs.reduce(0, +)
    return causal == 0 ? 1 : Double(computedPairs.reduce(0, +)) / Double(causal)
  }
}
