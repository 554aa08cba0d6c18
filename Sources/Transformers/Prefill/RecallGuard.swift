import Compute
import SparseAttention

/// Estimates the recall of every sparse head of a (layer, chunk) from a few sampled rows before the
/// chunk's rows are attended to, so that a weak head can still be given a dense row set and nothing
/// is computed twice.
///
/// The rows' log-sum-exps are compared, see ``RecallSampler``.
struct RecallGuard {
  private(set) var report: MonitorReport
  private var meter: RecallMeter
  /// [layer][head], what patterns kept of the latest rows: a short chunk has too few to judge by.
  private var latest: [[[Float]]]
  private static let judgedRows = 16
  private let watch: any WorkStopwatch
  private let backend: any Backend

  init(_ monitor: RecallMonitor, configuration: DecoderConfiguration, backend: any Backend) {
    report = MonitorReport(monitor)
    meter = RecallMeter(
      layers: configuration.layers, heads: configuration.attention[0].queryHeads)
    latest = Array(
      repeating: Array(repeating: [], count: configuration.attention[0].queryHeads),
      count: configuration.layers)
    watch = backend.makeStopwatch()
    self.backend = backend
  }

  /// A chunk of a layer whose index has been made.
  struct Chunk {
    let layer: Int
    let positions: Range<Int>
    /// [rows of the chunk, hidden]
    let hidden: Tensor
    let keysAndValues: KeyValueLayer
    let shape: AttentionShape
    let patterns: [HeadPattern]
    let index: SparseIndex
    /// Causal pairs of one head.
    let causalPairs: Int
  }

  /// The index to compute with, and its pairs: those of the plan, or with weak heads dense.
  ///
  /// - Parameters:
  ///   - computedPairs: Pairs that each head computes.
  ///   - makeComputation: gives workspace for so many rows of the layer.
  mutating func check(
    _ chunk: Chunk, computedPairs: [Int], makeComputation: (Int) -> LayerComputation
  ) throws -> (SparseIndex, computed: [Int]) {
    let isDense = try chunk.index.denseHeads()
    let sparse = Set(chunk.patterns.indices.filter { !isDense[$0] })
    guard !sparse.isEmpty else { return (chunk.index, computedPairs) }
    let first = sparse.map { chunk.patterns[$0].sinkAndWindow }.min() ?? 0
    let rows = RecallMonitor.sampledRows(
      of: chunk.positions, from: first, tileRows: chunk.index.tile.rows)
    let sums = try watch.time {
      let sampler = RecallSampler(
        backend: backend, keysAndValues: chunk.keysAndValues, shape: chunk.shape)
      let hidden = try sampler.gather(
        chunk.hidden, rows: rows.map { $0 - chunk.positions.lowerBound })
      let q = try makeComputation(rows.count).queries(of: hidden, positions: rows)
      return try sampler.logSumExps(q: q, positions: rows, index: chunk.index, heads: sparse)
    }
    var weak: Set<Int> = []
    for head in sparse.sorted() {
      // A row before sink + window sees only keys that the pattern computes whatever it keeps.
      let counted = rows.indices.filter { rows[$0] >= chunk.patterns[head].sinkAndWindow }
      let recalls = counted.map { row in
        let element = row * chunk.shape.queryHeads + head
        return RecallMeter.recall(sparse: sums.sparse[element], dense: sums.dense[element])
      }
      guard !recalls.isEmpty else { continue }
      let judged = Array(
        (latest[chunk.layer][head] + recalls).suffix(max(Self.judgedRows, recalls.count)))
      latest[chunk.layer][head] = judged
      guard let recall = HeadRecall(judged) else { continue }
      let isWeak = recall.mean < report.monitor.floor
      let isComputedDensely = isWeak && report.monitor.computesWeakHeadsDensely
      if isWeak {
        report.weakHeads.append(
          MonitorReport.WeakHead(
            layer: chunk.layer, head: head, firstPosition: chunk.positions.lowerBound,
            recall: recall, isComputedDensely: isComputedDensely))
      }
      if isComputedDensely { weak.insert(head) }
      meter.add(
        layer: chunk.layer, head: head, isComputedDensely ? recalls.map { _ in 1 } : recalls)
    }
    guard !weak.isEmpty else { return (chunk.index, computedPairs) }
    var computed = computedPairs
    for head in weak {
      report.extraPairs += chunk.causalPairs - computed[head]
      computed[head] = chunk.causalPairs
    }
    return (try chunk.index.replacingByAll(heads: weak), computed)
  }

  /// The figures of the whole prefill, once its kernels' seconds and pairs are known.
  mutating func finish(kernelSeconds: Double, computedPairs: Int) -> MonitorReport {
    report.seconds = watch.seconds
    report.recall = meter.summary
    report.headRecalls = meter.headRecalls
    report.extraSeconds =
      kernelSeconds * Double(report.extraPairs) / Double(max(computedPairs, 1))
    return report
  }
}
