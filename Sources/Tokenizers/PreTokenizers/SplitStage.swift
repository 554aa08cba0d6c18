/// The `Split` pre-tokenizer: cuts at the matches of a literal or of a regular expression.
struct SplitStage: Sendable {
  private enum Rule: Sendable {
    /// A known expression, which covers the whole text, so that every match is a piece.
    case pattern(SplitPattern)
    case delimiter(DelimiterPattern, DelimiterBehavior, isInverted: Bool)
  }

  private let rule: Rule

  /// Every match of a pattern is a piece.
  init(_ pattern: SplitPattern) { rule = .pattern(pattern) }

  /// Matches and what lies between them are pieces.
  init(_ expression: SplitExpression) {
    rule = .delimiter(.expression(expression), .isolated, isInverted: false)
  }

  init(_ node: JSONNode) throws(TokenizerError) {
    let behavior = try DelimiterBehavior(node["behavior"])
    let isInverted = try node["invert"].bool(default: false)
    let pattern = node["pattern"]
    if pattern["Regex"].isPresent, behavior == .isolated || behavior == .removed && isInverted,
      let known = SplitPattern(expression: try pattern["Regex"].string())
    {
      rule = .pattern(known)
    } else {
      rule = .delimiter(try DelimiterPattern(pattern), behavior, isInverted: isInverted)
    }
  }

  /// Whether it cuts at the matches of a known pattern.
  var isKnownPattern: Bool { if case .pattern = rule { true } else { false } }

  func apply(to pieces: inout Pieces) {
    switch rule {
    case .pattern(let pattern): pattern.split(&pieces)
    case .delimiter(let pattern, let behavior, let isInverted):
      pieces.split(at: pattern, behavior, isInverted: isInverted)
    }
  }
}
