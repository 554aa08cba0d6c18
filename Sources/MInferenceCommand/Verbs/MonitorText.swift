import JSON
import TextReports
import MInference

/// What --monitor says.
enum MonitorText {
  /// Estimated recall: the mean, the worst head, every weak head, what watching took, and where
  /// heads fell back to dense attention.
  static func lines(_ report: PrefillReport) -> String {
    var lines: [String] = []
    if let monitor = report.monitor, let recall = monitor.recall {
      let worst = recall.worst
      lines.append(
        "recall about \(Quantity.fixed(recall.mean, 3)) on average over sparse heads; worst: layer "
          + "\(recall.worstLayer) head \(recall.worstHead) with \(Quantity.fixed(worst.mean, 3)) "
          + "(10th percentile \(Quantity.fixed(worst.tenthPercentile, 3)), \(worst.rows) rows)")
      lines += weakHeads(monitor)
      lines.append(price(monitor, of: report))
    } else {
      lines.append("recall was not watched: attention was dense")
    }
    let fallbacks = Dictionary(grouping: report.denseFallbacks, by: \.reason)
    for (reason, heads) in fallbacks.sorted(by: { $0.key < $1.key }) {
      lines.append("dense instead of sparse in \(heads.count) (layer, head, chunk): \(reason)")
    }
    return lines.map { $0 + "\n" }.joined()
  }

  /// One line a head, however many chunks it was weak in.
  private static func weakHeads(_ monitor: MonitorReport) -> [String] {
    struct Place: Hashable, Comparable {
      let layer: Int
      let head: Int

      static func < (a: Place, b: Place) -> Bool { (a.layer, a.head) < (b.layer, b.head) }
    }
    let weak = Dictionary(grouping: monitor.weakHeads) { Place(layer: $0.layer, head: $0.head) }
    return weak.sorted { $0.key < $1.key }.map { place, found in
      let least = found.map(\.recall.mean).min() ?? 0
      let chunks = found.count == 1 ? "" : " at least, weak in \(found.count) chunks"
      let action = found.contains(where: \.isComputedDensely) ? "; computed densely" : ""
      return "weak (under \(Quantity.fixed(monitor.monitor.floor, 2))): layer \(place.layer) head "
        + "\(place.head) keeps about \(Quantity.fixed(least, 3))\(chunks)\(action)"
    }
  }

  private static func price(_ monitor: MonitorReport, of report: PrefillReport) -> String {
    let share = report.seconds > 0 ? monitor.seconds / report.seconds : 0
    var line =
      "watching took \(Quantity.seconds(monitor.seconds)), \(Quantity.percent(share)) of the prefill"
    if monitor.monitor.computesWeakHeadsDensely {
      let dense = Set(monitor.weakHeads.map { [$0.layer, $0.head] }).count
      line +=
        "; \(dense) \(dense == 1 ? "head" : "heads") computed densely: \(Quantity.grouped(monitor.extraPairs)) more pairs, "
        + "about \(Quantity.seconds(monitor.extraSeconds))"
    }
    return line
  }

  static func json(_ report: MonitorReport) -> JSONValue {
    func recall(_ recall: HeadRecall) -> [(String, JSONValue)] {
      [
        ("recall", .number(recall.mean)), ("tenth_percentile", .number(recall.tenthPercentile)),
        ("rows", .integer(recall.rows)),
      ]
    }
    let heads = report.headRecalls.enumerated().flatMap { layer, heads in
      heads.enumerated().compactMap { head, measured in
        measured.map {
          JSONValue.object([("layer", .integer(layer)), ("head", .integer(head))] + recall($0))
        }
      }
    }
    let weak = report.weakHeads.map { head in
      JSONValue.object(
        [
          ("layer", .integer(head.layer)), ("head", .integer(head.head)),
          ("first_position", .integer(head.firstPosition)),
        ] + recall(head.recall) + [("dense", .boolean(head.isComputedDensely))])
    }
    return .object([
      ("floor", .number(report.monitor.floor)),
      ("computes_weak_heads_densely", .boolean(report.monitor.computesWeakHeadsDensely)),
      ("seconds", .number(report.seconds)),
      ("recall", report.recall.map { .number($0.mean) } ?? .null),
      ("worst_recall", report.recall.map { .number($0.worst.mean) } ?? .null),
      ("weak_heads", .array(weak)), ("extra_pairs", .integer(report.extraPairs)),
      ("extra_s", .number(report.extraSeconds)), ("heads", .array(heads)),
    ])
  }
}
