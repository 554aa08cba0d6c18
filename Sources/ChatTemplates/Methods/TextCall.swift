/// One call of a method of texts.
struct TextCall {
  let text: TemplateText
  let name: String
  let arguments: TemplateArguments
  let bound: BoundArguments?
  let evaluator: TemplateEvaluator

  private var budget: TemplateBudget { evaluator.budget }

  func argument(_ index: Int) -> TemplateValue? { bound?[index] }

  func flag(_ index: Int) -> Bool { bound?.flag(index) ?? false }

  func text(_ index: Int) throws(ChatTemplateError) -> TemplateText {
    guard let bound else { return TemplateText() }
    return try bound.text(index, budget)
  }

  func integer(_ index: Int, default fallback: Int) throws(ChatTemplateError) -> Int {
    try bound?.integer(index, default: fallback, budget) ?? fallback
  }

  /// The text with every character mapped.
  func mapped(_ body: (Unicode.Scalar) -> String) throws(ChatTemplateError) -> TemplateText {
    try budget.read(bytes: text.bytes.count)
    try budget.make(bytes: 2 * text.bytes.count)
    return text.mapScalars { scalar, bytes in
      if scalar.isASCII, let first = body(scalar).utf8.first {
        bytes.append(first)
      } else {
        bytes.append(contentsOf: body(scalar).utf8)
      }
    }
  }

  func stripped(start: Bool, end: Bool) throws(ChatTemplateError) -> TemplateText {
    let set = bound?.present(0) == nil ? nil : try text(0)
    if let set { try budget.read(bytes: set.bytes.count) }
    return text.stripped(start: start, end: end, of: set)
  }

  // MARK: Ranges

  /// The bytes from the argument `start` to `end`, which count characters; nil where `start` lies
  /// past the end.
  private func range(from index: Int) throws(ChatTemplateError) -> Range<Int>? {
    try budget.scan(bytes: 2 * text.bytes.count)
    let (start, end) = (bound?.present(index), bound?.present(index + 1))
    guard start != nil || end != nil else { return 0..<text.bytes.count }
    let offsets = text.characterOffsets()
    let count = offsets.count - 1
    func place(_ index: Int, _ given: TemplateValue?, _ fallback: Int)
      throws(ChatTemplateError) -> Int
    {
      guard given != nil else { return fallback }
      let value = try integer(index, default: fallback)
      return value < 0 ? max(0, count &+ value) : value
    }
    let from = try place(index, start, 0)
    let to = min(try place(index + 1, end, count), count)
    guard from <= to else { return nil }
    return offsets[from]..<offsets[to]
  }

  func hasAffix(atStart: Bool) throws(ChatTemplateError) -> Bool {
    guard let range = try range(from: 1) else { return false }
    let part = text.bytes[range]
    func matches(_ affix: TemplateText) -> Bool {
      atStart
        ? part.starts(with: affix.bytes) : part.suffix(affix.bytes.count).elementsEqual(affix.bytes)
    }
    guard case .sequence(let affixes)? = argument(0), affixes.isTuple else {
      return matches(try text(0))
    }
    for affix in affixes.elements {
      guard case .text(let affix) = affix else {
        throw budget.failure("\(name) needs texts, not \(affix.kind)")
      }
      try budget.read(bytes: affix.bytes.count)
      if matches(affix) { return true }
    }
    return false
  }

  func withoutPrefix() throws(ChatTemplateError) -> TemplateText {
    let prefix = try text(0)
    return text.bytes.starts(with: prefix.bytes)
      ? text.part(prefix.bytes.count..<text.bytes.count) : text
  }

  func withoutSuffix() throws(ChatTemplateError) -> TemplateText {
    let suffix = try text(0)
    return text.bytes.suffix(suffix.bytes.count).elementsEqual(suffix.bytes)
      ? text.part(0..<text.bytes.count - suffix.bytes.count) : text
  }

  /// The character at which the first or last occurrence begins.
  func position(fromRight: Bool) throws(ChatTemplateError) -> Int? {
    try budget.scan(bytes: 2 * text.bytes.count)
    let pattern = try text(0)
    guard let range = try range(from: 1) else { return nil }
    let part = text.part(range)
    let offset: Int?
    if pattern.isEmpty {
      offset = fromRight ? part.bytes.count : 0
    } else if fromRight {
      offset = part.lastOccurrences(of: pattern.bytes, limit: 1).first
    } else {
      offset = part.occurrences(of: pattern.bytes, limit: 1).first
    }
    guard let offset else { return nil }
    return text.part(0..<range.lowerBound + offset).length
  }

  func knownPosition(fromRight: Bool) throws(ChatTemplateError) -> TemplateValue {
    guard let position = try position(fromRight: fromRight) else {
      throw budget.failure("\(name) finds nothing")
    }
    return .integer(position)
  }

  func occurrences() throws(ChatTemplateError) -> Int {
    let pattern = try text(0)
    guard let range = try range(from: 1) else { return 0 }
    let part = text.part(range)
    return pattern.isEmpty ? part.length + 1 : part.occurrences(of: pattern.bytes).count
  }

  // MARK: Cutting

  func split(fromRight: Bool) throws(ChatTemplateError) -> TemplateValue {
    let count = try integer(1, default: -1)
    let limit = count < 0 ? Int.max : count
    let parts: [TemplateText]
    if bound?.present(0) == nil {
      try budget.read(bytes: 3 * text.bytes.count)
      parts = text.splitAtWhiteSpace(limit: limit, fromRight: fromRight)
    } else {
      let separator = try text(0)
      guard !separator.isEmpty else { throw budget.failure("\(name) at an empty text") }
      let count = text.occurrences(of: separator.bytes, limit: limit).count
      try budget.make(bytes: 64 * count)
      try budget.spend(8 * count)
      parts = text.split(by: separator.bytes, limit: limit, fromRight: fromRight)
    }
    try budget.make(bytes: text.bytes.count + 64 * parts.count)
    try budget.spend(8 * parts.count)
    return try .list(parts.map { .text($0) }, budget)
  }

  func partition(fromRight: Bool) throws(ChatTemplateError) -> TemplateValue {
    let separator = try text(0)
    guard !separator.isEmpty else { throw budget.failure("\(name) at an empty text") }
    try budget.make(bytes: text.bytes.count)
    let found =
      fromRight
      ? text.lastOccurrences(of: separator.bytes, limit: 1).first
      : text.occurrences(of: separator.bytes, limit: 1).first
    let parts: [TemplateText]
    if let found {
      let end = found + separator.bytes.count
      parts = [
        text.part(0..<found), text.part(found..<end), text.part(end..<text.bytes.count),
      ]
    } else {
      let empty = TemplateText()
      parts = fromRight ? [empty, empty, text] : [text, empty, empty]
    }
    return try .tuple(parts.map { .text($0) }, budget)
  }

  // MARK: Padding

  enum Alignment {
    case left, right, center
  }

  func padded(_ alignment: Alignment) throws(ChatTemplateError) -> TemplateValue {
    let fill = bound?[1] == nil ? TemplateText(" ") : try text(1)
    guard fill.length == 1 else { throw budget.failure("\(name) fills with one character") }
    let width = try integer(0, default: 0)
    let missing = width - min(text.length, max(width, 0))
    guard missing > 0 else { return .text(text) }
    try budget.make(bytes: min(missing, .max / 256) * fill.bytes.count)
    let before: Int
    switch alignment {
    case .left: before = 0
    case .right: before = missing
    // Python's rule for what is left over.
    case .center: before = missing / 2 + (missing & width & 1)
    }
    var result = TemplateText()
    for _ in 0..<before { result.append(fill) }
    result.append(text)
    for _ in 0..<(missing - before) { result.append(fill) }
    return .text(result)
  }

  func filledWithZeros() throws(ChatTemplateError) -> TemplateValue {
    let width = try integer(0, default: 0)
    let missing = width - min(text.length, max(width, 0))
    guard missing > 0 else { return .text(text) }
    try budget.make(bytes: missing)
    let hasSign = text.bytes.first == 0x2B || text.bytes.first == 0x2D
    var result = text.part(0..<(hasSign ? 1 : 0))
    result.append(repeatElement(0x30, count: missing), isContent: false)
    result.append(text.part((hasSign ? 1 : 0)..<text.bytes.count))
    return .text(result)
  }

  func withoutTabs() throws(ChatTemplateError) -> TemplateText {
    let size = try integer(0, default: 8)
    let tabs = text.bytes.count { $0 == 0x09 }
    guard size <= 1 << 20 else { throw budget.failure("a tab of \(size) blanks") }
    try budget.make(bytes: text.bytes.count + tabs * max(0, size))
    var column = 0
    return text.mapScalars { scalar, bytes in
      if scalar == "\t" {
        let count = size > 0 ? size - column % size : 0
        bytes.append(contentsOf: repeatElement(0x20, count: count))
        column += count
      } else {
        bytes.append(scalar)
        column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      }
    }
  }
}
