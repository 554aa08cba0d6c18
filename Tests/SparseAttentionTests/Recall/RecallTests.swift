import SparseAttention
import Testing

@Suite struct RecallTests {
  @Test func `rows are spread beyond sink and window, and the last 64 are all there`() {
    let rows = RecallRows.positions(tokens: 10_000, sinkAndWindow: 1000)
    #expect(rows == Array(Set(rows)).sorted())
    #expect(rows.suffix(64) == ArraySlice(9936..<10_000))
    #expect(rows.allSatisfy { $0 >= 1000 })
    #expect((300...320).contains(rows.count))
    let gaps = zip(rows.dropFirst(), rows).map { $0 - $1 }.prefix(240)
    #expect(gaps.allSatisfy { (34...37).contains($0) })
  }

  @Test func `short prompts give every row once`() {
    #expect(RecallRows.positions(tokens: 0, sinkAndWindow: 5) == [])
    #expect(RecallRows.positions(tokens: 1, sinkAndWindow: 5) == [0])
    #expect(RecallRows.positions(tokens: 200, sinkAndWindow: 5000) == Array(0..<200))
    #expect(RecallRows.positions(tokens: 200, sinkAndWindow: 150) == Array(136..<200))
  }

  @Test func `recall is the kept share, at most 1`() {
    #expect(RecallMeter.recall(sparse: 2, dense: 2) == 1)
    #expect(RecallMeter.recall(sparse: 2.000_001, dense: 2) == 1)
    #expect(abs(RecallMeter.recall(sparse: 0, dense: 0.693_147_2) - 0.5) < 1e-6)
    #expect(RecallMeter.recall(sparse: -.infinity, dense: 3) == 0)
    #expect(RecallMeter.recall(sparse: .nan, dense: 3) == 0)
  }

  @Test func `heads have mean and 10th percentile, the run its mean and worst head`() throws {
    var meter = RecallMeter(layers: 2, heads: 2)
    #expect(meter.summary == nil)
    // Head 1 of layer 1 keeps 0.0, 0.1 ... 1.0; head 0 everything.
    let sparse = (0...10).flatMap { [Float(0), lse(Double($0) / 10)] }
    meter.add(layer: 1, sparse: Array(sparse[..<8]), dense: [Float](repeating: 0, count: 8))
    meter.add(layer: 1, sparse: Array(sparse[8...]), dense: [Float](repeating: 0, count: 14))
    let head = try #require(meter.recall(layer: 1, head: 1))
    #expect(abs(head.mean - 0.5) < 1e-6)
    #expect(abs(head.tenthPercentile - 0.1) < 1e-6)
    #expect(head.rows == 11)
    #expect(meter.recall(layer: 0, head: 0) == nil)
    let summary = try #require(meter.summary)
    #expect(abs(summary.mean - 0.75) < 1e-6)
    #expect(summary.worstLayer == 1 && summary.worstHead == 1 && summary.worst == head)
  }

  /// Natural logarithm of tenths.
  private func lse(_ share: Double) -> Float {
    let logarithms: [Float] = [
      -.infinity, -2.302_585_1, -1.609_437_9, -1.203_972_8, -0.916_290_7, -0.693_147_2,
      -0.510_825_6, -0.356_674_9, -0.223_143_6, -0.105_360_5, 0,
    ]
    return logarithms[Int((share * 10).rounded())]
  }
}
