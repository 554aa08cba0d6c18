/// A parsed regular expression.
indirect enum PatternNode: Sendable {
  enum Anchor: Sendable {
    case textStart, textEnd, textEndOrLastLineBreak, lineStart, lineEnd, wordBoundary,
      noWordBoundary
  }

  enum Preference: Sendable { case greedy, lazy, possessive }

  /// One scalar of a set.
  case set(ScalarSet)
  case sequence([PatternNode])
  /// The first alternative that leads to a match counts.
  case alternatives([PatternNode])
  /// `maximum` nil is without bound.
  case repeated(PatternNode, minimum: Int, maximum: Int?, Preference)
  /// Matches nothing, where `body` begins (or ends, if it looks behind) to match, or does not.
  case look(PatternNode, behind: Bool, negative: Bool)
  case anchor(Anchor)

  static let empty = PatternNode.sequence([])

  /// Whether it may match without taking a scalar.
  var isNullable: Bool {
    switch self {
    case .set: false
    case .sequence(let nodes): nodes.allSatisfy(\.isNullable)
    case .alternatives(let nodes): nodes.contains(where: \.isNullable)
    case .repeated(let node, let minimum, _, _): minimum == 0 || node.isNullable
    case .look, .anchor: true
    }
  }

  /// The scalars that a match may begin with; of use only if not nullable.
  var firstScalars: ScalarSet {
    switch self {
    case .set(let set): return set
    case .sequence(let nodes):
      var first = ScalarSet()
      for node in nodes {
        first = first.union(node.firstScalars)
        if !node.isNullable { break }
      }
      return first
    case .alternatives(let nodes):
      return nodes.reduce(ScalarSet()) { $0.union($1.firstScalars) }
    case .repeated(let node, _, let maximum, _):
      return maximum == 0 ? ScalarSet() : node.firstScalars
    case .look, .anchor: return ScalarSet()
    }
  }

  /// How many scalars every match has, or nil where they differ.
  var fixedLength: Int? {
    switch self {
    case .set: return 1
    case .sequence(let nodes):
      var length = 0
      for node in nodes {
        guard let more = node.fixedLength else { return nil }
        length += more
      }
      return length
    case .alternatives(let nodes):
      let lengths = nodes.map(\.fixedLength)
      guard let first = lengths.first, lengths.allSatisfy({ $0 == first }) else { return nil }
      return first
    case .repeated(let node, let minimum, let maximum, _):
      guard minimum == maximum, let length = node.fixedLength else { return nil }
      return length * minimum
    case .look, .anchor: return 0
    }
  }
}

/// Why a regular expression cannot be used: one line.
package struct SplitExpressionError: Error, Equatable {
  package let problem: String
}
