/// The filter `tojson` as `transformers` defines it for chat templates: Python's `json.dumps` without
/// escaping anything that JSON does not demand.
struct JSONText {
  private let indentation: TemplateText?
  private let itemSeparator: TemplateText
  private let keySeparator: TemplateText
  private let escapesNonASCII: Bool
  private let sortsKeys: Bool
  private let budget: TemplateBudget
  private var output = TemplateText()

  static func text(
    of value: TemplateValue, _ arguments: TemplateArguments, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    var writer = try JSONText(arguments, budget)
    try writer.append(value, depth: 0)
    return writer.output
  }

  private init(
    _ arguments: TemplateArguments, _ budget: TemplateBudget
  ) throws(ChatTemplateError) {
    self.budget = budget
    let bound = try arguments.bound(
      to: ["ensure_ascii", "indent", "separators", "sort_keys"], of: "tojson", budget)
    escapesNonASCII = bound.flag(0)
    sortsKeys = bound.flag(3)
    switch bound.present(1) {
    case nil: indentation = nil
    case .text(let text)?: indentation = text
    case .some(let value):
      guard let count = value.asInteger, count <= 1 << 10 else {
        throw budget.failure("tojson needs an indent of at most 1024 blanks")
      }
      indentation = TemplateText(String(repeating: " ", count: max(0, count)))
    }
    guard let separators = bound.present(2) else {
      itemSeparator = TemplateText(indentation == nil ? ", " : ",")
      keySeparator = TemplateText(": ")
      return
    }
    guard case .sequence(let pair) = separators, pair.elements.count == 2,
      case (.text(let item), .text(let key)) = (pair.elements[0], pair.elements[1])
    else { throw budget.failure("tojson needs two texts as separators") }
    (itemSeparator, keySeparator) = (item, key)
  }

  private mutating func put(_ text: String) throws(ChatTemplateError) {
    try budget.make(bytes: text.utf8.count)
    output.append(text.utf8, isContent: false)
  }

  private mutating func put(_ text: TemplateText) throws(ChatTemplateError) {
    try budget.make(bytes: text.bytes.count)
    output.append(text)
  }

  private mutating func append(
    _ value: TemplateValue, depth: Int
  ) throws(ChatTemplateError) {
    try budget.enter()
    defer { budget.leave() }
    switch value {
    case .none: try put("null")
    case .bool(let value): try put(value ? "true" : "false")
    case .integer(let value): try put("\(value)")
    case .number(let value): try put(Self.number(value))
    case .text(let text): try append(quoted: text)
    case .sequence(let sequence) where sequence.kind == .list || sequence.isTuple:
      if sequence.elements.isEmpty { return try put("[]") }
      try put("[")
      for (index, element) in sequence.elements.enumerated() {
        if index > 0 { try put(itemSeparator) }
        try breakLine(depth + 1)
        try append(element, depth: depth + 1)
      }
      try breakLine(depth)
      try put("]")
    case .dictionary(let dictionary): try append(dictionary, depth: depth)
    case .undefined, .object, .sequence:
      throw budget.failure("\(value.kind) cannot become JSON")
    }
  }

  private mutating func append(
    _ dictionary: TemplateDictionary, depth: Int
  ) throws(ChatTemplateError) {
    if dictionary.members.isEmpty { return try put("{}") }
    var order = dictionary.members.indices.map { TemplateValue.integer($0) }
    if sortsKeys {
      order = try Comparison.sorted(
        order, by: dictionary.members.map(\.key), reversed: false, budget)
    }
    try put("{")
    for (place, index) in order.enumerated() {
      let member = dictionary.members[index.asInteger ?? 0]
      if place > 0 { try put(itemSeparator) }
      try breakLine(depth + 1)
      try append(key: member.key)
      try put(keySeparator)
      try append(member.value, depth: depth + 1)
    }
    try breakLine(depth)
    try put("}")
  }

  private mutating func append(key: TemplateValue) throws(ChatTemplateError) {
    switch key {
    case .text(let text): try append(quoted: text)
    case .none: try put("\"null\"")
    case .bool(let value): try put(value ? "\"true\"" : "\"false\"")
    case .integer(let value): try put("\"\(value)\"")
    case .number(let value): try put("\"\(Self.number(value))\"")
    default: throw budget.failure("\(key.kind) cannot be a key of JSON")
    }
  }

  private static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return NumberText.shortest(value)
  }

  private mutating func breakLine(_ depth: Int) throws(ChatTemplateError) {
    guard let indentation else { return }
    try put("\n")
    for _ in 0..<depth { try put(indentation) }
  }

  private mutating func append(quoted text: TemplateText) throws(ChatTemplateError) {
    try budget.read(bytes: text.bytes.count)
    try put("\"")
    let escapesNonASCII = escapesNonASCII
    try put(
      text.mapScalars { scalar, bytes in
        switch scalar {
        case "\"": bytes.append(contentsOf: "\\\"".utf8)
        case "\\": bytes.append(contentsOf: "\\\\".utf8)
        case "\n": bytes.append(contentsOf: "\\n".utf8)
        case "\r": bytes.append(contentsOf: "\\r".utf8)
        case "\t": bytes.append(contentsOf: "\\t".utf8)
        case "\u{8}": bytes.append(contentsOf: "\\b".utf8)
        case "\u{C}": bytes.append(contentsOf: "\\f".utf8)
        case _ where scalar.value < 0x20 || escapesNonASCII && scalar.value >= 0x7F:
          for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
            let digits = String(unit, radix: 16)
            bytes.append(contentsOf: "\\u".utf8)
            bytes.append(contentsOf: repeatElement(0x30, count: 4 - digits.utf8.count))
            bytes.append(contentsOf: digits.utf8)
          }
        default: bytes.append(scalar)
        }
      })
    try put("\"")
  }
}
