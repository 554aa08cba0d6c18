import EvaluationTasks
import Testing

@Suite struct RulerTaskTests {
  private static let made = RulerKind.allCases.filter { $0 != .squad && $0 != .hotpot }

  private func tasks(
    _ kinds: [RulerKind], lengths: [Int] = [4096], samples: Int = 2
  ) throws -> [EvaluationTask] {
    try RulerTask(kinds: kinds, lengths: lengths, samples: samples).plans().map {
      try $0.task(countFourBytes)
    }
  }

  @Test(arguments: made)
  func `a prompt and its answer fill the length, and the prompt answers itself`(
    kind: RulerKind
  ) throws {
    let tasks = try tasks([kind], lengths: [3000, 4096, 16384])
    #expect(Set(tasks.map(\.prompt)).count == tasks.count)
    for task in tasks {
      let length = try #require(task.length)
      let tokens = try countFourBytes(task.prompt + task.answerPrefix) + kind.answerTokens
      #expect(tokens <= length)
      // A unit of common words is three words; of frequent words, a step of every count.
      #expect(tokens > length - 80, "\(task.id) has \(tokens)")
      #expect(task.score(task.prompt) == 1)
      #expect(task.score("") == 0)
      #expect(task.scoring == .containsAll)
    }
  }

  @Test func `kinds without room at a length are left out before anything is done`() throws {
    let plans = try RulerTask(
      kinds: [.niahSingle1, .commonWords], lengths: [600, 16384], samples: 3
    ).plans()
    let fitting = try TaskPlan.fitting(plans, countTokens: countFourBytes)
    #expect(fitting.plans.count == 9)
    #expect(!fitting.plans.contains { $0.kind == "cwe" && $0.length == 600 })
    #expect(fitting.leftOut.count == 1 && "\(fitting.leftOut)".contains("cwe"))
  }

  @Test(arguments: [
    (RulerKind.niahSingle1, 1, 1), (.niahSingle2, 1, 1), (.niahSingle3, 1, 1),
    (.niahMultikey1, 4, 1), (.niahMultivalue, 4, 4), (.niahMultiquery, 4, 4),
  ])
  func `needle kinds have the published number of needles and answers`(
    kind: RulerKind, needles: Int, answers: Int
  ) throws {
    for task in try tasks([kind]) {
      #expect(task.prompt.count(ofText: "One of the special magic ") == needles)
      #expect(task.references.count == answers)
      #expect(Set(task.references).count == answers)
    }
  }

  @Test(arguments: [RulerKind.niahMultikey2, .niahMultikey3])
  func `among needles the key asked for stands once`(kind: RulerKind) throws {
    for task in try tasks([kind]) {
      let question = try #require(task.prompt.split(separator: "\n").last)
      let words = question.split(separator: " ")
      let key = try #require(words.firstIndex(of: "for").map { words[$0 + 1] })
      #expect(task.prompt.count(ofText: " for \(key) is: ") == 1)
      #expect(task.prompt.count(ofText: "One of the special magic ") > 50)
    }
  }

  @Test func `a chain of variables keeps its order`() throws {
    for task in try tasks([.variableTracking]) {
      let names = task.references
      #expect(names.count == 5)
      let places = try zip(names, [""] + names).map { name, before in
        let line = before.isEmpty ? "VAR \(name) = " : "VAR \(name) = VAR \(before) "
        return try #require(task.prompt.range(ofText: line))
      }
      #expect(places == places.sorted())
      // The worked example comes before, with names of three letters.
      #expect(task.prompt.count(ofText: "VAR ") == 9 + 9)
    }
  }

  @Test(arguments: [(3000, 6, 1), (8192, 30, 3)])
  func `the common words are those that the list has most`(
    length: Int, times: Int, others: Int
  ) throws {
    for task in try tasks([.commonWords], lengths: [length]) {
      let list = try #require(task.prompt.split(separator: "\n").dropLast().last)
      let words = list.split(separator: " ").filter { !$0.hasSuffix(".") }.map(String.init)
      let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
      let common = counts.filter { $0.value == times }
      #expect(Set(common.keys) == Set(task.references))
      #expect(counts.count > 30)
      #expect(counts.values.allSatisfy { $0 == times || $0 == others })
    }
  }

  @Test func `the frequent words are those after the dots`() throws {
    for task in try tasks([.frequentWords], lengths: [1024, 8192]) {
      let text = try #require(task.prompt.split(separator: "\n").first)
      let words = text.split(separator: " ").dropFirst(14).map(String.init)
      let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
      let ranked = counts.sorted { $0.value > $1.value }
      #expect(ranked[0].key == "...")
      #expect(Set(ranked[1...3].map(\.key)) == Set(task.references))
      if task.length == 8192 {
        // Counts fall with the square of the rank.
        #expect(abs(Double(ranked[0].value) / Double(ranked[1].value) - 4) < 0.1)
      }
    }
  }

  @Test func `kinds are chosen by name`() throws {
    #expect(try RulerKind.named(["vt", "qa_1"]) == [.variableTracking, .squad])
    #expect(try RulerKind.named(["all"]).count == 13)
    #expect(throws: TaskError.self) { try RulerKind.named(["niah"]) }
  }

  @Test func `a length without room for a kind says so`() throws {
    for kind in Self.made {
      #expect(throws: TaskError.self, "\(kind)") { try tasks([kind], lengths: [100], samples: 1) }
    }
  }

  @Test func `question kinds need questions`() {
    #expect(throws: TaskError.missingQuestions(kind: "qa_1")) { try tasks([.squad]) }
  }
}

extension String {
  /// How often a text stands in this one.
  func count(ofText text: String) -> Int {
    let all = Array(utf8)
    let wanted = Array(text.utf8)
    guard all.count >= wanted.count else { return 0 }
    return (0...all.count - wanted.count).count { all[$0...].starts(with: wanted) }
  }
}
