/// A template cut into text, tags and the tokens within tags.
///
/// White space follows Jinja with `trim_blocks` and `lstrip_blocks`: a line break after a statement or comment
/// is dropped, and so are blanks between the start of a line and one; `-` drops all white space on its side,
/// `+` keeps what would be dropped.
struct TemplateLexer {
  enum Token: Equatable {
    /// Text between tags.
    case data(String)
    case statementStart, statementEnd, outputStart, outputEnd
    case name(String)
    case string(String)
    case integer(Int)
    case number(Double)
    /// An operator or a bracket.
    case symbol(String)
    case end
  }

  /// The most tokens in one tag; real templates have fewer than a hundred. Bounds the depth of evaluation.
  private static let largestTag = 1000

  private let source: [Unicode.Scalar]
  private var position = 0
  private var line = 1
  private var tokens: [(token: Token, line: Int)] = []

  /// All tokens of a template with their lines; the last one is `.end`.
  static func tokens(of source: String) throws(ChatTemplateError) -> [(token: Token, line: Int)] {
    var scalars: [Unicode.Scalar] = []
    for scalar in source.unicodeScalars {
      if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
      scalars.append(scalar)
    }
    scalars = scalars.map { $0 == "\r" ? "\n" : $0 }
    // One line break at the very end belongs to the file, not to the template.
    if scalars.last == "\n" { scalars.removeLast() }
    var lexer = TemplateLexer(source: scalars)
    try lexer.run()
    return lexer.tokens
  }

  private init(source: [Unicode.Scalar]) { self.source = source }

  private func starts(with text: String, at place: Int? = nil) -> Bool {
    let place = place ?? position
    let scalars = Array(text.unicodeScalars)
    return place + scalars.count <= source.count
      && source[place..<place + scalars.count].elementsEqual(scalars)
  }

  private mutating func advance(_ count: Int) {
    for scalar in source[position..<position + count] where scalar == "\n" { line += 1 }
    position += count
  }

  private mutating func run() throws(ChatTemplateError) {
    var isAtLineStart = true
    while position < source.count {
      var tag = position
      while tag < source.count,
        !(source[tag] == "{" && ["{{", "{%", "{#"].contains { starts(with: $0, at: tag) })
      { tag += 1 }
      let opening = tag + 1 < source.count ? source[tag + 1] : " "
      let sign = tag + 2 < source.count ? source[tag + 2] : " "
      var text = source[position..<tag]
      if tag < source.count {
        if sign == "-" {
          while let last = text.last, last.properties.isWhitespace { text.removeLast() }
        } else if sign != "+", opening != "{" {
          let lineStart = text.lastIndex(of: "\n").map { $0 + 1 }
          if lineStart != nil || isAtLineStart {
            let indentation = text[(lineStart ?? text.startIndex)...]
            if indentation.allSatisfy(\.properties.isWhitespace) {
              text = text[..<(lineStart ?? text.startIndex)]
            }
          }
        }
      }
      if !text.isEmpty {
        var data = String.UnicodeScalarView()
        data.append(contentsOf: text)
        tokens.append((.data(String(data)), line))
      }
      advance(tag - position)
      guard position < source.count else { break }

      advance(2)
      let isSigned = sign == "-" || sign == "+" && opening == "%"
      if isSigned { advance(1) }
      switch opening {
      case "#": isAtLineStart = try skipComment()
      case "%":
        tokens.append((.statementStart, line))
        isAtLineStart = try readTag(closing: "%}", token: .statementEnd)
      default:
        tokens.append((.outputStart, line))
        isAtLineStart = try readTag(closing: "}}", token: .outputEnd)
      }
    }
    tokens.append((.end, line))
  }

  /// Takes the end of a tag and the white space that goes with it; says whether a line begins after it.
  private mutating func finishTag(
    _ closing: String, sign: Unicode.Scalar?
  ) -> Bool {
    advance((sign == nil ? 0 : 1) + 2)
    let start = position
    if sign == "-" {
      while position < source.count, source[position].properties.isWhitespace { advance(1) }
    } else if sign == nil, closing != "}}", position < source.count, source[position] == "\n" {
      advance(1)
    }
    return position > start && source[position - 1] == "\n"
  }

  /// The sign before the end of a tag, if the tag ends here.
  private func endOfTag(_ closing: String) -> Unicode.Scalar?? {
    if starts(with: closing) { return .some(nil) }
    if starts(with: "-" + closing) { return .some("-") }
    if starts(with: "+" + closing), closing != "}}" { return .some("+") }
    return nil
  }

  private mutating func skipComment() throws(ChatTemplateError) -> Bool {
    let start = line
    while position < source.count {
      if let sign = endOfTag("#}") { return finishTag("#}", sign: sign) }
      advance(1)
    }
    throw ChatTemplateError(.syntax, line: start, "a comment that does not end")
  }

  private mutating func readTag(
    closing: String, token: Token
  ) throws(ChatTemplateError) -> Bool {
    let start = line
    let first = tokens.count
    var brackets: [Unicode.Scalar] = []
    while position < source.count {
      if source[position].properties.isWhitespace {
        advance(1)
        continue
      }
      if brackets.isEmpty, let sign = endOfTag(closing) {
        tokens.append((token, line))
        return finishTag(closing, sign: sign)
      }
      switch source[position] {
      case "(", "[", "{": brackets.append(source[position])
      case ")", "]", "}":
        let opening: [Unicode.Scalar: Unicode.Scalar] = [")": "(", "]": "[", "}": "{"]
        guard let last = brackets.popLast(), last == opening[source[position]] else {
          throw ChatTemplateError(
            .syntax, line: line, "\"\(source[position])\" without its opening bracket")
        }
      default: break
      }
      try readToken()
      if tokens.count - first > Self.largestTag {
        throw ChatTemplateError(
          .unsupported, line: start, "a tag of more than \(Self.largestTag) tokens")
      }
    }
    throw ChatTemplateError(.syntax, line: start, "a tag that does not end with \"\(closing)\"")
  }

  private mutating func readToken() throws(ChatTemplateError) {
    let first = source[position]
    if first == "'" || first == "\"" { return try readString(quote: first) }
    if ("0"..."9").contains(first) { return try readNumber() }
    if first == "_" || first.properties.isXIDStart {
      var end = position + 1
      while end < source.count, source[end] == "_" || source[end].properties.isXIDContinue {
        end += 1
      }
      var name = String.UnicodeScalarView()
      name.append(contentsOf: source[position..<end])
      tokens.append((.name(String(name)), line))
      return advance(end - position)
    }
    let symbols = [
      "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")",
      "[", "]",
      "{", "}", ".", ",", ":", "|",
    ]
    guard let symbol = symbols.first(where: { starts(with: $0) }) else {
      throw ChatTemplateError(.syntax, line: line, "\"\(first)\" is not part of an expression")
    }
    tokens.append((.symbol(symbol), line))
    advance(symbol.unicodeScalars.count)
  }

  private mutating func readNumber() throws(ChatTemplateError) {
    var end = position
    var isWhole = true
    while end < source.count {
      let isPoint =
        source[end] == "." && isWhole && end + 1 < source.count
        && ("0"..."9").contains(source[end + 1])
      guard isPoint || ("0"..."9").contains(source[end]) || source[end] == "_" else { break }
      if isPoint { isWhole = false }
      end += 1
    }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: source[position..<end].filter { $0 != "_" })
    let text = String(view)
    if isWhole, let value = Int(text) {
      tokens.append((.integer(value), line))
    } else if !isWhole, let value = Double(text) {
      tokens.append((.number(value), line))
    } else {
      throw ChatTemplateError(.syntax, line: line, "the number \(text) is too large")
    }
    advance(end - position)
  }

  private mutating func readString(quote: Unicode.Scalar) throws(ChatTemplateError) {
    let start = line
    advance(1)
    var text = String.UnicodeScalarView()
    while position < source.count, source[position] != quote {
      guard source[position] == "\\" else {
        text.append(source[position])
        advance(1)
        continue
      }
      guard position + 1 < source.count else { break }
      let escape = source[position + 1]
      advance(2)
      switch escape {
      case "n": text.append("\n")
      case "t": text.append("\t")
      case "r": text.append("\r")
      case "\\", "'", "\"": text.append(escape)
      case "\n": break
      case "x", "u", "U":
        let count = escape == "x" ? 2 : escape == "u" ? 4 : 8
        var digits = String.UnicodeScalarView()
        digits.append(contentsOf: source[position..<min(source.count, position + count)])
        guard let value = UInt32(String(digits), radix: 16), digits.count == count,
          let scalar = Unicode.Scalar(value)
        else {
          throw ChatTemplateError(.syntax, line: line, "an unfinished \\\(escape) in a string")
        }
        text.append(scalar)
        advance(count)
      case "a", "b", "f", "v", "N", "0"..."7":
        throw ChatTemplateError(.unsupported, line: line, "the escape \\\(escape) in a string")
      default:
        // Python keeps the backslash of an escape that it does not know.
        text.append("\\")
        text.append(escape)
      }
    }
    guard position < source.count else {
      throw ChatTemplateError(.syntax, line: start, "a string that does not end")
    }
    advance(1)
    tokens.append((.string(String(text)), start))
  }
}
