import MInference
import StoredNumbers

/// Attention with fp8 operands, against the reference over the same operands rounded beforehand: what
/// is left is the rounding of the weights and the order of sums, so that a wrong scale, a wrong place
/// or a lost key shows.
extension KernelVerifier {
  mutating func checkFloat8Attention() {
    let lengths = [(0, 1), (0, 65), (0, 150), (64, 33), (37, 90), (130, 1), (700, 333)]
    for (number, grouping) in Self.groupings.enumerated() {
      for (length, (first, rows)) in lengths.enumerated() {
        let patterns = IndexPattern.allCases
        checkFloat8Attention(
          grouping, first: first, rows: rows, pattern: patterns[(number + length) % patterns.count])
      }
    }
    for pattern in IndexPattern.allCases {
      checkFloat8Attention((6, 2), first: 0, rows: 391, pattern: pattern)
    }
    checkFloat8Attention((6, 2), first: 45, rows: 170, pattern: .dense, window: 50)
  }

  private mutating func checkFloat8Attention(
    _ heads: (query: Int, keyValue: Int), first: Int, rows: Int, pattern: IndexPattern,
    window: Int? = nil
  ) {
    let shape = AttentionShape(
      queryHeads: heads.query, keyValueHeads: heads.keyValue, headDim: 128, slidingWindow: window)
    let keys = first + rows
    let q = precision.rounded(numbers(rows * heads.query * 128, magnitude: 1.5))
    // Means that differ between channels, as those of real keys and values do.
    let k = precision.rounded(shifted(numbers(keys * heads.keyValue * 128), shape))
    let v = precision.rounded(shifted(numbers(keys * heads.keyValue * 128), shape))
    let tile = backend.tileShape(headDim: 128)
    let name =
      "\(pattern.rawValue), \(rows) rows from \(first), \(heads.query)/\(heads.keyValue)"
      + (window.map { ", window \($0)" } ?? "")
    let index = Result {
      try pattern.makeIndex(
        first: first, rows: rows, heads: heads.query, tile: tile, random: &random)
    }
    let device = backend
    checkPair("attention of fp8 operands", name) {
      let problem = Problem(shape: shape, first: first, rows: rows, index: try index.get())
      let roundedQueries = Self.roundedByRow(q)
      var expected = try problem.attend(
        ReferenceBackend(tile: tile), roundedQueries,
        Self.roundedByHead(k, heads: heads.keyValue), Self.roundedByHead(v, heads: heads.keyValue))
      // What the keys have in common meets the queries before they are rounded: it moves a row's sum
      // and none of its weights.
      let means = Self.means(k, width: heads.keyValue * 128)
      for place in expected[1].indices {
        let group = place % heads.query / (heads.query / heads.keyValue)
        let lost = (0..<128).reduce(0.0) {
          let index = place * 128 + $1
          return $0 + Double(q[index] - roundedQueries[index]) * Double(means[group * 128 + $1])
        }
        expected[1][place] += Float(lost / 128.0.squareRoot())
      }
      return (
        actual: try problem.attend(device, q, k, v), expected: expected,
        // Rounding a weight takes up to 2^-4 of it, which the sum that it is divided by does not know.
        tolerances: [6.5e-2, 1e-2]
      )
    }
  }

  private mutating func shifted(_ values: [Float], _ shape: AttentionShape) -> [Float] {
    let width = shape.keyValueHeads * shape.headDim
    let means = numbers(width)
    return values.enumerated().map { $0.element + means[$0.offset % width] }
  }

  /// Every 128 numbers to e4m3 with the scale of their largest.
  private static func roundedByRow(_ values: [Float]) -> [Float] {
    stride(from: 0, to: values.count, by: 128).flatMap { start in
      let row = values[start..<start + 128]
      let largest = row.reduce(0) { max($0, abs($1)) }
      let inverse: Float = largest > 1e-30 ? 448 / largest : 1
      return row.map { rounded($0 * inverse) / inverse }
    }
  }

  /// [keys][heads][128]: what is left of each channel's mean to e4m3, with the scale of a head's largest.
  private static func roundedByHead(_ values: [Float], heads: Int) -> [Float] {
    let width = heads * 128
    let mean = means(values, width: width)
    var largest = [Float](repeating: 0, count: heads)
    for (index, value) in values.enumerated() {
      let channel = index % width
      largest[channel / 128] = max(largest[channel / 128], abs(value - mean[channel]))
    }
    let scales = largest.map { $0 > 1e-30 ? $0 / 448 : 1 }
    return values.enumerated().map { index, value in
      let channel = index % width
      let scale = scales[channel / 128]
      return rounded((value - mean[channel]) * (1 / scale)) * scale + mean[channel]
    }
  }

  /// Of each channel over the keys.
  private static func means(_ values: [Float], width: Int) -> [Float] {
    var sums = [Double](repeating: 0, count: width)
    for (index, value) in values.enumerated() { sums[index % width] += Double(value) }
    return sums.map { Float($0 / Double(values.count / width)) }
  }

  private static func rounded(_ value: Float) -> Float {
    Float(float8Bits: value.float8Bits)
  }
}

/// One attention, to be asked of two backends.
private struct Problem {
  let shape: AttentionShape
  let first: Int
  let rows: Int
  let index: SparseIndex

  /// Output and log-sum-exp. q: [rows, queryHeads, 128]; k, v: [keys, keyValueHeads, 128].
  func attend(_ backend: any Backend, _ q: [Float], _ k: [Float], _ v: [Float]) throws -> [[Float]]
  {
    func tensor(_ values: [Float], _ extents: [Int], _ type: DataType) throws -> Tensor {
      let tensor = try backend.makeTensor(type, extents, purpose: "a verified kernel")
      try backend.write(values, to: tensor)
      return tensor
    }
    let type = backend.activationType
    let keys = first + rows
    let extents = [shape.keyValueHeads, keys, shape.headDim]
    let layer = KeyValueLayer(
      keys: try backend.makeTensor(type, extents, purpose: "a verified kernel"),
      values: try backend.makeTensor(type, extents, purpose: "a verified kernel"), count: keys)
    let stored = [keys, shape.keyValueHeads, shape.headDim]
    try backend.store(
      k: tensor(k, stored, type), v: tensor(v, stored, type), in: layer, firstPosition: 0)
    let rowExtents = [rows, shape.queryHeads, shape.headDim]
    let o = try tensor(Array(repeating: .nan, count: q.count), rowExtents, type)
    let sums = try tensor(
      Array(repeating: .nan, count: rows * shape.queryHeads), [rows, shape.queryHeads], .float32)
    try backend.attention(
      q: tensor(q, rowExtents, type), firstPosition: first, layer: layer, shape: shape,
      index: index, into: o, logSumExp: sums)
    return [try backend.read(o), try backend.read(sums)]
  }
}
