/// Filters of what can be gone over.
enum SequenceFilters {
  static let table: [String: TemplateFilters.Filter] = [
    "length": length, "count": length, "first": first, "last": last, "list": list,
    "reverse": reverse, "join": join, "sort": sort, "dictsort": dictionarySort, "unique": unique,
    "groupby": group, "batch": batch, "slice": slice,
  ]

  private static let length: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "length", evaluator.budget)
    switch value {
    case .undefined: return .integer(0)
    case .text(let text):
      try evaluator.budget.spend(1 + text.bytes.count / 16)
      return .integer(text.length)
    case .sequence(let sequence): return .integer(sequence.elements.count)
    case .dictionary(let dictionary): return .integer(dictionary.members.count)
    case .object(let loop as LoopState):
      return try loop.member("length", evaluator) ?? .none
    default: throw evaluator.budget.failure("\(value.kind) has no length")
    }
  }

  private static let first: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "first", evaluator.budget)
    let empty = TemplateValue.undefined("the first element of nothing is undefined")
    switch value {
    case .text(let text):
      let end = text.bytes.dropFirst().firstIndex { $0 & 0xC0 != 0x80 } ?? text.bytes.count
      return text.isEmpty ? empty : .text(text.part(0..<end))
    case .object(let iterator as TemplateIterator): return iterator.next() ?? empty
    default: return try evaluator.elements(of: value).first ?? empty
    }
  }

  private static let last: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "last", evaluator.budget)
    let empty = TemplateValue.undefined("the last element of nothing is undefined")
    switch value {
    case .text(let text):
      let start = text.bytes.lastIndex { $0 & 0xC0 != 0x80 } ?? 0
      return text.isEmpty ? empty : .text(text.part(start..<text.bytes.count))
    case .object: throw evaluator.budget.failure("\(value.kind) has no end to begin from")
    default: return try evaluator.elements(of: value).last ?? empty
    }
  }

  private static let list: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "list", evaluator.budget)
    return try .list(evaluator.elements(of: value), evaluator.budget)
  }

  private static let reverse: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "reverse", evaluator.budget)
    switch value {
    case .text:
      return try Subscript.slice(
        value, from: .none, to: .none, by: .integer(-1), evaluator)
    case .object(is TemplateIterator):
      return try .list(evaluator.elements(of: value).reversed(), evaluator.budget)
    default: return try .iterator(evaluator.elements(of: value).reversed(), evaluator.budget)
    }
  }

  private static let join: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(to: ["d", "attribute"], of: "join", budget)
    let separator = try PythonText.str(bound[0] ?? .string(""), budget)
    let path = bound.present(1).map { AttributePath($0) }
    var result = TemplateText()
    for (index, element) in try evaluator.elements(of: value).enumerated() {
      if index > 0 {
        try budget.make(bytes: separator.bytes.count)
        result.append(separator)
      }
      let text = try PythonText.str(path?.value(of: element, evaluator) ?? element, budget)
      try budget.make(bytes: text.bytes.count)
      result.append(text)
    }
    return .text(result)
  }

  // MARK: Order

  private static let sort: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["reverse", "case_sensitive", "attribute"], of: "sort", budget)
    let paths = AttributePath.several(bound.present(2))
    let elements = try evaluator.elements(of: value)
    var keys: [TemplateValue] = []
    for element in elements {
      var key: [TemplateValue] = []
      for path in paths {
        key.append(
          try path.key(of: element, isCaseSensitive: bound.flag(1), evaluator))
      }
      keys.append(try .list(key, budget))
    }
    return try .list(
      Comparison.sorted(elements, by: keys, reversed: bound.flag(0), budget), budget)
  }

  private static let dictionarySort: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["case_sensitive", "by", "reverse"], of: "dictsort", budget)
    guard case .dictionary(let dictionary) = value else {
      throw budget.failure("dictsort needs an object, not \(value.kind)")
    }
    let by = try bound[1].map { (_) throws(ChatTemplateError) in try bound.text(1, budget).string }
    guard by == nil || by == "key" || by == "value" else {
      throw budget.failure("dictsort sorts by \"key\" or \"value\"")
    }
    var keys: [TemplateValue] = []
    for member in dictionary.members {
      let key = by == "value" ? member.value : member.key
      keys.append(bound.flag(0) ? key : try AttributePath.lowercased(key, evaluator))
    }
    return try .list(
      Comparison.sorted(
        DictionaryMethods.items(of: dictionary, budget), by: keys, reversed: bound.flag(2),
        budget), budget)
  }

  private static let unique: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let bound = try arguments.bound(
      to: ["case_sensitive", "attribute"], of: "unique", evaluator.budget)
    let path = AttributePath(bound.present(1))
    var seen: Set<TemplateKey> = []
    var result: [TemplateValue] = []
    for element in try evaluator.elements(of: value) {
      let key = try path.key(of: element, isCaseSensitive: bound.flag(0), evaluator)
      try evaluator.budget.make(elements: 2)
      if seen.insert(try TemplateKey(key, evaluator.budget)).inserted { result.append(element) }
    }
    return try .iterator(result, evaluator.budget)
  }

  private static let group: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["attribute", "default", "case_sensitive"], required: 1, of: "groupby", budget)
    let path = AttributePath(bound[0], default: bound.present(1))
    let isCaseSensitive = bound.flag(2)
    let elements = try evaluator.elements(of: value)
    var keys: [TemplateValue] = []
    for element in elements {
      keys.append(try path.key(of: element, isCaseSensitive: isCaseSensitive, evaluator))
    }
    let sorted = try Comparison.sorted(elements, by: keys, reversed: false, budget)
    var groups: [TemplateValue] = []
    var current: (key: TemplateValue, elements: [TemplateValue])?
    func close() throws(ChatTemplateError) {
      guard let open = current, let first = open.elements.first else { return }
      // The key as the first element has it, in its own case.
      let name = try path.value(of: first, evaluator)
      groups.append(
        .sequence(
          try TemplateSequence(.group, [name, .list(open.elements, budget)], budget)))
    }
    for element in sorted {
      let key = try path.key(of: element, isCaseSensitive: isCaseSensitive, evaluator)
      if let open = current, try Comparison.areEqual(open.key, key, budget) {
        current?.elements.append(element)
      } else {
        try close()
        current = (key, [element])
      }
    }
    try close()
    return try .list(groups, budget)
  }

  // MARK: Cutting

  private static let batch: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["linecount", "fill_with"], required: 1, of: "batch", budget)
    let size = try bound.integer(0, default: 1, budget)
    let elements = try evaluator.elements(of: value)
    guard size > 0 else { throw budget.failure("batch needs a size of at least 1") }
    var result: [TemplateValue] = []
    var start = 0
    while start < elements.count {
      var part = Array(elements[start..<min(start + min(size, elements.count), elements.count)])
      if let filling = bound.present(1), part.count < size {
        try budget.make(elements: min(size - part.count, .max / 256))
        part += Array(repeating: filling, count: size - part.count)
      }
      start += min(size, elements.count)
      result.append(try .list(part, budget))
    }
    return try .iterator(result, budget)
  }

  private static let slice: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["slices", "fill_with"], required: 1, of: "slice", budget)
    let count = try bound.integer(0, default: 1, budget)
    let elements = try evaluator.elements(of: value)
    guard count > 0 else { throw budget.failure("slice needs at least 1 part") }
    try budget.make(elements: min(count, .max / 256))
    let (size, further) = elements.count.quotientAndRemainder(dividingBy: count)
    var result: [TemplateValue] = []
    var start = 0
    for index in 0..<count {
      let end = start + size + (index < further ? 1 : 0)
      var part = Array(elements[start..<end])
      if let filling = bound.present(1), index >= further { part.append(filling) }
      start = end
      result.append(try .list(part, budget))
    }
    return try .iterator(result, budget)
  }
}
