/// The variable `loop`.
///
/// Elements are fetched one by one, as in Jinja: a filter of the loop is evaluated when its element's
/// turn comes, and sees what the body did before.
final class LoopState: TemplateObject {
  private let loop: TemplateLoop
  private let outer: TemplateScope
  private let depthOfLoop: Int
  private let depthOfValues: Int
  private let iterator: TemplateIterator?
  private let elements: [TemplateValue]
  private var position = 0
  /// Elements that `length` fetched ahead.
  private var fetched: [TemplateValue]?
  private var knownLength: Int?
  private var index0 = -1
  private var before: TemplateValue?
  private var current: TemplateValue?
  private var after: TemplateValue?
  private var lastChanged: [TemplateValue]?
  private var isRegistered = false

  init(
    _ loop: TemplateLoop, over sequence: TemplateValue, depth: Int, in outer: TemplateScope,
    _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) {
    self.loop = loop
    self.outer = outer
    depthOfLoop = depth
    depthOfValues = try evaluator.budget.depth(around: sequence.depth)
    if case .object(let object) = sequence, let iterator = object as? TemplateIterator {
      self.iterator = iterator
      elements = []
    } else {
      iterator = nil
      elements = try evaluator.elements(of: sequence)
      if loop.filter == nil { knownLength = elements.count }
    }
  }

  override var kind: String { "the variable loop" }
  override var depth: Int { depthOfValues }
  override var isCallable: Bool { true }

  // MARK: Elements

  /// The element of the next round; nil at the end.
  func next(_ evaluator: TemplateEvaluator) throws(ChatTemplateError) -> TemplateValue? {
    let value = after == nil ? try fetch(evaluator) : after
    after = nil
    guard let value else { return nil }
    index0 += 1
    before = current
    current = value
    return value
  }

  private func fetch(_ evaluator: TemplateEvaluator) throws(ChatTemplateError) -> TemplateValue? {
    if fetched != nil { return fetched?.popLast() }
    while let value = iterator.map({ $0.next() }) ?? nextElement() {
      guard let filter = loop.filter else { return value }
      let holds = try evaluator.withScope(in: outer) { () throws(ChatTemplateError) in
        try evaluator.assign(value, to: loop.target)
        return try evaluator.evaluate(filter).isTrue
      }
      if holds { return value }
    }
    return nil
  }

  private func nextElement() -> TemplateValue? {
    guard position < elements.count else { return nil }
    position += 1
    return elements[position - 1]
  }

  private func peek(_ evaluator: TemplateEvaluator) throws(ChatTemplateError) -> TemplateValue? {
    if after == nil { after = try fetch(evaluator) }
    return after
  }

  private func length(_ evaluator: TemplateEvaluator) throws(ChatTemplateError) -> Int {
    if let knownLength { return knownLength }
    var rest: [TemplateValue] = []
    while let value = try fetch(evaluator) { rest.append(value) }
    try evaluator.budget.make(elements: rest.count)
    let length = rest.count + index0 + 1 + (after == nil ? 0 : 1)
    fetched = rest.reversed()
    knownLength = length
    return length
  }

  // MARK: Members

  override func member(
    _ name: String, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue? {
    switch name {
    case "index": return .integer(index0 + 1)
    case "index0": return .integer(index0)
    case "first": return .bool(index0 == 0)
    case "last": return .bool(try peek(evaluator) == nil)
    case "length": return .integer(try length(evaluator))
    case "revindex": return .integer(try length(evaluator) - index0)
    case "revindex0": return .integer(try length(evaluator) - index0 - 1)
    case "previtem":
      return index0 == 0 ? .undefined("the item before the first is undefined") : before
    case "nextitem":
      let next = try peek(evaluator)
      return next ?? .undefined("the item after the last is undefined")
    case "depth": return .integer(depthOfLoop)
    case "depth0": return .integer(depthOfLoop - 1)
    case "cycle":
      return .object(
        TemplateFunction(name, depth: depth) {
          [self] arguments, evaluator throws(ChatTemplateError) in
          guard arguments.named.isEmpty, !arguments.positional.isEmpty else {
            throw evaluator.budget.failure("loop.cycle needs values to choose from")
          }
          return arguments.positional[max(0, index0) % arguments.positional.count]
        })
    case "changed":
      return .object(
        TemplateFunction(name, depth: depth) {
          [self] arguments, evaluator throws(ChatTemplateError) in
          .bool(try hasChanged(arguments.positional, evaluator.budget))
        })
    default: return nil
    }
  }

  private func hasChanged(
    _ values: [TemplateValue], _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Bool {
    if let lastChanged, lastChanged.count == values.count {
      var isSame = true
      for (old, new) in zip(lastChanged, values) where isSame {
        isSame = try Comparison.areEqual(old, new, budget)
      }
      if isSame { return false }
    }
    if !isRegistered { budget.register(self) }
    isRegistered = true
    lastChanged = values
    return true
  }

  /// `loop(sequence)`: the body of a recursive loop for another sequence.
  override func call(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    guard loop.isRecursive else {
      throw evaluator.budget.failure("the loop is not recursive, so it cannot be called")
    }
    let bound = try arguments.bound(to: ["iterable"], required: 1, of: "loop", evaluator.budget)
    guard let sequence = bound[0] else { return .none }
    return .text(
      try evaluator.render(loop, over: sequence, depth: depthOfLoop + 1, in: outer))
  }

  override func clear() {
    lastChanged = nil
    before = nil
    current = nil
    after = nil
    fetched = nil
  }
}
