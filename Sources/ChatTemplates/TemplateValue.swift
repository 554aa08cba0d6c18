/// What a caller can hand to a template beside the messages.
public indirect enum ChatTemplateValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case list([ChatTemplateValue])
  /// Members in order.
  case object([Member])

  /// A key and its value.
  public struct Member: Sendable, Equatable {
    public var key: String
    public var value: ChatTemplateValue

    public init(_ key: String, _ value: ChatTemplateValue) {
      self.key = key
      self.value = value
    }
  }
}

/// A value while a template is evaluated.
indirect enum TemplateValue {
  /// A name or member that does not exist: false, empty, and an error to use further.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case text(TemplateText)
  case list([TemplateValue])
  case object(TemplateObject)
  /// The one kind of value that `set` can change from within a loop.
  case namespace(TemplateNamespace)
  /// A function of the template language, by name.
  case function(String)

  init(_ value: ChatTemplateValue) {
    switch value {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .number(value)
    case .string(let value): self = .text(TemplateText(value))
    case .list(let values): self = .list(values.map { TemplateValue($0) })
    case .object(let members):
      self = .object(
        TemplateObject(members: members.map { (key: $0.key, value: TemplateValue($0.value)) }))
    }
  }

  static func string(_ string: String) -> TemplateValue { .text(TemplateText(string)) }

  /// Python's truth of the value.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .number(let value): value != 0
    case .text(let text): !text.isEmpty
    case .list(let values): !values.isEmpty
    case .object(let object): !object.members.isEmpty
    case .namespace, .function: true
    }
  }

  /// What it is, for errors.
  var kind: String {
    switch self {
    case .undefined(let name): "undefined (\(name))"
    case .none: "none"
    case .bool: "a truth value"
    case .integer, .number: "a number"
    case .text: "a text"
    case .list: "a list"
    case .object: "an object"
    case .namespace: "a namespace"
    case .function(let name): "the function \(name)"
    }
  }

  /// The number that it counts as in arithmetic and comparison; Python's true is 1.
  var asNumber: Double? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// The whole number that it counts as.
  var asInteger: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  /// Python's `==`.
  func equals(_ other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.text(let left), .text(let right)): return left.hasSameBytes(as: right)
    case (.list(let left), .list(let right)):
      return left.count == right.count && zip(left, right).allSatisfy { $0.equals($1) }
    case (.object(let left), .object(let right)):
      return left.members.count == right.members.count
        && left.members.allSatisfy { member in
          right[member.key].map { $0.equals(member.value) } ?? false
        }
    case (.namespace(let left), .namespace(let right)): return left === right
    case (.integer(let left), .integer(let right)): return left == right
    default:
      guard let left = asNumber, let right = other.asNumber else { return false }
      return left == right
    }
  }
}

/// Members in order, by key.
struct TemplateObject {
  var members: [(key: String, value: TemplateValue)]

  subscript(key: String) -> TemplateValue? {
    members.last { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }
}

/// What `namespace(…)` makes.
final class TemplateNamespace {
  var members: [String: TemplateValue] = [:]
}
