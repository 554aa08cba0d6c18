/// A statement of a template.
indirect enum TemplateStatement: Sendable {
  case text(String)
  case output(TemplateExpression)
  case condition(
    [(test: TemplateExpression, body: [TemplateStatement])], otherwise: [TemplateStatement])
  case loop(TemplateLoop)
  /// `set name = value`, or several names at once.
  case assign([String], TemplateExpression, line: Int)
  /// `set namespace.member = value`.
  case assignMember(String, String, TemplateExpression, line: Int)
}

/// `for names in sequence if filter … else … endfor`.
struct TemplateLoop: Sendable {
  var names: [String]
  var sequence: TemplateExpression
  var filter: TemplateExpression?
  var body: [TemplateStatement]
  var otherwise: [TemplateStatement]
  var line: Int
}

/// An expression and the line that it is on.
struct TemplateExpression: Sendable {
  indirect enum Form: Sendable {
    case literal(ChatTemplateValue)
    case name(String)
    case list([TemplateExpression])
    case object([(key: TemplateExpression, value: TemplateExpression)])
    case member(TemplateExpression, String)
    case element(TemplateExpression, TemplateExpression)
    case slice(
      TemplateExpression, from: TemplateExpression?, to: TemplateExpression?,
      by: TemplateExpression?)
    case call(TemplateExpression, TemplateArguments)
    case filter(TemplateExpression, String, TemplateArguments)
    case test(TemplateExpression, String, TemplateArguments, negated: Bool)
    case negation(TemplateExpression)
    case minus(TemplateExpression)
    case arithmetic(String, TemplateExpression, TemplateExpression)
    case comparison(TemplateExpression, [(operation: String, operand: TemplateExpression)])
    case and(TemplateExpression, TemplateExpression)
    case or(TemplateExpression, TemplateExpression)
    case conditional(TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
  }

  var form: Form
  var line: Int
}

/// The arguments of a call, a filter or a test.
struct TemplateArguments: Sendable {
  var positional: [TemplateExpression] = []
  var named: [(name: String, value: TemplateExpression)] = []
}
