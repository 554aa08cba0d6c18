/// The filter `tojson` as Hugging Face defines it for chat templates: Python's `json.dumps` without escaping
/// anything that JSON does not demand.
struct TemplateJSON {
  private let indentation: Int?
  private let itemSeparator: String
  private let keySeparator: String
  private let escapesNonASCII: Bool
  private let sortsKeys: Bool
  private let line: Int

  init(_ arguments: EvaluatedArguments, line: Int) throws(ChatTemplateError) {
    self.line = line
    escapesNonASCII = arguments[0, "ensure_ascii"]?.isTrue ?? false
    indentation = arguments[1, "indent"]?.asInteger
    sortsKeys = arguments[3, "sort_keys"]?.isTrue ?? false
    if let indentation, !(0...64).contains(indentation) {
      throw ChatTemplateError(.unsupported, line: line, "tojson with an indent of \(indentation)")
    }
    if case .list(let separators)? = arguments[2, "separators"], separators.count == 2,
      case (.text(let item), .text(let key)) = (separators[0], separators[1])
    {
      (itemSeparator, keySeparator) = (item.string, key.string)
    } else {
      (itemSeparator, keySeparator) = (indentation == nil ? ", " : ",", ": ")
    }
  }

  func text(of value: TemplateValue) throws(ChatTemplateError) -> TemplateText {
    var output = TemplateText()
    try append(value, depth: 0, to: &output)
    return output
  }

  private func append(
    _ value: TemplateValue, depth: Int, to output: inout TemplateText
  ) throws(ChatTemplateError) {
    func put(_ text: String) { output += TemplateText(text) }
    switch value {
    case .none: put("null")
    case .bool(let value): put(value ? "true" : "false")
    case .integer(let value): put("\(value)")
    case .number(let value): put("\(value)")
    case .text(let text): appendQuoted(text, to: &output)
    case .list(let values):
      if values.isEmpty { return put("[]") }
      put("[")
      for (index, element) in values.enumerated() {
        put((index > 0 ? itemSeparator : "") + lineBreak(depth + 1))
        try append(element, depth: depth + 1, to: &output)
      }
      put(lineBreak(depth) + "]")
    case .object(let object):
      if object.members.isEmpty { return put("{}") }
      put("{")
      let members =
        sortsKeys
        ? object.members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        : object.members
      for (index, member) in members.enumerated() {
        put((index > 0 ? itemSeparator : "") + lineBreak(depth + 1))
        appendQuoted(TemplateText(member.key), to: &output)
        put(keySeparator)
        try append(member.value, depth: depth + 1, to: &output)
      }
      put(lineBreak(depth) + "}")
    case .undefined, .namespace, .function:
      throw ChatTemplateError(.evaluation, line: line, "\(value.kind) cannot become JSON")
    }
  }

  private func lineBreak(_ depth: Int) -> String {
    indentation.map { "\n" + String(repeating: " ", count: $0 * depth) } ?? ""
  }

  private func appendQuoted(_ text: TemplateText, to output: inout TemplateText) {
    output += TemplateText("\"")
    output += text.mapRuns { run in
      var escaped = String.UnicodeScalarView()
      for scalar in run.unicodeScalars {
        switch scalar {
        case "\"": escaped.append(contentsOf: "\\\"".unicodeScalars)
        case "\\": escaped.append(contentsOf: "\\\\".unicodeScalars)
        case "\n": escaped.append(contentsOf: "\\n".unicodeScalars)
        case "\r": escaped.append(contentsOf: "\\r".unicodeScalars)
        case "\t": escaped.append(contentsOf: "\\t".unicodeScalars)
        case "\u{8}": escaped.append(contentsOf: "\\b".unicodeScalars)
        case "\u{C}": escaped.append(contentsOf: "\\f".unicodeScalars)
        case _ where scalar.value < 0x20 || escapesNonASCII && scalar.value >= 0x7F:
          for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
            let digits = String(unit, radix: 16)
            escaped.append(
              contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
                .unicodeScalars)
          }
        default: escaped.append(scalar)
        }
      }
      return String(escaped)
    }
    output += TemplateText("\"")
  }
}
