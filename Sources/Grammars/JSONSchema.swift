package import JSON

/// The grammar of the JSON texts that a schema allows, for the part of JSON Schema (2020-12) that can be
/// told byte by byte.
///
/// Known are `type` (also a list), `properties`, `required`, `additionalProperties`, `items`,
/// `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`, `minimum` 0, `enum`, `const`,
/// `anyOf`, `oneOf` (taken as `anyOf`), `allOf` of one, `$ref` within the schema, `nullable`, `true`.
/// Properties come in the order of the schema; others come only where there are no `properties`.
/// `format`, titles and the like say nothing about the text. Every other keyword that would is refused:
/// what comes out satisfies the schema.
package struct JSONSchema {
  private let root: JSONValue
  private var builder = GrammarBuilder()
  /// Rules of schemas that are referred to, by their paths.
  private var references: [String: Grammar.Element] = [:]

  /// Keywords that say nothing about which texts are allowed.
  private static let silent: Set<String> = [
    "$schema", "$id", "$defs", "definitions", "$comment", "$anchor", "title", "description",
    "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "contentEncoding",
    "contentMediaType", "strict", "nullable",
  ]

  private init(_ root: JSONValue) { self.root = root }

  /// - Throws: ``GrammarError``.
  package static func grammar(of schema: JSONValue) throws(GrammarError) -> Grammar {
    var reader = JSONSchema(schema)
    let value = try reader.rule(of: schema, at: "#")
    // A statement of its own: the builder of the next one has this rule.
    let start = try reader.builder.rule([[value]])
    return try reader.builder.grammar(start: start)
  }

  /// The grammar of calls of functions within `<tool_call>` and `</tool_call>`: one or more.
  ///
  /// - Parameter functions: Names, and the schemas of their arguments; nil for any object.
  package static func toolCalls(
    _ functions: [(name: String, parameters: JSONValue?)]
  ) throws(GrammarError) -> Grammar {
    var builder = GrammarBuilder()
    var calls: [[Grammar.Element]] = []
    for function in functions {
      var reader = JSONSchema(function.parameters ?? .object([]))
      reader.builder = builder
      let arguments: Grammar.Element
      if let parameters = function.parameters, parameters["properties"] != nil {
        arguments = try reader.rule(of: parameters, at: "#")
      } else {
        arguments = try reader.builder.object()
      }
      builder = reader.builder
      let name = JSONValue.string(function.name).serialized()
      calls.append(
        GrammarBuilder.literal("<tool_call>\n{\"name\": \(name), \"arguments\": ") + [arguments]
          + GrammarBuilder.literal("}\n</tool_call>"))
    }
    let call = try builder.rule(calls)
    let following = try builder.rule([GrammarBuilder.literal("\n") + [call]])
    let more = try builder.repeated(following, least: 0, most: 15)
    let start = try builder.rule([[call] + more])
    return try builder.grammar(start: start)
  }

  /// - Parameter path: Where the schema stands, for errors and references.
  private mutating func rule(
    of schema: JSONValue, at path: String
  ) throws(GrammarError) -> Grammar.Element {
    if let known = references[path] { return known }
    let element = try builder.declare()
    references[path] = element
    builder.define(element, try alternatives(of: schema, at: path))
    return element
  }

  private mutating func alternatives(
    of schema: JSONValue, at path: String
  ) throws(GrammarError) -> [[Grammar.Element]] {
    if case .boolean(true) = schema { return [[try builder.value()]] }
    guard case .object(let members) = schema else {
      throw .malformed(path: path, problem: "is \(schema.kind), not an object")
    }
    var result = try forms(of: schema, members, at: path)
    if case .boolean(true) = schema["nullable"] { result.append(GrammarBuilder.literal("null")) }
    return result
  }

  private mutating func forms(
    of schema: JSONValue, _ members: [JSONValue.Member], at path: String
  ) throws(GrammarError) -> [[Grammar.Element]] {
    func only(_ allowed: Set<String>) throws(GrammarError) {
      for member in members
      where !allowed.contains(member.key) && !Self.silent.contains(member.key) {
        throw .unsupported(path: path, problem: "has \"\(member.key.prefix(40))\"")
      }
    }
    if let reference = schema["$ref"] {
      try only(["$ref"])
      return [[try self.reference(reference, at: path)]]
    }
    if let value = schema["const"] {
      try only(["const", "type"])
      return [GrammarBuilder.literal(value.serialized())]
    }
    if let values = schema["enum"] {
      try only(["enum", "type"])
      guard let values = values.elements, !values.isEmpty, values.count <= 1000 else {
        throw .malformed(path: path, problem: "has an enum that is no list of 1 to 1000 values")
      }
      return values.map { GrammarBuilder.literal($0.serialized()) }
    }
    for (key, isOne) in [("anyOf", false), ("oneOf", false), ("allOf", true)] {
      guard let list = schema[key] else { continue }
      try only([key, "type"])
      guard let list = list.elements, !list.isEmpty, list.count <= 256 else {
        throw .malformed(path: path, problem: "has a \(key) that is no list of 1 to 256 schemas")
      }
      guard !isOne || list.count == 1 else {
        throw .unsupported(path: path, problem: "has an allOf of \(list.count) schemas")
      }
      var result: [[Grammar.Element]] = []
      for (index, part) in list.enumerated() {
        result.append([try rule(of: part, at: "\(path)/\(key)/\(index)")])
      }
      return result
    }
    guard let type = schema["type"] else {
      if schema["properties"] != nil { return [try object(schema, at: path, only)] }
      if schema["items"] != nil { return [try array(schema, at: path, only)] }
      try only([])
      return [[try builder.value()]]
    }
    guard let names = type.text.map({ [JSONValue.string($0)] }) ?? type.elements, !names.isEmpty
    else { throw .malformed(path: path, problem: "has a type that is no string and no list") }
    // With several types each has its own keywords.
    let check = { (allowed: Set<String>) throws(GrammarError) in
      if names.count == 1 { try only(allowed) }
    }
    if names.count > 1 { try only(Self.keywordsOfTypes) }
    var result: [[Grammar.Element]] = []
    for name in names {
      result.append(try form(of: name.text ?? "", schema, at: path, check))
    }
    return result
  }

  private static let keywordsOfTypes: Set<String> = [
    "type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems",
    "maxItems", "minLength", "maxLength", "minimum",
  ]

  private mutating func form(
    of type: String, _ schema: JSONValue, at path: String,
    _ only: (Set<String>) throws(GrammarError) -> Void
  ) throws(GrammarError) -> [Grammar.Element] {
    switch type {
    case "object": return try object(schema, at: path, only)
    case "array": return try array(schema, at: path, only)
    case "string":
      try only(["type", "minLength", "maxLength"])
      let least = try count(schema, "minLength", at: path) ?? 0
      let most = try count(schema, "maxLength", at: path)
      guard least <= most ?? .max else { throw .unsatisfiable }
      return [try builder.string(least: least, most: most)]
    case "integer", "number":
      try only(["type", "minimum"])
      let isNegativeAllowed = try isNegativeAllowed(schema, at: path)
      return [
        type == "integer"
          ? try builder.integer(isNegativeAllowed: isNegativeAllowed)
          : try builder.number(isNegativeAllowed: isNegativeAllowed)
      ]
    case "boolean":
      try only(["type"])
      return [try builder.rule([GrammarBuilder.literal("true"), GrammarBuilder.literal("false")])]
    case "null":
      try only(["type"])
      return GrammarBuilder.literal("null")
    default:
      throw .malformed(path: path, problem: "has the type \"\(type.prefix(40))\"")
    }
  }

  private func isNegativeAllowed(
    _ schema: JSONValue, at path: String
  ) throws(GrammarError) -> Bool {
    guard let minimum = schema["minimum"] else { return true }
    guard minimum.double == 0 else {
      throw .unsupported(path: path, problem: "has a minimum of \(minimum.kind)")
    }
    return false
  }

  private func count(
    _ schema: JSONValue, _ key: String, at path: String
  ) throws(GrammarError) -> Int? {
    guard let value = schema[key] else { return nil }
    guard let count = value.int, count >= 0 else {
      throw .malformed(path: path, problem: "has \(value.kind) as \(key)")
    }
    guard count <= Grammar.mostRules else { throw .tooLarge("has a \(key) of \(count)") }
    return count
  }

  private mutating func array(
    _ schema: JSONValue, at path: String, _ only: (Set<String>) throws(GrammarError) -> Void
  ) throws(GrammarError) -> [Grammar.Element] {
    try only(["type", "items", "prefixItems", "minItems", "maxItems"])
    if let prefix = schema["prefixItems"]?.elements, !prefix.isEmpty {
      // What follows them may be left out, and is.
      var elements: [Grammar.Element] = [GrammarBuilder.character("["), try builder.space()]
      for (index, item) in prefix.enumerated() {
        if index > 0 { elements += [GrammarBuilder.character(","), try builder.space()] }
        elements.append(try rule(of: item, at: "\(path)/prefixItems/\(index)"))
      }
      guard try count(schema, "minItems", at: path) ?? 0 <= prefix.count,
        try count(schema, "maxItems", at: path) ?? .max >= prefix.count
      else {
        throw .unsupported(path: path, problem: "has other counts than its prefixItems")
      }
      return elements + [try builder.space(), GrammarBuilder.character("]")]
    }
    let item: Grammar.Element
    if let items = schema["items"] {
      item = try rule(of: items, at: path + "/items")
    } else {
      item = try builder.value()
    }
    let least = try count(schema, "minItems", at: path) ?? 0
    let most = try count(schema, "maxItems", at: path)
    guard least <= most ?? .max else { throw .unsatisfiable }
    return try builder.array(of: item, least: least, most: most)
  }

  private mutating func object(
    _ schema: JSONValue, at path: String, _ only: (Set<String>) throws(GrammarError) -> Void
  ) throws(GrammarError) -> [Grammar.Element] {
    try only(["type", "properties", "required", "additionalProperties"])
    let required = Set(
      (schema["required"]?.elements ?? []).compactMap { $0.text.map(ByteString.init) })
    var members: [JSONValue.Member] = []
    if let properties = schema["properties"] {
      guard case .object(let given) = properties else {
        throw .malformed(path: path, problem: "has properties that are no object")
      }
      members = given
    }
    let known = Set(members.map { ByteString($0.key) })
    guard required.isSubset(of: known) else {
      if members.isEmpty {
        throw .unsupported(path: path, problem: "requires properties that it does not describe")
      }
      throw .malformed(path: path, problem: "requires a property that it does not describe")
    }
    if members.isEmpty {
      switch schema["additionalProperties"] {
      case .some(.boolean(false)):
        return GrammarBuilder.literal("{}")
      case .none, .some(.boolean(true)):
        return [try builder.object()]
      case .some(let additional):
        return try builder.object(of: try rule(of: additional, at: path + "/additionalProperties"))
      }
    }
    // From the last property back: what may follow with a property before it, and without.
    var afterOne: Grammar.Element?
    var atStart: Grammar.Element?
    let space = try builder.space()
    for member in members.reversed() {
      let value = try rule(of: member.value, at: "\(path)/properties/\(Self.escaped(member.key))")
      let key = GrammarBuilder.literal(JSONValue.string(member.key).serialized() + ":")
      let text = try builder.rule([key + [space, value]])
      let isOptional = !required.contains(ByteString(member.key))
      let tail = afterOne.map { [$0] } ?? []
      var following = [[GrammarBuilder.character(","), space, text] + tail]
      var first = [[text] + tail]
      if isOptional {
        following.append(tail)
        first.append(atStart.map { [$0] } ?? [])
      }
      afterOne = try builder.rule(following)
      atStart = try builder.rule(first)
    }
    return [
      GrammarBuilder.character("{"), space, try builder.rule([atStart.map { [$0] } ?? []]), space,
      GrammarBuilder.character("}"),
    ]
  }

  /// A part of a JSON pointer.
  private static func escaped(_ key: String) -> String {
    var result: [UInt8] = []
    for byte in key.utf8 {
      switch byte {
      case UInt8(ascii: "~"): result += "~0".utf8
      case UInt8(ascii: "/"): result += "~1".utf8
      default: result.append(byte)
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  private mutating func reference(
    _ value: JSONValue, at path: String
  ) throws(GrammarError) -> Grammar.Element {
    guard let target = value.text, target == "#" || target.hasPrefix("#/") else {
      throw .unsupported(path: path, problem: "refers to \(value.kind) outside of it")
    }
    if let known = references[target] { return known }
    var schema = root
    for part in target.dropFirst(2).split(separator: "/", omittingEmptySubsequences: false) {
      var key: [UInt8] = []
      var isEscape = false
      for byte in part.utf8 {
        if isEscape {
          key.append(byte == UInt8(ascii: "1") ? UInt8(ascii: "/") : UInt8(ascii: "~"))
          isEscape = false
        } else if byte == UInt8(ascii: "~") {
          isEscape = true
        } else {
          key.append(byte)
        }
      }
      let name = String(decoding: key, as: UTF8.self)
      let next = Int(name).flatMap { index in
        schema.elements.flatMap { $0.indices.contains(index) ? $0[index] : nil }
      }
      guard let next = next ?? schema[name] else {
        throw .malformed(path: path, problem: "refers to \(value.kind), which is not there")
      }
      schema = next
    }
    return try rule(of: schema, at: target)
  }
}
