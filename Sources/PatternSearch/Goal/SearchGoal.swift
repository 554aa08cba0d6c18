public import SparseAttention

/// The goal of a search, in terms that a user knows.
public enum SearchGoal: Sendable, Hashable {
  /// The least time with a mean divergence of next-token distributions of at most this many nats.
  case divergence(Double)
  /// The least time with a perplexity of at most this many times dense attention's; above 1.
  case perplexityRatio(Double)
  /// The least divergence within this share of the time of dense attention.
  case attentionTime(Double)

  /// The share of dense attention's correct answer tokens that retrieval prompts may lose.
  public static let lostAnswers = 0.05

  /// In words, for reports and pattern files.
  public var text: String {
    switch self {
    case .divergence(let most): "KL at most \(most)"
    case .perplexityRatio(let most): "perplexity ratio at most \(most)"
    case .attentionTime(let most): "attention time at most \(most) of dense attention's"
    }
  }

  /// The goal's own figure divided by its limit.
  func use(_ figures: SearchFigures.Length) -> Double {
    let use =
      switch self {
      case .divergence(let most): figures.divergence / most
      case .perplexityRatio(let most): (figures.perplexityRatio - 1) / (most - 1)
      case .attentionTime(let most): figures.attentionTime / most
      }
    // A figure that is NaN does not keep the goal.
    return use.isNaN ? .infinity : use
  }

  /// Whether figures of one length keep the goal: its own figure, and, unless time alone is asked for,
  /// the answers of retrieval prompts.
  public func isKept(_ figures: SearchFigures.Length) -> Bool {
    guard use(figures) <= 1 else { return false }
    if case .attentionTime = self { return true }
    let least = (1 - Self.lostAnswers) * Double(figures.answerTokensRightDense)
    return Double(figures.answerTokensRight) >= least.rounded(.down)
  }

  /// The same at every length; false without figures.
  public func isKept(_ figures: [SearchFigures.Length]) -> Bool {
    !figures.isEmpty && figures.allSatisfy { isKept($0) }
  }

  /// The largest use at any length.
  func use(_ figures: [SearchFigures.Length]) -> Double {
    figures.map { use($0) }.max() ?? .infinity
  }

  /// Whether the goal limits the loss and minimises time, and not the reverse.
  var limitsLoss: Bool {
    if case .attentionTime = self { false } else { true }
  }
}
