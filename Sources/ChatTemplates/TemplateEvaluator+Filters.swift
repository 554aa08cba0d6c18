/// Filters (`value | name`) and tests (`value is name`).
extension TemplateEvaluator {
  static let filters: Set<String> = [
    "capitalize", "count", "d", "default", "first", "int", "items", "join", "last", "length",
    "list", "lower",
    "map", "reject", "rejectattr", "replace", "safe", "select", "selectattr", "string", "tojson",
    "trim",
    "upper",
  ]

  static let tests: Set<String> = [
    "boolean", "defined", "eq", "equalto", "false", "in", "integer", "iterable", "mapping", "ne",
    "none",
    "number", "sequence", "string", "true", "undefined",
  ]

  func applyFilter(
    _ name: String, to value: TemplateValue, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    switch name {
    case "default", "d":
      let fallsBackOnFalse = arguments[1, "boolean"]?.isTrue ?? false
      if case .undefined = value { return arguments[0, "default_value"] ?? .string("") }
      return fallsBackOnFalse && !value.isTrue
        ? arguments[0, "default_value"] ?? .string("") : value
    case "length", "count": return .integer(try length(of: value, line: line))
    case "first", "last":
      let values = try elements(of: value, line: line)
      return (name == "first" ? values.first : values.last) ?? .undefined("\(name) element")
    case "list": return .list(try elements(of: value, line: line))
    case "items":
      switch value {
      case .undefined: return .list([])
      case .object(let object):
        return .list(object.members.map { .list([.string($0.key), $0.value]) })
      default: throw ChatTemplateError(.evaluation, line: line, "items of \(value.kind)")
      }
    case "join": return .text(try join(value, arguments, line: line))
    case "tojson": return .text(try TemplateJSON(arguments, line: line).text(of: value))
    case "select", "reject", "selectattr", "rejectattr", "map":
      return try choose(name, value, arguments, line: line)
    default: return try applyTextFilter(name, to: value, arguments, line: line)
    }
  }

  /// Filters that make their value a text first.
  private func applyTextFilter(
    _ name: String, to value: TemplateValue, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    if name == "int" {
      if let number = value.asNumber, number.magnitude < 1e18 { return .integer(Int(number)) }
      let parsed = Int(try text(of: value, line: line).stripped().string)
      return parsed.map { .integer($0) } ?? arguments[0, "default"] ?? .integer(0)
    }
    let text = try text(of: value, line: line)
    switch name {
    case "trim":
      guard case .text(let set)? = arguments[0, "chars"] else { return .text(text.stripped()) }
      return .text(text.stripped(of: set.bytes))
    case "upper": return .text(text.mapRuns { $0.uppercased() })
    case "lower": return .text(text.mapRuns { $0.lowercased() })
    case "capitalize":
      let offsets = text.characterOffsets()
      guard offsets.count > 1 else { return .text(text) }
      return .text(
        text.part(0..<offsets[1]).mapRuns { $0.uppercased() }
          + text.part(offsets[1]..<text.byteCount).mapRuns { $0.lowercased() })
    case "replace":
      guard case .text(let pattern)? = arguments[0, "old"], !pattern.isEmpty,
        case .text(let content)? = arguments[1, "new"]
      else { throw ChatTemplateError(.evaluation, line: line, "replace needs two texts") }
      return .text(text.replacing(pattern.bytes, with: content))
    default: return .text(text)  // string, safe
    }
  }

  private func length(of value: TemplateValue, line: Int) throws(ChatTemplateError) -> Int {
    switch value {
    case .undefined: return 0
    case .text(let text): return text.length
    case .list(let values): return values.count
    case .object(let object): return object.members.count
    default: throw ChatTemplateError(.evaluation, line: line, "\(value.kind) has no length")
    }
  }

  private func join(
    _ value: TemplateValue, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateText {
    let separator = try text(of: arguments[0, "d"] ?? .string(""), line: line)
    var result = TemplateText()
    for (index, element) in try elements(of: value, line: line).enumerated() {
      if index > 0 { result += separator }
      var element = element
      if let attribute = arguments[1, "attribute"] {
        element = try self.attribute(attribute, of: element, line: line)
      }
      result += try text(of: element, line: line)
    }
    return result
  }

  private func attribute(
    _ name: TemplateValue?, of value: TemplateValue, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    guard case .text(let name)? = name else {
      throw ChatTemplateError(.evaluation, line: line, "the name of an attribute is missing")
    }
    switch value {
    case .object(let object): return object[name.string] ?? .undefined(name.string)
    case .list(let values):
      let index = Int(name.string)
      return index.flatMap { values.indices.contains($0) ? values[$0] : nil }
        ?? .undefined(name.string)
    default: return .undefined(name.string)
    }
  }

  private func choose(
    _ name: String, _ value: TemplateValue, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    let values = try elements(of: value, line: line)
    if name == "map" {
      guard let key = arguments[.max, "attribute"] else {
        throw ChatTemplateError(.unsupported, line: line, "map without attribute= is not supported")
      }
      var mapped: [TemplateValue] = []
      for value in values {
        let found = try attribute(key, of: value, line: line)
        if case .undefined = found, let fallback = arguments[.max, "default"] {
          mapped.append(fallback)
        } else {
          mapped.append(found)
        }
      }
      return .list(mapped)
    }

    let hasAttribute = name.hasSuffix("attr")
    let rest = Array(arguments.positional.dropFirst(hasAttribute ? 1 : 0))
    var kept: [TemplateValue] = []
    for value in values {
      let tested =
        hasAttribute ? try attribute(arguments.positional.first, of: value, line: line) : value
      var holds = tested.isTrue
      if case .text(let test)? = rest.first {
        guard Self.tests.contains(test.string) else {
          throw ChatTemplateError(
            .unsupported, line: line, "the test \"\(test.string)\" is not supported")
        }
        holds = try applyTest(test.string, to: tested, Array(rest.dropFirst()), line: line)
      }
      if holds == name.hasPrefix("select") { kept.append(value) }
    }
    return .list(kept)
  }

  func applyTest(
    _ name: String, to value: TemplateValue, _ arguments: [TemplateValue], line: Int
  ) throws(ChatTemplateError) -> Bool {
    func argument() throws(ChatTemplateError) -> TemplateValue {
      guard let first = arguments.first else {
        throw ChatTemplateError(.evaluation, line: line, "the test \(name) needs an argument")
      }
      return first
    }
    switch (name, value) {
    case ("undefined", .undefined), ("none", .none), ("boolean", .bool), ("string", .text),
      ("mapping", .object), ("iterable", .text), ("iterable", .list), ("iterable", .object),
      ("iterable", .undefined), ("sequence", .text), ("sequence", .list), ("sequence", .object),
      ("sequence", .undefined), ("integer", .integer), ("number", .integer), ("number", .number),
      ("number", .bool), ("true", .bool(true)), ("false", .bool(false)):
      return true
    case ("defined", .undefined): return false
    case ("defined", _): return true
    case ("eq", _), ("equalto", _): return value.equals(try argument())
    case ("ne", _): return !value.equals(try argument())
    case ("in", _): return try contains(argument(), value, line: line)
    default: return false
    }
  }
}
