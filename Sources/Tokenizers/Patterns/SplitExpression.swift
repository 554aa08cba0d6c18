/// A regular expression that texts are split or rewritten by: any that `PatternParser` reads.
package struct SplitExpression: Sendable {
  private let program: PatternProgram

  /// - Throws: `PatternError` that names what is not understood and where.
  package init(
    _ expression: String, dialect: PatternDialect = .oniguruma
  ) throws(PatternError) {
    program = try PatternProgram(expression, dialect: dialect)
  }

  /// Reads a string of tokenizer.json.
  init(_ node: JSONNode) throws(TokenizerError) {
    let expression = try node.string()
    do throws(PatternError) {
      try self.init(expression)
    } catch {
      throw node.unsupported(
        "is the expression \"\(expression.prefix(60))\", which \(error.problem)")
    }
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
