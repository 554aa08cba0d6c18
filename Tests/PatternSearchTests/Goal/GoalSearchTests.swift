import Compute
import PatternSearch
import SparseAttention
import Synchronization
import Testing
import Transformers

@Suite struct GoalSearchTests {
  private let candidates: [HeadPattern] = [
    .aShape(sink: 4, local: 16), .aShape(sink: 16, local: 128), .aShape(sink: 16, local: 400),
    .verticalSlash(vertical: 40, slash: 100),
  ]

  private static func sample(
    _ name: String, _ kind: GoalSample.Kind, _ count: Int, seed: UInt64
  ) -> GoalSample {
    GoalSample(
      name: name, kind: kind, length: count > 550 ? 600 : 500,
      ids: TemporaryModel.ids(count, seed: seed),
      positions: kind == .text
        ? Array(stride(from: 7, to: count - 1, by: 5)) : Array(count - 20..<count - 1))
  }

  private let samples = GoalSamples(
    choosing: [
      sample("a", .text, 500, seed: 5), sample("b", .retrieval, 490, seed: 6),
      sample("c", .text, 600, seed: 7),
    ],
    validating: [
      sample("d", .text, 500, seed: 8), sample("e", .retrieval, 495, seed: 9),
      sample("f", .text, 600, seed: 10),
    ])

  private func search(
    _ model: Transformer, _ goal: SearchGoal, workFile: String? = nil, passes: Double? = 1e6,
    stages: Stages = Stages()
  ) -> GoalSearch {
    GoalSearch(
      model: model, fingerprint: "x",
      options: GoalSearchOptions(
        goal: goal, candidates: candidates, passes: passes, workFile: workFile,
        progress: { stage, fraction, _ in
          #expect((0...1).contains(fraction))
          try stages.add(stage)
        }))
  }

  @Test
  func `the choice keeps the goal on samples that chose nothing, and no rule tried is better`()
    throws
  {
    let model = try TemporaryModel().load()
    // What a window of 128 keys loses is within the goal.
    let loose = try search(model, .divergence(100)).run(samples)
    #expect(loose.isKept == true && loose.promised.map(\.tokens) == [500, 600])
    #expect(loose.promised.allSatisfy { $0.divergence > 0 && $0.density < 1 })
    let middle = (loose.trials.first?.figures.map(\.divergence).max() ?? 1) / 4
    let result = try search(model, .divergence(middle)).run(samples)
    for trial in result.trials {
      #expect(trial.isKept == SearchGoal.divergence(middle).isKept(trial.figures))
    }
    if result.patterns.joined().contains(where: { $0 != .dense }) {
      #expect(result.isKept == true)
      #expect(result.validated.allSatisfy { $0.divergence <= middle })
      #expect(result.densities.count == 3 && result.densities.allSatisfy { $0.count == 4 })
    }
    #expect(result.passes.used > 1 && result.passes.dense > 0 && result.passes.probing > 0)
  }

  @Test func `a goal that nothing sparse keeps gives dense attention`() throws {
    let model = try TemporaryModel().load()
    let result = try search(model, .divergence(1e-12)).run(samples)
    #expect(result.patterns.joined().allSatisfy { $0 == .dense })
    #expect(!result.trials.isEmpty && result.trials.allSatisfy { !$0.isKept })
    #expect(result.validated.isEmpty)
  }

  @Test func `within a time the choice that loses least is taken`() throws {
    let model = try TemporaryModel().load()
    let result = try search(model, .attentionTime(1000)).run(samples)
    // Any time will do: nothing is lost.
    #expect(result.promised.allSatisfy { $0.divergence < 1e-6 })
  }

  @Test func `passes end where they may, one being kept back for validation`() throws {
    let model = try TemporaryModel().load()
    let result = try search(model, .divergence(100), passes: 1).run(samples)
    #expect(result.trials.isEmpty && result.promised.isEmpty)
    // What could not be tried was validated all the same.
    #expect(!result.validated.isEmpty || result.patterns.joined().allSatisfy { $0 == .dense })
  }

  @Test func `an interrupted search goes on where it was, for another goal, too`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let file = temporary.directory + "/work.jsonl"
    #expect(throws: CancellationError.self) {
      try search(model, .divergence(100), workFile: file, stages: Stages(most: 4)).run(samples)
    }
    let stages = Stages()
    let result = try search(model, .divergence(100), workFile: file, stages: stages).run(samples)
    #expect(!stages.all.contains("a, dense") && stages.all.contains("f, dense"))
    let again = Stages()
    let same = try search(model, .divergence(100), workFile: file, stages: again).run(samples)
    #expect(again.all.isEmpty)
    #expect(same.patterns == result.patterns && same.name == result.name)
    #expect(same.promised == result.promised && same.validated == result.validated)
    #expect(same.passes.used == result.passes.used)
    let other = Stages()
    _ = try search(model, .divergence(1e-12), workFile: file, stages: other).run(samples)
    #expect(other.all.allSatisfy { !$0.contains("dense") })
    var foreign = samples
    foreign.choosing[0].ids[0] += 1
    #expect(throws: SearchError.foreignWorkFile(file: file, what: "samples or lengths")) {
      try search(model, .divergence(100), workFile: file).run(foreign)
    }
  }

  @Test func `the written file says what was aimed at, promised and validated`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let search = search(model, .divergence(100))
    var result = try search.run(samples)
    let longer = Self.sample("g", .text, 900, seed: 11)
    result.validatedBeyond = try search.validate(
      result,
      on: [
        GoalSample(
          name: "g", kind: .text, length: 900, ids: longer.ids, positions: longer.positions)
      ]
    ).figures
    let configuration = result.configuration(model: "tiny", fingerprint: "0123", device: "cpu")
    let file = temporary.directory + "/work.jsonl"
    try configuration.write(toFile: file)
    let read = try PatternConfiguration(contentsOfFile: file)
    #expect(read.patterns == result.patterns && read.metadata.samples == ["a", "b", "c"])
    let figures = try #require(read.metadata.search)
    #expect(figures.goal == "KL at most 100.0" && figures.choice == result.name)
    #expect(figures.isKept == true)
    #expect(figures.promised.map(\.tokens) == [500, 600])
    #expect(figures.validated.map(\.tokens) == [500, 600, 900])
    for (written, measured) in zip(figures.promised, result.promised) {
      #expect(abs(written.divergence - measured.divergence) < 1e-4)
      #expect(written.answerTokensRight == measured.answerTokensRight)
      #expect(written.answerTokens == measured.answerTokens)
    }
    #expect(read.costModel(onDevice: "cpu") == result.costs)
  }

  @Test func `goals are kept by their own figure and by the answers`() {
    var figures = SearchFigures.Length(
      tokens: 1, divergence: 0.02, sameShare: 1, perplexityRatio: 1.004, answerTokens: 110,
      answerTokensRight: 95, answerTokensRightDense: 100, density: 0.1, attentionTime: 0.4,
      prefillTime: 0.7)
    #expect(SearchGoal.divergence(0.02).isKept(figures))
    #expect(!SearchGoal.divergence(0.019).isKept(figures))
    #expect(SearchGoal.perplexityRatio(1.005).isKept(figures))
    #expect(!SearchGoal.perplexityRatio(1.003).isKept(figures))
    #expect(SearchGoal.attentionTime(0.4).isKept(figures))
    figures.answerTokensRight = 94
    #expect(!SearchGoal.divergence(0.02).isKept(figures))
    #expect(!SearchGoal.perplexityRatio(1.005).isKept(figures))
    #expect(SearchGoal.attentionTime(0.4).isKept(figures))
    figures.answerTokensRight = 100
    figures.divergence = .nan
    #expect(!SearchGoal.divergence(100).isKept(figures))
    #expect(!SearchGoal.divergence(100).isKept([]))
  }

  /// What was read, in order; stops where it is told to.
  private final class Stages: Sendable {
    private let stages = Mutex<[String]>([])
    private let most: Int

    init(most: Int = .max) { self.most = most }

    var all: [String] { stages.withLock { $0 } }

    func add(_ stage: String) throws {
      let count = stages.withLock { stages in
        if stages.last != stage { stages.append(stage) }
        return stages.count
      }
      if count > most { throw CancellationError() }
    }
  }
}
