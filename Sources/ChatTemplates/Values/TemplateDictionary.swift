/// Members in order, by key: Python's `dict`, which does not change.
final class TemplateDictionary {
  struct Member {
    let key: TemplateValue
    var value: TemplateValue
    fileprivate let hashedKey: TemplateKey
  }

  let members: [Member]
  /// How deep values are nested within it.
  let depth: Int
  private let positions: [TemplateKey: Int]

  private init(members: [Member], positions: [TemplateKey: Int], depth: Int) {
    self.members = members
    self.positions = positions
    self.depth = depth
  }

  /// The value of a key; nil where there is none.
  subscript(key: TemplateKey) -> TemplateValue? { positions[key].map { members[$0].value } }

  subscript(name: String) -> TemplateValue? { self[.text(Array(name.utf8))] }

  /// Collects members; a key that comes again keeps its place and takes the new value.
  struct Builder {
    private var members: [Member] = []
    private var positions: [TemplateKey: Int] = [:]

    init() {}

    init(_ dictionary: TemplateDictionary) {
      members = dictionary.members
      positions = dictionary.positions
    }

    mutating func set(
      _ key: TemplateValue, to value: TemplateValue, _ budget: TemplateBudget
    ) throws(ChatTemplateError) {
      let hashedKey = try TemplateKey(key, budget)
      if let position = positions[hashedKey] {
        members[position].value = value
      } else {
        positions[hashedKey] = members.count
        members.append(Member(key: key, value: value, hashedKey: hashedKey))
      }
    }

    func dictionary(_ budget: TemplateBudget) throws(ChatTemplateError) -> TemplateDictionary {
      try budget.make(elements: 2 * members.count)
      var inner = 0
      for member in members { inner = max(inner, member.value.depth, member.key.depth) }
      return TemplateDictionary(
        members: members, positions: positions, depth: try budget.depth(around: inner))
    }
  }
}

/// A value as a key: equal where Python's values are equal and hash alike.
enum TemplateKey: Hashable {
  case undefined, none
  case integer(Int)
  case number(UInt64)
  case text([UInt8])
  case tuple([TemplateKey])
  case object(ObjectIdentifier)

  /// - Throws: for a list or an object, which Python does not hash.
  init(_ value: TemplateValue, _ budget: TemplateBudget) throws(ChatTemplateError) {
    switch value {
    case .undefined: self = .undefined
    case .none: self = .none
    case .bool(let value): self = .integer(value ? 1 : 0)
    case .integer(let value): self = .integer(value)
    case .number(let value):
      self = Int(exactly: value).map { .integer($0) } ?? .number(value.bitPattern)
    case .text(let text):
      try budget.spend(1 + text.bytes.count / 16)
      self = .text(text.bytes)
    case .sequence(let sequence) where sequence.isTuple:
      try budget.spend(1 + sequence.elements.count)
      var keys: [TemplateKey] = []
      for element in sequence.elements { keys.append(try TemplateKey(element, budget)) }
      self = .tuple(keys)
    case .object(let object): self = .object(ObjectIdentifier(object))
    case .sequence, .dictionary:
      throw budget.failure("\(value.kind) cannot be a key")
    }
  }
}
