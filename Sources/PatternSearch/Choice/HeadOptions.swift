/// What one head would lose and cost under one pattern.
public struct HeadOption: Sendable, Hashable, Codable {
  /// Predicted seconds, estimation included, over all samples.
  public var seconds: Double
  /// Mean recall over sampled rows; the lowest over samples.
  public var recall: Double
  /// The 10th percentile of the rows' recall; the lowest over samples.
  public var tenthPercentile: Double
  /// norm(o_sparse - o_dense) / norm(o_dense); the highest over samples; nil without an output to compare
  /// with.
  public var outputError: Double?
  /// ``CandidateMeasurement/residualError``; the highest over samples.
  public var residualError: Double

  public init(
    seconds: Double, recall: Double, tenthPercentile: Double, outputError: Double? = nil,
    residualError: Double = 0
  ) {
    self.seconds = seconds
    self.recall = recall
    self.tenthPercentile = tenthPercentile
    self.outputError = outputError
    self.residualError = residualError
  }
}

/// All options of one head. The first one is dense: it loses nothing, so every floor can be kept.
public struct HeadOptions: Sendable, Hashable {
  public let options: [HeadOption]

  /// - Precondition: there is an option, and the first keeps all mass.
  public init(_ options: [HeadOption]) {
    precondition(options.first.map { $0.recall >= 1 && $0.tenthPercentile >= 1 } ?? false)
    self.options = options
  }

  /// The cheapest option that keeps the floor; of equal ones the first.
  func cheapest(keeping floor: RecallFloor) -> Int {
    var best = 0
    for (index, option) in options.enumerated()
    where floor.isKept(by: option) && option.seconds < options[best].seconds {
      best = index
    }
    return best
  }

  /// Whether some option but dense keeps the floor.
  func isReachable(_ floor: RecallFloor) -> Bool {
    options.dropFirst().contains(where: floor.isKept)
  }
}

/// The floors of recall and the cap of error that every head must meet.
public struct RecallFloor: Sendable, Hashable {
  /// Lowest mean recall of a head.
  public var mean: Double
  /// Lowest 10th percentile of the sampled rows' recall.
  public var tenthPercentile: Double
  /// Highest output error of a head. Recall does not see that lost mass on unusual values changes the output
  /// more. With a cap, options whose error was not measured are not considered.
  public var outputError: Double

  public init(
    mean: Double = 0.95, tenthPercentile: Double = 0.80, outputError: Double = .infinity
  ) {
    self.mean = mean
    self.tenthPercentile = tenthPercentile
    self.outputError = outputError
  }

  func isKept(by option: HeadOption) -> Bool {
    keepsRecall(option)
      && (outputError == .infinity || option.outputError.map { $0 <= outputError } ?? false)
  }

  /// The same, output error aside.
  func keepsRecall(_ option: HeadOption) -> Bool {
    option.recall >= mean && option.tenthPercentile >= tenthPercentile
  }
}
