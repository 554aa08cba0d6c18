import Compute
import Testing

/// Cases whose answers are known in closed form, because nothing is more naive than the reference.
@Suite struct ReferenceEstimationTests {
  @Test(arguments: [0, 5])
  func `equal scores spread each row's mass evenly over the keys it sees`(first: Int) {
    let shape = AttentionShape(queryHeads: 2, keyValueHeads: 1, headDim: 3)
    let rows = 4
    let keys = (0..<(first + rows + 2) * 3).map { Float($0 % 7) }
    let sums = ReferenceEstimation.lastRowSums(
      q: [Float](repeating: 0, count: rows * 2 * 3), rows: rows, firstPosition: first,
      keys: keys, capacity: first + rows + 2, shape: shape, heads: [1])
    #expect(sums.count == 1)
    for j in 0..<first + rows {
      let seeing = (first..<first + rows).filter { $0 >= j }
      let mass = seeing.reduce(0.0) { $0 + 1 / Double($1 + 1) }
      #expect(abs(Double(sums[0].vertical[j]) - mass) < 1e-6)
      // With equal scores an offset o is seen by exactly the rows i >= o.
      #expect(abs(Double(sums[0].slash[j]) - mass) < 1e-6)
    }
  }

  @Test func `scores are scaled and each query head reads its group's keys`() {
    // Two groups of two heads, one dimension, two keys; key 1 of group g scores g + 1 against 0.
    let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 1, scale: 0.5)
    let sums = ReferenceEstimation.lastRowSums(
      q: [1, 1, 1, 1], rows: 1, firstPosition: 1, keys: [0, 1, 9, 0, 2, 9], capacity: 3,
      shape: shape, heads: [3, 0])
    let sigmoidOfOne: Float = 0.731_058_58
    let sigmoidOfHalf: Float = 0.622_459_33
    #expect(abs(sums[0].vertical[1] - sigmoidOfOne) < 1e-6)
    #expect(abs(sums[0].slash[0] - sigmoidOfOne) < 1e-6)
    #expect(abs(sums[1].vertical[1] - sigmoidOfHalf) < 1e-6)
    #expect(abs(sums[1].slash[1] - (1 - sigmoidOfHalf)) < 1e-6)
  }

  @Test func `the model's own window hides older keys`() {
    let shape = AttentionShape(queryHeads: 1, keyValueHeads: 1, headDim: 1, slidingWindow: 2)
    let sums = ReferenceEstimation.lastRowSums(
      q: [1, 1], rows: 2, firstPosition: 3, keys: [5, 5, 0, 0, 0], capacity: 5, shape: shape,
      heads: [0])
    #expect(sums[0].vertical == [0, 0, 0.5, 1, 0.5])
    #expect(sums[0].slash == [1, 1, 0, 0, 0])
  }

  @Test func `a short last block is the mean of the rows it has`() {
    // x[row][head][d] = 100 head + 10 d + row.
    var x: [Float] = []
    for row in 0..<5 {
      for head in 0..<2 {
        for d in 0..<2 { x.append(Float(100 * head + 10 * d + row)) }
      }
    }
    let means = ReferenceEstimation.meanPooled(x, rows: 5, heads: 2, headDim: 2, blockSize: 2)
    #expect(means == [[0.5, 10.5, 2.5, 12.5, 4, 14], [100.5, 110.5, 102.5, 112.5, 104, 114]])
  }

  @Test func `pooled keys stop at the count, not at the capacity`() {
    let keys: [Float] = [1, 3, 5, 99, 2, 4, 6, 99]
    let means = ReferenceEstimation.meanPooledKeys(
      keys, capacity: 4, count: 3, keyValueHeads: 2, headDim: 1, blockSize: 2)
    #expect(means == [[2, 5], [3, 6]])
  }
}
