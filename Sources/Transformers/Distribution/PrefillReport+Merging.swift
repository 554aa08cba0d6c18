import SparseAttention

extension PrefillReport {
  /// The report of a prompt that passed through the stages of a pipeline.
  ///
  /// Seconds of parts of the work are those of the stage that took most: stages work side by side.
  ///
  /// - Parameters:
  ///   - stages: In the order of their layers; not empty.
  ///   - seconds: From the beginning to the end.
  package init(merging stages: [PrefillReport], seconds: Double) {
    self = stages[stages.count - 1]
    self.seconds = seconds
    indexSeconds = stages.map(\.indexSeconds).max() ?? 0
    kernelSeconds = stages.map(\.kernelSeconds).max() ?? 0
    linearSeconds = stages.compactMap(\.linearSeconds).max()
    for stage in stages.dropLast() {
      for layer in computedPairs.indices {
        for head in computedPairs[layer].indices {
          computedPairs[layer][head] += stage.computedPairs[layer][head]
          causalPairs[layer][head] += stage.causalPairs[layer][head]
        }
      }
    }
    headRecalls = Self.merged(stages.compactMap(\.headRecalls))
    recall = headRecalls.flatMap { RecallSummary(of: $0) }
    denseFallbacks = stages.flatMap(\.denseFallbacks)
    monitor = MonitorReport(merging: stages.compactMap(\.monitor))
  }

  /// Each head as the stage that has its layer saw it.
  fileprivate static func merged(_ stages: [[[HeadRecall?]]]) -> [[HeadRecall?]]? {
    guard var merged = stages.first else { return nil }
    for stage in stages.dropFirst() {
      for layer in merged.indices {
        merged[layer] = zip(merged[layer], stage[layer]).map { $0 ?? $1 }
      }
    }
    return merged
  }
}

extension MonitorReport {
  /// nil without any.
  fileprivate init?(merging stages: [MonitorReport]) {
    guard let first = stages.first else { return nil }
    self = first
    seconds = stages.map(\.seconds).max() ?? 0
    headRecalls =
      PrefillReport.merged(stages.map(\.headRecalls).filter { !$0.isEmpty }) ?? []
    recall = RecallSummary(of: headRecalls)
    weakHeads = stages.flatMap(\.weakHeads).sorted {
      ($0.firstPosition, $0.layer) < ($1.firstPosition, $1.layer)
    }
    extraPairs = stages.reduce(0) { $0 + $1.extraPairs }
    extraSeconds = stages.map(\.extraSeconds).max() ?? 0
  }
}
