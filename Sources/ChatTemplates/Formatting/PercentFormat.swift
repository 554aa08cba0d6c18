/// Python's `format % values`.
enum PercentFormat {
  static func text(
    _ format: TemplateText, _ values: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateText {
    var formatter = Formatter(format, values, evaluator)
    return try formatter.run()
  }

  private struct Formatter {
    let format: TemplateText
    let values: TemplateValue
    let evaluator: TemplateEvaluator
    var position = 0
    var used = 0
    var output = TemplateText()

    init(_ format: TemplateText, _ values: TemplateValue, _ evaluator: TemplateEvaluator) {
      (self.format, self.values, self.evaluator) = (format, values, evaluator)
    }

    private var budget: TemplateBudget { evaluator.budget }
    private var bytes: [UInt8] { format.bytes }

    mutating func run() throws(ChatTemplateError) -> TemplateText {
      try budget.read(bytes: bytes.count)
      try budget.make(bytes: bytes.count)
      while position < bytes.count {
        let start = position
        while position < bytes.count, bytes[position] != 0x25 { position += 1 }
        output.append(format.part(start..<position))
        guard position < bytes.count else { break }
        position += 1
        try readField()
      }
      let count: Int
      switch values {
      case .sequence(let sequence) where sequence.isTuple: count = sequence.elements.count
      case .dictionary, .sequence: count = used
      default: count = 1
      }
      if used < count { throw budget.failure("% is given more values than the format has") }
      output.isMarkup = format.isMarkup
      return output
    }

    private mutating func nextValue() throws(ChatTemplateError) -> TemplateValue {
      defer { used += 1 }
      if case .sequence(let sequence) = values, sequence.isTuple {
        guard used < sequence.elements.count else {
          throw budget.failure("% is given fewer values than the format has")
        }
        return sequence.elements[used]
      }
      guard used == 0 else { throw budget.failure("% is given fewer values than the format has") }
      return values
    }

    private mutating func takeByte() throws(ChatTemplateError) -> UInt8 {
      guard position < bytes.count else { throw budget.failure("the format ends after a %") }
      position += 1
      return bytes[position - 1]
    }

    private mutating func readNumber() throws(ChatTemplateError) -> Int? {
      if position < bytes.count, bytes[position] == 0x2A {
        position += 1
        guard let value = try nextValue().asInteger else {
          throw budget.failure("* in a format needs a whole number")
        }
        return value
      }
      var value: Int?
      while position < bytes.count, (0x30...0x39).contains(bytes[position]) {
        value = min((value ?? 0) * 10 + Int(bytes[position] - 0x30), 1 << 30)
        position += 1
      }
      return value
    }

    private mutating func readField() throws(ChatTemplateError) {
      var given: TemplateValue?
      if position < bytes.count, bytes[position] == 0x28 {
        let start = position + 1
        guard let end = bytes[start...].firstIndex(of: 0x29) else {
          throw budget.failure("a key without its end in a format")
        }
        guard case .dictionary(let dictionary) = values,
          let value = dictionary[.text(Array(bytes[start..<end]))]
        else {
          throw budget.failure("the format names a value that is not there")
        }
        given = value
        position = end + 1
      }
      var specification = FormatSpecification()
      specification.align = ">"
      var isLeft = false
      flags: while true {
        switch try takeByte() {
        case 0x2D: isLeft = true
        case 0x2B: specification.sign = "+"
        case 0x20: if specification.sign != "+" { specification.sign = " " }
        case 0x30: specification.fill = "0"
        case 0x23: specification.isAlternate = true
        default:
          position -= 1
          break flags
        }
      }
      if let width = try readNumber() {
        specification.width = min(width.magnitude <= 1 << 30 ? abs(width) : 1 << 30, 1 << 30)
        if width < 0 { isLeft = true }
      }
      if position < bytes.count, bytes[position] == 0x2E {
        position += 1
        specification.precision = max(0, try readNumber() ?? 0)
      }
      while position < bytes.count, [0x68, 0x6C, 0x4C].contains(bytes[position]) { position += 1 }
      let conversion = try takeByte()
      if conversion == 0x25 {
        output.append([0x25], isContent: false)
        return
      }
      if isLeft { (specification.align, specification.fill) = ("<", " ") }
      let value = given == nil ? try nextValue() : given ?? .none
      try append(value, Unicode.Scalar(conversion), specification)
    }

    private mutating func append(
      _ value: TemplateValue, _ conversion: Unicode.Scalar, _ given: FormatSpecification
    ) throws(ChatTemplateError) {
      var specification = given
      var made: TemplateText
      switch conversion {
      case "s", "r", "a":
        made =
          conversion == "s"
          ? try PythonText.str(value, budget) : try PythonText.repr(value, budget)
        if conversion == "a", made.bytes.contains(where: { $0 >= 0x80 }) {
          throw budget.unsupported("the conversion %a of such a text")
        }
        specification.fill = " "
        if let precision = specification.precision {
          made = try specification.cut(made, to: precision, budget)
        }
      case "c":
        if let scalar = value.asInteger.flatMap({ UInt32(exactly: $0) }).flatMap(
          Unicode.Scalar.init)
        {
          made = TemplateText(String(scalar))
        } else if case .text(let text) = value, text.length == 1 {
          made = text
        } else {
          throw budget.failure("%c needs one character")
        }
        specification.fill = " "
      case "d", "i", "u", "x", "X", "o":
        let needsInteger = conversion == "x" || conversion == "X" || conversion == "o"
        var whole = value.asInteger
        if whole == nil, !needsInteger, case .number(let number) = value {
          whole = Int(exactly: number.rounded(.towardZero))
        }
        guard let whole else { throw budget.failure("%\(conversion) needs a number") }
        specification.type = needsInteger ? conversion : "d"
        // A precision is the least number of digits.
        if let digits = specification.precision {
          specification.leastDigits = digits
          specification.precision = nil
        }
        made = try specification.number(whole, budget)
      case "f", "F", "e", "E", "g", "G":
        guard let number = value.asNumber else {
          throw budget.failure("%\(conversion) needs a number")
        }
        specification.type = conversion
        made = try specification.number(number, budget)
      default: throw budget.failure("a format knows no %\(conversion)")
      }
      if format.isMarkup, case .text(let text) = value, conversion == "s" {
        made = try HTMLEscaping.escaped(text, budget)
      }
      output.append(try specification.padded(made, budget))
    }
  }
}
