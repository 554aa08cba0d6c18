import EvaluationTasks
import Synchronization
import Testing

/// Answers with the references of tasks whose number a method can do.
private final class FakeRunner: PromptRunner {
  let methods: [String]
  let asked = Mutex<[String]>([])
  /// Fails at this many answers.
  let failsAt: Int

  init(methods: [String] = ["dense", "sparse"], failsAt: Int = .max) {
    self.methods = methods
    self.failsAt = failsAt
  }

  struct Broken: Error {}

  func countTokens(_ text: String) throws -> Int { try countFourBytes(text) }

  func answer(
    _ task: EvaluationTask, method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> PromptAnswer {
    let count = asked.withLock {
      $0.append("\(task.id) \(method)")
      return $0.count
    }
    guard count < failsAt else { throw Broken() }
    progress(0.5, 100)
    let isRight = method == "dense" || !task.id.hasSuffix("-0")
    return PromptAnswer(
      text: isRight ? "\"\(task.references.joined(separator: " "))\"\n" : "nothing",
      promptTokens: 100, timeToFirstToken: method == "dense" ? 2 : 0.5,
      density: method == "dense" ? 1 : 0.2, recall: method == "dense" ? nil : 0.97,
      worstRecall: method == "dense" ? nil : 0.8)
  }
}

@Suite struct EvaluationRunTests {
  private let plans = NeedleTask(lengths: [512, 1024], depths: [0, 1], rounds: 2).plans

  @Test func `every task is put to every method, and progress counts them`() async throws {
    let runner = FakeRunner()
    let seen = Mutex<[Int]>([])
    let records = try await EvaluationRun.run(plans, on: runner) { progress in
      seen.withLock { $0.append(progress.done) }
      #expect(progress.total == 16)
      #expect(progress.fraction == 0.5)
    }
    #expect(records.count == 16)
    #expect(seen.withLock { $0 } == Array(0..<16))
    #expect(records.filter { $0.method == "dense" }.allSatisfy { $0.score == 1 })
    #expect(records.filter { $0.method == "sparse" }.map(\.score) == [0, 1, 0, 1, 0, 1, 0, 1])
  }

  @Test func `an interrupted run goes on where it was, and gives the same results`() async throws {
    let whole = try await EvaluationRun.run(plans, on: FakeRunner())
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let settings = [(name: "seed", value: "1")]
      await #expect(throws: FakeRunner.Broken.self) {
        _ = try await EvaluationRun.run(
          plans, on: FakeRunner(failsAt: 6), results: file, run: settings)
      }
      let second = FakeRunner()
      let records = try await EvaluationRun.run(plans, on: second, results: file, run: settings)
      #expect(second.asked.withLock { $0.count } == 11)
      #expect(records == whole)
      let third = FakeRunner()
      let again = try await EvaluationRun.run(plans, on: third, results: file, run: settings)
      #expect(third.asked.withLock { $0.isEmpty })
      #expect(again == whole)
      // One more method is computed alone.
      let more = FakeRunner(methods: ["dense", "sparse", "other"])
      _ = try await EvaluationRun.run(plans, on: more, results: file, run: settings)
      #expect(more.asked.withLock { $0.allSatisfy { $0.hasSuffix("other") } && $0.count == 8 })
    }
  }

  @Test func `a line that was cut off is computed again`() async throws {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let whole = try await EvaluationRun.run(plans, on: FakeRunner(), results: file)
      let text = try TextFile.read(file)
      try TextFile.replace(file, with: String(text.dropLast(10)))
      let runner = FakeRunner()
      #expect(try await EvaluationRun.run(plans, on: runner, results: file) == whole)
      #expect(runner.asked.withLock { $0.count } == 1)
      #expect(try TextFile.read(file) == text)
    }
  }

  @Test(arguments: [
    "{\"a\": 1}", "a note", "a note\r\nof two lines\r\n", "{\"run\": 1", " \n\n",
    "{\"run\": {}}\n{\"task\n{}\n",
  ])
  func `a file that holds no results, or damaged ones, is refused and stays`(text: String)
    async throws
  {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      try TextFile.replace(file, with: text)
      let error = try await #require(throws: RunError.self) {
        try await EvaluationRun.run(plans, on: FakeRunner(), results: file)
      }
      #expect("\(error)".hasPrefix("\(file): line "))
      #expect(try TextFile.read(file) == text)
    }
  }

  @Test func `lines may end as Windows ends them, and the last one may lack its end`() async throws
  {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let whole = try await EvaluationRun.run(plans, on: FakeRunner(), results: file)
      let text = try TextFile.read(file)
      let changed = text.split(separator: "\n").joined(separator: "\r\n")
      try TextFile.replace(file, with: changed)
      let runner = FakeRunner()
      #expect(try await EvaluationRun.run(plans, on: runner, results: file) == whole)
      #expect(runner.asked.withLock { $0.isEmpty })
      #expect(try TextFile.read(file) == changed + "\n")
    }
  }

  @Test func `two runs do not write one file, and a device takes results`() async throws {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let log = try RunLog<RunRecord>(path: file, run: [])
      await #expect(throws: RunError.inUse(file: file)) {
        _ = try await EvaluationRun.run(plans, on: FakeRunner(), results: file)
      }
      withExtendedLifetime(log) {}
      _ = try await EvaluationRun.run(plans, on: FakeRunner(), results: "/dev/null")
    }
  }

  @Test func `results of another run, or none at all, are not continued`() async throws {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      _ = try await EvaluationRun.run(
        [], on: FakeRunner(), results: file, run: [(name: "model", value: "A")])
      await #expect(
        throws: RunError.otherRun(file: file, field: "model", found: "A", wanted: "B")
      ) {
        _ = try await EvaluationRun.run(
          [], on: FakeRunner(), results: file, run: [(name: "model", value: "B")])
      }
      for text in ["no JSON\n", "{}\n", "{\"run\": {}}\n{\"task\": 1}\n"] {
        try TextFile.replace(file, with: text)
        let error = try await #require(throws: RunError.self) {
          try await EvaluationRun.run([], on: FakeRunner(), results: file)
        }
        #expect("\(error)".hasPrefix("\(file): line "))
      }
    }
  }
}

/// Answers a summary with words of which "sparse" gives fewer.
private struct SummaryRunner: PromptRunner {
  let methods = ["dense", "sparse"]

  func countTokens(_ text: String) throws -> Int { try countFourBytes(text) }

  func answer(
    _ task: EvaluationTask, method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> PromptAnswer {
    let same = task.id.hasSuffix("0")
    return PromptAnswer(
      text: method == "dense" || same
        ? "Ada left the mill at dawn." : "Ada left the mill in the rain.",
      promptTokens: 9, timeToFirstToken: 1, density: method == "dense" ? 1 : 0.25)
  }
}

@Suite struct ComparedMethodsTests {
  private let plans = (0..<4).map { number in
    var task = EvaluationTask(
      id: "summaries-\(number)", kind: "summaries", length: 512, prompt: "x", references: [],
      scoring: .rougeLSum, maximumAnswerTokens: 9)
    task.comparesMethods = true
    return TaskPlan(task)
  }

  @Test func `the first method's answer is the reference, also of results read from a file`()
    async throws
  {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let records = try await EvaluationRun.run(plans, on: SummaryRunner(), results: file)
      #expect(
        records.map(\.method) == Array(repeating: ["dense", "sparse"], count: 4).flatMap { $0 })
      #expect(records.allSatisfy { $0.references == ["Ada left the mill at dawn."] })
      #expect(
        records.filter { $0.method == "dense" || $0.task == "summaries-0" }
          .allSatisfy { $0.score == 1 })
      // Four of six words against seven.
      #expect(
        records.filter { $0.method == "sparse" }.dropFirst()
          .allSatisfy { abs($0.score - 8 / 13.0) < 1e-12 })
      // The last sparse answer is taken out and given again.
      let lines = try TextFile.read(file).split(separator: "\n")
      try TextFile.replace(file, with: lines.dropLast().joined(separator: "\n") + "\n")
      #expect(try await EvaluationRun.run(plans, on: SummaryRunner(), results: file) == records)
    }
  }

  @Test func `a scenario's table has both methods in a row, and says where summaries part`()
    async throws
  {
    let records = try await EvaluationRun.run(plans, on: SummaryRunner())
    let summary = ScenarioSummary(records, methods: ["dense", "sparse"])
    let group = try #require(summary.groups.first)
    #expect(summary.commonWords(group, "sparse").map(\.common) == [6, 4, 4, 4])
    #expect(summary.markdown.contains("| summaries |    512 |       4 | 1 (itself) |"))
    #expect(summary.markdown.contains("4 (1 of 4 the same)"))
    #expect(summary.markdown.contains("1.00 (25.0 %)"))
  }

  @Test func `a method holds within the interval of the first one`() async throws {
    func record(_ task: Int, _ method: String, _ isRight: Bool) -> RunRecord {
      RunRecord(
        EvaluationTask(
          id: "\(task)", kind: "code", length: 512, prompt: "x", references: ["a"],
          scoring: .containsAll, maximumAnswerTokens: 1), method: method,
        answer: PromptAnswer(text: isRight ? "a" : "b", promptTokens: 1))
    }
    let records = (0..<20).flatMap { task in
      [
        record(task, "dense", task < 18), record(task, "near", task < 15),
        record(task, "far", task < 13),
      ]
    }
    let summary = ScenarioSummary(records, methods: ["dense", "near", "far"])
    let group = try #require(summary.groups.first)
    // Wilson's interval of 18 of 20 is 0.699 to 0.972.
    #expect(abs(summary.score(group, "dense").low - 0.6990) < 5e-5)
    #expect(abs(summary.score(group, "dense").high - 0.9721) < 5e-5)
    #expect(summary.isWithin(group, "near") && !summary.isWithin(group, "far"))
    #expect(summary.markdown.contains(" yes |") && summary.markdown.contains(" no |"))
  }

  @Test func `Wilson's interval has width where all answers are right`() {
    let all = Proportion.wilson(right: 25, of: 25)
    #expect(all.mean == 1 && all.high == 1 && abs(all.low - 0.8668) < 5e-5)
    let none = Proportion.wilson(right: 0, of: 25)
    #expect(none.mean == 0 && none.low == 0 && abs(none.high - 0.1332) < 5e-5)
    let half = Proportion.wilson(right: 10, of: 20)
    #expect(abs(half.low - 0.2993) < 5e-5 && abs(half.high - 0.7007) < 5e-5)
    #expect(Proportion.wilson(right: 0, of: 0).mean.isNaN)
    #expect(Proportion.interval(of: [0.5, 1]) == Bootstrap.mean([0.5, 1]))
  }
}

@Suite struct RunSummaryTests {
  @Test func `scores, differences and costs stand side by side`() async throws {
    let plans = NeedleTask(lengths: [512], depths: [0, 1], rounds: 2).plans
    let records = try await EvaluationRun.run(plans, on: FakeRunner())
    let summary = RunSummary(records, methods: ["dense", "sparse"])
    let group = try #require(summary.groups.first)
    #expect(summary.groups.count == 1)
    #expect(summary.score(group, "dense").mean == 1)
    #expect(summary.score(group, "sparse").mean == 0.5)
    #expect(summary.difference(group, "sparse").mean == -0.5)
    #expect(
      summary.markdown == """
        Score (mean and 95 % bootstrap interval)

        | kind   | length | prompts |                dense |               sparse |
        | ------ | -----: | ------: | -------------------: | -------------------: |
        | needle |    512 |       4 | 1.000 [1.000, 1.000] | 0.500 [0.000, 1.000] |

        Difference to dense, prompt by prompt (* where the interval leaves out 0)

        | kind   | length | prompts |                 sparse |
        | ------ | -----: | ------: | ---------------------: |
        | needle |    512 |       4 | -0.500 [-1.000, 0.000] |

        Median time to first token in seconds, mean density

        | kind   | length | prompts |          dense |        sparse |
        | ------ | -----: | ------: | -------------: | ------------: |
        | needle |    512 |       4 | 2.00 (100.0 %) | 0.50 (20.0 %) |

        Recall: mean over heads and prompts, worst head of any prompt

        | kind   | length | prompts | dense |        sparse |
        | ------ | -----: | ------: | ----: | ------------: |
        | needle |    512 |       4 |       | 0.970 (0.800) |

        """)
  }

  @Test func `several kinds get an average, and prompts not answered by all are left out`()
    async throws
  {
    let plans = try RulerTask(
      kinds: [.niahSingle1, .variableTracking], lengths: [2048], samples: 3
    ).plans()
    var records = try await EvaluationRun.run(plans, on: FakeRunner())
    records.removeLast()
    let summary = RunSummary(records, methods: ["dense", "sparse"])
    #expect(summary.groups.map(\.kind) == ["niah_single_1", "vt", "average"])
    #expect(summary.groups.map { summary.records($0, "dense").count } == [3, 2, 5])
  }
}
