import ArgumentParser
import PatternSearch

/// What a search aims at.
struct SearchGoalArguments: ParsableArguments {
  @Option(
    name: .customLong("kl"),
    help: ArgumentHelp(
      "Least time with a mean KL divergence of next-token distributions, dense against sparse, of at "
        + "most so many nats; 0.03 if no goal is given.", valueName: "k"),
    transform: {
      try Number.parsed($0, in: .leastNonzeroMagnitude...1e3, allowed: "a number above 0")
    })
  var divergence: Double?

  @Option(
    help: ArgumentHelp(
      "Least time with a perplexity of at most so many times dense attention's.", valueName: "r"),
    transform: {
      try Number.parsed($0, in: 1.000_001...1e3, allowed: "a number above 1, such as 1.005")
    })
  var perplexityRatio: Double?

  @Option(
    help: ArgumentHelp(
      "Least divergence within that share of dense attention's time, 0 to 1.",
      valueName: "share"),
    transform: {
      try Number.parsed($0, in: .leastNonzeroMagnitude...1, allowed: "a number from 0 to 1")
    })
  var time: Double?

  @Option(
    help: ArgumentHelp(
      "Least mean recall of every head (0.95; 0.80 with --mean-recall).", valueName: "r"),
    transform: { try Number.parsed($0, in: 0...1, allowed: "a number from 0 to 1") })
  var recall: Double?

  @Option(
    help: ArgumentHelp(
      "Least recall of nine sampled rows of ten (0.80; 0.50 with --mean-recall).", valueName: "r"),
    transform: { try Number.parsed($0, in: 0...1, allowed: "a number from 0 to 1") })
  var tenthPercentile: Double?

  @Option(
    help: ArgumentHelp(
      "Least mean over heads: heads may go down to --recall where that saves most.",
      valueName: "r"),
    transform: { try Number.parsed($0, in: 0...1, allowed: "a number from 0 to 1") })
  var meanRecall: Double?

  @Option(
    help: ArgumentHelp(
      "Seconds of attention over all samples: choose the best worst head within them.",
      valueName: "s"),
    transform: {
      try Number.parsed($0, in: .leastNonzeroMagnitude...1e9, allowed: "a number above 0")
    })
  var seconds: Double?

  @Option(
    help: ArgumentHelp(
      "Most output error of a head, norm(sparse - dense) / norm(dense) (0.2; no cap with "
        + "--residual-error).", valueName: "e"),
    transform: { try Number.parsed($0, in: 0...1e9, allowed: "a number from 0 up") })
  var outputError: Double?

  @Option(
    help: ArgumentHelp(
      "Most sum over heads of what lost outputs do to the hidden states, a tenth or so: heads lose "
        + "where that saves most. No floors unless --recall or --tenth-percentile sets them.",
      valueName: "e"),
    transform: { try Number.parsed($0, in: 0...1e9, allowed: "a number from 0 up") })
  var residualError: Double?

  /// What the model may lose, or the time that it may take; nil where a goal of recall or output error is
  /// given.
  var goal: SearchGoal? {
    if let divergence { return .divergence(divergence) }
    if let perplexityRatio { return .perplexityRatio(perplexityRatio) }
    if let time { return .attentionTime(time) }
    return measuredByHead.isEmpty ? .divergence(0.03) : nil
  }

  /// The flags of goals by heads that are given.
  private var measuredByHead: [String] {
    [
      ("--recall", recall), ("--tenth-percentile", tenthPercentile), ("--mean-recall", meanRecall),
      ("--seconds", seconds), ("--output-error", outputError), ("--residual-error", residualError),
    ].compactMap { name, value in value.map { _ in name } }
  }

  func validate() throws {
    let goals = [
      ("--kl", divergence), ("--perplexity-ratio", perplexityRatio), ("--time", time),
    ].compactMap { name, value in value.map { _ in name } }
    if goals.count > 1 {
      throw ValidationError("\(goals.joined(separator: " and ")) exclude each other; give one")
    }
    if let goal = goals.first, let other = measuredByHead.first {
      throw ValidationError("\(goal) is a goal of its own; leave out \(other)")
    }
    if residualError != nil, meanRecall != nil || seconds != nil {
      throw ValidationError(
        "--residual-error is a goal of its own; leave out --mean-recall and --seconds")
    }
    if seconds != nil, meanRecall != nil || recall != nil {
      throw ValidationError(
        "--seconds chooses the recall itself; leave out --recall and --mean-recall")
    }
  }

  var objective: SearchObjective {
    if let residualError {
      return .sumOfErrors(
        residualError,
        floor: RecallFloor(
          mean: recall ?? 0, tenthPercentile: tenthPercentile ?? 0,
          outputError: outputError ?? .infinity))
    }
    let outputError = outputError ?? 0.2
    if let seconds {
      return .withinSeconds(
        seconds, tenthPercentile: tenthPercentile ?? 0, outputError: outputError)
    }
    if let meanRecall {
      return .meanOverHeads(
        meanRecall,
        floor: RecallFloor(
          mean: recall ?? 0.80, tenthPercentile: tenthPercentile ?? 0.50, outputError: outputError))
    }
    return .everyHead(
      RecallFloor(
        mean: recall ?? 0.95, tenthPercentile: tenthPercentile ?? 0.80, outputError: outputError))
  }
}

/// The layout of a pattern file that is written.
enum PatternFormat: String, CaseIterable, ExpressibleByArgument {
  case minference
  case upstream
}
