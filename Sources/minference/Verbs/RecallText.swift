import MInference
import MInferenceEvaluation

/// What --monitor prints.
enum RecallText {
  /// Measured recall: the mean, the worst head, and where heads fell back to dense attention.
  static func lines(_ report: PrefillReport) -> String {
    guard let recall = report.recall else { return "" }
    var lines = "recall \(Quantity.fixed(recall.mean, 4)) on average over heads"
    var worst = (layer: 0, head: 0, mean: Double.infinity, tenth: 1.0)
    for (layer, heads) in recall.heads.enumerated() {
      for (head, value) in heads.enumerated() where value.mean < worst.mean {
        worst = (layer, head, value.mean, value.tenthPercentile)
      }
    }
    if worst.mean.isFinite {
      lines += "; worst: layer \(worst.layer) head \(worst.head) with "
      lines +=
        "\(Quantity.fixed(worst.mean, 4)) (10th percentile \(Quantity.fixed(worst.tenth, 4)))"
    }
    lines += "\n"
    let fallbacks = Dictionary(grouping: report.denseFallbacks, by: \.reason)
    for (reason, heads) in fallbacks.sorted(by: { $0.key < $1.key }) {
      lines += "dense instead of sparse in \(heads.count) (layer, head, chunk): \(reason)\n"
    }
    return lines
  }
}
