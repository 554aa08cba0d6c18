import BackendTesting
import MInference
import StoredNumbers

/// The CPU backend with the storage formats of a GPU: what rounding alone does to a model's logits.
///
/// Every activation is rounded to bfloat16 when it is written, and keys and values further to
/// float8's four digits if asked for; all arithmetic stays that of the CPU. What a GPU's logits may
/// differ by follows from what this backend's do. It also computes on the device's tiles, so that
/// sparse attention of both asks for the same pairs.
final class RoundingBackend: ForwardingBackend, @unchecked Sendable {
  /// What is rounded.
  enum Rounding {
    /// Nothing: the CPU backend on other tiles.
    case none
    /// Activations, to bfloat16.
    case activations
    /// Activations to bfloat16, stored keys and values to the digits of float8 (e4m3).
    case activationsAndFloat8Cache
  }

  override var name: String { "rounding" }
  private var cpu: any Backend { base }
  private let rounding: Rounding
  private let tile: TileShape?
  /// Rows of this width are logits, which no device rounds.
  private let vocabularySize: Int

  init(_ cpu: any Backend, rounding: Rounding, tile: TileShape?, vocabularySize: Int) {
    self.rounding = rounding
    self.tile = tile
    self.vocabularySize = vocabularySize
    super.init(cpu)
  }

  override var capabilities: DeviceCapabilities {
    var capabilities = cpu.capabilities
    if let tile { capabilities.tile = tile }
    return capabilities
  }

  // MARK: Rounding

  private func round(_ tensor: Tensor) throws {
    guard rounding != .none else { return }
    try cpu.write(try cpu.read(tensor).map(Self.bfloat16), to: tensor)
  }

  /// To nearest, ties to even.
  static func bfloat16(_ value: Float) -> Float {
    Float(bfloat16Bits: value.bfloat16Bits)
  }

  /// To four significant bits, as e4m3 has them. Its factor for each head keeps all but the smallest
  /// numbers, fourteen binades below the largest, in the range where this is all there is to it.
  static func float8Digits(_ value: Float) -> Float {
    guard value.isFinite, value != 0 else { return value }
    let unit = Float(sign: .plus, exponent: Int(value.exponent) - 3, significand: 1)
    return (value / unit).rounded(.toNearestOrEven) * unit
  }

  override func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    guard rounding == .activationsAndFloat8Cache else {
      return try cpu.store(k: k, v: v, in: layer, firstPosition: firstPosition)
    }
    let stored = try [k, v].map { tensor in
      let copy = try cpu.makeTensor(tensor.type, tensor.shape, purpose: "rounded keys and values")
      try cpu.write(try cpu.read(tensor).map(Self.float8Digits), to: copy)
      return copy
    }
    try cpu.store(k: stored[0], v: stored[1], in: layer, firstPosition: firstPosition)
  }

  // MARK: Operations whose results are rounded

  override func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    try cpu.embed(ids, table: table, into: x)
    try round(x)
  }

  override func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    try cpu.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
    try round(y)
  }

  override func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try cpu.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
    if weight.rows != vocabularySize { try round(y) }
  }

  override func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    try cpu.rotate(x, rotary, firstPosition: firstPosition)
    try round(x)
  }

  override func swiGLU(gate: Tensor, up: Tensor) throws {
    try cpu.swiGLU(gate: gate, up: up)
    try round(gate)
  }

  override func add(_ x: Tensor, to y: Tensor) throws {
    try cpu.add(x, to: y)
    try round(y)
  }

  override func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, activation: GatedActivation,
    by routing: ExpertRouting, into y: Tensor
  ) throws {
    try cpu.gatedExperts(x, gate: gate, up: up, activation: activation, by: routing, into: y)
    try round(y)
  }

  override func expertLinear(
    _ x: Tensor, weight: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try cpu.expertLinear(x, weight: weight, by: routing, into: y)
    try round(y)
  }

  override func addExperts(_ x: Tensor, by routing: ExpertRouting, to y: Tensor) throws {
    try cpu.addExperts(x, by: routing, to: y)
    try round(y)
  }

  override func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    try cpu.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape,
      index: try index.onTiles(cpu.tileShape(headDim: shape.headDim)), into: o,
      logSumExp: logSumExp)
    try round(o)
  }

  override func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try cpu.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
    try round(o)
  }

  override func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor
  ) throws {
    try cpu.mergeAttention(part, logSumExp: logSumExp, into: o, logSumExp: whole)
    try round(o)
  }

  override func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight {
    let weight = try cpu.prepare(stored, as: role)
    guard rounding != .none, role == .matrix || role == .vocabulary,
      stored.format != .dense(.bfloat16)
    else { return weight }
    // A GPU keeps weights as bfloat16, whatever the file has.
    let rounded = try cpu.makeTensor(.float32, stored.shape, purpose: "rounded weights")
    let values =
      switch stored.format {
      case .dense: try stored.float8Numbers?.map { Float($0) } ?? cpu.read(weight)
      case .blocks(let format): format.decodedRow(stored.bytes).map { Float($0) }
      }
    try cpu.write(values.map(Self.bfloat16), to: rounded)
    return Weight(rounded)
  }
}
