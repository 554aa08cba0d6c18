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

/// Where matches lie within a piece.
enum MatchFinder {
  /// The occurrences of a literal, left to right, not overlapping.
  static func literal(
    _ literal: [UInt8], in text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>
  ) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var position = piece.lowerBound
    while position + literal.count <= piece.upperBound {
      if text[position] == literal[0],
        text[position..<position + literal.count].elementsEqual(literal)
      {
        matches.append(position..<position + literal.count)
        position += literal.count
      } else {
        position += 1
      }
    }
    return matches
  }

  /// The characters that are numbers, one by one.
  static func numbers(in text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>) -> [Range<Int>] {
    guard let bytes = text.baseAddress else { return [] }
    return CharacterClasses.shared.withLookup { classes in
      var matches: [Range<Int>] = []
      var position = piece.lowerBound
      while position < piece.upperBound {
        let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
        if classes.bits(scalar) & CharacterClasses.number != 0 {
          matches.append(position..<position + length)
        }
        position += length
      }
      return matches
    }
  }
}

/// Turns matches into cuts, as Hugging Face's `SplitDelimiterBehavior` does.
struct DelimiterCuts {
  let behavior: SplitStage.Behavior

  init(_ behavior: SplitStage.Behavior) { self.behavior = behavior }

  /// Appends the ends of the parts of `piece`.
  func append(_ matches: [Range<Int>], within piece: Range<Int>, to ends: inout [Int]) {
    var last = piece.lowerBound
    func cut(at position: Int) {
      if position > last {
        ends.append(position)
        last = position
      }
    }
    for (index, match) in matches.enumerated() {
      switch behavior {
      case .isolated, .removed:
        cut(at: match.lowerBound)
        cut(at: match.upperBound)
      case .mergedWithPrevious: cut(at: match.upperBound)
      case .mergedWithNext: cut(at: match.lowerBound)
      case .contiguous:
        if index == 0 || matches[index - 1].upperBound < match.lowerBound {
          cut(at: match.lowerBound)
        }
        if index + 1 == matches.count || matches[index + 1].lowerBound > match.upperBound {
          cut(at: match.upperBound)
        }
      }
    }
    cut(at: piece.upperBound)
  }
}
