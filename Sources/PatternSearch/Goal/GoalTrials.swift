import SparseAttention

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A choice of patterns, and what reading the samples under it gave.
struct GoalTrial {
  let name: String
  let patterns: [[HeadPattern]]
  let readings: [SparseReading]
  /// The part of the texts that was read; 0 for a choice that was not tried.
  let share: Double
  let isKept: Bool
  /// The measured figure divided by the goal's limit.
  let use: Double
  /// Predicted seconds of attention of the probed text.
  let seconds: Double

  var figures: [SearchFigures.Length] { readings.figures }

  fileprivate init(
    _ name: String, patterns: [[HeadPattern]], readings: [SparseReading], share: Double,
    isKept: Bool, use: Double, seconds: Double
  ) {
    self.name = name
    self.patterns = patterns
    self.readings = readings
    self.share = share
    self.isKept = isKept
    self.use = use
    self.seconds = seconds
  }

  /// A choice of which only the predicted time is known.
  init(untried name: String, patterns: [[HeadPattern]], seconds: Double) {
    self.init(
      name, patterns: patterns, readings: [], share: 0, isKept: false, use: .infinity,
      seconds: seconds)
  }
}

/// The choices that a search tried, and the decisions that follow from them. Reads no sample itself.
struct GoalTrials {
  let goal: SearchGoal
  private(set) var all: [GoalTrial] = []
  /// Names of choices that missed the goal on held-out samples.
  private(set) var rejected: [String] = []

  init(goal: SearchGoal) { self.goal = goal }

  private static let byHead = "by head"

  /// The name of a choice of single heads.
  static func nameByHead(_ number: Int) -> String { "\(byHead), \(number)" }

  mutating func add(
    _ name: String, _ patterns: [[HeadPattern]], _ readings: [SparseReading], share: Double,
    seconds: Double
  ) -> GoalTrial {
    let figures = readings.figures
    let use = goal.use(figures)
    let isKept = goal.isKept(figures)
    let trial = GoalTrial(
      name, patterns: patterns, readings: readings, share: share,
      // A choice that barely keeps the goal on choosing samples misses it on others.
      isKept: isKept && (!goal.limitsLoss || use <= 0.95),
      // Lost answers count as a miss, whatever the divergence.
      use: isKept ? use : max(use, 1.25), seconds: seconds)
    all.append(trial)
    return trial
  }

  mutating func reject(_ trial: GoalTrial) { rejected.append(trial.name) }

  /// The best choice that was tried and keeps the goal: the fastest, or the one that loses least where time
  /// is the goal. Whole readings come before beginnings.
  var best: GoalTrial? {
    let whole = all.filter { $0.share == 1 && $0.isKept }
    let kept = whole.isEmpty ? all.filter(\.isKept) : whole
    return kept.min { cost($0) < cost($1) }
  }

  /// The best choice that was read whole, was not rejected, and whose ``GoalTrial/use`` is at most `most`.
  func best(using most: Double) -> GoalTrial? {
    all.filter { trial in
      trial.isKept && trial.share == 1 && trial.use <= most && !rejected.contains(trial.name)
    }.min { cost($0) < cost($1) }
  }

  /// The rule shared by all heads whose ``GoalTrial/use`` is nearest to 1.
  var nearestRule: GoalTrial? {
    all.filter { !$0.name.hasPrefix(Self.byHead) }.min { abs($0.use - 1) < abs($1.use - 1) }
  }

  private func cost(_ trial: GoalTrial) -> Double {
    guard goal.limitsLoss else {
      return trial.figures.map(\.divergence).max() ?? .infinity
    }
    // On beginnings fixed costs weigh too much; the prediction is for the whole text.
    guard trial.share == 1 else { return trial.seconds }
    return trial.readings.reduce(0) { $0 + $1.attentionSeconds }
  }

  /// The sum of errors that the goal allows; nil where the remaining gain is smaller than the figures' noise,
  /// and where no choice was read whole.
  ///
  /// Interpolates between a choice that keeps the goal and one that misses it, with loss as a power of the
  /// error. Aims slightly below the limit.
  ///
  /// - Parameter error: The sum of a choice's errors, as predicted.
  func allowedError(_ error: (GoalTrial) -> Double) -> Double? {
    let byHead = all.filter { $0.name.hasPrefix(Self.byHead) }
    // Once heads were tried, they say what heads lose.
    let known = (byHead.isEmpty ? all : byHead).filter { $0.share == 1 }.map {
      (use: max($0.use, 0.05), error: error($0))
    }
    let aim = 0.88
    if let low = known.filter({ $0.use <= aim }).max(by: { $0.use < $1.use }),
      let high = known.filter({ $0.use > aim }).min(by: { $0.use < $1.use }),
      low.error > 0, low.error < high.error
    {
      // Near enough: what is left to gain is less than the figures vary between texts.
      if low.use >= 0.75 { return nil }
      let part = log(aim / low.use) / log(high.use / low.use)
      return low.error * pow(high.error / low.error, part)
    }
    return known.min { abs($0.use - 1) < abs($1.use - 1) }.map {
      $0.error * pow(aim / $0.use, 1 / UniformFrontier.power)
    }
  }
}
