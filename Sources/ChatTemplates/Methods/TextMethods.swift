/// The methods of Python's `str`.
enum TextMethods {
  /// A method bound to its text; nil where texts have none of that name.
  static func method(_ name: String, of text: TemplateText) -> TemplateValue? {
    guard signatures[name] != nil else { return nil }
    return .object(
      TemplateFunction(name) { arguments, evaluator throws(ChatTemplateError) in
        try call(name, of: text, arguments, evaluator)
      })
  }

  static func call(
    _ name: String, of text: TemplateText, _ arguments: TemplateArguments,
    _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    guard let (parameters, required) = signatures[name] else {
      throw evaluator.budget.unsupported("texts have no method \"\(name)\"")
    }
    var bound: BoundArguments?
    if let parameters {
      bound = try arguments.bound(
        to: parameters, required: required, of: name, evaluator.budget)
    }
    try evaluator.budget.scan(bytes: text.bytes.count)
    var result = try result(
      of: TextCall(
        text: text, name: name, arguments: arguments, bound: bound, evaluator: evaluator))
    if text.isMarkup, case .text(var made) = result {
      made.isMarkup = true
      result = .text(made)
    }
    return result
  }

  /// By name: the parameters, or nil for a method that binds its arguments itself, and how many of
  /// them must be given.
  private static let signatures: [String: (parameters: [String]?, required: Int)] = {
    var signatures: [String: (parameters: [String]?, required: Int)] = [:]
    func add(_ names: [String], _ parameters: [String]?, required: Int = 0) {
      for name in names { signatures[name] = (parameters, required) }
    }
    add(["upper", "lower", "casefold", "swapcase", "capitalize", "title"], [])
    add(["strip", "lstrip", "rstrip"], ["chars"])
    add(["startswith"], ["prefix", "start", "end"], required: 1)
    add(["endswith"], ["suffix", "start", "end"], required: 1)
    add(["removeprefix"], ["prefix"], required: 1)
    add(["removesuffix"], ["suffix"], required: 1)
    add(["replace"], ["old", "new", "count"], required: 2)
    add(["split", "rsplit"], ["sep", "maxsplit"])
    add(["splitlines"], ["keepends"])
    add(["partition", "rpartition"], ["sep"], required: 1)
    add(["join"], ["iterable"], required: 1)
    add(["find", "rfind", "index", "rindex", "count"], ["sub", "start", "end"], required: 1)
    add(["center", "ljust", "rjust"], ["width", "fillchar"], required: 1)
    add(["zfill"], ["width"], required: 1)
    add(["expandtabs"], ["tabsize"])
    add(["format"], nil)
    add(["format_map"], ["mapping"], required: 1)
    add(
      [
        "isdigit", "isdecimal", "isnumeric", "isalpha", "isalnum", "isspace", "isascii",
        "isprintable", "isidentifier", "islower", "isupper", "istitle",
      ], [])
    return signatures
  }()

  private static func result(
    of call: TextCall
  ) throws(ChatTemplateError) -> TemplateValue {
    switch call.name {
    case "upper": return .text(try call.mapped { $0.properties.uppercaseMapping })
    case "lower": return .text(try call.mapped { $0.properties.lowercaseMapping })
    case "casefold":
      return .text(
        try call.mapped { "ßẞ".unicodeScalars.contains($0) ? "ss" : $0.properties.lowercaseMapping }
      )
    case "swapcase": return .text(try swapCase(call))
    case "capitalize": return .text(try capitalize(call))
    case "title": return .text(try title(call))
    case "strip": return .text(try call.stripped(start: true, end: true))
    case "lstrip": return .text(try call.stripped(start: true, end: false))
    case "rstrip": return .text(try call.stripped(start: false, end: true))
    case "startswith": return .bool(try call.hasAffix(atStart: true))
    case "endswith": return .bool(try call.hasAffix(atStart: false))
    case "removeprefix": return .text(try call.withoutPrefix())
    case "removesuffix": return .text(try call.withoutSuffix())
    case "replace": return .text(try replace(call))
    case "split": return try call.split(fromRight: false)
    case "rsplit": return try call.split(fromRight: true)
    case "splitlines":
      try call.evaluator.budget.read(bytes: call.text.bytes.count)
      let lines = call.text.lines(keepingEnds: call.flag(0))
      try call.evaluator.budget.make(elements: 8 * lines.count)
      return try .list(lines.map { .text($0) }, call.evaluator.budget)
    case "partition": return try call.partition(fromRight: false)
    case "rpartition": return try call.partition(fromRight: true)
    case "join": return .text(try join(call))
    case "find": return .integer(try call.position(fromRight: false) ?? -1)
    case "rfind": return .integer(try call.position(fromRight: true) ?? -1)
    case "index": return try call.knownPosition(fromRight: false)
    case "rindex": return try call.knownPosition(fromRight: true)
    case "count": return .integer(try call.occurrences())
    case "center": return try call.padded(.center)
    case "ljust": return try call.padded(.left)
    case "rjust": return try call.padded(.right)
    case "zfill": return try call.filledWithZeros()
    case "expandtabs": return .text(try call.withoutTabs())
    case "format":
      return .text(try BraceFormat.text(call.text, call.arguments, call.evaluator))
    case "format_map": return .text(try formatMap(call))
    default:
      try call.evaluator.budget.read(bytes: 2 * call.text.bytes.count)
      return .bool(isOfKind(call.name, call.text))
    }
  }

  private static func isOfKind(_ name: String, _ text: TemplateText) -> Bool {
    switch name {
    case "isdigit": text.all { $0.properties.numericType.isDigit }
    case "isdecimal": text.all { $0.properties.numericType == .decimal }
    case "isnumeric": text.all { $0.properties.numericType != nil }
    case "isalpha": text.all(\.isPythonLetter)
    case "isalnum": text.all(\.isPythonAlphanumeric)
    case "isspace": text.all(\.isPythonSpace)
    case "isascii": text.bytes.allSatisfy { $0 < 0x80 }
    case "isprintable": text.isEmpty || text.all { PythonText.isPrintable($0) }
    case "isidentifier": text.isIdentifier
    case "islower": text.isLowercase
    case "isupper": text.isUppercase
    default: text.isTitle
    }
  }

  // MARK: Case

  private static func swapCase(_ call: TextCall) throws(ChatTemplateError) -> TemplateText {
    try call.mapped { scalar in
      let properties = scalar.properties
      return properties.isUppercase ? properties.lowercaseMapping : properties.uppercaseMapping
    }
  }

  private static func capitalize(_ call: TextCall) throws(ChatTemplateError) -> TemplateText {
    var isFirst = true
    return try call.mapped { scalar in
      defer { isFirst = false }
      return isFirst ? scalar.properties.titlecaseMapping : scalar.properties.lowercaseMapping
    }
  }

  private static func title(_ call: TextCall) throws(ChatTemplateError) -> TemplateText {
    var isWithin = false
    return try call.mapped { scalar in
      defer { isWithin = scalar.properties.isCased }
      return isWithin ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
    }
  }

  // MARK: Several texts

  private static func replace(_ call: TextCall) throws(ChatTemplateError) -> TemplateText {
    let budget = call.evaluator.budget
    let (old, new) = (try call.text(0), try call.text(1))
    let count = try call.integer(2, default: -1)
    let limit = count < 0 ? Int.max : count
    try budget.scan(bytes: 4 * call.text.bytes.count)
    let size = call.text.replacedSize(old.bytes, with: new, limit: limit)
    try budget.make(bytes: size < 0 ? .max / 2 : size)
    // Every occurrence costs as much as a small text.
    try budget.spend(4 * (old.isEmpty ? call.text.bytes.count : size / max(1, old.bytes.count) / 4))
    return call.text.replacing(old.bytes, with: new, limit: limit)
  }

  private static func join(_ call: TextCall) throws(ChatTemplateError) -> TemplateText {
    let budget = call.evaluator.budget
    var result = TemplateText()
    guard let argument = call.argument(0) else { return result }
    for (index, element) in try call.evaluator.elements(of: argument).enumerated() {
      guard case .text(let part) = element else {
        throw budget.failure("join needs texts, not \(element.kind)")
      }
      if index > 0 { result.append(call.text) }
      try budget.make(bytes: part.bytes.count + call.text.bytes.count)
      result.append(part)
    }
    return result
  }

  private static func formatMap(_ call: TextCall) throws(ChatTemplateError) -> TemplateText {
    guard case .dictionary(let dictionary)? = call.argument(0) else {
      throw call.evaluator.budget.failure("format_map needs an object")
    }
    var arguments = TemplateArguments()
    for member in dictionary.members {
      if let name = member.key.asText?.name { arguments.named.append((name, member.value)) }
    }
    return try BraceFormat.text(call.text, arguments, call.evaluator)
  }
}
