/// The 13 kinds of RULER (arXiv 2404.06654) with their published parameters.
public enum RulerKind: String, CaseIterable, Sendable, Hashable {
  case niahSingle1 = "niah_single_1"
  case niahSingle2 = "niah_single_2"
  case niahSingle3 = "niah_single_3"
  case niahMultikey1 = "niah_multikey_1"
  case niahMultikey2 = "niah_multikey_2"
  case niahMultikey3 = "niah_multikey_3"
  case niahMultivalue = "niah_multivalue"
  case niahMultiquery = "niah_multiquery"
  case variableTracking = "vt"
  case commonWords = "cwe"
  case frequentWords = "fwe"
  case squad = "qa_1"
  case hotpot = "qa_2"

  /// What a needle's key or value is.
  enum Token: String, Sendable {
    case words
    case numbers
    case uuids
  }

  /// What lies around the needles.
  enum Surroundings: Sendable {
    /// One line of noise, over and over.
    case noise
    /// Prose.
    case essay
    /// Needles with other keys.
    case needles
  }

  /// The parameters of the needle kinds.
  struct Needles: Sendable {
    var surroundings: Surroundings
    var key: Token = .words
    var value: Token = .numbers
    var keys = 1
    /// Values of each key.
    var values = 1
    /// Keys asked for.
    var queries = 1
  }

  var needles: Needles? {
    switch self {
    case .niahSingle1: Needles(surroundings: .noise)
    case .niahSingle2: Needles(surroundings: .essay)
    case .niahSingle3: Needles(surroundings: .essay, value: .uuids)
    case .niahMultikey1: Needles(surroundings: .essay, keys: 4)
    case .niahMultikey2: Needles(surroundings: .needles)
    case .niahMultikey3: Needles(surroundings: .needles, key: .uuids, value: .uuids)
    case .niahMultivalue: Needles(surroundings: .essay, values: 4)
    case .niahMultiquery: Needles(surroundings: .essay, keys: 4, queries: 4)
    case .variableTracking, .commonWords, .frequentWords, .squad, .hotpot: nil
    }
  }

  /// Tokens that an answer may have.
  public var answerTokens: Int {
    switch self {
    case .variableTracking: 30
    case .commonWords: 120
    case .frequentWords: 50
    case .squad, .hotpot: 32
    default: 128
    }
  }

  /// The question kinds are right with any reference, the others by the share of references found.
  public var scoring: AnswerScoring {
    switch self {
    case .squad, .hotpot: .containsAny
    default: .containsAll
    }
  }

  /// The kinds of these names; "all" is all of them. Throws ``TaskError/unknownKind(name:known:)``.
  public static func named(_ names: [String]) throws -> [RulerKind] {
    try names.flatMap { name in
      if name == "all" { return allCases }
      guard let kind = RulerKind(rawValue: name) else {
        throw TaskError.unknownKind(name: name, known: allCases.map(\.rawValue) + ["all"])
      }
      return [kind]
    }
  }
}
