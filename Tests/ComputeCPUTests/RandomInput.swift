import Compute
import ComputeCPU

/// A small deterministic generator (SplitMix64).
struct RandomNumbers: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in Float.random(in: range, using: &self) }
  }

  mutating func pick<T>(_ choices: [T]) -> T {
    choices[Int.random(in: 0..<choices.count, using: &self)]
  }
}

/// The same attention problem on any backend.
struct AttentionProblem {
  var shape: AttentionShape
  var firstPosition: Int
  var rows: Int
  var type: DataType
  var q: [Float]
  var k: [Float]
  var v: [Float]

  var keys: Int { firstPosition + rows }

  init(
    shape: AttentionShape, firstPosition: Int, rows: Int, type: DataType = .float32,
    random: inout RandomNumbers
  ) {
    self.shape = shape
    self.firstPosition = firstPosition
    self.rows = rows
    self.type = type
    let keys = firstPosition + rows
    // Scores of a few units, so that the softmax is neither flat nor one-hot.
    q = random.floats(rows * shape.queryHeads * shape.headDim, in: -4...4)
    k = random.floats(keys * shape.keyValueHeads * shape.headDim)
    v = random.floats(keys * shape.keyValueHeads * shape.headDim)
  }

  func layer(on backend: any Backend) throws -> KeyValueLayer {
    let cache = [shape.keyValueHeads, keys + 5, shape.headDim]
    let layer = KeyValueLayer(
      keys: try backend.makeTensor(type, cache, purpose: "test"),
      values: try backend.makeTensor(type, cache, purpose: "test"), count: keys)
    let rowShape = [keys, shape.keyValueHeads, shape.headDim]
    try backend.store(
      k: try backend.tensor(k, rowShape), v: try backend.tensor(v, rowShape), in: layer,
      firstPosition: 0)
    return layer
  }

  func queries(on backend: any Backend) throws -> Tensor {
    try backend.tensor(q, [rows, shape.queryHeads, shape.headDim])
  }

  /// (outputs, log-sum-exps) of attention over an index, poisoned with NaN before.
  func attention(
    on backend: any Backend, index: SparseIndex, inPlace: Bool = false
  ) throws -> (o: [Float], lse: [Float]) {
    let q = try queries(on: backend)
    let o =
      inPlace
      ? q
      : try backend.tensor([Float](repeating: .nan, count: q.count), q.shape)
    let lse = try backend.tensor(
      [Float](repeating: .nan, count: rows * shape.queryHeads), [rows, shape.queryHeads])
    try backend.attention(
      q: q, firstPosition: firstPosition, layer: try layer(on: backend), shape: shape,
      index: index, into: o, logSumExp: lse)
    return (try backend.read(o), try backend.read(lse))
  }
}

extension Backend {
  func tensor(_ values: [Float], _ shape: [Int]) throws -> Tensor {
    let tensor = try makeTensor(.float32, shape, purpose: "test")
    try write(values, to: tensor)
    return tensor
  }
}

/// The largest difference, relative to the largest expected value; NaN if any value is one that
/// the other is not. Equal infinities are equal.
func relativeError(_ actual: [Float], _ expected: [Float]) -> Double {
  guard actual.count == expected.count else { return .infinity }
  var scale = 1e-3
  var worst = 0.0
  for (a, e) in zip(actual, expected) where a != e {
    let difference = abs(Double(a) - Double(e))
    if difference.isNaN || !a.isFinite || !e.isFinite { return .nan }
    worst = max(worst, difference)
  }
  for e in expected where e.isFinite { scale = max(scale, Double(abs(e))) }
  return worst / scale
}

/// A random valid row set for a chunk.
func randomRowSet(
  firstPosition: Int, rows: Int, tile: TileShape, random: inout RandomNumbers
) -> RowSet {
  if Int.random(in: 0..<5, using: &random) == 0 { return .all }
  let keys = firstPosition + rows
  var offsets: [Int32] = [0]
  var runs: [KeyTileRun] = []
  let tileRows = firstPosition / tile.rows..<(keys + tile.rows - 1) / tile.rows
  for tileRow in tileRows {
    let firstDiagonal = tileRow * tile.rows / tile.columns
    let end = (min((tileRow + 1) * tile.rows, keys) - 1) / tile.columns + 1
    var chosen = (0..<end).map { $0 >= firstDiagonal || Int.random(in: 0..<4, using: &random) == 0 }
    chosen.append(false)
    var start: Int?
    for (index, isChosen) in chosen.enumerated() {
      if isChosen, start == nil { start = index }
      if !isChosen, let first = start {
        runs.append(KeyTileRun(start: Int32(first), end: Int32(index)))
        start = nil
      }
    }
    offsets.append(Int32(runs.count))
  }
  let columns = (0..<keys).filter { _ in Int.random(in: 0..<9, using: &random) == 0 }.map(
    Int32.init)
  return .tiles(TileRuns(rowOffsets: offsets, runs: runs, columns: columns))
}
