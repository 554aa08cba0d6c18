/// A regular expression that texts are split or rewritten by: any that `PatternParser` reads.
package struct SplitExpression: Sendable {
  private let program: PatternProgram

  /// - Throws: `SplitExpressionError` that names what is not understood and where.
  package init(
    _ expression: String, dialect: ExpressionDialect = .oniguruma
  ) throws(SplitExpressionError) {
    program = try PatternProgram(expression, dialect: dialect)
  }

  /// Reads a string of tokenizer.json.
  init(_ node: JSONNode) throws(TokenizerError) {
    let expression = try node.string()
    do throws(SplitExpressionError) {
      try self.init(expression)
    } catch {
      throw node.unsupported(
        "is the expression \"\(expression.prefix(60))\", which \(error.problem)")
    }
  }

  /// A text with every match replaced.
  func replacingMatches(in text: [UInt8], by content: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    var copied = 0
    var matcher = makeMatcher()
    text.withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return }
      matcher.forEachMatch(in: base, 0..<bytes.count) { match in
        output += bytes[copied..<match.lowerBound]
        output += content
        copied = match.upperBound
      }
    }
    output += text[copied...]
    return output
  }

  /// Whether it can match an empty text.
  var matchesNothing: Bool { program.first < 0 }

  func makeMatcher(marksFromStart: Bool = false) -> PatternMatcher {
    PatternMatcher(program, marksFromStart: marksFromStart)
  }

  /// The byte ranges of the matches in well-formed UTF-8.
  ///
  /// - Parameter marksFromStart: whether failed choices are marked from the beginning on, which changes the
  ///   time and nothing else.
  package func matches(in text: [UInt8], marksFromStart: Bool = false) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var matcher = makeMatcher(marksFromStart: marksFromStart)
    text.withUnsafeBufferPointer { text in
      guard let bytes = text.baseAddress else { return }
      matcher.forEachMatch(in: bytes, 0..<text.count) { matches.append($0) }
    }
    return matches
  }

  /// The pieces that a `Split` pre-tokenizer makes of a text, by the name of its behaviour.
  package func pieces(
    of text: [UInt8], behavior: String = "Isolated", isInverted: Bool = false
  ) -> [[UInt8]] {
    var pieces = Pieces(text, beginsText: true)
    pieces.split(
      at: .expression(self), DelimiterBehavior(rawValue: behavior) ?? .isolated,
      isInverted: isInverted)
    return pieces.texts
  }
}
