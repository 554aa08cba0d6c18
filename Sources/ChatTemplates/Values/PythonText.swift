/// Values as Python's `str` and `repr` write them.
struct PythonText {
  private var output = TemplateText()
  private let budget: TemplateBudget

  private init(_ budget: TemplateBudget) { self.budget = budget }

  /// What `{{ value }}` prints: a text as it is, nothing for what is undefined.
  static func str(
    _ value: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    switch value {
    case .text(var text):
      text.isMarkup = false
      return text
    case .undefined: return TemplateText()
    default: return try repr(value, budget)
    }
  }

  /// What stands for the value within a list.
  static func repr(
    _ value: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    var writer = PythonText(budget)
    try writer.append(value)
    return writer.output
  }

  private mutating func put(_ text: String) throws(ChatTemplateError) {
    try budget.make(bytes: text.utf8.count)
    output.append(text.utf8, isContent: false)
  }

  private mutating func append(_ value: TemplateValue) throws(ChatTemplateError) {
    try budget.enter()
    defer { budget.leave() }
    switch value {
    case .undefined: try put("Undefined")
    case .none: try put("None")
    case .bool(let value): try put(value ? "True" : "False")
    case .integer(let value): try put("\(value)")
    case .number(let value): try put(NumberText.shortest(value))
    case .text(let text):
      if text.isMarkup { try put("Markup(") }
      try append(quoted: text)
      if text.isMarkup { try put(")") }
    case .sequence(let sequence): try append(sequence)
    case .dictionary(let dictionary): try append(dictionary)
    case .object(let object): try append(object)
    }
  }

  private mutating func append(_ sequence: TemplateSequence) throws(ChatTemplateError) {
    let (opening, closing): (String, String)
    switch sequence.kind {
    case .list: (opening, closing) = ("[", "]")
    case .tuple, .group:
      (opening, closing) = ("(", sequence.elements.count == 1 ? ",)" : ")")
    case .keys: (opening, closing) = ("dict_keys([", "])")
    case .values: (opening, closing) = ("dict_values([", "])")
    case .items: (opening, closing) = ("dict_items([", "])")
    case .range: throw budget.unsupported("a range as text is not supported; use the filter list")
    }
    try put(opening)
    for (index, element) in sequence.elements.enumerated() {
      if index > 0 { try put(", ") }
      try append(element)
    }
    try put(closing)
  }

  private mutating func append(_ dictionary: TemplateDictionary) throws(ChatTemplateError) {
    try put("{")
    for (index, member) in dictionary.members.enumerated() {
      if index > 0 { try put(", ") }
      try append(member.key)
      try put(": ")
      try append(member.value)
    }
    try put("}")
  }

  private mutating func append(_ object: TemplateObject) throws(ChatTemplateError) {
    switch object {
    case let namespace as TemplateNamespace:
      try put("<Namespace ")
      try append(namespace.dictionary(budget))
      try put(">")
    case let macro as TemplateMacro: try put("<Macro '\(macro.name)'>")
    default: throw budget.unsupported("\(object.kind) as text is not supported")
    }
  }

  private mutating func append(quoted text: TemplateText) throws(ChatTemplateError) {
    try budget.read(bytes: text.bytes.count)
    let quote: Unicode.Scalar =
      text.bytes.contains(0x27) && !text.bytes.contains(0x22) ? "\"" : "'"
    try put(String(quote))
    let escaped = text.mapScalars { scalar, bytes in
      switch scalar {
      case quote, "\\":
        bytes.append(0x5C)
        bytes.append(scalar)
      case "\n": bytes.append(contentsOf: "\\n".utf8)
      case "\r": bytes.append(contentsOf: "\\r".utf8)
      case "\t": bytes.append(contentsOf: "\\t".utf8)
      default:
        if Self.isPrintable(scalar) {
          bytes.append(scalar)
        } else {
          let (letter, width) =
            scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
          let digits = String(scalar.value, radix: 16)
          bytes.append(contentsOf: "\\\(letter)".utf8)
          bytes.append(contentsOf: String(repeating: "0", count: width - digits.count).utf8)
          bytes.append(contentsOf: digits.utf8)
        }
      }
    }
    try budget.make(bytes: escaped.bytes.count)
    output.append(escaped)
    try put(String(quote))
  }

  /// Python's `isprintable` of one character.
  static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value < 0x7F { return scalar.value >= 0x20 }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator, .spaceSeparator:
      return false
    default: return true
    }
  }
}
