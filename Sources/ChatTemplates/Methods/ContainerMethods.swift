/// The methods of Python's `dict` that change nothing.
enum DictionaryMethods {
  /// Methods that would change an object, which templates cannot do (as in `transformers`).
  private static let changing: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]

  /// A method bound to its object; nil where objects have none of that name.
  static func method(_ name: String, of dictionary: TemplateDictionary) -> TemplateValue? {
    if changing.contains(name) {
      return .undefined("\(name) would change an object, and a template cannot, so it")
    }
    let body: TemplateFunction.Body
    switch name {
    case "items":
      body = { arguments, evaluator throws(ChatTemplateError) in
        _ = try arguments.bound(to: [], of: name, evaluator.budget)
        return .sequence(
          try TemplateSequence(
            .items, items(of: dictionary, evaluator.budget), evaluator.budget))
      }
    case "keys":
      body = { arguments, evaluator throws(ChatTemplateError) in
        _ = try arguments.bound(to: [], of: name, evaluator.budget)
        return .sequence(
          try TemplateSequence(.keys, dictionary.members.map(\.key), evaluator.budget))
      }
    case "values":
      body = { arguments, evaluator throws(ChatTemplateError) in
        _ = try arguments.bound(to: [], of: name, evaluator.budget)
        return .sequence(
          try TemplateSequence(.values, dictionary.members.map(\.value), evaluator.budget))
      }
    case "get":
      body = { arguments, evaluator throws(ChatTemplateError) in
        let bound = try arguments.bound(
          to: ["key", "default"], required: 1, of: name, evaluator.budget)
        let key = try TemplateKey(bound[0] ?? .none, evaluator.budget)
        return dictionary[key] ?? bound[1] ?? .none
      }
    case "copy":
      body = { arguments, evaluator throws(ChatTemplateError) in
        _ = try arguments.bound(to: [], of: name, evaluator.budget)
        return .dictionary(dictionary)
      }
    default: return nil
    }
    return .object(TemplateFunction(name, depth: dictionary.depth, body))
  }

  /// Pairs of key and value.
  static func items(
    of dictionary: TemplateDictionary, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> [TemplateValue] {
    var pairs: [TemplateValue] = []
    pairs.reserveCapacity(dictionary.members.count)
    for member in dictionary.members {
      pairs.append(try .tuple([member.key, member.value], budget))
    }
    return pairs
  }
}

/// The methods of Python's `list` and `tuple` that change nothing.
enum SequenceMethods {
  private static let changing: Set<String> = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
  ]

  /// A method bound to its sequence, or one of the names in a pair of `groupby`.
  static func member(_ name: String, of sequence: TemplateSequence) -> TemplateValue? {
    if sequence.kind == .group, let index = ["grouper", "list"].firstIndex(of: name) {
      return sequence.elements[index]
    }
    guard sequence.hasIndex else { return nil }
    if sequence.kind == .list, changing.contains(name) {
      return .undefined("\(name) would change a list, and a template cannot, so it")
    }
    let body: TemplateFunction.Body
    switch name {
    case "count":
      body = { arguments, evaluator throws(ChatTemplateError) in
        let bound = try arguments.bound(to: ["value"], required: 1, of: name, evaluator.budget)
        var count = 0
        for element in sequence.elements
        where try Comparison.areEqual(element, bound[0] ?? .none, evaluator.budget) {
          count += 1
        }
        return .integer(count)
      }
    case "index":
      body = { arguments, evaluator throws(ChatTemplateError) in
        let budget = evaluator.budget
        let bound = try arguments.bound(
          to: ["value", "start", "stop"], required: 1, of: name, budget)
        let count = sequence.elements.count
        func place(_ index: Int, _ fallback: Int) throws(ChatTemplateError) -> Int {
          let value = try bound.integer(index, default: fallback, budget)
          return min(max(value < 0 ? count &+ value : value, 0), count)
        }
        let (start, stop) = (try place(1, 0), try place(2, count))
        for index in start..<max(start, stop)
        where try Comparison.areEqual(sequence.elements[index], bound[0] ?? .none, budget) {
          return .integer(index)
        }
        throw budget.failure("index finds nothing")
      }
    case "copy" where sequence.kind == .list:
      body = { arguments, evaluator throws(ChatTemplateError) in
        _ = try arguments.bound(to: [], of: name, evaluator.budget)
        return .sequence(sequence)
      }
    default: return nil
    }
    return .object(TemplateFunction(name, depth: Int(sequence.depth), body))
  }
}
