/// Python's `==`, `<` and `in`.
enum Comparison {
  static func areEqual(
    _ left: TemplateValue, _ right: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Bool {
    try budget.spend(1)
    switch (left, right) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.integer(let left), .integer(let right)): return left == right
    case (.text(let left), .text(let right)):
      try budget.spend(min(left.bytes.count, right.bytes.count) / 128)
      return left.bytes == right.bytes
    case (.sequence(let left), .sequence(let right)):
      guard left.isTuple == right.isTuple, left.hasIndex, right.hasIndex,
        (left.kind == .range) == (right.kind == .range),
        left.elements.count == right.elements.count
      else { return false }
      try budget.enter()
      defer { budget.leave() }
      for (left, right) in zip(left.elements, right.elements) {
        if try !areEqual(left, right, budget) { return false }
      }
      return true
    case (.dictionary(let left), .dictionary(let right)):
      guard left.members.count == right.members.count else { return false }
      try budget.enter()
      defer { budget.leave() }
      for member in left.members {
        guard let other = right[try TemplateKey(member.key, budget)],
          try areEqual(member.value, other, budget)
        else { return false }
      }
      return true
    case (.object(let left), .object(let right)): return left === right
    default:
      guard let left = left.asNumber, let right = right.asNumber else { return false }
      return left == right
    }
  }

  /// Negative where `left` comes first, zero for equal values, positive otherwise; nil for a number
  /// that is none.
  static func order(
    _ left: TemplateValue, _ right: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Int? {
    try budget.spend(1)
    switch (left, right) {
    case (.integer(let left), .integer(let right)): return left < right ? -1 : left > right ? 1 : 0
    case (.text(let left), .text(let right)):
      try budget.spend(min(left.bytes.count, right.bytes.count) / 16)
      // The order of UTF-8 bytes is that of code points.
      if left.bytes == right.bytes { return 0 }
      return left.bytes.lexicographicallyPrecedes(right.bytes) ? -1 : 1
    case (.sequence(let left), .sequence(let right))
    where left.isTuple == right.isTuple && left.hasIndex && right.hasIndex && left.kind != .range:
      try budget.enter()
      defer { budget.leave() }
      for (left, right) in zip(left.elements, right.elements) {
        if try !areEqual(left, right, budget) { return try order(left, right, budget) }
      }
      let (left, right) = (left.elements.count, right.elements.count)
      return left < right ? -1 : left > right ? 1 : 0
    default:
      guard let leftNumber = left.asNumber, let rightNumber = right.asNumber else {
        throw budget.failure("\(left.kind) and \(right.kind) have no order")
      }
      if leftNumber.isNaN || rightNumber.isNaN { return nil }
      return leftNumber < rightNumber ? -1 : leftNumber > rightNumber ? 1 : 0
    }
  }

  /// Whether `container` holds `element`.
  static func contains(
    _ container: TemplateValue, _ element: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Bool {
    switch container {
    case .text(let text):
      guard case .text(let part) = element else {
        throw budget.failure("\(element.kind) cannot be in a text")
      }
      try budget.scan(bytes: text.bytes.count + part.bytes.count)
      return part.isEmpty || !text.occurrences(of: part.bytes, limit: 1).isEmpty
    case .dictionary(let dictionary): return dictionary[try TemplateKey(element, budget)] != nil
    case .sequence(let sequence):
      // Python looks keys up, and so refuses what cannot be one.
      if sequence.kind == .keys { _ = try TemplateKey(element, budget) }
      for candidate in sequence.elements {
        if try areEqual(candidate, element, budget) { return true }
      }
      return false
    case .undefined: return false
    case .object(let iterator as TemplateIterator):
      while let candidate = iterator.next() {
        if try areEqual(candidate, element, budget) { return true }
      }
      return false
    default: throw budget.failure("nothing is in \(container.kind)")
    }
  }

  /// A stable merge sort that may fail.
  static func sorted(
    _ values: [TemplateValue], by keys: [TemplateValue], reversed: Bool, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> [TemplateValue] {
    guard values.count > 1 else { return values }
    try budget.make(elements: values.count)
    var order = Array(values.indices)
    var scratch = order
    var width = 1
    while width < order.count {
      var start = 0
      while start < order.count {
        let middle = min(start + width, order.count)
        let end = min(start + 2 * width, order.count)
        var (left, right) = (start, middle)
        for position in start..<end {
          let takesRight: Bool
          if left == middle {
            takesRight = true
          } else if right == end {
            takesRight = false
          } else {
            let (first, second) = (keys[order[left]], keys[order[right]])
            // Python's `reverse` keeps the order of equal elements.
            takesRight =
              reversed
              ? (try Self.order(first, second, budget) ?? 0) < 0
              : (try Self.order(second, first, budget) ?? 0) < 0
          }
          scratch[position] = takesRight ? order[right] : order[left]
          if takesRight { right += 1 } else { left += 1 }
        }
        start = end
      }
      swap(&order, &scratch)
      width *= 2
    }
    return order.map { values[$0] }
  }
}
