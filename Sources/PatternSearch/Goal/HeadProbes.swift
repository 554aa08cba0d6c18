import Compute
package import SparseAttention
import Transformers

/// What each candidate would lose and cost in each head of a text, measured beside a dense pass on the
/// device: the device's own selection, index and kernel, on the dense run's queries and keys.
package struct HeadProbes: Sendable, Hashable, Codable {
  /// [layer][head][candidate]: the norm of what the head's lost output changes in the hidden states behind
  /// attention, over the norm of these, as the norm layer that follows reads them; the mean over rows along
  /// the text, plus that over the last rows. A layer's change is measured under each candidate for all heads
  /// at once, and its square divided among them by the squares of what their outputs lose. Norms and not their
  /// squares are averaged: a few rows would decide these.
  package var errors: [[[Double]]] = []
  /// [layer][head][candidate]
  package var densities: [[[Double]]] = []
  /// [candidate]: seconds of selection and index over all layers and heads.
  package var selectionSeconds: [Double]

  init(candidates: Int) { selectionSeconds = Array(repeating: 0, count: candidates) }
}

/// Rows on which heads are probed: a few runs along the text, and the last ones. Runs, because a kernel
/// takes neighbouring rows in one call.
package struct ProbedRows {
  static let runs = 4
  static let rowsOfRun = 8
  static let lastRows = 32

  /// Ascending, disjoint; the last one is the text's end.
  package let ranges: [Range<Int>]

  package init(tokens: Int) {
    let last = max(0, tokens - Self.lastRows)..<tokens
    let spread = (0..<Self.runs).compactMap { run -> Range<Int>? in
      let first = (2 * run + 1) * last.lowerBound / (2 * Self.runs)
      let range = first..<min(first + Self.rowsOfRun, last.lowerBound)
      return range.isEmpty ? nil : range
    }
    var disjoint: [Range<Int>] = []
    for range in spread where range.lowerBound >= disjoint.last?.upperBound ?? 0 {
      disjoint.append(range)
    }
    ranges = disjoint + [last]
  }

  package var count: Int { ranges.reduce(0) { $0 + $1.count } }
  /// Rows of the runs, which come first.
  package var countOfRuns: Int { count - (ranges.last?.count ?? 0) }
}

/// Measures one layer while a dense walk passes through it.
struct LayerProbe {
  /// The part of the model that has the layer.
  private let model: Transformer
  private let layer: Int
  private let shape: AttentionShape
  private let tokens: Int
  private let rows: ProbedRows
  private let planners: [AttentionPlanner]
  private var sketches: [QuerySketch?]
  private var watches: [any WorkStopwatch]
  /// [probed rows, queryHeads, headDim], and the hidden states before attention, [probed rows, hidden].
  private let queries: Tensor
  private let hidden: Tensor
  /// Queries of the last min(64, tokens) rows.
  private let lastQueries: Tensor
  private let lastRows: Range<Int>

  init(
    _ model: Transformer, layer: Int, tokens: Int, planners: [AttentionPlanner],
    watches: [any WorkStopwatch]
  ) throws {
    self.model = model
    self.layer = layer
    self.tokens = tokens
    self.planners = planners
    self.watches = watches
    shape = model.attentionShape(layer: layer)
    rows = ProbedRows(tokens: tokens)
    lastRows = max(0, tokens - VerticalSlashRule.lastRows)..<tokens
    let backend = model.backend
    let heads = [shape.queryHeads, shape.headDim]
    queries = try backend.makeTensor(
      backend.activationType, [rows.count] + heads, purpose: Self.purpose)
    hidden = try backend.makeTensor(
      backend.activationType, [rows.count, model.hiddenSize], purpose: Self.purpose)
    lastQueries = try backend.makeTensor(
      backend.activationType, [lastRows.count] + heads, purpose: Self.purpose)
    let shape = shape
    sketches = try planners.map {
      try QuerySketch(
        $0, layer: layer, backend: backend, shape: shape, firstPosition: 0, rows: tokens,
        needsHostIndex: false)
    }
  }

  private static let purpose = "measuring heads"

  /// Takes what is wanted of the next block of rows; blocks come in order.
  mutating func add(_ block: LayerWalk.Block) throws {
    for candidate in sketches.indices where sketches[candidate] != nil {
      try watches[candidate].time {
        try sketches[candidate]?.add(
          block.q, firstPosition: block.positions.lowerBound, layer: block.keysAndValues)
      }
    }
    var start = 0
    for range in rows.ranges {
      try copy(range, of: block.q, block.positions, to: queries, at: start)
      try copy(range, of: block.hidden, block.positions, to: hidden, at: start)
      start += range.count
    }
    try copy(lastRows, of: block.q, block.positions, to: lastQueries, at: 0)
  }

  /// Copies the rows of `range` that lie in a block to where the range begins in a tensor.
  private func copy(
    _ range: Range<Int>, of x: Tensor, _ block: Range<Int>, to y: Tensor, at start: Int
  ) throws {
    let part = range.clamped(to: block)
    guard !part.isEmpty else { return }
    let first = start + part.lowerBound - range.lowerBound
    try model.backend.gatherRows(
      x, rows: part.map { Int32($0 - block.lowerBound) },
      into: y.slice(rows: first..<first + part.count))
  }

  /// The layer's figures, once every block was added: [head][candidate].
  mutating func finish(
    _ keysAndValues: KeyValueLayer
  ) throws -> (errors: [[Double]], densities: [[Double]]) {
    let backend = model.backend
    let width = shape.queryHeads * shape.headDim
    let dense = try outputs(
      .dense(
        firstPosition: 0, rows: tokens, heads: shape.queryHeads,
        tile: backend.tileShape(headDim: shape.headDim)), keysAndValues)
    let norm = try model.feedForwardNorm(layer: layer)
    let behind = zip(
      try backend.read(hidden), try model.projectAttentionOutputs(dense, layer: layer)
    ).map { $0 + $1 }
    let lengths = Self.squares(behind, norm: norm)
    var errors = Array(repeating: [Double](), count: shape.queryHeads)
    var densities = errors
    for candidate in planners.indices {
      let (index, computed) = try self.index(candidate, keysAndValues)
      sketches[candidate] = nil
      let sparse = try outputs(index, keysAndValues)
      let lost = zip(sparse, dense).map { $0 - $1 }
      let changes = Self.squares(try model.projectAttentionOutputs(lost, layer: layer), norm: norm)
      for head in 0..<shape.queryHeads {
        densities[head].append(
          computed[head]
            / Double(
              SparseIndex.causalPairs(
                firstPosition: 0, rows: tokens, slidingWindow: shape.slidingWindow)))
        errors[head].append(0)
      }
      for range in [0..<rows.countOfRuns, rows.countOfRuns..<rows.count] where !range.isEmpty {
        for row in range {
          let heads = (0..<shape.queryHeads).map { head in
            let start = row * width + head * shape.headDim
            return lost[start..<start + shape.headDim].reduce(0.0) {
              $0 + Double($1) * Double($1)
            }
          }
          let all = heads.reduce(0, +)
          guard all > 0, lengths[row] > 0 else { continue }
          let loss = changes[row] / lengths[row]
          for head in heads.indices {
            errors[head][candidate] +=
              (loss * heads[head] / all).squareRoot() / Double(range.count)
          }
        }
      }
    }
    return (errors, densities)
  }

  /// A candidate's index, and the pairs that each head computes.
  private mutating func index(
    _ candidate: Int, _ keysAndValues: KeyValueLayer
  ) throws -> (SparseIndex, [Double]) {
    try watches[candidate].time {
      let chunk = ChunkInputs(
        shape: shape, layer: keysAndValues, firstPosition: 0, rows: tokens, lastRows: lastQueries,
        estimates: sketches[candidate]?.estimates)
      let (index, report) = try planners[candidate].makeIndex(
        layer: layer, chunk, backend: model.backend, memory: SelectionMemory())
      return (index, report.computedPairs.map(Double.init))
    }
  }

  /// Outputs of the probed rows, [rows * queryHeads * headDim].
  private func outputs(_ index: SparseIndex, _ keysAndValues: KeyValueLayer) throws -> [Float] {
    let backend = model.backend
    let o = try backend.makeTensor(backend.activationType, queries.shape, purpose: Self.purpose)
    var start = 0
    for range in rows.ranges {
      let part = start..<start + range.count
      try backend.attention(
        q: queries.slice(rows: part), firstPosition: range.lowerBound, layer: keysAndValues,
        shape: shape, index: index, into: o.slice(rows: part), logSumExp: nil)
      start += range.count
    }
    return try backend.read(o)
  }

  /// For each row of [rows, hidden] the square of its norm, weighed as the norm that reads it does.
  private static func squares(_ x: [Float], norm: [Float]) -> [Double] {
    stride(from: 0, to: x.count, by: max(norm.count, 1)).map { start in
      norm.indices.reduce(0.0) {
        let value = Double(x[start + $1] * norm[$1])
        return $0 + value * value
      }
    }
  }
}

/// The stopwatches of the device that a walk is on, and what those before have counted.
private struct ProbeWatches {
  private var part: Transformer
  /// One for each candidate.
  private(set) var selecting: [any WorkStopwatch]
  /// Blocks are added behind the caller's back; a device that waited for each would be slower than a dense
  /// pass is.
  private(set) var adding: any WorkStopwatch
  private var counted: (selecting: [Double], adding: Double)

  init(_ part: Transformer, count: Int) {
    self.part = part
    selecting = (0..<count).map { _ in part.backend.makeStopwatch() }
    adding = part.backend.makeStopwatch()
    counted = (Array(repeating: 0, count: count), 0)
  }

  var selectionSeconds: [Double] { zip(counted.selecting, selecting).map { $0 + $1.seconds } }
  var addingSeconds: Double { counted.adding + adding.seconds }

  /// The walk goes on in a part.
  mutating func enter(_ next: Transformer) throws {
    guard next !== part else { return }
    try part.backend.finish()
    let before = (selectionSeconds, addingSeconds)
    self = ProbeWatches(next, count: selecting.count)
    counted = before
  }
}

extension SampleReader {
  /// A dense reading that measures every candidate in every head on its way.
  ///
  /// On several devices a walk, in which one device works at a time, measures the heads, and the reading is one
  /// more pass, in which all devices work as they will for sparse readings.
  ///
  /// - Parameter planners: One for each candidate, the same pattern for all heads.
  /// - Returns: The reading, the figures of heads, and the seconds that measuring took.
  package func readDensely(
    _ sample: GoalSample, probing planners: [AttentionPlanner]
  ) throws -> (reading: DenseReading, probes: HeadProbes, seconds: Double) {
    let clock = ContinuousClock()
    let start = clock.now
    var probing = Duration.zero
    var probes = HeadProbes(candidates: planners.count)
    var watches = try ProbeWatches(model.part(holding: 0), count: planners.count)
    var walk = try LayerWalk(
      model, ids: sample.ids, keyValueType: keyValues.type)
    while walk.layer < model.layerCount {
      let layer = walk.layer
      let part = try model.part(holding: layer)
      try watches.enter(part)
      let (backend, adding) = (part.backend, watches.adding)
      var probe = try LayerProbe(
        part, layer: layer, tokens: sample.ids.count, planners: planners,
        watches: watches.selecting)
      try walk.advance(isCancelled: isCancelled) { block in
        try adding.time { try probe.add(block) }
        guard block.positions.upperBound == sample.ids.count else { return }
        // What was asked for before is the dense pass's.
        try backend.finish()
        let start = clock.now
        let found = try probe.finish(block.keysAndValues)
        probes.errors.append(found.errors)
        probes.densities.append(found.densities)
        try backend.finish()
        probing += clock.now - start
      }
      try progress(
        "\(sample.name), dense, measuring heads", Double(layer + 1) / Double(model.layerCount),
        sample.ids.count)
    }
    probes.selectionSeconds = watches.selectionSeconds
    guard model.distribution == nil else {
      let walking = (clock.now - start).inSeconds
      return (try readDensely(sample), probes, walking)
    }
    let states = try walk.sampledStates(at: sample.positions)
    try model.backend.finish()
    let measuring = probing.inSeconds + watches.addingSeconds
    let seconds = (clock.now - start).inSeconds - measuring
    let reading = DenseReading(
      states: states, attentionSeconds: states.report.kernelSeconds, seconds: seconds)
    return (reading, probes, measuring)
  }
}
