import Compute
import ComputeCPU
import PatternSearch
import SparseAttention
import Testing

@Suite struct CalibrationTests {
  @Test func `Least squares finds the coefficients that made the targets`() {
    let coefficients = [3e-3, 2e-9, 0, 5e-7]
    var random = TestRandom(seed: 4)
    let features = (0..<12).map { _ in
      [
        1, Double.random(in: 1e6...1e9, using: &random), Double.random(in: 0...1e6, using: &random),
        Double.random(in: 10...1e5, using: &random),
      ]
    }
    let targets = features.map { zip($0, coefficients).reduce(0) { $0 + $1.0 * $1.1 } }
    let fitted = LeastSquares.nonNegative(features: features, targets: targets)
    for (found, expected) in zip(fitted, coefficients) {
      #expect(abs(found - expected) <= 1e-4 * max(expected, 1e-9))
    }
  }

  @Test func `A coefficient that would be negative is zero`() {
    let features = (1...6).map { [1, Double($0)] }
    let targets = (1...6).map { 10 - Double($0) }
    let fitted = LeastSquares.nonNegative(features: features, targets: targets)
    #expect(fitted[1] == 0 && fitted[0] > 0)
  }

  @Test func `A calibration gives costs that are not negative and foretell dense attention`() throws
  {
    let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 32)
    let result = try Calibration(
      shape: shape, hiddenSize: 64, lengths: [256, 1024], repetitions: 3
    ).run(on: try CPUBackend(threads: 1))
    let model = result.model
    #expect(model.tilePair > 0 && model.columnPair >= model.tilePair)
    #expect(model.run >= 0 && model.tileRow >= 0 && model.launch >= 0)
    #expect(model.poolRow > 0 && model.blockPair > 0)
    // How near is a matter of what else the machine does; that dense attention is foretold at all is not.
    let dense = try #require(
      result.observations.first { $0.name == "dense" && $0.keys == 1024 })
    #expect(dense.predicted > 0 && dense.predicted.isFinite && dense.seconds > 0)
  }

  @Test func `A calibration's lengths stay small beside the sample, and distinct`() {
    #expect(Calibration.lengths(forSample: 65536) == [2048, 4096, 8192])
    #expect(Calibration.lengths(forSample: 8192) == [512, 1024, 2048])
    #expect(Calibration.lengths(forSample: 500) == [256, 512, 1024])
  }

  @Test func `Estimation and building count for sparse heads alone`() {
    let costs = CostModel(
      tilePair: 1, columnPair: 2, run: 3, tileRow: 4, estimate: 100, estimateKey: 10, poolRow: 7,
      blockPair: 0.5, buildRun: 0.25, buildTileRow: 0.125)
    let work = IndexWork(tilePairs: 1000, columnPairs: 10, runs: 8, tileRows: 16)
    #expect(costs.kernelSeconds(work) == 1108.0)
    func index(_ pattern: HeadPattern) -> Double {
      costs.indexSeconds(work, pattern: pattern, keys: 640, rows: 640)
    }
    #expect(index(.dense) == 0.0)
    #expect(index(.aShape(sink: 1, local: 1)) == 4.0)
    #expect(index(.verticalSlash(vertical: 1, slash: 1)) == 6504.0)
    #expect(index(.blockSparse(topK: 1)) == 4509.0)
  }

  @Test func `A planner gets the costs in units of a dense pair`() {
    let costs = CostModel(tilePair: 2e-9, columnPair: 5e-9, run: 3e-7)
    #expect(costs.planning(denseBelow: 700).denseBelow == 700)
    let planning = costs.planning(denseBelow: 0)
    #expect(planning.tilePair == 1 && abs(planning.columnPair - 2.5) < 1e-9)
    #expect(abs(planning.run - 150) < 1e-9)
    // Nothing was fitted.
    let unknown = CostModel(tilePair: 0, columnPair: 0)
    #expect(unknown.planning(denseBelow: 4096) == SparseCostModel())
  }

  @Test(arguments: CandidateSpace.known)
  func `A space begins with dense and names no pattern twice`(space: CandidateSpace) {
    #expect(space.patterns.first == .dense)
    #expect(Set(space.patterns).count == space.patterns.count)
  }
}
