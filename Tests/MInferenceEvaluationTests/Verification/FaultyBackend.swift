import MInference

/// The reference backend with one fault.
class FaultyBackend: Backend, @unchecked Sendable {
  enum Fault: String, CaseIterable {
    case embed, rmsNorm, linear, swiGLU, add, draw, attention, rowAttention, lastRowSums, meanPooled
    /// A sliding window that is one key too long.
    case window
  }

  let name = "faulty"
  private let fault: Fault?
  private let reference: ReferenceBackend

  /// - Parameter fault: nil: the reference as it is.
  init(
    _ fault: Fault?, activationType: DataType = .float32,
    tile: TileShape = TileShape(rows: 32, columns: 16)
  ) {
    self.fault = fault
    reference = ReferenceBackend(tile: tile, activationType: activationType)
  }

  var activationType: DataType { reference.activationType }
  func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions
  ) throws -> any KeyValueStore {
    try reference.makeKeyValueStore(layers: layers, extents: extents, options: options)
  }

  /// Writes one number less, or a wrong one.
  private func spoil(_ kind: Fault, _ tensor: Tensor) throws {
    guard kind == fault else { return }
    var values = try reference.read(tensor)
    values[values.count - 1] = fault == .linear ? values[values.count - 1] * 1.01 + 0.01 : .nan
    try reference.write(values, to: tensor)
  }

  func tileShape(headDim: Int) -> TileShape { reference.tileShape(headDim: headDim) }
  func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    try reference.makeTensor(type, shape, purpose: purpose)
  }
  func makeTensor(
    over bytes: UnsafeRawBufferPointer, type: DataType, shape: [Int],
    owner: any AnyObject & Sendable
  ) throws -> Tensor {
    try reference.makeTensor(over: bytes, type: type, shape: shape, owner: owner)
  }
  func read(_ tensor: Tensor) throws -> [Float] { try reference.read(tensor) }
  func write(_ values: [Float], to tensor: Tensor) throws {
    try reference.write(values, to: tensor)
  }
  func embed(_ ids: [Int32], table: Tensor, into x: Tensor) throws {
    try reference.embed(ids, table: table, into: x)
    try spoil(.embed, x)
  }
  func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) throws {
    try reference.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
    try spoil(.rmsNorm, y)
  }
  func linear(
    _ x: Tensor, weight: Tensor, bias: Tensor?, into y: Tensor, accumulate: Bool
  ) throws {
    try reference.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
    try spoil(.linear, y)
  }
  func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    try reference.rotate(x, rotary, firstPosition: firstPosition)
  }
  func swiGLU(gate: Tensor, up: Tensor) throws {
    try reference.swiGLU(gate: gate, up: up)
    try spoil(.swiGLU, gate)
  }
  func add(_ x: Tensor, to y: Tensor) throws {
    try reference.add(x, to: y)
    try spoil(.add, y)
  }
  func draw(_ draw: TokenDraw, from logits: Tensor, random: [UInt64]) throws -> [Int32?] {
    try reference.draw(draw, from: logits, random: random.map { fault == .draw ? ~$0 : $0 })
  }
  func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    try reference.store(k: k, v: v, in: layer, firstPosition: firstPosition)
  }
  func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    // Leaves the last row as it was: poison must show it.
    let rows = fault == .attention ? q.rows - 1 : q.rows
    guard rows > 0 else { return }
    var shape = shape
    if fault == .window, let window = shape.slidingWindow { shape.slidingWindow = window + 1 }
    try reference.attention(
      q: q.slice(rows: 0..<rows), firstPosition: firstPosition, layer: layer, shape: shape,
      index: index, into: o.slice(rows: 0..<rows), logSumExp: logSumExp?.slice(rows: 0..<rows))
  }
  func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try reference.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
    try spoil(.rowAttention, o)
  }
  func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> [LastRowSums] {
    var sums = try reference.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
    if fault == .lastRowSums { sums[0].slash[0] += 0.01 }
    return sums
  }
  func meanPooled(_ x: Tensor, blockSize: Int) throws -> [[Float]] {
    var means = try reference.meanPooled(x, blockSize: blockSize)
    if fault == .meanPooled { means[0][0] += 0.01 }
    return means
  }
  func meanPooledKeys(_ layer: KeyValueLayer, count: Int, blockSize: Int) throws -> [[Float]] {
    var means = try reference.meanPooledKeys(layer, count: count, blockSize: blockSize)
    if fault == .meanPooled { means[0][0] += 0.01 }
    return means
  }
}
