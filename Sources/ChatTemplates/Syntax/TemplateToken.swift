/// A piece of a template and the line that it begins on.
struct TemplateToken {
  enum Kind: Equatable {
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

  var kind: Kind
  var line: Int
}

extension TemplateToken.Kind {
  /// The token, for errors.
  var described: String {
    switch self {
    case .data: "text"
    case .statementStart: "\"{%\""
    case .statementEnd: "\"%}\""
    case .outputStart: "\"{{\""
    case .outputEnd: "\"}}\""
    case .name(let name): "\"\(name)\""
    case .string(let text): "the string \"\(text)\""
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .symbol(let symbol): "\"\(symbol)\""
    case .end: "the end of the template"
    }
  }
}
