/// A template cut into text, tags and the tokens within tags.
///
/// White space follows Jinja with `trim_blocks` and `lstrip_blocks`: a line break after a statement or comment
/// is dropped, and so are blanks between the start of a line and one; `-` drops all white space on its side,
/// `+` keeps what would be dropped.
struct TemplateLexer {
  /// The largest template that is read; the largest one known has some 30 KB.
  static let largestTemplate = 1 << 20
  /// The most tokens in one tag.
  private static let largestTag = 20_000

  private let source: [Unicode.Scalar]
  private var tags: TagLexer
  private var tokens: [TemplateToken] = []

  /// All tokens of a template; the last one is `.end`.
  static func tokens(of source: String) throws(ChatTemplateError) -> [TemplateToken] {
    guard source.utf8.count <= largestTemplate else {
      throw ChatTemplateError(
        .unsupported, line: 1, "a template of more than \(largestTemplate) bytes")
    }
    var scalars: [Unicode.Scalar] = []
    scalars.reserveCapacity(source.utf8.count)
    var afterReturn = false
    for scalar in source.unicodeScalars {
      if !(scalar == "\n" && afterReturn) { scalars.append(scalar == "\r" ? "\n" : scalar) }
      afterReturn = scalar == "\r"
    }
    // One line break at the very end belongs to the file, not to the template.
    if scalars.last == "\n" { scalars.removeLast() }
    var lexer = TemplateLexer(source: scalars, tags: TagLexer(source: scalars))
    try lexer.run()
    return lexer.tokens
  }

  private var position: Int { tags.position }

  private func starts(with text: StaticString, at place: Int) -> Bool {
    tags.starts(with: text, at: place)
  }

  private mutating func run() throws(ChatTemplateError) {
    var isAtLineStart = true
    while position < source.count {
      var tag = position
      while tag < source.count, !isOpening(at: tag) { tag += 1 }
      guard tag < source.count else {
        addText(source[position..<tag])
        tags.advance(tag - position)
        break
      }
      let opening = source[tag + 1]
      let sign = tag + 2 < source.count ? source[tag + 2] : " "
      addText(
        textBefore(
          tag, sign: sign, dropsIndentation: opening != "{", isAtLineStart: isAtLineStart))
      tags.advance(tag - position)
      tags.advance(sign == "-" || sign == "+" ? 3 : 2)
      switch opening {
      case "#": isAtLineStart = try skipComment()
      case "%":
        if let end = endOfRaw(keyword: "raw") {
          isAtLineStart = try readRaw(from: end)
        } else {
          tokens.append(TemplateToken(kind: .statementStart, line: tags.line))
          isAtLineStart = try readTag(closing: "%}", end: .statementEnd)
        }
      default:
        tokens.append(TemplateToken(kind: .outputStart, line: tags.line))
        isAtLineStart = try readTag(closing: "}}", end: .outputEnd)
      }
    }
    tokens.append(TemplateToken(kind: .end, line: tags.line))
  }

  private func isOpening(at place: Int) -> Bool {
    guard source[place] == "{", place + 1 < source.count else { return false }
    return ["{", "%", "#"].contains(source[place + 1])
  }

  // MARK: Text

  private mutating func addText(_ text: ArraySlice<Unicode.Scalar>) {
    guard !text.isEmpty else { return }
    tokens.append(TemplateToken(kind: .data(Self.string(text)), line: tags.line))
  }

  private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// The text up to a tag, without the white space that the tag drops.
  private func textBefore(
    _ tag: Int, sign: Unicode.Scalar, dropsIndentation: Bool, isAtLineStart: Bool
  ) -> ArraySlice<Unicode.Scalar> {
    var text = source[position..<tag]
    if sign == "-" {
      while let last = text.last, last.isPythonSpace { text.removeLast() }
    } else if sign != "+", dropsIndentation {
      var lineStart = text.endIndex
      while lineStart > text.startIndex, text[lineStart - 1].isPythonSpace,
        text[lineStart - 1] != "\n"
      { lineStart -= 1 }
      let isIndentation =
        lineStart > text.startIndex ? text[lineStart - 1] == "\n" : isAtLineStart
      if isIndentation { text = text[..<lineStart] }
    }
    return text
  }

  // MARK: Tags

  /// The sign before the end of a tag, if the tag ends here.
  private func endOfTag(_ closing: StaticString) -> Unicode.Scalar?? {
    if starts(with: closing, at: position) { return .some(nil) }
    guard position < source.count, starts(with: closing, at: position + 1) else { return nil }
    if source[position] == "-" { return .some("-") }
    if source[position] == "+", !starts(with: "}}", at: position + 1) { return .some("+") }
    return nil
  }

  /// Takes the end of a tag and the white space that goes with it; says whether a line begins after it.
  private mutating func finishTag(sign: Unicode.Scalar?, trimsLineBreak: Bool) -> Bool {
    tags.advance((sign == nil ? 0 : 1) + 2)
    let start = position
    if sign == "-" {
      while position < source.count, source[position].isPythonSpace { tags.advance(1) }
    } else if sign == nil, trimsLineBreak, position < source.count, source[position] == "\n" {
      tags.advance(1)
    }
    return position > start && source[position - 1] == "\n"
  }

  private mutating func skipComment() throws(ChatTemplateError) -> Bool {
    let start = tags.line
    while position < source.count {
      if let sign = endOfTag("#}") { return finishTag(sign: sign, trimsLineBreak: true) }
      tags.advance(1)
    }
    throw ChatTemplateError(.syntax, line: start, "a comment that does not end")
  }

  private mutating func readTag(
    closing: StaticString, end: TemplateToken.Kind
  ) throws(ChatTemplateError) -> Bool {
    let start = tags.line
    let first = tokens.count
    while position < source.count {
      if source[position].isPythonSpace {
        tags.advance(1)
        continue
      }
      if tags.isBalanced, let sign = endOfTag(closing) {
        tokens.append(TemplateToken(kind: end, line: tags.line))
        return finishTag(sign: sign, trimsLineBreak: end == .statementEnd)
      }
      tokens.append(try tags.next())
      if tokens.count - first > Self.largestTag {
        throw ChatTemplateError(
          .unsupported, line: start, "a tag of more than \(Self.largestTag) tokens")
      }
    }
    throw ChatTemplateError(.syntax, line: start, "a tag that does not end with \"\(closing)\"")
  }

  // MARK: Raw text

  /// The position of the end of a tag that holds `keyword` alone.
  private func endOfRaw(keyword: StaticString, from place: Int? = nil) -> Int? {
    var place = place ?? position
    func skipSpace() { while place < source.count, source[place].isPythonSpace { place += 1 } }
    skipSpace()
    guard starts(with: keyword, at: place) else { return nil }
    place += keyword.utf8CodeUnitCount
    skipSpace()
    for closing in ["%}", "-%}", "+%}"] as [StaticString] where starts(with: closing, at: place) {
      return place
    }
    return nil
  }

  /// Takes everything up to `{% endraw %}` as text.
  private mutating func readRaw(from end: Int) throws(ChatTemplateError) -> Bool {
    let start = tags.line
    tags.advance(end - position)
    var isAtLineStart = finishTag(
      sign: source[position] == "-" ? "-" : nil, trimsLineBreak: false)
    var place = position
    while place < source.count {
      if starts(with: "{%", at: place) {
        let sign = place + 2 < source.count ? source[place + 2] : " "
        let inner = place + (sign == "-" || sign == "+" ? 3 : 2)
        if let close = endOfRaw(keyword: "endraw", from: inner) {
          addText(
            textBefore(place, sign: sign, dropsIndentation: true, isAtLineStart: isAtLineStart))
          tags.advance(close - position)
          let signed = source[close] == "%" ? nil : source[close]
          isAtLineStart = finishTag(sign: signed, trimsLineBreak: true)
          return isAtLineStart
        }
      }
      place += 1
    }
    throw ChatTemplateError(.syntax, line: start, "a raw block that does not end")
  }
}
