/// What the choice is to achieve, over all heads together.
public enum SearchObjective: Sendable, Hashable {
  /// The least total time such that every head keeps the floor.
  case everyHead(RecallFloor)
  /// The best recall of the worst head within this many seconds. The floors of the percentile and the cap of
  /// the output error hold as well.
  case withinSeconds(Double, tenthPercentile: Double, outputError: Double = .infinity)
  /// The least total time such that the mean recall over heads reaches a target, while every head
  /// keeps a (lower) floor.
  case meanOverHeads(Double, floor: RecallFloor)
  /// The least total time such that the residual errors of all heads together
  /// (``CandidateMeasurement/residualError``) stay below a bound, while every head keeps a floor,
  /// which may be none: a head whose output hardly counts may lose most of its mass.
  case sumOfErrors(Double, floor: RecallFloor)
}

/// One option for each head, and what they come to.
public struct Choice: Sendable, Hashable {
  /// The chosen option of each head.
  public let options: [Int]
  /// Heads that are dense because no other option keeps the floor.
  public let unreachable: [Int]
  public let seconds: Double
  public let meanRecall: Double
  public let worstRecall: Double
  /// Most output error of the chosen options; nil if none of them was measured.
  public let worstOutputError: Double?
  /// Sum over heads of the residual errors of the chosen options.
  public let residualError: Double

  init(_ options: [Int], of heads: [HeadOptions], floor: RecallFloor) {
    self.options = options
    let chosen = zip(heads, options).map { $0.options[$1] }
    unreachable = heads.indices.filter { options[$0] == 0 && !heads[$0].isReachable(floor) }
    seconds = chosen.reduce(0) { $0 + $1.seconds }
    meanRecall = chosen.isEmpty ? 1 : chosen.reduce(0) { $0 + $1.recall } / Double(chosen.count)
    worstRecall = chosen.map(\.recall).min() ?? 1
    worstOutputError = chosen.compactMap(\.outputError).max()
    residualError = chosen.reduce(0) { $0 + $1.residualError }
  }
}

extension Choice {
  /// Solves the budget problem over all heads.
  ///
  /// The first two objectives are solved exactly: with a floor for each head, heads are
  /// independent; and the time of the best choice grows with the floor, so the highest floor that
  /// fits is found by bisection over the recalls that occur. The others are multiple-choice
  /// knapsacks, solved along the hulls of (seconds, value) with a last exchange (``KnapsackSolver``).
  ///
  /// - Throws: ``SearchError/budgetTooSmall(seconds:least:)``.
  public static func best(
    of heads: [HeadOptions], for objective: SearchObjective
  ) throws -> Choice {
    switch objective {
    case .everyHead(let floor):
      return cheapest(heads, floor)
    case .withinSeconds(let seconds, let tenthPercentile, let outputError):
      func choice(_ mean: Double) -> Choice {
        cheapest(
          heads,
          RecallFloor(mean: mean, tenthPercentile: tenthPercentile, outputError: outputError))
      }
      let least = choice(0)
      guard least.seconds <= seconds else {
        throw SearchError.budgetTooSmall(seconds: seconds, least: least.seconds)
      }
      let recalls = Set(heads.flatMap { $0.options.map(\.recall) }).sorted()
      var low = 0.0
      var range = 0..<recalls.count
      while !range.isEmpty {
        let middle = (range.lowerBound + range.upperBound) / 2
        if choice(recalls[middle]).seconds <= seconds {
          low = recalls[middle]
          range = middle + 1..<range.upperBound
        } else {
          range = range.lowerBound..<middle
        }
      }
      return choice(low)
    case .meanOverHeads(let target, let floor):
      let solver = KnapsackSolver(
        heads: heads, floor: floor, target: target * Double(heads.count), value: \.recall)
      return Choice(solver.solve(), of: heads, floor: floor)
    case .sumOfErrors(let bound, let floor):
      let solver = KnapsackSolver(heads: heads, floor: floor, target: -bound) { -$0.residualError }
      return Choice(solver.solve(), of: heads, floor: floor)
    }
  }

  private static func cheapest(_ heads: [HeadOptions], _ floor: RecallFloor) -> Choice {
    Choice(heads.map { $0.cheapest(keeping: floor) }, of: heads, floor: floor)
  }
}
