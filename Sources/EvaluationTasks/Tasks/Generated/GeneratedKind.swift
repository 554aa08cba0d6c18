/// Tasks that are made here from a seed, in our own wording, scored as published.
public enum GeneratedKind: String, CaseIterable, Sendable, Hashable {
  /// GraphWalks, breadth-first search: the nodes at a depth of a directed graph.
  case graphSearch = "graph_bfs"
  /// GraphWalks, parents: the nodes with an edge to a node.
  case graphParents = "graph_parents"
  /// One of many facts of one form, whose keys resemble each other.
  case confusableFacts = "confusable_facts"
  /// MRCR: the k-th of several answers to the same request.
  case repeatedRequests = "repeated_requests"
  /// Michelangelo's Latent List: what a list holds after operations, most of which are on others.
  case latentList = "latent_list"
  /// GSM-infinity: a word problem whose statements lie among statements that it does not need.
  case wordProblem = "word_problem"
  /// InfiniteBench's Math.Find: the largest or smallest of a list of numbers.
  case numberSearch = "number_find"
  /// A second question about a text that was read with another question at its end.
  case secondQuestion = "second_question"

  /// The kinds of these names; "all" is all of them. Throws ``TaskError/unknownKind(name:known:)``.
  public static func named(_ names: [String]) throws -> [GeneratedKind] {
    try names.flatMap { name in
      if name == "all" { return allCases }
      guard let kind = GeneratedKind(rawValue: name) else {
        throw TaskError.unknownKind(name: name, known: allCases.map(\.rawValue) + ["all"])
      }
      return [kind]
    }
  }
}

/// Tasks of ``GeneratedKind``. A prompt and its answers have exactly the length asked for.
public struct GeneratedTask: Sendable {
  public var kinds: [GeneratedKind]
  public var lengths: [Int]
  /// Prompts of each kind and length.
  public var prompts: Int
  public var seed: UInt64
  /// The prose that facts are hidden in; nil: a chronicle of our own, a new one for each prompt.
  public var haystack: Haystack?

  public init(
    kinds: [GeneratedKind], lengths: [Int], prompts: Int, seed: UInt64 = 1,
    haystack: Haystack? = nil
  ) {
    self.kinds = kinds
    self.lengths = lengths
    self.prompts = prompts
    self.seed = seed
    self.haystack = haystack
  }

  /// The tasks, kind by kind.
  public var plans: [TaskPlan] {
    kinds.flatMap { kind in
      lengths.flatMap { length in (0..<prompts).map { plan(kind, length: length, sample: $0) } }
    }
  }

  /// The task of a kind and length with this number.
  func plan(_ kind: GeneratedKind, length: Int, sample: Int) -> TaskPlan {
    let id = "\(kind.rawValue)-\(length)-\(sample)"
    return TaskPlan(id: id, kind: kind.rawValue, length: length) { countTokens in
      try draft(kind, length: length, sample: sample).task(
        id: id, kind: kind.rawValue, length: length, countTokens)
    }
  }

  private func draft(_ kind: GeneratedKind, length: Int, sample: Int) throws -> DocumentDraft {
    let number = GeneratedKind.allCases.firstIndex(of: kind) ?? 0
    let words = WordList(seed: seed &* 1_000_003 &+ UInt64(900_001 + number * 10_007 + sample))
    let prose = haystack ?? .chronicle(seed: seed &+ UInt64(sample) &+ 1)
    switch kind {
    case .graphSearch: return GraphWalk.search(depth: 1 + sample % 2, words, length: length)
    case .graphParents: return GraphWalk.parents(words, length: length)
    case .confusableFacts: return try ConfusableFacts.draft(words, length: length, prose)
    case .repeatedRequests: return try RepeatedRequests.draft(words, length: length)
    case .latentList: return LatentList.draft(words, length: length)
    case .wordProblem: return WordProblem.draft(words, length: length)
    case .numberSearch:
      return NumberSearch.draft(words, length: length, isLargest: sample % 2 == 0)
    case .secondQuestion: return try SecondQuestion.draft(words, length: length, prose)
    }
  }
}
