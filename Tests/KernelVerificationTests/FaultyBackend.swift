import BackendTesting
import MInference

/// The reference backend with one fault.
class FaultyBackend: ForwardingBackend, @unchecked Sendable {
  enum Fault: String, CaseIterable {
    case embed, rmsNorm, linear, swiGLU, add, draw, attention, rowAttention, lastRowSums, meanPooled
    case gatherRows
    /// A sliding window that is one key too long.
    case window
  }

  override var name: String { "faulty" }
  private let fault: Fault?

  /// - Parameter fault: nil: the reference as it is.
  init(
    _ fault: Fault?, activationType: DataType = .float32,
    tile: TileShape = TileShape(rows: 32, columns: 16)
  ) {
    self.fault = fault
    super.init(ReferenceBackend(tile: tile, activationType: activationType))
  }

  /// Writes one number less, or a wrong one.
  private func spoil(_ kind: Fault, _ tensor: Tensor) throws {
    guard kind == fault else { return }
    var values = try base.read(tensor)
    values[values.count - 1] = fault == .linear ? values[values.count - 1] * 1.01 + 0.01 : .nan
    try base.write(values, to: tensor)
  }

  /// Adds a hundredth to the first number.
  private func shift(_ kind: Fault, _ tensor: Tensor) throws {
    guard kind == fault else { return }
    var values = try base.read(tensor)
    values[0] += 0.01
    try base.write(values, to: tensor)
  }

  override func gatherRows(_ x: Tensor, rows: [Int32], into y: Tensor) throws {
    try super.gatherRows(x, rows: rows, into: y)
    try spoil(.gatherRows, y)
  }
  override func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    try super.embed(ids, table: table, into: x)
    try spoil(.embed, x)
  }
  override func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    try super.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
    try spoil(.rmsNorm, y)
  }
  override func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try super.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
    try spoil(.linear, y)
  }
  override func swiGLU(gate: Tensor, up: Tensor) throws {
    try super.swiGLU(gate: gate, up: up)
    try spoil(.swiGLU, gate)
  }
  override func add(_ x: Tensor, to y: Tensor) throws {
    try super.add(x, to: y)
    try spoil(.add, y)
  }
  override func draw(
    _ draw: TokenDraw, from logits: Tensor, random: [UInt64]
  ) throws -> [Int32?] {
    try super.draw(draw, from: logits, random: random.map { fault == .draw ? ~$0 : $0 })
  }
  override func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    // Leaves the last row as it was: poison must show it.
    let rows = fault == .attention ? q.rows - 1 : q.rows
    guard rows > 0 else { return }
    var shape = shape
    if fault == .window, let window = shape.slidingWindow { shape.slidingWindow = window + 1 }
    try super.attention(
      q: q.slice(rows: 0..<rows), firstPosition: firstPosition, layer: layer, shape: shape,
      index: index, into: o.slice(rows: 0..<rows), logSumExp: logSumExp?.slice(rows: 0..<rows))
  }
  override func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try super.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
    try spoil(.rowAttention, o)
  }
  override func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    let sums = try super.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
    try shift(.lastRowSums, sums.slash)
    return sums
  }
  override func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor {
    let means = try super.meanPooled(x, blockSize: blockSize)
    try shift(.meanPooled, means)
    return means
  }
  override func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> Tensor {
    let means = try super.meanPooledKeys(layer, count: count, blockSize: blockSize)
    try shift(.meanPooled, means)
    return means
  }
}
