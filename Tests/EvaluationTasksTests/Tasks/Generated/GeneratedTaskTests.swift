import EvaluationTasks
import Testing

@Suite struct GeneratedTaskTests {
  static func tasks(
    _ kind: GeneratedKind, lengths: [Int] = [3000], prompts: Int = 4, seed: UInt64 = 1
  ) throws -> [EvaluationTask] {
    try GeneratedTask(kinds: [kind], lengths: lengths, prompts: prompts, seed: seed).plans.map {
      try $0.task(countFourBytes)
    }
  }

  @Test(arguments: GeneratedKind.allCases)
  func `a prompt, its answers and later questions have exactly the length`(
    kind: GeneratedKind
  ) throws {
    for task in try Self.tasks(kind, lengths: [1700, 4096, 16_384], prompts: 3) {
      let later = try task.laterTurns.reduce(0) { sum, turn in
        try sum + countFourBytes(turn.question + turn.answerPrefix) + turn.maximumAnswerTokens
      }
      let tokens = try countFourBytes(task.prompt + task.answerPrefix) + task.maximumAnswerTokens
      #expect(tokens + later == task.length, "\(task.id)")
    }
  }

  @Test(arguments: GeneratedKind.allCases)
  func `a seed repeats its prompts, another gives others, and no two are the same`(
    kind: GeneratedKind
  ) throws {
    let tasks = try Self.tasks(kind)
    #expect(try Self.tasks(kind) == tasks)
    #expect(Set(tasks.map(\.prompt)).count == tasks.count)
    #expect(try Self.tasks(kind, seed: 2).map(\.prompt) != tasks.map(\.prompt))
    #expect(Set(tasks.map(\.id)).count == tasks.count)
  }

  @Test(arguments: GeneratedKind.allCases)
  func `the right answer is worth 1, a wrong one and none nothing`(kind: GeneratedKind) throws {
    for task in try Self.tasks(kind) {
      let right =
        switch task.scoring {
        case .setF1: task.references.joined(separator: ", ") + "]"
        case .markedSimilarity: task.references.joined()
        default: " \(task.references[0])."
        }
      #expect(task.score(right) == 1, "\(task.id): \(right)")
      #expect(task.score("") == 0)
      let wrong =
        switch task.scoring {
        case .setF1: "0000000000, 1111111111]"
        case .markedSimilarity: task.references[1]
        case .pythonValue: task.references[0].hasPrefix("[") ? "[1, 2, 3]" : "1000"
        default: "It is 1000001."
        }
      #expect(task.score(wrong) == 0, "\(task.id)")
    }
  }

  @Test func `a length without room says how much is needed, and that is enough`() throws {
    for kind in GeneratedKind.allCases {
      let error = try #require(throws: TaskError.self) { try Self.tasks(kind, lengths: [16]) }
      guard case .tooShort(kind.rawValue, 16, let needed) = error else {
        Issue.record("\(error)")
        continue
      }
      // Parameters drawn anew for another prompt may take some tokens more.
      _ = try Self.tasks(kind, lengths: [needed + 100], prompts: 1)
    }
    #expect(throws: TaskError.self) { try GeneratedKind.named(["graphs"]) }
    #expect(try GeneratedKind.named(["all"]) == GeneratedKind.allCases)
  }
}
