/// Filters that make a text.
enum TextFilters {
  static let table: [String: TemplateFilters.Filter] = [
    "upper": method("upper"), "lower": method("lower"), "capitalize": method("capitalize"),
    "title": title, "trim": method("strip", parameters: ["chars"]),
    "center": method("center", parameters: ["width"], defaults: [.integer(80)]),
    "replace": replace, "indent": indent, "truncate": truncate, "format": format,
    "wordcount": wordCount, "escape": escape, "e": escape, "forceescape": escape, "safe": safe,
    "urlencode": urlEncode, "xmlattr": attributes,
  ]

  /// A method of texts as a filter of the value's text.
  private static func method(
    _ name: String, parameters: [String] = [], defaults: [TemplateValue] = []
  ) -> TemplateFilters.Filter {
    let fallback = defaults.first?.asInteger
    return { value, arguments, evaluator throws(ChatTemplateError) in
      let bound = try arguments.bound(to: parameters, of: name, evaluator.budget)
      var positional: [TemplateValue] = []
      if !parameters.isEmpty, let argument = bound[0] ?? fallback.map({ .integer($0) }) {
        positional = [argument]
      }
      return try TextMethods.call(
        name, of: text(value, evaluator.budget), TemplateArguments(positional: positional),
        evaluator)
    }
  }

  private static func text(
    _ value: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    if case .text(let text) = value { return text }
    return try PythonText.str(value, budget)
  }

  /// Unlike the method, words begin after white space and opening brackets alone.
  private static let title: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "title", evaluator.budget)
    let text = try text(value, evaluator.budget)
    try evaluator.budget.read(bytes: text.bytes.count)
    try evaluator.budget.make(bytes: 2 * text.bytes.count)
    var startsWord = true
    return .text(
      text.mapScalars { scalar, bytes in
        let isSeparator = scalar.isPythonSpace || ["-", "(", "{", "[", "<"].contains(scalar)
        bytes.append(
          contentsOf: (startsWord
            ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping).utf8)
        startsWord = isSeparator
      })
  }

  private static let replace: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["old", "new", "count"], required: 2, of: "replace", budget)
    let old = try text(bound[0] ?? .none, budget)
    let new = try text(bound[1] ?? .none, budget)
    let count = bound.present(2) ?? .integer(-1)
    return try TextMethods.call(
      "replace", of: PythonText.str(value, budget),
      TemplateArguments(positional: [.text(old), .text(new), count]), evaluator)
  }

  private static let indent: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(to: ["width", "first", "blank"], of: "indent", budget)
    guard case .text(let text) = value else {
      throw budget.failure("indent needs a text, not \(value.kind)")
    }
    let indentation: TemplateText
    if case .text(let given)? = bound[0] {
      indentation = given
    } else {
      let width = try bound.integer(0, default: 4, budget)
      try budget.make(bytes: max(0, width))
      indentation = TemplateText(String(repeating: " ", count: max(0, width)))
    }
    try budget.read(bytes: text.bytes.count)
    // Jinja adds a line break before it takes the text apart.
    let lines = (text + TemplateText("\n")).lines()
    try budget.make(elements: 8 * lines.count)
    try budget.make(
      bytes: text.bytes.count + min(lines.count * indentation.bytes.count, .max / 256))
    var result = TemplateText()
    for (index, line) in lines.enumerated() {
      if index > 0 { result.append(TemplateText("\n")) }
      let isIndented = index == 0 ? bound.flag(1) : bound.flag(2) || !line.isEmpty
      if isIndented { result.append(indentation) }
      result.append(line)
    }
    result.isMarkup = text.isMarkup
    return .text(result)
  }

  private static let truncate: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["length", "killwords", "end", "leeway"], of: "truncate", budget)
    let length = try bound.integer(0, default: 255, budget)
    let end =
      try bound[2].map { (_) throws(ChatTemplateError) in try bound.text(2, budget) }
      ?? TemplateText("...")
    let leeway = bound.present(3)?.asInteger ?? 5
    guard length >= end.length, leeway >= 0 else {
      throw budget.failure("truncate to \(length) characters leaves no room for the end")
    }
    guard case .text(let text) = value else {
      // What has few elements is not cut.
      let count = try evaluator.elements(of: value).count
      if count - leeway <= length { return value }
      throw budget.failure("truncate needs a text, not \(value.kind)")
    }
    try budget.read(bytes: 2 * text.bytes.count)
    if text.length - leeway <= length { return value }
    let offsets = text.characterOffsets()
    var start = text.part(0..<offsets[min(length - end.length, offsets.count - 1)])
    if !bound.flag(1), let space = start.lastOccurrences(of: [0x20], limit: 1).first {
      start = start.part(0..<space)
    }
    return .text(try Arithmetic.sum(start, end, budget))
  }

  private static let format: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    guard arguments.positional.isEmpty || arguments.named.isEmpty else {
      throw budget.failure("format takes arguments with names or without, not both")
    }
    let values: TemplateValue
    if arguments.named.isEmpty {
      values = try .tuple(arguments.positional, budget)
    } else {
      var builder = TemplateDictionary.Builder()
      for (name, value) in arguments.named { try builder.set(.string(name), to: value, budget) }
      values = .dictionary(try builder.dictionary(budget))
    }
    return .text(try PercentFormat.text(text(value, budget), values, evaluator))
  }

  private static let wordCount: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "wordcount", evaluator.budget)
    let text = try text(value, evaluator.budget)
    try evaluator.budget.read(bytes: 2 * text.bytes.count)
    var count = 0
    var isWithin = false
    text.forEachScalar { scalar, _ in
      let isWord = scalar == "_" || scalar.isPythonAlphanumeric
      if isWord, !isWithin { count += 1 }
      isWithin = isWord
    }
    return .integer(count)
  }

  // MARK: Web pages

  private static let escape: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "escape", evaluator.budget)
    if case .text(let text) = value, text.isMarkup { return value }
    return .text(
      try HTMLEscaping.escaped(text(value, evaluator.budget), evaluator.budget))
  }

  private static let safe: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "safe", evaluator.budget)
    var text = try text(value, evaluator.budget)
    text.isMarkup = true
    return .text(text)
  }

  private static let urlEncode: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    _ = try arguments.bound(to: [], of: "urlencode", budget)
    let pairs: [TemplateValue]
    switch value {
    case .dictionary(let dictionary): pairs = try DictionaryMethods.items(of: dictionary, budget)
    case .sequence: pairs = try evaluator.elements(of: value)
    default: return .text(try HTMLEscaping.percentEncoded(text(value, budget), budget))
    }
    var result = TemplateText()
    for (index, pair) in pairs.enumerated() {
      let parts = try evaluator.elements(of: pair)
      guard parts.count == 2 else { throw budget.failure("urlencode needs pairs") }
      if index > 0 { result.append(TemplateText("&")) }
      result.append(
        try HTMLEscaping.percentEncoded(text(parts[0], budget), isQuery: true, budget))
      result.append(TemplateText("="))
      result.append(
        try HTMLEscaping.percentEncoded(text(parts[1], budget), isQuery: true, budget))
    }
    return .text(result)
  }

  private static let attributes: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(to: ["autospace"], of: "xmlattr", budget)
    guard case .dictionary(let dictionary) = value else {
      throw budget.failure("xmlattr needs an object, not \(value.kind)")
    }
    var result = TemplateText()
    for member in dictionary.members where !member.value.isNone && !member.value.isUndefined {
      guard case .text(let key) = member.key,
        !key.bytes.contains(where: {
          $0 == 0x20 || (0x09...0x0D).contains($0) || [0x2F, 0x3E, 0x3D].contains($0)
        })
      else { throw budget.failure("xmlattr needs names of attributes as keys") }
      if !result.isEmpty || bound.flag(0, default: true) { result.append(TemplateText(" ")) }
      result.append(try HTMLEscaping.escaped(key, budget))
      result.append(TemplateText("=\""))
      result.append(try HTMLEscaping.escaped(text(member.value, budget), budget))
      result.append(TemplateText("\""))
    }
    return .text(result)
  }
}
