import EvaluationTasks
import Testing

@Suite struct NeedleTaskTests {
  private func tasks(_ suite: NeedleTask) throws -> [EvaluationTask] {
    try suite.plans.map { try $0.task(countFourBytes) }
  }

  @Test func `prompts fill their length, with the fact once, at its depth`() throws {
    let suite = NeedleTask(lengths: [600, 4096], depths: [0, 0.25, 0.5, 1], rounds: 2)
    let tasks = try tasks(suite)
    #expect(tasks.count == 16)
    #expect(Set(tasks.map(\.id)).count == 16)
    for task in tasks {
      let tokens = try countFourBytes(task.prompt + task.answerPrefix) + task.maximumAnswerTokens
      let length = try #require(task.length)
      #expect((length - 60...length).contains(tokens), "\(task.id) has \(tokens)")
      let number = try #require(task.references.first)
      let parts = task.prompt.split(separator: " number is: \(number).", maxSplits: 2)
      #expect(parts.count == 2, "\(task.id)")
      let start = try #require(task.prompt.range(ofText: "end.\n\n"))
      let end = try #require(task.prompt.range(ofText: "\n\nQuestion:"))
      let place = try #require(task.prompt.range(ofText: "The special magic"))
      let depth = Double(place - start) / Double(end - start)
      #expect(
        abs(depth - (task.depth ?? -1)) < (length < 1000 ? 0.12 : 0.03), "\(task.id) \(depth)")
      #expect(task.score("It is \(number).") == 1)
      #expect(task.score(String(number.dropLast())) == 0)
    }
  }

  @Test func `a round has one fact and one text for every depth`() throws {
    let tasks = try tasks(NeedleTask(lengths: [1024], depths: [0.2, 0.8], rounds: 2))
    #expect(tasks[0].references == tasks[2].references)
    #expect(tasks[0].references != tasks[1].references)
  }

  @Test func `an own haystack is used, and begun again where it ends`() throws {
    let suite = NeedleTask(
      lengths: [512], depths: [0.5], haystack: .text("Rain fell. It fell all day."))
    let prompt = try #require(try tasks(suite).first).prompt
    #expect(prompt.contains("Rain fell. It fell all day.\nRain fell."))
    #expect(!prompt.contains("CHAPTER"))
  }

  @Test func `a length without room says how much is needed`() throws {
    let suite = NeedleTask(lengths: [64], depths: [0.5])
    let error = try #require(throws: TaskError.self) { try tasks(suite) }
    guard case .tooShort("needle", 64, let needed) = error else {
      Issue.record("\(error)")
      return
    }
    _ = try tasks(NeedleTask(lengths: [needed], depths: [0.5]))
  }

  @Test func `a fact goes back to the end of the sentence before its depth`() {
    let sentences = Haystack.split("One two. Three four. Five six. ")
    #expect(sentences == ["One two. ", "Three four. ", "Five six. "])
    func hide(_ depth: Double) -> String { Haystack.hide([("F.", depth)], in: sentences[...]) }
    #expect(hide(0) == "F. One two. Three four. Five six.")
    #expect(hide(0.5) == "One two. F. Three four. Five six.")
    #expect(hide(1) == "One two. Three four. Five six. F.")
    #expect(Haystack.hide([("F.", 0.3)], in: []) == "F.")
  }
}

extension String {
  /// The offset in bytes at which a text begins.
  func range(ofText text: String) -> Int? {
    let all = Array(utf8)
    let wanted = Array(text.utf8)
    return (0...max(0, all.count - wanted.count)).first { all[$0...].starts(with: wanted) }
  }
}
