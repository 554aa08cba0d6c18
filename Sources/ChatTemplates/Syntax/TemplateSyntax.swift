/// A statement of a template.
indirect enum TemplateStatement: Sendable {
  case text(TemplateText)
  case output(TemplateExpression)
  case condition(
    [(test: TemplateExpression, body: [TemplateStatement])], otherwise: [TemplateStatement])
  case loop(TemplateLoop)
  /// `set target = value`.
  case assign(TemplateTarget, TemplateExpression, line: Int)
  /// `set target | filter ... endset`; the expression makes the value of what the body writes.
  case assignBlock(TemplateTarget, TemplateExpression, body: [TemplateStatement], line: Int)
  /// `filter ... endfilter`; the expression makes what is written of what the body writes.
  case filterBlock(TemplateExpression, body: [TemplateStatement])
  case macro(TemplateMacroSyntax, line: Int)
  /// `call(parameters) macro(...) ... endcall`.
  case callBlock(TemplateExpression, caller: TemplateMacroSyntax, line: Int)
  /// `with target = value ... endwith`.
  case with([(target: TemplateTarget, value: TemplateExpression)], body: [TemplateStatement])
  /// A body with variables of its own: `generation ... endgeneration`.
  case scope([TemplateStatement])
  /// `block name ... endblock`, which sees the outermost variables unless it is `scoped`.
  case block([TemplateStatement], isScoped: Bool)
  case autoescape(TemplateExpression, body: [TemplateStatement])
  case breakLoop
  case continueLoop
  /// A statement that needs other templates.
  case refused(String, line: Int)
}

/// `for target in sequence if filter recursive ... else ... endfor`.
struct TemplateLoop: Sendable {
  var target: TemplateTarget
  var sequence: TemplateExpression
  var filter: TemplateExpression?
  var isRecursive: Bool
  var body: [TemplateStatement]
  var otherwise: [TemplateStatement]
  var line: Int
}

/// What a loop or `set` gives values to.
indirect enum TemplateTarget: Sendable {
  case name(String)
  case member(of: String, String)
  case tuple([TemplateTarget])
}

/// The parameters and the body of a macro or of a call block.
struct TemplateMacroSyntax: Sendable {
  var name: String
  var parameters: [String]
  /// Values of the last parameters, for calls that leave them out.
  var defaults: [TemplateExpression]
  var body: [TemplateStatement]
  /// Whether the body speaks of `varargs`, `kwargs` or `caller`; only then a call may give them.
  var takesPositional: Bool
  var takesNamed: Bool
  var takesCaller: Bool
}

/// An expression and the line that it is on.
struct TemplateExpression: Sendable {
  indirect enum Form: Sendable {
    case none
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case text(TemplateText)
    case name(String)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case object([(key: TemplateExpression, value: TemplateExpression)])
    case member(TemplateExpression, String)
    case element(TemplateExpression, TemplateExpression)
    case slice(
      TemplateExpression, from: TemplateExpression?, to: TemplateExpression?,
      by: TemplateExpression?)
    case call(TemplateExpression, TemplateArgumentSyntax)
    case filter(TemplateExpression, String, TemplateArgumentSyntax)
    case test(TemplateExpression, String, TemplateArgumentSyntax)
    case not(TemplateExpression)
    case minus(TemplateExpression)
    case plus(TemplateExpression)
    /// Operators of one precedence, from left to right.
    case arithmetic(
      TemplateExpression, [(operation: ArithmeticOperation, operand: TemplateExpression)])
    case concatenation([TemplateExpression])
    case comparison(
      TemplateExpression, [(operation: ComparisonOperation, operand: TemplateExpression)])
    case and([TemplateExpression])
    case or([TemplateExpression])
    case conditional(TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
    /// What the body of a `set` or `filter` block has written.
    case captured
  }

  var form: Form
  var line: Int
}

enum ArithmeticOperation: String, Sendable {
  case add = "+"
  case subtract = "-"
  case multiply = "*"
  case divide = "/"
  case floorDivide = "//"
  case modulo = "%"
  case power = "**"
}

enum ComparisonOperation: String, Sendable {
  case equal = "=="
  case unequal = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case isIn = "in"
  case isNotIn = "not in"
}

/// The arguments of a call, a filter or a test, before they are evaluated.
struct TemplateArgumentSyntax: Sendable {
  var positional: [TemplateExpression] = []
  var named: [(name: String, value: TemplateExpression)] = []
  /// `*values`.
  var positionalRest: TemplateExpression?
  /// `**values`.
  var namedRest: TemplateExpression?
}
