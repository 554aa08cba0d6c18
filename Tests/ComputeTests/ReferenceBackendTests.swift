import Compute
import Testing

/// Every expected value here is worked out by hand or by a formula that the backend does not use.
struct ReferenceBackendTests {
  let backend = ReferenceBackend(tile: TileShape(rows: 4, columns: 2))

  func tensor(_ values: [Float], _ shape: [Int]) throws -> Tensor {
    let tensor = try backend.makeTensor(.float32, shape, purpose: "a test")
    try backend.write(values, to: tensor)
    return tensor
  }

  func weight(bits: [UInt16], type: DataType) throws -> Weight {
    let owner = HostBuffer(byteCount: bits.count * 2)
    for (index, value) in bits.enumerated() {
      owner.start.storeBytes(of: value, toByteOffset: index * 2, as: UInt16.self)
    }
    let bytes = UnsafeRawBufferPointer(start: owner.start, count: owner.byteCount)
    return try backend.prepare(
      StoredTensor(
        name: "a test", bytes: bytes, format: .dense(type), shape: [bits.count], owner: owner),
      as: .norm)
  }

  @Test func `half precision bits decode to their values`() throws {
    let half = try weight(
      bits: [0x3C00, 0xC000, 0x0001, 0x03FF, 0x7BFF, 0x7C00, 0x8000, 0x3555, 0x7E00],
      type: .float16)
    let values = try backend.read(half)
    let expected: [Float] = [
      1, -2, 0x1p-24, 0x1.FF8p-15, 65504, .infinity, -0.0, 0.333251953125,
    ]
    #expect(Array(values.prefix(8)) == expected)
    #expect(values[8].isNaN)
    let brain = try weight(bits: [0x3F80, 0xC040, 0x0001, 0xFF80], type: .bfloat16)
    #expect(try backend.read(brain) == [1, -3, 0x1p-133, -.infinity])
  }

  @Test func `storing in bfloat16 rounds to nearest, ties to even`() throws {
    let layer = KeyValueLayer(
      keys: try backend.makeTensor(.bfloat16, [1, 5, 1], purpose: "keys"),
      values: try backend.makeTensor(.bfloat16, [1, 5, 1], purpose: "values"), count: 0)
    // bfloat16 keeps 7 fraction bits: 1 + 2^-8 is a tie that goes down, 1 + 3 * 2^-8 one that goes up.
    let k = try tensor([0x1.01p0, 0x1.03p0, 0x1.0101p0, -.infinity, .nan], [5, 1, 1])
    try backend.store(k: k, v: k, in: layer, firstPosition: 0)
    let kept = try backend.read(layer.keys)
    let expected: [Float] = [1, 0x1.04p0, 0x1.02p0, -.infinity]
    #expect(Array(kept.prefix(4)) == expected)
    #expect(kept[4].isNaN)
  }

  @Test func `layers compute their definitions`() throws {
    let table = Weight(try tensor([1, 2, 3, 4, 5, 6], [3, 2]))
    let x = try tensor([0, 0, 0, 0], [2, 2])
    try backend.embed([2, 0], table: table, into: x)
    #expect(try backend.read(x) == [5, 6, 1, 2])

    let y = try tensor([1, 1, 1, 1, 1, 1], [2, 3])
    let bias = Weight(try tensor([10, 20, 30], [3]))
    try backend.linear(x, weight: table, bias: bias, into: y, accumulate: true)
    #expect(try backend.read(y) == [28, 60, 92, 16, 32, 48])
    try backend.linear(x, weight: table, bias: nil, into: y, accumulate: false)
    #expect(try backend.read(y) == [17, 39, 61, 5, 11, 17])

    let z = try tensor([3, 4, 0, 0], [2, 2])
    try backend.rmsNorm(z, weight: Weight(tensor([2, 1], [2])), epsilon: 0.5, into: z)
    let root = Float(13.0.squareRoot())
    #expect(try backend.read(z) == [6 / root, 4 / root, 0, 0])

    let gate = try tensor([0, 100, -100, 1], [1, 4])
    try backend.swiGLU(gate: gate, up: try tensor([7, 2, 2, 3], [1, 4]))
    let gated = try backend.read(gate)
    #expect(gated[0] == 0 && gated[1] == 200 && abs(gated[2]) < 1e-30)
    #expect(abs(gated[3] - 2.1931758) < 1e-6)
  }

  @Test(arguments: [RotaryEmbedding.Layout.halves, .interleaved])
  func `rotation turns pairs by position times frequency and leaves the rest`(
    layout: RotaryEmbedding.Layout
  ) throws {
    let rotary = RotaryEmbedding(
      inverseFrequencies: [.pi / 6, .pi / 4], attentionScaling: 2, layout: layout)
    let x = try tensor([1, 0, 0, 0, 9, 1, 1, 1, 1, 9], [2, 1, 5])
    try backend.rotate(x, rotary, firstPosition: 2)
    let values = try backend.read(x)
    // Position 2: pair 0 by 60 degrees. Position 3: pair 0 by 90, pair 1 by 135 degrees.
    let root3 = Float(3.0.squareRoot())
    let root8 = Float(8.0.squareRoot())
    let expected: [Float] =
      switch layout {
      case .halves: [1, 0, root3, 0, 9, -2, -root8, 2, 0, 9]
      case .interleaved: [1, root3, 0, 0, 9, -2, 2, -root8, 0, 9]
      }
    for (value, target) in zip(values, expected) { #expect(abs(value - target) < 1e-5) }
  }

  /// Two query heads on one key-value head of dimension 1; value j is 10^j, so that an output tells
  /// which keys it was made of. All keys are 0: every computed key has the same weight.
  func indexedAttention(_ index: SparseIndex, window: Int? = nil) throws -> ([Float], [Float]) {
    let keys = try tensor(Array(repeating: 0, count: 8), [1, 8, 1])
    let values = try tensor([1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7], [1, 8, 1])
    let layer = KeyValueLayer(keys: keys, values: values, count: 8)
    let q = try tensor(Array(repeating: 1, count: 2 * index.rows), [index.rows, 2, 1])
    let sums = try tensor(Array(repeating: 0, count: 2 * index.rows), [index.rows, 2])
    let shape = AttentionShape(
      queryHeads: 2, keyValueHeads: 1, headDim: 1, slidingWindow: window)
    try backend.attention(
      q: q, firstPosition: index.firstPosition, layer: layer, shape: shape, index: index, into: q,
      logSumExp: sums)
    return (try backend.read(q), try backend.read(sums))
  }

  @Test func `attention computes tiles united with columns, each pair once, none after the query`()
    throws
  {
    let tiles = TileRuns(
      rowOffsets: [0, 1], runs: [KeyTileRun(start: 2, end: 4)], columns: [1, 5])
    let index = try TileIndex(
      firstPosition: 4, rows: 4, tile: backend.tileShape(headDim: 1),
      rowSets: [.all, .tiles(tiles)],
      rowSetOfHead: [1, 0])
    let (o, sums) = try indexedAttention(.tiles(index))
    // Head 0 sees column 1 and tiles from key 4 on; head 1 sees everything before the query.
    let expected: [Float] = [
      10010 / 2, 11111.0 / 5, 110_010.0 / 3, 111111.0 / 6, 1_110_010.0 / 4, 1_111_111.0 / 7,
      11_110_010.0 / 5, 11_111_111.0 / 8,
    ]
    for (value, target) in zip(o, expected) { #expect(abs(value - target) <= 1e-6 * target) }
    let counts: [Double] = [2, 5, 3, 6, 4, 7, 5, 8]
    for (sum, count) in zip(sums, counts) {
      #expect(abs(Double(exponential(sum)) - count) < 1e-5 * count)
    }
  }

  @Test func `the sliding window hides older keys, and a row without keys gives zero`() throws {
    let index = try SparseIndex.dense(
      firstPosition: 0, rows: 8, heads: 2, tile: backend.tileShape(headDim: 1))
    let (o, _) = try indexedAttention(index, window: 2)
    #expect(o[0] == 1 && o[2] == 5.5 && o[14] == 5.5e6)
    let (empty, sums) = try indexedAttention(index, window: 0)
    #expect(empty.allSatisfy { $0 == 0 } && sums.allSatisfy { $0 == -.infinity })
  }

  @Test func `row attention equals dense attention of the same rows`() throws {
    let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 3, slidingWindow: 5)
    var generator = SystemRandomNumberGenerator()
    func noise(_ shape: [Int]) throws -> Tensor {
      let values = (0..<shape.reduce(1, *)).map { _ in Float.random(in: -2...2, using: &generator) }
      return try tensor(values, shape)
    }
    let layer = KeyValueLayer(keys: try noise([2, 9, 3]), values: try noise([2, 9, 3]), count: 9)
    let q = try noise([9, 4, 3])
    let o = try noise([9, 4, 3])
    let index = try SparseIndex.dense(
      firstPosition: 0, rows: 9, heads: 4, tile: backend.tileShape(headDim: 3))
    try backend.attention(
      q: q, firstPosition: 0, layer: layer, shape: shape, index: index, into: o, logSumExp: nil)
    let rows = try noise([1, 4, 3])
    let sums = try noise([1, 4])
    try backend.rowAttention(
      q: q.slice(rows: 7..<8), positions: [7], layer: layer, shape: shape, into: rows,
      logSumExp: sums)
    #expect(try backend.read(rows) == backend.read(o.slice(rows: 7..<8)))
  }

  @Test func `operations on tensors that do not fit are refused`() throws {
    let x = try tensor([1, 2], [1, 2])
    let weight = try tensor([1, 2, 3], [1, 3])
    #expect(throws: ComputeError.self) {
      try backend.linear(x, weight: Weight(weight), bias: nil, into: x, accumulate: false)
    }
    #expect(throws: ComputeError.self) { try backend.embed([3], table: Weight(x), into: x) }
    #expect(throws: ComputeError.self) { try backend.swiGLU(gate: x, up: weight) }
  }

  /// e^x by its series, for x in the range used here.
  func exponential(_ x: Float) -> Double {
    var (term, sum) = (1.0, 1.0)
    for n in 1..<40 {
      term *= Double(x) / Double(n)
      sum += term
    }
    return sum
  }
}
