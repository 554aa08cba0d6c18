public import SparseAttention

extension SearchResult {
  /// The choice as a pattern file: every head's pattern with its measurements, and the origin of the file.
  ///
  /// - Parameters:
  ///   - model: the model's name.
  ///   - validations: runs on held-out texts; their worst figures are stored.
  public func configuration(
    model: String, fingerprint: String, device: String, validations: [SearchValidation] = []
  ) -> PatternConfiguration {
    let measurements = (0..<layers).map { layer in
      (0..<heads).map { head -> HeadMeasurement? in
        let option = options[layer * heads + head].options[chosen(layer: layer, head: head)]
        return HeadMeasurement(
          recall: rounded(option.recall), tenthPercentile: rounded(option.tenthPercentile),
          outputError: measured(layer: layer, head: head).compactMap(\.outputError).max()
            .map(rounded),
          milliseconds: rounded(option.seconds * 1000 / Double(max(samples.count, 1))),
          density: rounded(
            density(layer: layer, head: head, candidate: chosen(layer: layer, head: head))))
      }
    }
    let lengths = Set(samples.map(\.tokens)).sorted()
    var names: [String] = []
    for sample in samples {
      // The directory of a text means nothing on other machines.
      let name = sample.name.split(separator: "/").last.map(String.init) ?? sample.name
      if !names.contains(name) { names.append(name) }
    }
    let figures = validations.map(\.recall)
    return PatternConfiguration(
      patterns: chosenPatterns, measurements: measurements,
      metadata: PatternMetadata(
        model: model, device: device, samples: names, tokens: lengths.last,
        fingerprint: fingerprint, lengths: lengths,
        recall: RecallFigures(
          mean: rounded(choice.meanRecall), worst: rounded(choice.worstRecall)),
        validation: figures.isEmpty
          ? nil
          : RecallFigures(
            mean: rounded(figures.map(\.mean).min() ?? 1),
            worst: rounded(figures.map(\.worst).min() ?? 1)),
        outputError: choice.worstOutputError.map(rounded), costs: roundedCosts))
  }

  private var roundedCosts: SparseCostModel {
    let costs = planningCosts
    return SparseCostModel(
      denseBelow: costs.denseBelow, tilePair: costs.tilePair,
      columnPair: rounded(costs.columnPair), run: rounded(costs.run))
  }

  /// To five decimals: further digits are noise.
  private func rounded(_ value: Double) -> Double { (value * 1e5).rounded() / 1e5 }
}
