public import Compute

/// The index of one (layer, chunk), with a report that a device may not have counted yet.
///
/// Reading a device's counts waits for all work that it was given before. A caller that does not need the
/// report at once keeps ``pendingReport`` and reads it later; it does not keep the index alive.
public struct PlannedIndex {
  public let index: SparseIndex
  /// The report of an index that was made on the host.
  public let hostReport: IndexReport?
  /// The report of an index that a device builds.
  public let pendingReport: PendingIndexReport?

  init(index: SparseIndex, report: IndexReport) {
    self.index = index
    hostReport = report
    pendingReport = nil
  }

  init(index: SparseIndex, pending: PendingIndexReport) {
    self.index = index
    hostReport = nil
    pendingReport = pending
  }

  /// Pairs and reasons of the index. Waits until a device has built it.
  public func report() throws -> IndexReport {
    if let hostReport { return hostReport }
    guard let pendingReport else {
      throw ComputeError.shapeMismatch(operation: "AttentionPlanner", detail: "no report")
    }
    return try pendingReport.report()
  }
}

/// The report of an index that a device builds, before its counts were read.
public struct PendingIndexReport {
  let counts: any ResidentIndexCounts
  let watch: any WorkStopwatch
  /// Causal pairs of a head.
  let causalPairs: Int
  /// For each head, whether its request was sparse, and why it is dense if it was not.
  let isSparse: [Bool]
  let denseReasons: [DenseReason?]

  /// Pairs and reasons of the index. Waits until the device has built it.
  public func report() throws -> IndexReport {
    let pairs = try counts.computedPairs()
    let isDense = try counts.isDense()
    let reasons = isSparse.indices.map { head -> DenseReason? in
      if let reason = denseReasons[head] { return reason }
      guard isDense[head], isSparse[head] else { return nil }
      return pairs[head] < causalPairs ? .costsMoreThanDense(ratio: 1) : .indexIsDense
    }
    let seconds = watch.seconds
    return IndexReport(
      seconds: seconds, estimationSeconds: seconds, computedPairs: pairs,
      causalPairs: Array(repeating: causalPairs, count: pairs.count), denseReasons: reasons)
  }
}
