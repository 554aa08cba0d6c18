public import Compute
import SparseAttention

/// Runs a backend's actual kernels on random tensors and fits a ``CostModel`` to their times.
///
/// Seconds = launch + tilePair * pairs in tiles + columnPair * pairs of columns + run * runs
/// + tileRow * tile rows. Cases take turns, so that a drift of the machine's speed falls on all of
/// them alike, and the median of each counts. A pair of a column takes the arithmetic of a pair in a tile, so its
/// coefficient is fitted as the tile's plus a difference of at least zero. FLOP counts cannot replace a
/// measurement: pairs of gathered columns and of tiles take different times, which depend on the device.
public struct Calibration: Sendable {
  public var shape: AttentionShape
  /// Width of the hidden states. Block-sparse heads project queries from them a second time.
  public var hiddenSize: Int
  public var keyValueType: DataType?
  /// Lengths at which kernels run; at least two, to separate fixed costs from costs that grow.
  public var lengths: [Int]
  public var repetitions: Int

  public init(
    shape: AttentionShape, hiddenSize: Int, keyValueType: DataType? = nil,
    lengths: [Int] = [2048, 4096, 8192], repetitions: Int = 3
  ) {
    self.shape = shape
    self.hiddenSize = hiddenSize
    self.keyValueType = keyValueType
    self.lengths = lengths
    self.repetitions = repetitions
  }

  /// Lengths that cost little beside a dense pass of `tokens` tokens.
  package static func lengths(forSample tokens: Int) -> [Int] {
    let longest = min(max(tokens / 4, 1024) / 256 * 256, 8192)
    return [longest / 4, longest / 2, longest]
  }

  /// One case: what was done, its median time, and the time that the fitted model predicts.
  public struct Observation: Sendable {
    public var name: String
    public var keys: Int
    /// Median seconds for all heads.
    public var seconds: Double
    /// Seconds that the fitted model predicts.
    public var predicted: Double
  }

  public struct Result: Sendable {
    public var model: CostModel
    public var observations: [Observation]
    /// Largest relative error of the kernel's cases.
    public var worstError: Double {
      observations.map { abs($0.predicted / $0.seconds - 1) }.max() ?? 0
    }
  }

  /// Measures and fits; a few seconds on two cores for a small model.
  public func run(
    on backend: any Backend, isCancelled: () -> Bool = { false }
  ) throws -> Result {
    var kernels: [Sample] = []
    var estimates: [Sample] = []
    var poolings: [Sample] = []
    var builds: [Sample] = []
    let heads = Double(shape.queryHeads)
    for keys in lengths {
      if isCancelled() { throw CancellationError() }
      let problem = try CalibrationProblem(
        backend: backend, shape: shape, keys: keys,
        keyValueType: keyValueType ?? backend.activationType)
      let rowSets = problem.rowSets()
      let hidden = try backend.makeTensor(
        backend.activationType, [keys, hiddenSize], purpose: "calibration")
      try backend.write([Float](repeating: 0.5, count: hidden.count), to: hidden)
      let weight = try backend.makeTensor(
        backend.activationType, [shape.queryHeads * shape.headDim, hiddenSize],
        purpose: "calibration")
      try backend.write([Float](repeating: 0.01, count: weight.count), to: weight)
      var work: [() throws -> Void] = rowSets.map { entry in { try problem.attend(entry.rowSet) } }
      work.append { try problem.estimate() }
      work.append { try problem.pool(hidden: hidden, weight: Weight(weight)) }
      let building = [keys / 256, keys / 32].map { count in
        stride(from: 1, to: keys, by: max(keys / max(count, 1), 2)).map { $0..<$0 + 1 }
      }
      for offsets in building {
        work.append { _ = TileRuns(offsets: offsets, columns: [], on: problem.grid) }
      }
      let seconds = try medians(work)

      for (entry, seconds) in zip(rowSets, seconds) {
        let work = IndexWork(entry.rowSet, on: problem.grid)
        kernels.append(
          Sample(
            name: entry.name, keys: keys, seconds: seconds,
            features: [
              1, heads * Double(work.pairs), heads * Double(work.columnPairs),
              heads * Double(work.runs), heads * Double(work.tileRows),
            ]))
      }
      let others = seconds[rowSets.count...].map { $0 }
      estimates.append(
        Sample(
          name: "estimation", keys: keys, seconds: others[0],
          features: [heads, heads * Double(keys)])
      )
      poolings.append(
        Sample(name: "pooling", keys: keys, seconds: others[1], features: [Double(keys)]))
      for (offsets, seconds) in zip(building, others[2...]) {
        let runs = TileRuns(offsets: offsets, columns: [], on: problem.grid).runs.count
        builds.append(
          Sample(
            name: "building", keys: keys, seconds: seconds,
            features: [Double(runs), Double(problem.grid.tileRows.count)]))
      }
    }
    let kernel = Self.fit(kernels)
    let estimate = Self.fit(estimates)
    let build = Self.fit(builds)
    let model = CostModel(
      launch: kernel[0], tilePair: kernel[1], columnPair: kernel[1] + kernel[2], run: kernel[3],
      tileRow: kernel[4], estimate: estimate[0], estimateKey: estimate[1],
      poolRow: Self.fit(poolings)[0], blockPair: try blockPairSeconds(), buildRun: build[0],
      buildTileRow: build[1])
    let observations = [(kernels, kernel), (estimates, estimate)].flatMap { samples, fitted in
      samples.map {
        Observation(
          name: $0.name, keys: $0.keys, seconds: $0.seconds,
          predicted: zip($0.features, fitted).reduce(0) { $0 + $1.0 * $1.1 })
      }
    }
    return Result(model: model, observations: observations)
  }

  private struct Sample {
    var name: String
    var keys: Int
    var seconds: Double
    var features: [Double]
  }

  private static func fit(_ samples: [Sample]) -> [Double] {
    LeastSquares.nonNegative(
      features: samples.map(\.features), targets: samples.map { max($0.seconds, 1e-9) })
  }

  /// Blocks are chosen on the host; the cost is stated for a pair of block means.
  private func blockPairSeconds() throws -> Double {
    let blocks = 256
    let means = [Float](repeating: 0.25, count: blocks * shape.headDim)
    let seconds = try medians([
      {
        _ = BlockSparse.selection(
          queries: means, keys: means, headDim: shape.headDim, firstPosition: 0, topK: 50)
      }
    ])
    return seconds[0] / Double(blocks * (blocks + 1) / 2)
  }

  /// The median time of each piece of work, after a warm-up run.
  private func medians(_ work: [() throws -> Void]) throws -> [Double] {
    var seconds = work.map { _ in [Double]() }
    let clock = ContinuousClock()
    for repetition in 0...max(repetitions, 1) {
      for (index, piece) in work.enumerated() {
        let start = clock.now
        try piece()
        if repetition > 0 { seconds[index].append((clock.now - start).inSeconds) }
      }
    }
    return seconds.map { $0.sorted()[$0.count / 2] }
  }
}
