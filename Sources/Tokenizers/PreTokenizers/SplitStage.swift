/// The `Split` pre-tokenizer: cuts at the matches of a literal or of one of the known patterns.
struct SplitStage: Sendable {
  /// What becomes of the matches; the names are tokenizer.json's.
  enum Behavior: String {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  private enum Rule: Sendable {
    /// Covers the whole text, so that every match is a piece.
    case pattern(SplitPattern)
    case literal([UInt8], Behavior)
  }

  private let rule: Rule

  /// Every match of a pattern is a piece.
  init(_ pattern: SplitPattern) { rule = .pattern(pattern) }

  init(_ node: JSONNode) throws(TokenizerError) {
    let behaviorName = try node["behavior"].string()
    guard let behavior = Behavior(rawValue: behaviorName) else {
      throw node["behavior"].unsupported("is \"\(behaviorName)\", which is not known")
    }
    let inverted = try node["invert"].bool(default: false)
    let pattern = node["pattern"]
    if pattern["Regex"].isPresent {
      let expression = try pattern["Regex"].string()
      guard let known = SplitPattern(expression: expression) else {
        throw pattern.unsupported(
          "is the split pattern \"\(expression)\", which is not one of the \(SplitPattern.known.count) known"
        )
      }
      // These patterns leave no text between matches, so isolated matches are the pieces.
      guard behavior == .isolated || behavior == .removed && inverted else {
        throw node.unsupported(
          "splits by pattern with behaviour \(behaviorName), invert \(inverted)")
      }
      rule = .pattern(known)
    } else {
      let literal = try pattern["String"].text()
      if literal.isEmpty { throw pattern.unsupported("is empty") }
      // Removed text would shift what decoding can give back; no byte-pair tokenizer asks for it.
      guard !inverted, behavior != .removed else {
        throw node.unsupported(
          "splits by literal with behaviour \(behaviorName), invert \(inverted)")
      }
      rule = .literal(literal, behavior)
    }
  }

  func apply(to pieces: inout Pieces) {
    switch rule {
    case .pattern(let pattern): pattern.split(&pieces)
    case .literal(let literal, let behavior):
      pieces.split { text, piece, ends in
        DelimiterCuts(behavior).append(
          MatchFinder.literal(literal, in: text, piece), within: piece, to: &ends)
      }
    }
  }
}
