/// Elements in order.
struct TemplateSequence {
  enum Kind {
    case list, tuple, range
    /// A pair of the filter `groupby`: a tuple whose elements are also called `grouper` and `list`.
    case group
    /// What `keys()`, `values()` and `items()` of an object give: without elements by index.
    case keys, values, items
  }

  let kind: Kind
  let depth: Int32
  let elements: [TemplateValue]

  init(
    _ kind: Kind, _ elements: [TemplateValue], _ budget: TemplateBudget
  ) throws(ChatTemplateError) {
    try budget.make(elements: elements.count)
    self.kind = kind
    self.elements = elements
    var inner = 0
    for element in elements { inner = max(inner, element.depth) }
    depth = Int32(try budget.depth(around: inner))
  }

  /// Whether elements can be had by index.
  var hasIndex: Bool {
    switch kind {
    case .list, .tuple, .range, .group: true
    case .keys, .values, .items: false
    }
  }

  var isTuple: Bool { kind == .tuple || kind == .group }
}

/// Elements that can be gone over once, as the filters `map`, `select` and others give them.
///
/// Unlike Python's generators it is filled when it is made.
final class TemplateIterator: TemplateObject {
  private let elements: [TemplateValue]
  private var position = 0
  private let depthOfElements: Int

  init(_ elements: [TemplateValue], _ budget: TemplateBudget) throws(ChatTemplateError) {
    try budget.make(elements: elements.count)
    self.elements = elements
    var inner = 0
    for element in elements { inner = max(inner, element.depth) }
    depthOfElements = try budget.depth(around: inner)
  }

  override var kind: String { "an iterator" }
  override var depth: Int { depthOfElements }

  func next() -> TemplateValue? {
    guard position < elements.count else { return nil }
    position += 1
    return elements[position - 1]
  }

  /// All elements that are left, which are then gone.
  func rest() -> [TemplateValue] {
    defer { position = elements.count }
    return Array(elements[position...])
  }
}
