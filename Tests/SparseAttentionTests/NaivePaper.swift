import Compute
import SparseAttention

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The paper's rules written a second time, from its text: full float64 softmax rows, sums over
/// explicit pairs, a stable sort for the top-k, masks as predicates. Shares nothing with the sources.
struct NaivePaper {
  let keys: [[[Double]]]  // [kv head][position][d]
  let queries: [[[Double]]]  // [head][position][d]
  let groupSize: Int
  let scale: Double

  var tokens: Int { queries[0].count }

  func probabilities(head: Int, position: Int) -> [Double] {
    let q = queries[head][position]
    let scores = keys[head / groupSize][...position].map { dot(q, $0) * scale }
    let top = scores.max() ?? 0
    let weights = scores.map { exp($0 - top) }
    let total = weights.reduce(0, +)
    return weights.map { $0 / total }
  }

  /// Column and offset scores of the last 64 rows of the prompt's first `end` tokens.
  func scores(head: Int, end: Int, first: Int) -> (vertical: [Double], slash: [Double]) {
    var vertical = [Double](repeating: 0, count: end)
    var slash = [Double](repeating: 0, count: end)
    for i in max(first, end - 64)..<end {
      for (j, p) in probabilities(head: head, position: i).enumerated() {
        vertical[j] += p
        slash[i - j] += p
      }
    }
    return (vertical, slash)
  }

  /// Mean-pooled block scores: the blocks of query block `block`, best first.
  func rankedBlocks(head: Int, block: Int, rows: Range<Int>, end: Int) -> [(Int, Double)] {
    func mean(_ x: ArraySlice<[Double]>) -> [Double] {
      (0..<(x.first?.count ?? 0)).map { d in
        x.reduce(0) { $0 + $1[d] } / Double(x.count)
      }
    }
    let own = (block * 64..<block * 64 + 64).clamped(to: rows)
    let q = mean(queries[head][own])
    let scored = (0...block).map { m in
      (m, dot(q, mean(keys[head / groupSize][m * 64..<min(m * 64 + 64, end)])))
    }
    return scored.sorted { $0.1 > $1.1 }
  }

  private func dot(_ x: [Double], _ y: [Double]) -> Double {
    var sum = 0.0
    for d in x.indices { sum += x[d] * y[d] }
    return sum
  }
}

/// Forced indices score infinity; ties go to the lower index.
func naiveTop(_ scores: [Double], count: Int, forced: Int) -> Set<Int> {
  let ranked = scores.enumerated().map { (index: $0, score: $0 < forced ? .infinity : $1) }
    .sorted { ($1.score, $0.index) < ($0.score, $1.index) }
  return Set(ranked.prefix(count).map(\.index))
}

/// Whether a selection is the paper's, up to scores within 1e-5 of the cut.
func isTopSelection(_ chosen: [Int32], of scores: [Double], count: Int, forced: Int) -> Bool {
  let expected = naiveTop(scores, count: count, forced: forced)
  let actual = Set(chosen.map(Int.init))
  let cut = expected.filter { $0 >= forced }.map { scores[$0] }.min() ?? .infinity
  return actual.count == expected.count
    && actual.symmetricDifference(expected).allSatisfy { abs(scores[$0] - cut) < 1e-5 }
}

/// A random layer on the reference backend, with the same numbers as nested arrays.
struct RandomLayer {
  let backend: ReferenceBackend
  let shape: AttentionShape
  let naive: NaivePaper
  let layer: KeyValueLayer
  let q: [Float]  // [tokens, heads, headDim]

  init(tokens: Int, heads: Int, groupSize: Int, headDim: Int, tile: TileShape, seed: Int) throws {
    var random = SeededGenerator(seed: seed)
    let keyHeads = heads / groupSize
    shape = AttentionShape(queryHeads: heads, keyValueHeads: keyHeads, headDim: headDim)
    backend = ReferenceBackend(tile: tile)
    // A few columns and offsets stand out, as in a trained model.
    let capacity = tokens + 3
    var keys = (0..<keyHeads * capacity * headDim).map { _ in
      Float.random(in: -1..<1, using: &random)
    }
    for _ in 0..<max(1, tokens / 20) {
      let j = Int.random(in: 0..<tokens, using: &random)
      for d in 0..<headDim { keys[j * headDim + d] *= 4 }
    }
    q = (0..<tokens * heads * headDim).map { _ in Float.random(in: -2..<2, using: &random) }
    let k = try backend.makeTensor(.float32, [keyHeads, capacity, headDim], purpose: "test")
    try backend.write(keys, to: k)
    layer = KeyValueLayer(keys: k, values: k, count: tokens)
    let values = q
    naive = NaivePaper(
      keys: (0..<keyHeads).map { h in
        (0..<tokens).map { j in
          (0..<headDim).map { Double(keys[(h * capacity + j) * headDim + $0]) }
        }
      },
      queries: (0..<heads).map { h in
        (0..<tokens).map { i in
          (0..<headDim).map { Double(values[(i * heads + h) * headDim + $0]) }
        }
      }, groupSize: groupSize, scale: 1 / Double(headDim).squareRoot())
  }

  func queries(_ rows: Range<Int>) throws -> Tensor {
    let width = shape.queryHeads * shape.headDim
    let tensor = try backend.makeTensor(
      .float32, [rows.count, shape.queryHeads, shape.headDim], purpose: "test")
    try backend.write(Array(q[rows.lowerBound * width..<rows.upperBound * width]), to: tensor)
    return tensor
  }

  /// Inputs of the chunk `rows`.
  func inputs(
    _ rows: Range<Int>, memory: SelectionMemory = SelectionMemory()
  ) throws -> PlannedChunk {
    var layer = layer
    layer.count = rows.upperBound
    let pooledQueries = try BlockSparse.pooledQueries(
      queries(rows), firstPosition: rows.lowerBound, backend: backend)
    return PlannedChunk(
      chunk: ChunkInputs(
        shape: shape, layer: layer, firstPosition: rows.lowerBound, rows: rows.count,
        lastRows: try queries(max(rows.lowerBound, rows.upperBound - 64)..<rows.upperBound),
        estimates: .host(HostQueryEstimates(pooledQueries: pooledQueries))),
      backend: backend, memory: memory)
  }
}

/// A chunk and what plans it.
@dynamicMemberLookup struct PlannedChunk {
  var chunk: ChunkInputs
  let backend: ReferenceBackend
  let memory: SelectionMemory

  subscript<Value>(dynamicMember path: WritableKeyPath<ChunkInputs, Value>) -> Value {
    get { chunk[keyPath: path] }
    set { chunk[keyPath: path] = newValue }
  }
}

extension AttentionPlanner {
  /// The index as a host plans it.
  func makeIndex(
    layer: Int, _ inputs: PlannedChunk
  ) throws -> (index: TileIndex, report: IndexReport) {
    let (index, report) = try makeIndex(
      layer: layer, inputs.chunk, backend: inputs.backend, memory: inputs.memory)
    return (try index.hostTiles("a test"), report)
  }

  func select(
    layer: Int, _ inputs: PlannedChunk
  ) throws -> (selections: [HeadSelection], estimation: Duration) {
    try select(layer: layer, inputs.chunk, backend: inputs.backend, memory: inputs.memory)
  }
}

/// A small deterministic generator (SplitMix64), so that a failing case can be repeated.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: Int) { state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
