import MInference
import PatternSearch
import TextReports

/// What a search by what the model loses found, as text.
enum GoalReportText {
  /// - Parameter beyond: Seconds that further lengths took, dense and sparse.
  static func report(_ result: GoalResult, beyond: (dense: Double, sparse: Double)?) -> String {
    trials(result) + "\n" + heads(result) + "\n" + figures(result) + "\n"
      + summary(result, beyond: beyond)
  }

  private static let columns = [
    "tokens", "KL", "same argmax", "perplexity ratio", "answer tokens", "density",
    "attention / dense", "prefill / dense",
  ]

  private static func cells(_ length: SearchFigures.Length) -> [String] {
    [
      Quantity.grouped(length.tokens), Quantity.fixed(length.divergence, 4),
      Quantity.fixed(length.sameShare, 3), Quantity.fixed(length.perplexityRatio, 4),
      length.answerTokens == 0
        ? "-"
        : "\(length.answerTokensRight) of \(length.answerTokens) (dense "
          + "\(length.answerTokensRightDense))",
      Quantity.fixed(length.density, 3), Quantity.fixed(length.attentionTime, 3),
      Quantity.fixed(length.prefillTime, 3),
    ]
  }

  /// Every choice that was run end to end.
  private static func trials(_ result: GoalResult) -> String {
    var table = TextTable(header: ["tried"] + columns + ["goal"])
    for trial in result.trials {
      for length in trial.figures {
        table.append(
          [trial.name + (trial.share < 1 ? ", beginnings of texts" : "")] + cells(length) + [
            trial.isKept ? "kept" : "missed"
          ])
      }
    }
    return table.text
  }

  /// How many heads have each pattern.
  private static func heads(_ result: GoalResult) -> String {
    var table = TextTable(header: ["pattern", "heads"])
    for (pattern, count) in result.counts {
      let budgets = pattern.budgets.map { "\($0.name) \($0.text)" }.joined(separator: ", ")
      table.append([
        budgets.isEmpty ? pattern.name : "\(pattern.name) (\(budgets))", "\(count)",
      ])
    }
    return table.text
  }

  private static func figures(_ result: GoalResult) -> String {
    var table = TextTable(header: ["chosen: \(result.name)"] + columns)
    for (name, lengths) in [
      ("promised", result.promised), ("validated", result.validated),
      ("validated, not searched", result.validatedBeyond),
    ] {
      for length in lengths { table.append([name] + cells(length)) }
    }
    return table.text
  }

  private static func summary(
    _ result: GoalResult, beyond: (dense: Double, sparse: Double)?
  ) -> String {
    var lines = ["goal: \(result.goal.text); " + verdict(result)]
    if !result.corrected.isEmpty {
      lines.append(
        "missed the goal on validating samples, so that a more careful choice was taken: "
          + result.corrected.joined(separator: "; "))
    }
    let passes = result.passes
    lines.append(
      "measured in \(Quantity.fixed(passes.used, 2)) dense passes of the samples (at most "
        + "\(Quantity.fixed(passes.limit, 2))): dense \(Quantity.seconds(passes.dense)), heads "
        + "\(Quantity.seconds(passes.probing)), choosing \(Quantity.seconds(passes.choosing)), "
        + "validating \(Quantity.seconds(passes.validating))"
        + (passes.warmingUp > 0
          ? "; before, \(Quantity.seconds(passes.warmingUp)) of compiling and first use" : ""))
    if let beyond {
      lines.append(
        "further lengths, beside these passes: dense \(Quantity.seconds(beyond.dense)), sparse "
          + Quantity.seconds(beyond.sparse))
    } else {
      lines.append(
        "lengths beyond \(Quantity.grouped(result.lengths.last ?? 0)) tokens are not validated; shares "
          + "grow with the length, numbers of columns and of nearest keys do not (--validate-lengths)"
      )
    }
    lines.append(
      "on this device dense below \(Quantity.grouped(result.costs.denseBelow)) keys")
    return lines.map { $0 + "\n" }.joined()
  }

  private static func verdict(_ result: GoalResult) -> String {
    if result.patterns.joined().allSatisfy({ $0 == .dense }) {
      return "nothing sparse keeps it here, so all heads are dense"
    }
    switch result.isKept {
    case true?: return "kept on samples that chose nothing"
    case false?: return "missed on samples that chose nothing; search again with a stricter goal"
    case nil:
      return
        "not validated: no pass was left, or there was no sample that chose nothing; allow more "
        + "--passes, or name a text with --validate"
    }
  }
}
