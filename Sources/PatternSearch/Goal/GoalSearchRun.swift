import Compute
import Files
import SparseAttention
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One search, from its first reading to its result.
struct GoalSearchRun {
  private let model: Transformer
  private let samples: GoalSamples
  private let goal: SearchGoal
  private let reader: SampleReader
  /// Dense attention is the last one.
  private let candidates: [HeadPattern]
  private var passes: SearchPasses
  private var work: WorkFile?
  private var dense: (choosing: [DenseReading], validating: [DenseReading]) = ([], [])
  private var trials: GoalTrials
  /// Seconds of sparse readings divided by those of dense readings of the same texts, as measured so far.
  private var sparseShare = 0.7

  init(
    _ model: Transformer, samples: GoalSamples, options: GoalSearchOptions, work: WorkFile?
  ) {
    self.work = work
    self.model = model
    self.samples = samples
    goal = options.goal
    trials = GoalTrials(goal: options.goal)
    reader = SampleReader(model, options: options)
    candidates = options.candidates.filter { $0 != .dense } + [.dense]
    passes = SearchPasses(
      limit: options.passes ?? GoalSearch.standardPasses(onDevice: model.backend.name))
  }

  private var layers: Int { model.layerCount }
  private var heads: Int { model.attentionShape(layer: 0).queryHeads }

  /// A planner without a crossover: the search reads every length sparsely. The crossover goes into the file.
  static func planner(for patterns: [[HeadPattern]]) -> AttentionPlanner {
    AttentionPlanner(
      configuration: PatternConfiguration(patterns: patterns),
      costModel: SparseCostModel(denseBelow: 0))
  }

  private func uniform(_ pattern: HeadPattern) -> [[HeadPattern]] {
    Array(repeating: Array(repeating: pattern, count: heads), count: layers)
  }

  /// Everything, in order.
  mutating func result() throws -> GoalResult {
    try warmUp()
    let probes = try readDensely()
    let costs = HeadCosts(
      probes, denseSeconds: dense.choosing[samples.probed ?? 0].attentionSeconds)
    let frontier = costs.frontier
    try tryRules(frontier, costs)
    try tryHeads(costs)
    return try validated(frontier, costs)
  }

  private func elapsed<Result>(_ work: () throws -> Result) rethrows -> (Result, Double) {
    let clock = ContinuousClock()
    let start = clock.now
    let result = try work()
    return (result, (clock.now - start).inSeconds)
  }
}

// MARK: Dense readings

extension GoalSearchRun {
  /// Kernels are compiled at their first use; a warm-up keeps that out of the measurements.
  private mutating func warmUp() throws {
    guard model.backend.capabilities.buildsIndices, let sample = samples.choosing.first else {
      return
    }
    let ids = Array(sample.ids.prefix(8192))
    let short = GoalSample(
      name: "warming up", kind: .text, length: ids.count, ids: ids,
      positions: [ids.count / 2, ids.count - 1])
    let (_, seconds) = try elapsed {
      let (reference, _, _) = try reader.readDensely(
        short, probing: candidates.dropLast().map { Self.planner(for: uniform($0)) })
      for candidate in candidates.dropLast() {
        _ = try reader.read(
          short, planner: Self.planner(for: uniform(candidate)), dense: reference)
      }
    }
    passes.warmingUp = seconds
  }

  /// Reads all samples densely, one of them with every candidate beside it.
  private mutating func readDensely() throws -> HeadProbes {
    var probes = HeadProbes(candidates: candidates.count - 1)
    for (index, sample) in samples.choosing.enumerated() {
      if index == samples.probed {
        dense.choosing.append(try readProbed(sample, index, &probes))
      } else {
        dense.choosing.append(try readDensely(sample, index, isValidating: false))
      }
    }
    for (index, sample) in samples.validating.enumerated() {
      dense.validating.append(try readDensely(sample, index, isValidating: true))
    }
    return probes
  }

  private mutating func readDensely(
    _ sample: GoalSample, _ index: Int, isValidating: Bool
  ) throws -> DenseReading {
    if let stored = work?.dense(sample: index, isValidating: isValidating) {
      passes.dense += stored.elapsed
      return try stored.reading(of: sample, model)
    }
    let (reading, seconds) = try elapsed { try reader.readDensely(sample) }
    passes.dense += seconds
    try store(reading, index, isValidating: isValidating, seconds: seconds)
    return reading
  }

  private mutating func readProbed(
    _ sample: GoalSample, _ index: Int, _ probes: inout HeadProbes
  ) throws -> DenseReading {
    if let stored = work?.dense(sample: index, isValidating: false), let found = work?.probes {
      passes.dense += stored.elapsed
      passes.probing += found.seconds
      probes = found.probes
      return try stored.reading(of: sample, model)
    }
    let planners = candidates.dropLast().map { Self.planner(for: uniform($0)) }
    let (found, seconds) = try elapsed { try reader.readDensely(sample, probing: planners) }
    passes.dense += seconds - found.seconds
    passes.probing += found.seconds
    probes = found.probes
    try store(found.reading, index, isValidating: false, seconds: seconds - found.seconds)
    try work?.append(.probes(found.probes, seconds: found.seconds))
    return found.reading
  }

  private mutating func store(
    _ reading: DenseReading, _ index: Int, isValidating: Bool, seconds: Double
  ) throws {
    guard work != nil else { return }
    try work?.append(
      .dense(
        sample: index, isValidating: isValidating,
        StoredReading(reading, elapsed: seconds, model)))
  }
}

// MARK: Choosing

extension GoalSearchRun {
  /// Seconds reserved for validating.
  private var reserve: Double {
    sparseShare * dense.validating.reduce(0) { $0 + $1.seconds }
  }

  /// The share of the samples that the remaining time allows: all (1), the first half or quarter of the texts
  /// alone, or nil.
  private var affordableShare: Double? {
    let left = passes.left - reserve
    let all = dense.choosing.reduce(0) { $0 + $1.seconds }
    if sparseShare * all <= left { return 1 }
    let texts = zip(samples.choosing, dense.choosing).filter { $0.0.kind == .text }.map(\.1)
    guard !texts.isEmpty else { return nil }
    return [0.5, 0.25].first { share in
      let seconds = texts.reduce(0) { $0 + $1.seconds(ofBeginning: share) }
      return sparseShare * seconds <= left
    }
  }

  /// Reads a choice on the choosing samples, as far as time allows; nil where none is left.
  private mutating func read(
    _ name: String, _ patterns: [[HeadPattern]], seconds: Double
  ) throws -> GoalTrial? {
    guard let share = affordableShare else { return nil }
    var readings: [SparseReading] = []
    var taken = 0.0
    // Texts come first: if they miss the goal, the prompts need not be read.
    let texts = samples.choosing.indices.filter { samples.choosing[$0].kind == .text }
    let prompts = samples.choosing.indices.filter { samples.choosing[$0].kind == .retrieval }
    for index in texts + (share == 1 ? prompts : []) {
      if prompts.contains(index), !texts.isEmpty, goal.limitsLoss, !goal.isKept(readings.figures) {
        break
      }
      let (reading, seconds) = try read(patterns, index, isValidating: false, share: share)
      readings.append(reading)
      taken += seconds
    }
    passes.choosing += taken
    if share == 1, readings.count == samples.choosing.count {
      sparseShare = taken / max(dense.choosing.reduce(0) { $0 + $1.seconds }, 1e-9)
    }
    return trials.add(name, patterns, readings, share: share, seconds: seconds)
  }

  /// One sample under a choice, and the seconds that it took; from the work file, if it is there.
  private mutating func read(
    _ patterns: [[HeadPattern]], _ index: Int, isValidating: Bool, share: Double
  ) throws -> (SparseReading, Double) {
    let choice = Self.fingerprint(of: patterns)
    if let found = work?.reading(
      of: choice, sample: index, isValidating: isValidating, share: share)
    {
      return found
    }
    var sample = isValidating ? samples.validating[index] : samples.choosing[index]
    sample.name = (isValidating ? "validating on " : "choosing on ") + sample.name
    let reference = isValidating ? dense.validating[index] : dense.choosing[index]
    let (reading, seconds) = try elapsed {
      try reader.read(
        sample, planner: Self.planner(for: patterns), dense: reference, share: share)
    }
    try work?.append(
      .reading(
        choice: choice, sample: index, isValidating: isValidating, share: share, reading,
        seconds: seconds))
    return (reading, seconds)
  }

  private static func fingerprint(of patterns: [[HeadPattern]]) -> String {
    var fingerprint = Fingerprint()
    for pattern in patterns.joined() { fingerprint.add(name(pattern)) }
    return fingerprint.text
  }

  /// Tries rules that all heads share, until the best one is known or no time is left.
  private mutating func tryRules(_ frontier: UniformFrontier, _ costs: HeadCosts) throws {
    var tried: UniformFrontier.Tried = [:]
    while let index = next(frontier, tried, costs) {
      let entry = frontier.entries[index]
      guard
        let trial = try read(
          name(of: entry.candidate), uniform(candidates[entry.candidate]), seconds: entry.seconds)
      else { return }
      tried[index] = (trial.use, trial.isKept)
    }
  }

  private func next(
    _ frontier: UniformFrontier, _ tried: UniformFrontier.Tried, _ costs: HeadCosts
  ) -> Int? {
    guard case .attentionTime(let most) = goal else { return frontier.nextForLoss(tried) }
    return frontier.nextForTime(tried) { $0.seconds / costs.denseSeconds / most }
  }

  /// Tries choices in which each head has its own candidate. A rule of known divergence tells how large the
  /// sum of the heads' errors may be.
  private mutating func tryHeads(_ costs: HeadCosts) throws {
    let assignment = costs.assignment(
      candidates, selectsByLayer: model.backend.capabilities.buildsIndices)
    for number in 1...4 {
      // Parts of texts are too noisy to choose candidates for single heads.
      guard let best = trials.best, best.share == 1, affordableShare == 1 else { return }
      let choice: HeadAssignment.Choice?
      if case .attentionTime = goal {
        // The best rule's time says how far its prediction was off.
        choice = assignment.best(within: 0.97 * best.seconds / max(best.use, 0.5))
      } else {
        guard let most = trials.allowedError({ costs.error($0.patterns, candidates) }) else {
          return
        }
        choice = assignment.cheapest(losing: most)
      }
      guard let choice, isPromising(choice, best, costs) else { return }
      let patterns = (0..<layers).map { layer in
        (0..<heads).map { candidates[choice.candidates[layer * heads + $0]] }
      }
      guard !trials.all.contains(where: { $0.patterns == patterns }),
        let trial = try read(GoalTrials.nameByHead(number), patterns, seconds: choice.seconds)
      else { return }
      // Kept and better: it is the best now, and there may be a better one yet.
      if trial.isKept, goal.limitsLoss, trial.use > 0.8 { return }
    }
  }

  /// Whether a choice is predicted to improve on the best so far by more than the prediction's error.
  private func isPromising(
    _ choice: HeadAssignment.Choice, _ best: GoalTrial, _ costs: HeadCosts
  ) -> Bool {
    goal.limitsLoss
      ? choice.seconds < 0.97 * best.seconds
      : choice.error < 0.9 * costs.error(best.patterns, candidates)
  }

  private func name(of candidate: Int) -> String { Self.name(candidates[candidate]) }

  /// As the command takes it: "antidiagonal,share=0.6,floor=0.05".
  static func name(_ pattern: HeadPattern) -> String {
    ([pattern.name] + pattern.budgets.map { "\($0.name)=\($0.text)" }).joined(separator: ",")
  }
}

// MARK: Validating

extension GoalSearchRun {
  /// Reads the choice on held-out samples, and takes a more careful one while it misses the goal there.
  private mutating func validated(
    _ frontier: UniformFrontier, _ costs: HeadCosts
  ) throws -> GoalResult {
    var choice = trials.best ?? fallback(frontier, costs)
    var readings: [SparseReading] = []
    while !samples.validating.isEmpty, choice.patterns != uniform(.dense) {
      readings = []
      for index in samples.validating.indices {
        let (reading, taken) = try read(choice.patterns, index, isValidating: true, share: 1)
        readings.append(reading)
        passes.validating += taken
      }
      guard goal.limitsLoss, !goal.isKept(readings.figures),
        let careful = moreCareful(choice, goal.use(readings.figures), frontier, costs)
      else { break }
      trials.reject(choice)
      choice = careful
      readings = []
      // An unvalidated choice is of little use, so one extra pass is allowed for it.
      if passes.left + passes.dense < reserve { break }
    }
    let isDense = choice.patterns == uniform(.dense)
    let latest = readings.last ?? choice.readings.last
    return GoalResult(
      goal: goal, name: choice.name, patterns: choice.patterns,
      densities: isDense
        ? choice.patterns.map { $0.map { _ in 1 } }
        : latest?.densities ?? choice.patterns.map { $0.map { _ in .nan } },
      promised: choice.figures, validated: isDense ? [] : readings.figures,
      corrected: trials.rejected,
      trials: trials.all.map {
        GoalResult.Trial(
          name: $0.name, figures: $0.figures, isKept: goal.isKept($0.figures), share: $0.share,
          headErrors: costs.error($0.patterns, candidates))
      }, passes: passes, lengths: Set(samples.choosing.map(\.length)).sorted(),
      samples: samples.choosing.map(\.name), costs: planningCosts(choice, readings))
  }

  /// The choice if no tried one keeps the goal: dense attention, or the fastest rule if time is the goal. If
  /// nothing could be tried, the middle of the frontier, which is then validated.
  private func fallback(_ frontier: UniformFrontier, _ costs: HeadCosts) -> GoalTrial {
    let entries = frontier.entries
    if case .attentionTime(let most) = goal {
      let within = entries.last { $0.seconds <= most * costs.denseSeconds }
      return trials.all.min { $0.use < $1.use } ?? untried(within ?? entries[0])
    }
    return untried(
      trials.all.isEmpty ? entries[(entries.count - 1) / 2] : entries[entries.count - 1])
  }

  private func untried(_ entry: UniformFrontier.Entry) -> GoalTrial {
    GoalTrial(
      untried: name(of: entry.candidate), patterns: uniform(candidates[entry.candidate]),
      seconds: entry.seconds)
  }

  /// A choice expected to keep the goal, after one whose validated figure was `use` times the limit: the best
  /// tried one with a sufficiently lower use, or else the cheapest rule whose predicted errors are lower by the
  /// same factor than those of the rule nearest to the goal.
  private func moreCareful(
    _ choice: GoalTrial, _ use: Double, _ frontier: UniformFrontier, _ costs: HeadCosts
  ) -> GoalTrial? {
    guard choice.patterns != uniform(.dense) else { return nil }
    // Lost answers count as a miss, whatever the divergence.
    let part = 0.95 / max(use, 1.25)
    let most = part * (choice.readings.isEmpty ? 1 : min(choice.use, 1))
    if let best = trials.best(using: most) { return best }
    let (error, used) =
      trials.nearestRule.map { (costs.error($0.patterns, candidates), max($0.use, 0.05)) }
      ?? (costs.error(choice.patterns, candidates), 1)
    let allowed = error * pow(most / used, 1 / UniformFrontier.power)
    return frontier.entries.first {
      $0.error <= allowed && !trials.rejected.contains(name(of: $0.candidate))
    }.map(untried)
  }

  /// The device's costs for the file. The crossover is the device's usual one, or the shortest length at which
  /// the choice was faster if that is lower, but above every length at which the choice was slower.
  private func planningCosts(_ choice: GoalTrial, _ readings: [SparseReading]) -> SparseCostModel {
    var costs = SparseCostModel.unsearched(onDevice: model.backend.name)
    let measured = (choice.share == 1 ? choice.readings : []) + readings
    let figures = measured.figures
    if let fastest = figures.first(where: { $0.prefillTime < 0.97 }) {
      costs.denseBelow = min(costs.denseBelow, fastest.tokens)
    }
    if let slowest = figures.last(where: { $0.prefillTime > 1 }) {
      costs.denseBelow = max(costs.denseBelow, slowest.tokens + 1)
    }
    return costs
  }
}
