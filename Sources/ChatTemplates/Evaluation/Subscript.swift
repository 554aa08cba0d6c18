/// `value.name`, `value[key]` and slices, with Jinja's rules of which comes first.
enum Subscript {
  /// `value.name`: a method or attribute, else the member of an object.
  static func member(
    _ name: String, of value: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    if let attribute = try attribute(name, of: value, evaluator) { return attribute }
    if case .dictionary(let dictionary) = value, let member = dictionary[name] { return member }
    return .undefined("\(value.kind) has no \(name)")
  }

  /// `value[key]`: an element, else the method or attribute of that name.
  static func element(
    _ key: TemplateValue, of value: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    switch (value, key) {
    case (.undefined(let reason), _):
      throw evaluator.budget.failure("\(reason), so has no elements")
    case (.dictionary(let dictionary), .sequence(let sequence)) where sequence.isTuple:
      // A tuple may hold a value that cannot be a key; then nothing is found.
      if let hashed = try? TemplateKey(key, evaluator.budget), let member = dictionary[hashed] {
        return member
      }
    case (.dictionary, .sequence), (.dictionary, .dictionary): break
    case (.dictionary(let dictionary), _):
      if let member = dictionary[try TemplateKey(key, evaluator.budget)] { return member }
    case (.sequence(let sequence), _) where sequence.hasIndex:
      if let index = key.asInteger, let place = position(index, in: sequence.elements.count) {
        return sequence.elements[place]
      }
    case (.text(let text), _):
      if let index = key.asInteger, let character = try character(index, of: text, evaluator) {
        return .text(character)
      }
    default: break
    }
    if case .text(let text) = key, let name = text.name,
      let attribute = try attribute(name, of: value, evaluator)
    {
      return attribute
    }
    return .undefined("\(value.kind) has no such element")
  }

  private static func position(_ index: Int, in count: Int) -> Int? {
    let place = index < 0 ? count &+ index : index
    return (0..<count).contains(place) ? place : nil
  }

  private static func character(
    _ index: Int, of text: TemplateText, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateText? {
    try evaluator.budget.spend(1 + text.bytes.count / 4)
    let offsets = text.characterOffsets()
    guard let place = position(index, in: offsets.count - 1) else { return nil }
    return text.part(offsets[place]..<offsets[place + 1])
  }

  private static func attribute(
    _ name: String, of value: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue? {
    switch value {
    case .undefined(let reason):
      throw evaluator.budget.failure("\(reason), so has no \(name)")
    case .text(let text): return TextMethods.method(name, of: text)
    case .dictionary(let dictionary): return DictionaryMethods.method(name, of: dictionary)
    case .sequence(let sequence): return SequenceMethods.member(name, of: sequence)
    case .object(let object): return try object.member(name, evaluator)
    case .bool, .integer, .number:
      if name == "real" { return value.asInteger.map { .integer($0) } ?? value }
      return nil
    case .none: return nil
    }
  }

  // MARK: Slices

  static func slice(
    _ value: TemplateValue, from: TemplateValue, to: TemplateValue, by: TemplateValue,
    _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let budget = evaluator.budget
    for bound in [from, to, by] where !bound.isNone && bound.asInteger == nil {
      throw budget.failure("a slice with \(bound.kind) has no value")
    }
    let step = by.asInteger ?? 1
    guard step != 0 else { throw budget.failure("a slice with a step of 0") }
    func indices(_ count: Int) -> StrideTo<Int> {
      // Python's rules of `slice.indices`.
      let (lowest, highest) = step < 0 ? (-1, count - 1) : (0, count)
      func bound(_ value: Int?, _ fallback: Int) -> Int {
        guard let value else { return fallback }
        return min(max(value < 0 ? count &+ max(value, -count - 1) : value, lowest), highest)
      }
      return stride(
        from: bound(from.asInteger, step < 0 ? highest : lowest),
        to: bound(to.asInteger, step < 0 ? lowest : highest), by: step)
    }
    switch value {
    case .undefined(let reason): throw budget.failure("\(reason), so has no elements")
    case .sequence(let sequence) where sequence.hasIndex:
      let elements = indices(sequence.elements.count).map { sequence.elements[$0] }
      return .sequence(
        try TemplateSequence(sequence.isTuple ? .tuple : sequence.kind, elements, budget))
    case .text(let text):
      try budget.read(bytes: text.bytes.count)
      let offsets = text.characterOffsets()
      if step == 1 {
        let range = Array(indices(offsets.count - 1))
        guard let first = range.first, let last = range.last else { return .string("") }
        return .text(text.part(offsets[first]..<offsets[last + 1]))
      }
      var result = TemplateText()
      for index in indices(offsets.count - 1) {
        try budget.spend(2)
        result.append(text.part(offsets[index]..<offsets[index + 1]))
      }
      return .text(result)
    default: throw budget.failure("a slice of \(value.kind) has no value")
    }
  }
}
