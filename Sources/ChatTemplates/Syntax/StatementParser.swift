/// The statements of a template.
extension TemplateParser {
  /// Statements up to one of the keywords, which is taken, or up to the end.
  mutating func readBlock(
    until stops: [String]
  ) throws(ChatTemplateError) -> (statements: [TemplateStatement], stop: String?) {
    var statements: [TemplateStatement] = []
    while true {
      switch token {
      case .end:
        if let stop = stops.last { throw syntaxError("the template ends before \"\(stop)\"") }
        return (statements, nil)
      case .data(let text):
        statements.append(.text(TemplateText(text)))
        advance()
      case .outputStart:
        advance()
        statements.append(.output(try readTuple()))
        try expect(.outputEnd)
      case .statementStart:
        advance()
        let keyword = try expectName()
        if stops.contains(keyword) { return (statements, keyword) }
        if keyword == "print" {
          try readPrint(into: &statements)
        } else {
          statements.append(
            try nested { (parser) throws(ChatTemplateError) in try parser.readStatement(keyword) })
        }
        // Where a block has a body, its end tag is read here.
        try expect(.statementEnd)
      default: throw syntaxError("unexpected \(token.described)")
      }
    }
  }

  /// The end of a block's first tag and its body, up to one of the keywords.
  private mutating func readBody(
    until stops: [String]
  ) throws(ChatTemplateError) -> (statements: [TemplateStatement], stop: String?) {
    _ = take(symbol: ":")
    try expect(.statementEnd)
    return try readBlock(until: stops)
  }

  private mutating func readStatement(
    _ keyword: String
  ) throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    switch keyword {
    case "if": return try readCondition()
    case "for": return try readLoop()
    case "set": return try readAssignment()
    case "macro": return try readMacro()
    case "call": return try readCallBlock()
    case "filter":
      let filter = try readFilter(
        after: TemplateExpression(form: .captured, line: start))
      return .filterBlock(
        try readFilters(after: filter), body: try readBody(until: ["endfilter"]).statements)
    case "with": return try readWith()
    case "generation":
      _ = take(symbol: ":")
      try expect(.statementEnd)
      return .scope(try readMacroBody(until: "endgeneration").body)
    case "block": return try readNamedBlock()
    case "autoescape":
      let value = try readExpression()
      return .autoescape(value, body: try readBody(until: ["endautoescape"]).statements)
    case "break", "continue":
      guard openLoops > 0 else { throw syntaxError("\"\(keyword)\" outside of a loop") }
      return keyword == "break" ? .breakLoop : .continueLoop
    case "include", "import", "from", "extends":
      while token != .statementEnd, token != .end { advance() }
      return .refused(keyword, line: start)
    case "elif", "else", "endif", "endfor", "endset", "endmacro", "endcall", "endfilter",
      "endwith", "endgeneration", "endblock", "endautoescape":
      throw syntaxError("\"\(keyword)\" without its beginning")
    default: throw unsupported("the statement \"\(keyword)\" is not one of Jinja's")
    }
  }

  private mutating func readPrint(
    into statements: inout [TemplateStatement]
  ) throws(ChatTemplateError) {
    var isFirst = true
    while token != .statementEnd {
      if !isFirst { try expect(symbol: ",") }
      isFirst = false
      statements.append(.output(try readExpression()))
    }
  }

  private mutating func readCondition() throws(ChatTemplateError) -> TemplateStatement {
    var branches: [(test: TemplateExpression, body: [TemplateStatement])] = []
    while true {
      let test = try readTuple(allowsConditional: false)
      let (body, stop) = try readBody(until: ["elif", "else", "endif"])
      branches.append((test, body))
      if stop == "elif" { continue }
      guard stop == "else" else { return .condition(branches, otherwise: []) }
      return .condition(branches, otherwise: try readBody(until: ["endif"]).statements)
    }
  }

  private mutating func readLoop() throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    let target = try readTarget(until: "in")
    try expect(keyword: "in")
    // The sequence may not be a bare conditional: its "if" would be the filter's.
    let sequence = try readTuple(allowsConditional: false, until: "recursive")
    let filter = take(keyword: "if") ? try readExpression() : nil
    let isRecursive = take(keyword: "recursive")
    openLoops += 1
    let (body, stop) = try readBody(until: ["else", "endfor"])
    openLoops -= 1
    let otherwise = stop == "else" ? try readBody(until: ["endfor"]).statements : []
    return .loop(
      TemplateLoop(
        target: target, sequence: sequence, filter: filter, isRecursive: isRecursive, body: body,
        otherwise: otherwise, line: start))
  }

  private mutating func readAssignment() throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    let target = try readTarget(until: "", allowsMembers: true)
    if take(symbol: "=") { return .assign(target, try readTuple(), line: start) }
    let value = try readFilters(after: TemplateExpression(form: .captured, line: start))
    return .assignBlock(
      target, value, body: try readBody(until: ["endset"]).statements, line: start)
  }

  private mutating func readWith() throws(ChatTemplateError) -> TemplateStatement {
    var assignments: [(target: TemplateTarget, value: TemplateExpression)] = []
    while token != .statementEnd, !isNext(symbol: ":") {
      if !assignments.isEmpty { try expect(symbol: ",") }
      let target = try readTarget(until: "")
      try expect(symbol: "=")
      assignments.append((target, try readExpression()))
    }
    return .with(assignments, body: try readBody(until: ["endwith"]).statements)
  }

  private mutating func readNamedBlock() throws(ChatTemplateError) -> TemplateStatement {
    let name = try expectName()
    let isScoped = take(keyword: "scoped")
    _ = take(keyword: "required")
    try expect(.statementEnd)
    let (body, _) = try readMacroBody(until: "endblock")
    _ = take(keyword: name)
    return .block(body, isScoped: isScoped)
  }

  // MARK: Macros

  private mutating func readMacro() throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    let name = try expectName()
    guard isNext(symbol: "(") else { throw expected("\"(\"") }
    return .macro(try readMacroSyntax(name: name, until: "endmacro"), line: start)
  }

  private mutating func readCallBlock() throws(ChatTemplateError) -> TemplateStatement {
    let start = line
    var (parameters, defaults): ([String], [TemplateExpression]) = ([], [])
    if isNext(symbol: "(") { (parameters, defaults) = try readSignature() }
    let call = try readExpression()
    guard case .call = call.form else { throw syntaxError("\"call\" needs the call of a macro") }
    let caller = try readMacroSyntax(
      name: "caller", parameters: parameters, defaults: defaults, until: "endcall")
    return .callBlock(call, caller: caller, line: start)
  }

  private mutating func readMacroSyntax(
    name: String, until stop: String
  ) throws(ChatTemplateError) -> TemplateMacroSyntax {
    let (parameters, defaults) = try readSignature()
    return try readMacroSyntax(
      name: name, parameters: parameters, defaults: defaults, until: stop)
  }

  private mutating func readMacroSyntax(
    name: String, parameters: [String], defaults: [TemplateExpression], until stop: String
  ) throws(ChatTemplateError) -> TemplateMacroSyntax {
    _ = take(symbol: ":")
    try expect(.statementEnd)
    let (body, mentioned) = try readMacroBody(until: stop)
    func takes(_ name: String) -> Bool { mentioned.contains(name) && !parameters.contains(name) }
    return TemplateMacroSyntax(
      name: name, parameters: parameters, defaults: defaults, body: body,
      takesPositional: takes("varargs"), takesNamed: takes("kwargs"),
      takesCaller: mentioned.contains("caller"))
  }

  private mutating func readSignature() throws(ChatTemplateError) -> (
    parameters: [String], defaults: [TemplateExpression]
  ) {
    var (parameters, defaults): ([String], [TemplateExpression]) = ([], [])
    try expect(symbol: "(")
    while !isNext(symbol: ")") {
      if !parameters.isEmpty { try expect(symbol: ",") }
      parameters.append(try expectName())
      if take(symbol: "=") {
        defaults.append(try readExpression())
      } else if !defaults.isEmpty {
        throw syntaxError("a parameter without a default after one that has one")
      }
    }
    try expect(symbol: ")")
    return (parameters, defaults)
  }

  // MARK: Targets

  /// One name, or several with commas between them, up to the keyword or a sign.
  private mutating func readTarget(
    until stop: String, allowsMembers: Bool = false
  ) throws(ChatTemplateError) -> TemplateTarget {
    var targets: [TemplateTarget] = []
    var isTuple = false
    while true {
      if isNext(keyword: stop) || isNext(symbol: ")") || isNext(symbol: "=")
        || token == .statementEnd
      {
        break
      }
      if take(symbol: "(") {
        let inner = try nested { (parser) throws(ChatTemplateError) in
          try parser.readTarget(until: "", allowsMembers: allowsMembers)
        }
        targets.append(inner)
        try expect(symbol: ")")
      } else {
        let name = try expectName()
        if ["true", "false", "none", "True", "False", "None"].contains(name) {
          throw syntaxError("\"\(name)\" cannot be given a value")
        }
        if allowsMembers, take(symbol: ".") {
          targets.append(.member(of: name, try expectName()))
        } else {
          targets.append(.name(name))
        }
      }
      guard take(symbol: ",") else { break }
      isTuple = true
    }
    guard let first = targets.first else { throw expected("a name") }
    return isTuple ? .tuple(targets) : first
  }
}
