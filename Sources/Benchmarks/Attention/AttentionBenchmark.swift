package import MInference

/// Speed of a backend's attention kernels on made-up tensors of one layer.
///
/// Every figure is the median of several runs that take turns, so that a drift of the machine's
/// speed falls on all of them alike. Useful rates count 4 * headDim operations for each computed
/// (query, key) pair. Indices are made before the clock starts, and a GPU keeps them.
package struct AttentionBenchmark: Sendable {
  /// What is measured.
  package enum Part: String, CaseIterable, Sendable {
    /// A square matrix product of the same device.
    case product
    case dense
    /// ``RandomTiles`` at ``densities``.
    case tiles
    /// Runs of offsets and single columns at ``densities``, each head its own.
    case mixed
    /// ``SyntheticSelection`` of ``budgets`` in ``settings``, each key-value head its own.
    case slashes
    /// Estimation, selection and plan of all heads with ``budgets``.
    case index
    /// One row over all keys.
    case decode
  }

  /// The heads that share a random draw of tiles.
  package enum Sharing: String, CaseIterable, Sendable {
    /// The query heads of a key-value head.
    case group
    /// Nobody.
    case head
  }

  /// One measured line.
  package struct Measurement: Sendable {
    package var name: String
    package var detail: String
    /// The kernel that attention of many rows was left to, where a device has several.
    package var kernel: String?
    package var seconds: Double
    /// The same with keys and values rounded first, which attention with fp8 operands does once a layer;
    /// nil without.
    package var secondsWithRounding: Double?
    /// Useful operations a second; nil where that means nothing.
    package var operationsPerSecond: Double?
    /// Bytes that must be read or written at least, a second; nil where that means nothing.
    package var bytesPerSecond: Double?
    /// Computed pairs / causal pairs.
    package var density: Double?
    /// The same selection under ``PublishedBlockRules``: pairs / causal pairs.
    package var publishedDensity: Double?
    /// How often the time goes into that of the public kernel, whose rate was measured elsewhere.
    package var publishedRatio: Double?
  }

  package var tokens: Int
  package var shape: AttentionShape
  package var parts: [Part] = [.product, .dense, .tiles, .mixed, .index, .decode]
  package var densities: [Double] = [0.05, 0.1, 0.2]
  package var sharings: [Sharing] = [.head]
  package var budgets = [SyntheticSelection.Budget(columns: 1000, offsets: 6096)]
  package var settings: [SyntheticAttention.Setting] = [.clustered]
  /// Whether heads stay sparse even where that costs more than dense.
  package var exact = false
  package var repetitions = 3

  package init(tokens: Int, shape: AttentionShape) {
    self.tokens = tokens
    self.shape = shape
  }

  /// Every case, the median over the repetitions; one run before them warms up.
  ///
  /// - Throws: `ComputeError` for shapes that the backend has no kernels for, and out of memory.
  package func run(
    on backend: any Backend, progress: (String) -> Void = { _ in }
  ) throws -> [Measurement] {
    try backend.requireSupport(of: shape, widths: [shape.queryHeads * shape.headDim])
    let problem = try AttentionProblem(tokens: tokens, shape: shape, backend: backend)
    let all = try parts.flatMap { part in
      progress("indices of \(part.rawValue)")
      return try cases(of: part, problem)
    }
    let roundsFirst = backend.attentionPrecision == .fp8
    var seconds = [[Double]](repeating: [], count: all.count)
    var roundedSeconds = seconds
    var repeats = [Int](repeating: 1, count: all.count)
    for repetition in 0...repetitions {
      for (number, benchmark) in all.enumerated() {
        progress("\(repetition) of \(repetitions): \(benchmark.name) \(benchmark.detail)")
        if roundsFirst, benchmark.isAttention {
          // The backend keeps what it rounded until other work comes between.
          let time = try measure(benchmark.work, 1, on: backend)
          if repetition > 0 { roundedSeconds[number].append(time) }
        }
        let time = try measure(benchmark.work, repeats[number], on: backend)
        if repetition > 0 {
          seconds[number].append(time)
        } else {
          // Launching takes a few microseconds, which single short runs would show.
          repeats[number] = max(1, min(64, Int(Self.leastSeconds / max(time, 1e-6))))
        }
      }
    }
    let kernel = (backend as? any SyntheticBackend)?.attentionKernel(headDim: shape.headDim)
    return all.indices.map {
      measurement(
        all[$0], Self.median(seconds[$0]), withRounding: roundedSeconds[$0], kernel: kernel)
    }
  }

  static let productName = "matrix product"

  /// Shorter work is repeated within a measurement until it takes about so long.
  private static let leastSeconds = 4e-3

  private func measure(
    _ work: () throws -> Void, _ repeats: Int, on backend: any Backend
  ) throws -> Double {
    try backend.finish()
    let watch = backend.makeStopwatch()
    try watch.time { for _ in 0..<repeats { try work() } }
    return watch.seconds / Double(repeats)
  }

  private static func median(_ times: [Double]) -> Double { times.sorted()[times.count / 2] }

  private func measurement(
    _ benchmark: AttentionCase, _ seconds: Double, withRounding: [Double], kernel: String?
  ) -> Measurement {
    let causal = Double(
      SparseIndex.causalPairs(
        firstPosition: 0, rows: tokens, slidingWindow: shape.slidingWindow) * shape.queryHeads)
    let rate = shape.headDim == 128 ? PublishedBlockRules.operationsPerSecond(keys: tokens) : nil
    return Measurement(
      name: benchmark.name, detail: benchmark.detail,
      kernel: benchmark.isAttention ? kernel : nil, seconds: seconds,
      secondsWithRounding: withRounding.isEmpty ? nil : Self.median(withRounding),
      operationsPerSecond: benchmark.operations.map { $0 / seconds },
      bytesPerSecond: benchmark.bytes.map { $0 / seconds },
      density: benchmark.pairs.map { Double($0) / causal },
      publishedDensity: benchmark.publishedPairs.map { Double($0) / causal },
      publishedRatio: benchmark.publishedPairs.flatMap { pairs in
        // Of another device's processor it says nothing.
        kernel == nil
          ? nil : rate.map { 4 * Double(shape.headDim) * Double(pairs) / $0 / seconds }
      })
  }
}

/// Work to be measured, and what it amounts to.
struct AttentionCase {
  var name: String
  var detail = ""
  /// Whether it is attention of many rows.
  var isAttention = false
  /// Pairs of all heads that it computes.
  var pairs: Int?
  var publishedPairs: Int?
  var operations: Double?
  var bytes: Double?
  var work: () throws -> Void
}
