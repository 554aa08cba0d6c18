/// Width, precision and the like of one value in a format: `[[fill]align][sign][#][0][width][,][.precision][type]`.
struct FormatSpecification {
  var fill: Unicode.Scalar = " "
  /// `<`, `>`, `^` or `=`; nil where it depends on the value.
  var align: Unicode.Scalar?
  var sign: Unicode.Scalar = "-"
  var isAlternate = false
  var width = 0
  var grouping: Unicode.Scalar?
  var precision: Int?
  var leastDigits = 0
  var type: Unicode.Scalar?

  init() {}

  /// - Throws: if the text is not a format specification.
  init(_ text: String, _ budget: TemplateBudget) throws(ChatTemplateError) {
    let scalars = Array(text.unicodeScalars)
    var position = 0
    let aligns: [Unicode.Scalar] = ["<", ">", "^", "="]
    func peek() -> Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }
    func take(_ choices: [Unicode.Scalar]) -> Unicode.Scalar? {
      guard let next = peek(), choices.contains(next) else { return nil }
      position += 1
      return next
    }
    func number() -> Int? {
      var value: Int?
      while let next = peek(), ("0"..."9").contains(next) {
        value = min((value ?? 0) * 10 + Int(next.value - 48), 1 << 30)
        position += 1
      }
      return value
    }
    if scalars.count > 1, aligns.contains(scalars[1]) {
      (fill, align) = (scalars[0], scalars[1])
      position = 2
    } else {
      align = take(aligns)
    }
    sign = take(["+", "-", " "]) ?? "-"
    isAlternate = take(["#"]) != nil
    if take(["0"]) != nil, align == nil { (fill, align) = ("0", "=") }
    width = number() ?? 0
    grouping = take([",", "_"])
    if take(["."]) != nil {
      guard let digits = number() else { throw budget.failure("a format without its precision") }
      precision = digits
    }
    type = peek()
    if type != nil { position += 1 }
    guard position == scalars.count, text.utf8.count <= TagLexer.longestName else {
      throw budget.failure("\"\(text)\" is no format of a value")
    }
  }

  /// The first characters of a text.
  func cut(
    _ text: TemplateText, to count: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    try budget.read(bytes: text.bytes.count)
    let offsets = text.characterOffsets()
    return count < offsets.count - 1 ? text.part(0..<offsets[count]) : text
  }

  // MARK: Numbers

  func number(_ value: Int, _ budget: TemplateBudget) throws(ChatTemplateError) -> TemplateText {
    var digits: String
    var prefix = ""
    switch type {
    case nil, "d", "n": digits = String(value.magnitude)
    case "b":
      digits = String(value.magnitude, radix: 2)
      prefix = "0b"
    case "o":
      digits = String(value.magnitude, radix: 8)
      prefix = "0o"
    case "x", "X":
      digits = String(value.magnitude, radix: 16, uppercase: type == "X")
      prefix = type == "X" ? "0X" : "0x"
    case "c":
      guard let scalar = UInt32(exactly: value).flatMap(Unicode.Scalar.init) else {
        throw budget.failure("\(value) is no character")
      }
      return TemplateText(String(scalar))
    default: return try number(Double(value), budget)
    }
    guard precision == nil else { throw budget.failure("a whole number has no precision") }
    if digits.utf8.count < leastDigits {
      try budget.make(bytes: leastDigits)
      digits = String(repeating: "0", count: leastDigits - digits.utf8.count) + digits
    }
    let isDecimal = type == nil || type == "d" || type == "n"
    return try assembled(
      isNegative: value < 0, prefix: isAlternate ? prefix : "", whole: digits, rest: "",
      groupSize: isDecimal ? 3 : 4, budget)
  }

  func number(_ value: Double, _ budget: TemplateBudget) throws(ChatTemplateError) -> TemplateText {
    let digits = precision ?? 6
    guard digits <= 1 << 12 else { throw budget.failure("a precision of \(digits) digits") }
    try budget.spend(NumberText.cost(of: value) + digits)
    var text: String
    switch type {
    case "f", "F": text = NumberText.fixed(value, digits: digits)
    case "e", "E": text = NumberText.exponential(value, digits: digits)
    case "g", "G", "n": text = NumberText.general(value, digits: digits)
    case "%": text = NumberText.fixed(value * 100, digits: digits) + "%"
    case nil:
      text = NumberText.shortest(value)
      if let precision {
        text = NumberText.general(value, digits: precision)
        if !text.contains("."), !text.contains("e"), value.isFinite { text += ".0" }
      }
    default: throw budget.failure("a number has no format \"\(type.map { String($0) } ?? "")\"")
    }
    if type == "E" || type == "G" || type == "F" { text = text.uppercased() }
    let isNegative = text.first == "-"
    if isNegative { text.removeFirst() }
    let wholeCount = text.prefix { $0.isNumber }.count
    return try assembled(
      isNegative: isNegative, prefix: "", whole: String(text.prefix(wholeCount)),
      rest: String(text.dropFirst(wholeCount)), groupSize: 3, budget)
  }

  private func assembled(
    isNegative: Bool, prefix: String, whole: String, rest: String, groupSize: Int,
    _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    let signText = isNegative ? "-" : sign == "-" ? "" : String(sign)
    var whole = whole
    let isZeroFilled = fill == "0" && (align == "=" || align == ">")
    if let grouping {
      var grouped = ""
      for (index, digit) in whole.enumerated() {
        if index > 0, (whole.count - index) % groupSize == 0 { grouped += String(grouping) }
        grouped.append(digit)
      }
      if isZeroFilled, width > grouped.count {
        throw budget.unsupported("zeros before a grouped number are not supported")
      }
      whole = grouped
    }
    let used = signText.count + prefix.count + whole.count + rest.count
    if isZeroFilled || align == "=", width > used {
      try budget.make(bytes: 4 * (width - used))
      let filling = String(repeating: String(fill), count: width - used)
      return TemplateText(signText + prefix + filling + whole + rest)
    }
    return TemplateText(signText + prefix + whole + rest)
  }

  // MARK: Padding

  func padded(
    _ text: TemplateText, isNumber: Bool = false, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    let missing = width - min(text.length, width)
    guard missing > 0 else { return text }
    try budget.make(bytes: 4 * missing)
    let before: Int
    switch align ?? (isNumber ? ">" : "<") {
    case ">", "=": before = missing
    case "^": before = missing / 2
    default: before = 0
    }
    let filling = Array(String(fill).utf8)
    var result = TemplateText()
    for _ in 0..<before { result.append(filling, isContent: false) }
    result.append(text)
    for _ in 0..<(missing - before) { result.append(filling, isContent: false) }
    return result
  }
}
