/// Python's `format.format(...)`.
enum BraceFormat {
  static func text(
    _ format: TemplateText, _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateText {
    var formatter = Formatter(format: format, arguments: arguments, evaluator: evaluator)
    return try formatter.run(0..<format.bytes.count, depth: 0)
  }

  private struct Formatter {
    let format: TemplateText
    let arguments: TemplateArguments
    let evaluator: TemplateEvaluator
    var next = 0
    var isNumbered: Bool?

    private var budget: TemplateBudget { evaluator.budget }
    private var bytes: [UInt8] { format.bytes }
    private static let (open, close) = (UInt8(ascii: "{"), UInt8(ascii: "}"))

    mutating func run(_ range: Range<Int>, depth: Int) throws(ChatTemplateError) -> TemplateText {
      guard depth < 2 else { throw budget.failure("a format nests more than 2 deep") }
      try budget.read(bytes: range.count)
      var output = TemplateText()
      var position = range.lowerBound
      while position < range.upperBound {
        let byte = bytes[position]
        guard byte == Self.open || byte == Self.close else {
          let start = position
          while position < range.upperBound, bytes[position] != Self.open,
            bytes[position] != Self.close
          { position += 1 }
          try budget.make(bytes: position - start)
          output.append(format.part(start..<position))
          continue
        }
        if position + 1 < range.upperBound, bytes[position + 1] == byte {
          output.append(format.part(position..<position + 1))
          position += 2
          continue
        }
        guard byte == Self.open, let end = endOfField(from: position + 1, to: range.upperBound)
        else { throw budget.failure("a single brace in a format") }
        output.append(try field(position + 1..<end, depth: depth))
        position = end + 1
      }
      return output
    }

    /// The brace that closes a field; those of fields within its specification are skipped.
    private func endOfField(from start: Int, to end: Int) -> Int? {
      var depth = 0
      for position in start..<end {
        if bytes[position] == Self.open { depth += 1 }
        if bytes[position] == Self.close {
          if depth == 0 { return position }
          depth -= 1
        }
      }
      return nil
    }

    private mutating func field(
      _ range: Range<Int>, depth: Int
    ) throws(ChatTemplateError) -> TemplateText {
      guard range.count <= TagLexer.longestName else {
        throw budget.failure("a field of more than \(TagLexer.longestName) bytes in a format")
      }
      var brackets = 0
      var nameEnd = range.upperBound
      for position in range {
        if bytes[position] == UInt8(ascii: "[") { brackets += 1 }
        if bytes[position] == UInt8(ascii: "]") { brackets -= 1 }
        let isEnd = bytes[position] == UInt8(ascii: ":") || bytes[position] == UInt8(ascii: "!")
        if isEnd, brackets <= 0 {
          nameEnd = position
          break
        }
      }
      var value = try lookUp(String(decoding: bytes[range.lowerBound..<nameEnd], as: UTF8.self))
      var position = nameEnd
      if position < range.upperBound, bytes[position] == UInt8(ascii: "!") {
        guard position + 1 < range.upperBound else {
          throw budget.failure("a format without its conversion")
        }
        switch bytes[position + 1] {
        case UInt8(ascii: "s"): value = .text(try PythonText.str(value, budget))
        case UInt8(ascii: "r"): value = .text(try PythonText.repr(value, budget))
        default: throw budget.unsupported("a format knows the conversions !s and !r")
        }
        position += 2
      }
      guard position < range.upperBound else { return try PythonText.str(value, budget) }
      guard bytes[position] == UInt8(ascii: ":") else {
        throw budget.failure("a format expects \":\" after its conversion")
      }
      let text = try run(position + 1..<range.upperBound, depth: depth + 1)
      return try formatted(value, text)
    }

    private func formatted(
      _ value: TemplateValue, _ text: TemplateText
    ) throws(ChatTemplateError) -> TemplateText {
      if text.isEmpty { return try PythonText.str(value, budget) }
      let specification = try FormatSpecification(text.string, budget)
      switch value {
      case .integer(let value):
        return try specification.padded(
          specification.number(value, budget), isNumber: true, budget)
      case .bool(let value):
        return try specification.padded(
          specification.number(value ? 1 : 0, budget), isNumber: true, budget)
      case .number(let value):
        return try specification.padded(
          specification.number(value, budget), isNumber: true, budget)
      case .text(var value):
        guard specification.type == nil || specification.type == "s",
          specification.align != "=", specification.sign == "-", !specification.isAlternate
        else { throw budget.failure("a text has no format \"\(text.string)\"") }
        if let precision = specification.precision {
          value = try specification.cut(value, to: precision, budget)
        }
        return try specification.padded(value, budget)
      default:
        throw budget.failure("\(value.kind) has no format \"\(text.string)\"")
      }
    }

    // MARK: Values

    private mutating func lookUp(_ name: String) throws(ChatTemplateError) -> TemplateValue {
      var rest = Substring(name)
      let first = rest.prefix { $0 != "." && $0 != "[" }
      rest = rest.dropFirst(first.count)
      var value = try argument(String(first))
      while let mark = rest.first {
        rest = rest.dropFirst()
        if mark == "." {
          let part = rest.prefix { $0 != "." && $0 != "[" }
          rest = rest.dropFirst(part.count)
          value = try Subscript.member(String(part), of: value, evaluator)
        } else {
          let part = rest.prefix { $0 != "]" }
          rest = rest.dropFirst(part.count + 1)
          let key: TemplateValue =
            part.utf8.allSatisfy { (0x30...0x39).contains($0) }
            ? Int(part).map { .integer($0) } ?? .string(String(part)) : .string(String(part))
          value = try Subscript.element(key, of: value, evaluator)
        }
      }
      return value
    }

    private mutating func argument(_ name: String) throws(ChatTemplateError) -> TemplateValue {
      let index: Int
      if name.isEmpty {
        guard isNumbered != true else { throw budget.failure("a format mixes {} and {0}") }
        isNumbered = false
        index = next
        next += 1
      } else if name.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
        guard isNumbered != false else { throw budget.failure("a format mixes {} and {0}") }
        isNumbered = true
        index = Int(name) ?? .max
      } else {
        guard let value = arguments.named.first(where: { $0.name == name })?.value else {
          throw budget.failure("the format names \"\(name)\", which is not given")
        }
        return value
      }
      guard index < arguments.positional.count else {
        throw budget.failure("the format has more fields than values are given")
      }
      return arguments.positional[index]
    }
  }
}
