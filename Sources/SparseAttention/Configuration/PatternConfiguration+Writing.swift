import Files
import JSON

extension PatternConfiguration {
  /// What marks our own layout.
  static let format = "minference-patterns"

  /// Writes our own layout, version 1, one head a line:
  ///
  ///     {
  ///       "format": "minference-patterns",
  ///       "version": 1,
  ///       "model": {"name": "...", "fingerprint": "...", "layers": 8, "query_heads": 6},
  ///       "device": "...", "samples": ["..."], "tokens": 32768, "lengths": [8192, 32768],
  ///       "recall": {"mean": 0.96, "worst": 0.91}, "validation": {"mean": 0.95, "worst": 0.9},
  ///       "output_error": 0.12,
  ///       "costs": {"dense_below": 2048, "tile_pair": 1, "column_pair": 1.6, "run": 90},
  ///       "layers": [
  ///         [
  ///           {"pattern": "vertical-slash", "vertical": 1000, "slash": 6096, "recall": 0.97}
  ///         ]
  ///       ]
  ///     }
  ///
  /// device, samples, tokens, lengths, recall, validation, output_error, costs, search (see
  /// ``SearchFigures``), and a head's recall,
  /// tenth_percentile, output_error, milliseconds and density are optional. Costs are those of
  /// ``SparseCostModel``, as measured on the device. The file is replaced as a whole or not at all.
  ///
  /// - Throws: ``PatternError/unwritable(file:reason:)``.
  public func write(toFile file: String) throws {
    do {
      try FileReplacement.write(text, to: file)
    } catch {
      throw PatternError.unwritable(file: file, reason: error.reason)
    }
  }

  /// The contents of the file.
  package var text: String {
    var model = "\"layers\": \(layers), \"query_heads\": \(heads)"
    if let print = metadata.fingerprint { model = "\"fingerprint\": \(quoted(print)), " + model }
    if let name = metadata.model { model = "\"name\": \(quoted(name)), " + model }
    var lines = [
      "{", "  \"format\": \"\(Self.format)\",", "  \"version\": 1,", "  \"model\": {\(model)},",
    ]
    if let device = metadata.device { lines.append("  \"device\": \(quoted(device)),") }
    if !metadata.samples.isEmpty {
      let samples = metadata.samples.map(quoted).joined(separator: ", ")
      lines.append("  \"samples\": [\(samples)],")
    }
    if let tokens = metadata.tokens { lines.append("  \"tokens\": \(tokens),") }
    if !metadata.lengths.isEmpty { lines.append("  \"lengths\": \(metadata.lengths),") }
    for (name, figures) in [("recall", metadata.recall), ("validation", metadata.validation)] {
      if let figures, figures.mean.isFinite, figures.worst.isFinite {
        lines.append(
          "  \"\(name)\": {\"mean\": \(figures.mean), \"worst\": \(figures.worst)},")
      }
    }
    if let error = metadata.outputError, error.isFinite {
      lines.append("  \"output_error\": \(error),")
    }
    if let costs = metadata.costs {
      lines.append(
        "  \"costs\": {\"dense_below\": \(costs.denseBelow), \"tile_pair\": \(costs.tilePair), "
          + "\"column_pair\": \(costs.columnPair), \"run\": \(costs.run)},")
    }
    if let search = metadata.search {
      lines.append("  \"search\": \(search.json.serialized()),")
    }
    lines.append("  \"layers\": [")
    for (layer, row) in patterns.enumerated() {
      lines.append("    [")
      for (head, pattern) in row.enumerated() {
        lines.append(
          "      " + entry(pattern, measurements[layer][head]) + (head + 1 < row.count ? "," : ""))
      }
      lines.append("    ]" + (layer + 1 < layers ? "," : ""))
    }
    return (lines + ["  ]", "}", ""]).joined(separator: "\n")
  }

  private func entry(_ pattern: HeadPattern, _ measurement: HeadMeasurement?) -> String {
    var fields = ["\"pattern\": \"\(pattern.name)\""]
    fields += pattern.budgets.map { "\"\($0.name)\": \($0.text)" }
    let measured = [
      ("recall", measurement?.recall), ("tenth_percentile", measurement?.tenthPercentile),
      ("output_error", measurement?.outputError), ("milliseconds", measurement?.milliseconds),
      ("density", measurement?.density),
    ]
    for (name, value) in measured {
      // JSON has no infinities; NaN means not measured.
      if let value, value.isFinite { fields.append("\"\(name)\": \(value)") }
    }
    return "{\(fields.joined(separator: ", "))}"
  }

  private func quoted(_ text: String) -> String { JSONValue.string(text).serialized() }
}
