/// A text or a retrieval prompt that a search reads densely and sparsely.
public struct GoalSample: Sendable {
  public enum Kind: String, Sendable, Hashable, Codable {
    case text
    /// A prompt whose sampled positions are those before the tokens of its answers.
    case retrieval
  }

  /// Its name in reports.
  public var name: String
  public var kind: Kind
  /// The length that was asked for; figures are grouped by it.
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
  /// The samples by which patterns are chosen. The heads' sensitivities are measured on the longest retrieval
  /// prompt, if there is one: retrieval heads show a loss only there.
  public var choosing: [GoalSample]
  /// Held-out samples, by which nothing is chosen.
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
