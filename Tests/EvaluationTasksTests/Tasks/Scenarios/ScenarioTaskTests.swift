import EvaluationTasks
import MInference
import Testing

@Suite struct ScenarioTaskTests {
  /// This repository's sources: a code base that is always there.
  private static let sources =
    #filePath.split(separator: "/").dropLast(5).reduce("") { "\($0)/\($1)" } + "/Sources"

  private static func book(seed: UInt64, paragraphs: Int = 400) throws -> String {
    var chronicle = try TownChronicle(seed: seed)
    return (0..<paragraphs).map { _ in chronicle.nextParagraph() }.joined(separator: "\n\n")
  }

  private func task(
    _ scenarios: [Scenario], lengths: [Int] = [2048, 6000], prompts: Int = 6, seed: UInt64 = 1
  ) throws -> ScenarioTask {
    ScenarioTask(
      scenarios: scenarios, lengths: lengths, prompts: prompts, seed: seed,
      books: try BookShelf([
        (name: "one", text: Self.book(seed: 11)), (name: "two", text: Self.book(seed: 12)),
      ]), code: try CodeBase(contentsOf: Self.sources))
  }

  private func tasks(_ task: ScenarioTask) throws -> [EvaluationTask] {
    try task.plans().map { try $0.task(countFourBytes) }
  }

  /// Words with single blanks, as questions quote them.
  private func words(_ text: String) -> String {
    text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }

  @Test(arguments: Scenario.allCases)
  func `prompts have exactly the length, their own number each, and the scenario's name`(
    scenario: Scenario
  ) throws {
    let tasks = try tasks(task([scenario]))
    #expect(tasks.count == 12 && Set(tasks.map(\.id)).count == 12)
    #expect(Set(tasks.map(\.prompt)).count == 12)
    for task in tasks {
      #expect(task.kind == scenario.rawValue)
      let length = try #require(task.length)
      let tokens = try countFourBytes(task.prompt + task.answerPrefix) + task.maximumAnswerTokens
      // RULER's chains of assignments end with a whole line.
      let range = scenario == .hops ? length - 80...length : length...length
      #expect(range.contains(tokens), "\(task.id): \(tokens)")
    }
    #expect(try self.tasks(task([scenario], seed: 2)).map(\.prompt) != tasks.map(\.prompt))
  }

  @Test func `a line's beginning stands in the passage once, with the reference behind it`() throws
  {
    let lines = try tasks(task([.questions])).filter { $0.scoring == .leadingWords }
    #expect(lines.count == 6)
    for task in lines {
      let passage = words(task.prompt.components(between: "follows.", and: "Question:")[0])
      let beginning = String(task.answerPrefix.dropFirst(2))
      #expect(passage.count(ofText: beginning) == 1, "\(task.id)")
      #expect(passage.count(ofText: "\(beginning) \(task.references[0])") == 1, "\(task.id)")
      #expect(task.score(" \(task.references[0]) and more\"") == 1)
      #expect(task.score("zz \(task.references[0])") == 0)
    }
    #expect(Set(lines.map(\.depth)).count == 6)
  }

  @Test func `a name that was left out stands in the passage in its sentence`() throws {
    let names = try tasks(task([.questions])).filter { $0.scoring == .containsAll }
    #expect(names.count == 6)
    for task in names {
      let parts = task.prompt.components(between: "follows.", and: "Question:")
      let question = try #require(task.prompt.split(separator: "\n").last.map(String.init))
      let sentence = try #require(
        question.components(between: "left out: \"", and: "\" Which").first)
      let whole = sentence.replacing("____", with: task.references[0])
      #expect(words(parts[0]).count(ofText: whole) == 1, "\(task.id): \(whole)")
      #expect(!sentence.contains(task.references[0]))
    }
  }

  @Test func `a function's body follows its first line in the files`() throws {
    for task in try tasks(task([.code])) {
      let signature = try #require(task.answerPrefix.split(separator: "\n").last.map(String.init))
      let files = try #require(task.prompt.components(between: "follows.", and: "Question:").first)
      let place = try #require(files.range(ofText: signature + "\n"))
      let behind = String(
        decoding: Array(files.utf8)[(place + signature.utf8.count)...], as: UTF8.self)
      let lines = behind.split(separator: "\n").filter { !$0.allSatisfy(\.isWhitespace) }
      let body = task.references[0].split(separator: "\n")
      #expect(body.count >= 4 && Array(lines.prefix(body.count)) == body, "\(task.id)")
      #expect(task.score("\n" + task.references[0] + "\n}\nmore") == 1)
      #expect(task.score("    let x = 1") < 0.5)
      #expect(task.score("") == 0)
    }
  }

  @Test func `what a scenario lacks is named before anything is done`() throws {
    for (scenario, setting) in [
      (Scenario.questions, Remedy.Setting.books), (.summaries, .books), (.code, .codeFolder),
    ] {
      let task = ScenarioTask(scenarios: [scenario], lengths: [4096], prompts: 1)
      #expect(throws: TaskError.missingSource(scenario: scenario.rawValue, setting: setting)) {
        try task.plans()
      }
    }
    #expect(throws: TaskError.empty(file: "x")) { try BookShelf([(name: "x", text: " 1\n")]) }
    #expect(throws: TaskError.self) { try CodeBase(contentsOf: Self.sources + "/none") }
    #expect(try Scenario.named(["code", "all"]).count == 7)
    #expect(throws: TaskError.self) { try Scenario.named(["books"]) }
  }

  @Test func `a book without anything to ask says so`() throws {
    let books = try BookShelf([(name: "rain", text: String(repeating: "Rain fell. ", count: 900))])
    let task = ScenarioTask(scenarios: [.questions], lengths: [1024], prompts: 1, books: books)
    #expect(throws: TaskError.nothingToAsk(kind: "questions", source: "rain")) { try tasks(task) }
  }
}
