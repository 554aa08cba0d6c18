/// A text or a retrieval prompt that a search reads densely and sparsely.
public struct GoalSample: Sendable {
  public enum Kind: String, Sendable, Hashable, Codable {
    case text
    /// A prompt whose sampled positions are those before the tokens of its answers.
    case retrieval
  }

  /// How reports name it.
  public var name: String
  public var kind: Kind
  /// The length that was asked for; figures are gathered by it.
  public var length: Int
  public var ids: [Int32]
  /// Ascending positions at which next-token distributions are compared.
  public var positions: [Int]

  public init(name: String, kind: Kind, length: Int, ids: [Int32], positions: [Int]) {
    self.name = name
    self.kind = kind
    self.length = length
    self.ids = ids
    self.positions = positions
  }
}

/// The samples of a search.
public struct GoalSamples: Sendable {
  /// Those that choose. The heads' sensitivities are measured on the longest retrieval prompt, where
  /// there is one: only there retrieving heads show themselves.
  public var choosing: [GoalSample]
  /// Those that chose nothing.
  public var validating: [GoalSample]

  public init(choosing: [GoalSample], validating: [GoalSample]) {
    self.choosing = choosing
    self.validating = validating
  }

  /// The place among ``choosing`` of the sample that heads are measured on.
  var probed: Int? {
    choosing.indices.max { one, other in
      func rank(_ sample: GoalSample) -> (Int, Int) {
        (sample.kind == .retrieval ? 1 : 0, sample.ids.count)
      }
      return rank(choosing[one]) < rank(choosing[other])
    }
  }
}
