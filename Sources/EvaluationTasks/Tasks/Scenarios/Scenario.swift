public import MInference

/// The six scenarios in which the paper compares kinds of attention, each with an instrument that needs
/// no download.
public enum Scenario: String, CaseIterable, Sendable, Hashable {
  /// A line of a book is continued, or a name that was left out of one is given.
  case questions
  /// A function of a code base is given back from its name and first line.
  case code
  /// One of many facts that resemble each other.
  case retrieval
  /// RULER's variable tracking: a chain of assignments.
  case hops
  /// Summaries of a book; the score is ROUGE-L to the first method's summary.
  case summaries
  /// A word problem among noise, and the largest or smallest number of a list.
  case mathematics

  /// The scenarios of these names; "all" is all of them. Throws
  /// ``TaskError/unknownKind(name:known:)``.
  public static func named(_ names: [String]) throws -> [Scenario] {
    try names.flatMap { name in
      if name == "all" { return allCases }
      guard let scenario = Scenario(rawValue: name) else {
        throw TaskError.unknownKind(name: name, known: allCases.map(\.rawValue) + ["all"])
      }
      return [scenario]
    }
  }
}

/// Prompts of scenarios, made from books, a code base and a seed.
public struct ScenarioTask: Sendable {
  public var scenarios: [Scenario]
  public var lengths: [Int]
  /// Prompts of each scenario and length.
  public var prompts: Int
  public var seed: UInt64
  /// For questions and summaries; nil: none.
  public var books: BookShelf?
  /// For code; nil: none.
  public var code: CodeBase?

  public init(
    scenarios: [Scenario], lengths: [Int], prompts: Int, seed: UInt64 = 1,
    books: BookShelf? = nil, code: CodeBase? = nil
  ) {
    self.scenarios = scenarios
    self.lengths = lengths
    self.prompts = prompts
    self.seed = seed
    self.books = books
    self.code = code
  }

  /// The tasks, scenario by scenario; their kind is the scenario's name.
  ///
  /// Throws ``TaskError/missingSource(scenario:setting:)``.
  public func plans() throws -> [TaskPlan] {
    try scenarios.flatMap { scenario in
      try lengths.flatMap { length in
        try (0..<prompts).map { try plan(scenario, length: length, sample: $0) }
      }
    }
  }

  private func plan(_ scenario: Scenario, length: Int, sample: Int) throws -> TaskPlan {
    let kind = scenario.rawValue
    switch scenario {
    case .questions:
      let books = try shelf(for: scenario)
      return plan(sample % 2 == 0 ? "line" : "name", scenario, length, sample) { words, id, count in
        let question = BookQuestion(books: books, length: length, sample: sample, of: prompts)
        return try sample % 2 == 0
          ? question.line(words, id: id, kind: kind, count)
          : question.name(words, id: id, kind: kind, count)
      }
    case .summaries:
      let books = try shelf(for: scenario)
      return plan("summary", scenario, length, sample) { words, id, count in
        try BookQuestion(books: books, length: length, sample: sample, of: prompts)
          .summary(words, id: id, kind: kind, count)
      }
    case .code:
      guard let code else {
        throw TaskError.missingSource(scenario: kind, setting: .codeFolder)
      }
      return plan("function", scenario, length, sample) { words, id, count in
        try FunctionRecall(code: code, length: length, sample: sample, of: prompts)
          .task(words, id: id, kind: kind, count)
      }
    case .hops:
      let task = RulerTask(
        kinds: [.variableTracking], lengths: [length], samples: sample + 1, seed: seed)
      return try task.plans()[sample].renamed(id: "hops-vt-\(length)-\(sample)", kind: kind)
    case .retrieval:
      return generated(.confusableFacts, scenario, length, sample)
    case .mathematics:
      // Either kind has its own samples: half of its numbers are the largest, half the smallest.
      return generated(
        sample % 2 == 0 ? .wordProblem : .numberSearch, scenario, length, sample, of: sample / 2)
    }
  }

  private func shelf(for scenario: Scenario) throws -> BookShelf {
    guard let books else {
      throw TaskError.missingSource(scenario: scenario.rawValue, setting: .books)
    }
    return books
  }

  private func plan(
    _ name: String, _ scenario: Scenario, _ length: Int, _ sample: Int,
    write:
      @escaping @Sendable (
        _ words: WordList, _ id: String, _ countTokens: TokenCounter
      ) throws -> EvaluationTask
  ) -> TaskPlan {
    let id = "\(scenario.rawValue)-\(name)-\(length)-\(sample)"
    let number = Scenario.allCases.firstIndex(of: scenario) ?? 0
    let words = WordList(
      seed: seed &* 1_000_003 &+ UInt64(5_000_011 + number * 10_007 + sample))
    return TaskPlan(id: id, kind: scenario.rawValue, length: length) { try write(words, id, $0) }
  }

  private func generated(
    _ kind: GeneratedKind, _ scenario: Scenario, _ length: Int, _ sample: Int,
    of kindSample: Int? = nil
  ) -> TaskPlan {
    GeneratedTask(kinds: [kind], lengths: [length], prompts: prompts, seed: seed)
      .plan(kind, length: length, sample: kindSample ?? sample)
      .renamed(
        id: "\(scenario.rawValue)-\(kind.rawValue)-\(length)-\(sample)", kind: scenario.rawValue)
  }
}

extension Remedy.Setting {
  public static let books = Remedy.Setting("books as text files")
  public static let codeFolder = Remedy.Setting("a folder with a code base")
}
