/// Reads the statements of a template; expressions are in `TemplateParser+Expressions.swift`.
struct TemplateParser {
  typealias Token = TemplateLexer.Token

  /// The deepest nesting of statements and expressions.
  static let deepestNesting = 100

  private let tokens: [(token: Token, line: Int)]
  private var position = 0
  var depth = 0

  /// The statements of a whole template.
  static func statements(of source: String) throws(ChatTemplateError) -> [TemplateStatement] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: source))
    let (statements, stop) = try parser.readBlock(until: [])
    if let stop { throw parser.syntaxError("\"\(stop)\" without its beginning") }
    return statements
  }

  private init(tokens: [(token: Token, line: Int)]) { self.tokens = tokens }

  // MARK: Tokens

  var token: Token { tokens[position].token }
  var line: Int { tokens[position].line }
  var nextToken: Token { tokens[min(position + 1, tokens.count - 1)].token }

  mutating func advance() { position = min(position + 1, tokens.count - 1) }

  mutating func take(_ expected: Token) -> Bool {
    guard token == expected else { return false }
    advance()
    return true
  }

  mutating func take(symbol: String) -> Bool { take(.symbol(symbol)) }
  mutating func take(keyword: String) -> Bool { take(.name(keyword)) }

  mutating func expect(_ expected: Token, _ description: String) throws(ChatTemplateError) {
    guard take(expected) else {
      throw syntaxError("expected \(description) but found \(Self.describe(token))")
    }
  }

  mutating func expectName() throws(ChatTemplateError) -> String {
    guard case .name(let name) = token else {
      throw syntaxError("expected a name but found \(Self.describe(token))")
    }
    advance()
    return name
  }

  func syntaxError(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.syntax, line: line, problem)
  }

  func unsupported(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.unsupported, line: line, problem)
  }

  static func describe(_ token: Token) -> String {
    switch token {
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

  mutating func nested<Result>(
    _ body: (inout TemplateParser) throws(ChatTemplateError) -> Result
  ) throws(ChatTemplateError) -> Result {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.deepestNesting {
      throw unsupported("nesting more than \(Self.deepestNesting) deep")
    }
    return try body(&self)
  }

  // MARK: Statements

  /// Statements up to one of the keywords, which is taken, or up to the end.
  private mutating func readBlock(
    until stops: [String]
  ) throws(ChatTemplateError) -> (statements: [TemplateStatement], stop: String?) {
    var statements: [TemplateStatement] = []
    while true {
      switch token {
      case .end:
        if let stop = stops.last { throw syntaxError("the template ends before \"\(stop)\"") }
        return (statements, nil)
      case .data(let text):
        statements.append(.text(text))
        advance()
      case .outputStart:
        advance()
        statements.append(.output(try readExpression()))
        try expect(.outputEnd, "\"}}\"")
      case .statementStart:
        advance()
        let keyword = try expectName()
        if stops.contains(keyword) { return (statements, keyword) }
        if ["elif", "else", "endif", "endfor", "endset"].contains(keyword) {
          throw syntaxError("\"\(keyword)\" without its beginning")
        }
        statements.append(
          try nested { (parser) throws(ChatTemplateError) in try parser.readStatement(keyword) })
      default: throw syntaxError("unexpected \(Self.describe(token))")
      }
    }
  }

  private mutating func readStatement(
    _ keyword: String
  ) throws(ChatTemplateError) -> TemplateStatement {
    switch keyword {
    case "if": return try readCondition()
    case "for": return try readLoop()
    case "set": return try readAssignment()
    default:
      throw unsupported("the statement \"\(keyword)\" is not supported; known are if, for, set")
    }
  }

  private mutating func endStatement() throws(ChatTemplateError) {
    try expect(.statementEnd, "\"%}\"")
  }

  private mutating func readCondition() throws(ChatTemplateError) -> TemplateStatement {
    var branches: [(test: TemplateExpression, body: [TemplateStatement])] = []
    while true {
      let test = try readExpression()
      try endStatement()
      let (body, stop) = try readBlock(until: ["elif", "else", "endif"])
      branches.append((test, body))
      if stop == "elif" { continue }
      try endStatement()
      guard stop == "else" else { return .condition(branches, otherwise: []) }
      let (otherwise, _) = try readBlock(until: ["endif"])
      try endStatement()
      return .condition(branches, otherwise: otherwise)
    }
  }

  private mutating func readLoop() throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    var names = [try expectName()]
    while take(symbol: ",") { names.append(try expectName()) }
    try expect(.name("in"), "\"in\"")
    // The sequence may not be a bare conditional: its "if" would be the filter's.
    let sequence = try readDisjunction()
    let filter = take(keyword: "if") ? try readExpression() : nil
    if token == .name("recursive") { throw unsupported("recursive loops are not supported") }
    try endStatement()
    let (body, stop) = try readBlock(until: ["else", "endfor"])
    try endStatement()
    var otherwise: [TemplateStatement] = []
    if stop == "else" {
      (otherwise, _) = try readBlock(until: ["endfor"])
      try endStatement()
    }
    return .loop(
      TemplateLoop(
        names: names, sequence: sequence, filter: filter, body: body, otherwise: otherwise,
        line: start))
  }

  private mutating func readAssignment() throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    let name = try expectName()
    if take(symbol: ".") {
      let member = try expectName()
      try expect(.symbol("="), "\"=\"")
      let value = try readExpression()
      try endStatement()
      return .assignMember(name, member, value, line: start)
    }
    var names = [name]
    while take(symbol: ",") { names.append(try expectName()) }
    guard take(symbol: "=") else {
      throw unsupported("\"set\" without \"=\" is not supported")
    }
    let value = try readExpression()
    try endStatement()
    return .assign(names, value, line: start)
  }
}
