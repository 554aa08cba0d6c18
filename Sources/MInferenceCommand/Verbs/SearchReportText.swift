import TextReports
import MInference
import PatternSearch

/// What a search found, as text.
enum SearchReportText {
  /// One line a measured case: what the costs were fitted to, and how well.
  static func calibration(_ result: Calibration.Result) -> String {
    var table = TextTable(header: ["calibration", "keys", "measured ms", "fitted ms", "error"])
    for observation in result.observations {
      table.append([
        observation.name, Quantity.grouped(observation.keys),
        Quantity.fixed(observation.seconds * 1000, 2),
        Quantity.fixed(observation.predicted * 1000, 2),
        Quantity.percent(observation.predicted / observation.seconds - 1),
      ])
    }
    let warning =
      result.worstError > 0.5
      ? "the fit is off by \(Quantity.percent(result.worstError)): the machine was busy; times are "
        + "rough\n" : ""
    return table.text + warning
  }

  static func report(_ result: SearchResult, validations: [SearchValidation]) -> String {
    heads(result, validations) + "\n" + summary(result, validations)
  }

  /// One line a head.
  private static func heads(
    _ result: SearchResult, _ validations: [SearchValidation]
  ) -> String {
    var table = TextTable(header: [
      "head", "pattern", "recall", "10th pct.", "validated", "output error", "residual", "density",
      "time / dense",
    ])
    for layer in 0..<result.layers {
      for head in 0..<result.heads {
        let chosen = result.chosen(layer: layer, head: head)
        let options = result.options[layer * result.heads + head].options
        let validated = validations.compactMap { $0.heads[layer][head]?.mean }.min()
        let error = result.measured(layer: layer, head: head).compactMap(\.outputError).max()
        table.append([
          "\(layer).\(head)", name(result.patterns[chosen]),
          Quantity.fixed(options[chosen].recall, 3),
          Quantity.fixed(options[chosen].tenthPercentile, 3),
          validated.map { Quantity.fixed($0, 3) } ?? "-",
          error.map { Quantity.fixed($0, 3) } ?? "-",
          Quantity.fixed(options[chosen].residualError, 4),
          Quantity.fixed(result.density(layer: layer, head: head, candidate: chosen), 3),
          Quantity.fixed(options[chosen].seconds / options[0].seconds, 3),
        ])
      }
    }
    return table.text
  }

  private static func name(_ pattern: HeadPattern) -> String {
    let budgets = pattern.budgets.map(\.text).joined(separator: ", ")
    return budgets.isEmpty ? pattern.name : "\(pattern.name) (\(budgets))"
  }

  private static func summary(
    _ result: SearchResult, _ validations: [SearchValidation]
  ) -> String {
    let choice = result.choice
    var lines = [
      "chosen: mean recall \(Quantity.fixed(choice.meanRecall, 3)), worst head "
        + "\(Quantity.fixed(choice.worstRecall, 3)), worst output error "
        + "\(choice.worstOutputError.map { Quantity.fixed($0, 3) } ?? "-"), residual errors "
        + "\(Quantity.fixed(choice.residualError, 4)), density "
        + "\(Quantity.fixed(result.density, 3)), "
        + "attention \(Quantity.seconds(choice.seconds)) where dense takes "
        + "\(Quantity.seconds(result.denseSeconds)) (predicted, all samples, ratio "
        + "\(Quantity.fixed(result.denseSeconds / choice.seconds, 2)))"
    ]
    for sample in result.samples {
      // Nothing was measured of what came from a work file.
      guard sample.denseSeconds > 0 else { continue }
      lines.append(
        "sample \(sample.name), \(Quantity.grouped(sample.tokens)) tokens: dense pass "
          + "\(Quantity.seconds(sample.denseSeconds)), measuring "
          + "\(Quantity.seconds(sample.measuringSeconds))")
    }
    for validation in validations {
      lines.append(
        "validated on \(validation.name), \(Quantity.grouped(validation.tokens)) tokens: mean recall "
          + "\(Quantity.fixed(validation.recall.mean, 3)), worst head "
          + "\(Quantity.fixed(validation.recall.worst, 3)), density "
          + "\(Quantity.fixed(validation.density, 3)), prefill "
          + "\(Quantity.seconds(validation.seconds)), of it attention "
          + "\(Quantity.seconds(validation.attentionSeconds))")
    }
    if let cost = result.cost(validations: validations) {
      lines.append(
        "cost \(Quantity.fixed(cost.passes, 2)) dense passes of the texts: dense "
          + "\(Quantity.seconds(cost.dense)), calibrating \(Quantity.seconds(cost.calibrating)), "
          + "measuring \(Quantity.seconds(cost.measuring)), validating "
          + "\(Quantity.seconds(cost.validating)); all texts densely "
          + "\(Quantity.seconds(cost.allTextsDense))")
    }
    let costs = result.planningCosts
    lines.append(
      "for planning on this device: a pair of a column costs \(Quantity.fixed(costs.columnPair, 2)) "
        + "pairs in tiles, a run of tiles \(Quantity.fixed(costs.run, 0)); dense below "
        + "\(Quantity.grouped(costs.denseBelow)) keys")
    if validations.isEmpty {
      lines.append("not validated: name a text that chose nothing with --validate")
    }
    let unreachable = choice.unreachable.map { "\($0 / result.heads).\($0 % result.heads)" }
    if !unreachable.isEmpty {
      lines.append(
        "dense, as no pattern keeps recall and output error: heads \(unreachable.joined(separator: ", "))"
      )
    }
    return lines.map { $0 + "\n" }.joined()
  }
}
