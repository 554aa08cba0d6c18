/// Reads the tokens of a template; its statements are in `StatementParser`, its expressions in
/// `ExpressionParser`.
struct TemplateParser {
  /// The deepest nesting of statements and expressions.
  static let deepestNesting = 200

  private let tokens: [TemplateToken]
  private var position = 0
  private var depth = 0
  /// The names that the bodies of open macros speak of.
  private var mentions: [Set<String>] = []
  /// How many loops `break` could leave here.
  var openLoops = 0

  /// The statements of a whole template.
  static func statements(of source: String) throws(ChatTemplateError) -> [TemplateStatement] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: source))
    return try parser.readBlock(until: []).statements
  }

  private init(tokens: [TemplateToken]) { self.tokens = tokens }

  // MARK: Tokens

  var token: TemplateToken.Kind { tokens[position].kind }
  var line: Int { tokens[position].line }
  var nextToken: TemplateToken.Kind { tokens[min(position + 1, tokens.count - 1)].kind }

  mutating func advance() { position = min(position + 1, tokens.count - 1) }

  func isNext(symbol: String) -> Bool {
    if case .symbol(symbol) = token { true } else { false }
  }

  func isNext(keyword: String) -> Bool {
    if case .name(keyword) = token { true } else { false }
  }

  mutating func take(symbol: String) -> Bool {
    guard isNext(symbol: symbol) else { return false }
    advance()
    return true
  }

  mutating func take(keyword: String) -> Bool {
    guard isNext(keyword: keyword) else { return false }
    advance()
    return true
  }

  mutating func expect(symbol: String) throws(ChatTemplateError) {
    guard take(symbol: symbol) else { throw expected("\"\(symbol)\"") }
  }

  mutating func expect(keyword: String) throws(ChatTemplateError) {
    guard take(keyword: keyword) else { throw expected("\"\(keyword)\"") }
  }

  mutating func expect(_ kind: TemplateToken.Kind) throws(ChatTemplateError) {
    guard token == kind else { throw expected(kind.described) }
    advance()
  }

  mutating func expectName() throws(ChatTemplateError) -> String {
    guard case .name(let name) = token else { throw expected("a name") }
    advance()
    return name
  }

  func expected(_ description: String) -> ChatTemplateError {
    syntaxError("expected \(description) but found \(token.described)")
  }

  func syntaxError(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.syntax, line: line, problem)
  }

  func unsupported(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.unsupported, line: line, problem)
  }

  // MARK: Nesting

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

  /// Notes that a name is spoken of.
  mutating func mention(_ name: String) {
    guard ["caller", "kwargs", "varargs"].contains(name) else { return }
    for index in mentions.indices { mentions[index].insert(name) }
  }

  /// Reads the body of a macro: the names that it speaks of are returned, and `break` reaches no
  /// loop outside.
  mutating func readMacroBody(
    until stop: String
  ) throws(ChatTemplateError) -> (body: [TemplateStatement], mentioned: Set<String>) {
    mentions.append([])
    let loops = openLoops
    openLoops = 0
    let (body, _) = try readBlock(until: [stop])
    openLoops = loops
    return (body, mentions.removeLast())
  }
}
