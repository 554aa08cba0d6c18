public import Compute

/// A backend that hands every operation to another one: the base of backends that change a few.
///
/// Verification and tests build on it: a backend with a fault, one that rounds, one that counts calls.
/// Tensors are those of the other backend. Decoding steps consist of the operations that subclasses change.
open class ForwardingBackend: Backend, SeparateDecoding, @unchecked Sendable {
  // Unchecked, for subclasses: this class holds nothing that changes.
  public let base: any Backend

  public init(_ base: any Backend) { self.base = base }

  // MARK: Device

  open var name: String { base.name }
  open var notices: [String] { base.notices }
  open var capabilities: DeviceCapabilities { base.capabilities }
  open var properties: [DeviceProperty] { base.properties }
  open var hostOperations: [HostFallback.Operation] { base.hostOperations }

  open func requireSupport(of shape: AttentionShape, widths: [Int]) throws {
    try base.requireSupport(of: shape, widths: widths)
  }

  open func availableMemory() throws -> (device: Int, host: Int)? { try base.availableMemory() }
  open func finish() throws { try base.finish() }
  open func limitWorkAhead() throws { try base.limitWorkAhead() }
  open func makeStopwatch() -> any WorkStopwatch { base.makeStopwatch() }

  // MARK: Memory

  open func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    try base.makeTensor(type, shape, purpose: purpose)
  }

  open func read(_ tensor: Tensor) throws -> [Float] { try base.read(tensor) }

  open func write(_ values: [Float], to tensor: Tensor) throws {
    try base.write(values, to: tensor)
  }

  open func makeStagingMemory(byteCount: Int, purpose: String) throws -> any StagingMemory {
    try base.makeStagingMemory(byteCount: byteCount, purpose: purpose)
  }

  open func copy(_ parts: [StagedPart], to memory: any StagingMemory) throws {
    try base.copy(parts, to: memory)
  }

  open func copy(_ memory: any StagingMemory, to parts: [StagedPart]) throws {
    try base.copy(memory, to: parts)
  }

  open func gatherRows(_ x: Tensor, rows: [Int32], into y: Tensor) throws {
    try base.gatherRows(x, rows: rows, into: y)
  }

  open func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    try base.makeKeyValueStore(
      layers: layers, extents: extents, options: options, sharing: sharing)
  }

  // MARK: Weights

  open func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight {
    try base.prepare(stored, as: role)
  }

  open func prepare(_ numbers: Tensor, as role: WeightRole) throws -> Weight {
    try base.prepare(numbers, as: role)
  }

  // MARK: Layers

  open func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    try base.embed(ids, table: table, into: x)
  }

  open func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    try base.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
  }

  open func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try base.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
  }

  open func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    try base.makeLinearInput(shape, purpose: purpose)
  }

  open func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    try base.rotate(x, rotary, firstPosition: firstPosition)
  }

  open func swiGLU(gate: Tensor, up: Tensor) throws { try base.swiGLU(gate: gate, up: up) }

  open func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    try base.swiGLU(gate: gate, up: up, into: input)
  }

  open func add(_ x: Tensor, to y: Tensor) throws { try base.add(x, to: y) }

  // MARK: Experts

  open func prepareExperts(
    _ count: Int, _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> ExpertWeights {
    try base.prepareExperts(count, matrix)
  }

  open func prepareExperts(_ numbers: Tensor) throws -> ExpertWeights {
    try base.prepareExperts(numbers)
  }

  open func route(_ logits: Tensor, bias: Weight?, into routing: ExpertRouting) throws {
    try base.route(logits, bias: bias, into: routing)
  }

  open func gatherRows(_ x: Tensor, by routing: ExpertRouting, into y: Tensor) throws {
    try base.gatherRows(x, by: routing, into: y)
  }

  open func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, activation: GatedActivation,
    by routing: ExpertRouting, into y: Tensor
  ) throws {
    try base.gatedExperts(x, gate: gate, up: up, activation: activation, by: routing, into: y)
  }

  open func expertLinear(
    _ x: Tensor, weight: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try base.expertLinear(x, weight: weight, by: routing, into: y)
  }

  open func addExperts(_ x: Tensor, by routing: ExpertRouting, to y: Tensor) throws {
    try base.addExperts(x, by: routing, to: y)
  }

  open func expertCounts(_ routing: ExpertRouting) throws -> [Int] {
    try base.expertCounts(routing)
  }

  // MARK: Attention

  open func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    try base.store(k: k, v: v, in: layer, firstPosition: firstPosition)
  }

  open func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    try base.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, index: index, into: o,
      logSumExp: logSumExp)
  }

  open func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try base.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
  }

  open func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor
  ) throws {
    try base.mergeAttention(part, logSumExp: logSumExp, into: o, logSumExp: whole)
  }

  // MARK: Estimation

  open func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    try base.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
  }

  open func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor {
    try base.meanPooled(x, blockSize: blockSize)
  }

  open func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> Tensor {
    try base.meanPooledKeys(layer, count: count, blockSize: blockSize)
  }

  open func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    source: ShareSource
  ) throws -> Tensor {
    try base.blockShares(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads, source: source)
  }

  open func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    try base.makeBlockChoice(request)
  }

  open func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    try base.makeIndex(request)
  }

  open func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    try base.poolQueries(q, firstPosition: firstPosition, into: means, firstBlock: firstBlock)
  }

  // MARK: Sampling

  open func scoreTokens(
    logits: Tensor, next: [Int32]
  ) throws -> (likeliest: [Int32], logProbabilities: [Float]) {
    try base.scoreTokens(logits: logits, next: next)
  }

  open func divergences(of logits: Tensor, from reference: Tensor) throws -> [Float] {
    try base.divergences(of: logits, from: reference)
  }

  open func mostLikely(_ logits: Tensor) throws -> [Int32?] { try base.mostLikely(logits) }

  open func draw(_ draw: TokenDraw, from logits: Tensor, random: [UInt64]) throws -> [Int32?] {
    try base.draw(draw, from: logits, random: random)
  }

  open func penalize(_ ids: [Int32], in logits: Tensor, by penalty: Float) throws {
    try base.penalize(ids, in: logits, by: penalty)
  }
}
