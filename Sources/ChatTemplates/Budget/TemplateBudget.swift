/// What one rendering may still spend.
///
/// A template is part of an untrusted checkpoint. Every operation pays before it works: for the
/// expressions that it evaluates, the bytes that it reads or writes, the elements that it makes. A
/// template that has spent everything ends with an error. The budget also knows the line that is
/// being evaluated, for errors.
final class TemplateBudget {
  /// The deepest nesting of a value in values.
  static let deepestValue = 100
  /// The deepest nesting of statements, expressions and macros while they are evaluated.
  static let deepestEvaluation = 1000

  /// The line of the template that is being evaluated.
  var line = 1
  private var work: Int
  private var memory: Int
  private var depth = 0
  private var changeable: [TemplateObject] = []

  /// - Parameter inputBytes: the size of the conversation; a long one is given more.
  init(inputBytes: Int) {
    // Some 40 ns of work a unit.
    work = 8_000_000 + 32 * inputBytes
    memory = 1 << 28 + 64 * inputBytes
  }

  // MARK: Errors

  func failure(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.evaluation, line: line, problem)
  }

  func unsupported(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.unsupported, line: line, problem)
  }

  private func exhausted(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.exhausted, line: line, problem)
  }

  // MARK: Spending

  /// Pays for work: units of some 40 ns.
  func spend(_ units: Int) throws(ChatTemplateError) {
    work -= units
    if work < 0 { throw exhausted("the template takes too much work") }
  }

  /// Pays for bytes that are compared or counted.
  func scan(bytes: Int) throws(ChatTemplateError) { try spend(1 + bytes / 16) }

  /// Pays for text whose characters are looked at one by one.
  func read(bytes: Int) throws(ChatTemplateError) { try spend(1 + bytes / 2) }

  /// Pays for bytes that are written.
  func make(bytes: Int) throws(ChatTemplateError) {
    try spend(1 + bytes / 256)
    memory -= bytes
    if memory < 0 { throw exhausted("the template makes too much text") }
  }

  /// Pays for elements of lists or members of objects.
  func make(elements: Int) throws(ChatTemplateError) {
    try spend(1 + elements)
    memory -= elements * 64
    if memory < 0 { throw exhausted("the template makes too many values") }
  }

  // MARK: Nesting

  /// Goes one level deeper; `leave` comes back.
  func enter() throws(ChatTemplateError) {
    depth += 1
    if depth > Self.deepestEvaluation {
      throw exhausted("the template nests or calls itself more than \(depth - 1) deep")
    }
  }

  func leave() { depth -= 1 }

  /// The depth of a value that holds values of depth `inner`.
  func depth(around inner: Int) throws(ChatTemplateError) -> Int {
    if inner >= Self.deepestValue {
      throw exhausted("a value nests more than \(Self.deepestValue) deep")
    }
    return inner + 1
  }

  // MARK: Objects that change

  /// Remembers an object that can be made to hold itself, or a chain of others.
  func register(_ object: TemplateObject) { changeable.append(object) }

  /// Empties all objects that change, one after the other, so that releasing them neither leaks nor recurses.
  func release() {
    for object in changeable { object.clear() }
    changeable.removeAll()
  }
}
