import MInference
import MInferenceEvaluation

/// What --monitor prints.
enum RecallText {
  /// Measured recall: the mean, the worst head, and where heads fell back to dense attention.
  static func lines(_ report: PrefillReport) -> String {
    var lines = ""
    if let recall = report.recall {
      let worst = recall.worst
      lines += "recall \(Quantity.fixed(recall.mean, 4)) on average over heads; worst: layer "
      lines += "\(recall.worstLayer) head \(recall.worstHead) with \(Quantity.fixed(worst.mean, 4))"
      lines += " (10th percentile \(Quantity.fixed(worst.tenthPercentile, 4)))\n"
    } else {
      lines += "recall was not measured: attention was dense\n"
    }
    let fallbacks = Dictionary(grouping: report.denseFallbacks, by: \.reason)
    for (reason, heads) in fallbacks.sorted(by: { $0.key < $1.key }) {
      lines += "dense instead of sparse in \(heads.count) (layer, head, chunk): \(reason)\n"
    }
    return lines
  }
}
