import Compute
import Testing
import Transformers

/// Layers on a backend whose linear layers want their inputs in tensors of their own.
@Suite struct NarrowInputsTests {
  /// Llama's layers, and such as norm what attention and MLP give before it is added.
  @Test(arguments: ["llama-float32", "glm4"])
  func `logits are those of a backend that takes activations as they are`(name: String) throws {
    let golden = try #require(Golden.all.first { $0.name == name })
    let ids = try golden.ids()
    let expected = try golden.logits()
    let backend = SeparateInputsBackend()
    let model = try Transformer(checkpoint: try golden.checkpoint(), backend: backend)
    let whole = try score(model, ids)
    // Activations are bfloat16 here, which moves single logits by a twentieth of the largest; an input
    // that nobody filled is NaN.
    #expect(distance(whole, from: expected, width: model.vocabularySize) < 0.1)
    let cache = try model.makeCache(capacity: ids.count, sequenceLength: ids.count)
    let single = try ids.flatMap { try model.decode($0, cache: cache) }
    #expect(distance(single, from: expected, width: model.vocabularySize) < 0.1)
  }
}

/// The reference with bfloat16 activations and float32 inputs of linear layers, which shows who reads
/// what: a linear layer of a decoder layer gets a separate input, or what attention left.
private final class SeparateInputsBackend: Backend {
  let name = "separate inputs"
  let activationType = DataType.bfloat16
  private let reference = ReferenceBackend(tile: TileShape(rows: 16, columns: 8))

  func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    let tensor = try reference.makeTensor(.float32, shape, purpose: purpose)
    try reference.write(Array(repeating: .nan, count: tensor.count), to: tensor)
    return tensor
  }

  func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    try reference.write(try reference.read(gate), to: input)
    try reference.swiGLU(gate: input, up: up)
  }

  func swiGLU(gate: Tensor, up: Tensor) throws {
    throw ComputeError.shapeMismatch(operation: "swiGLU", detail: "in place of the gates")
  }

  func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) throws {
    try reference.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
  }

  // MARK: The reference's

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
  }
  func linear(
    _ x: Tensor, weight: Tensor, bias: Tensor?, into y: Tensor, accumulate: Bool
  ) throws {
    try reference.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
  }
  func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    try reference.rotate(x, rotary, firstPosition: firstPosition)
  }
  func add(_ x: Tensor, to y: Tensor) throws { try reference.add(x, to: y) }
  func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    try reference.store(k: k, v: v, in: layer, firstPosition: firstPosition)
  }
  func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    try reference.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, index: index, into: o,
      logSumExp: logSumExp)
  }
  func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try reference.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
  }
  func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> [LastRowSums] {
    try reference.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
  }
  func meanPooled(_ x: Tensor, blockSize: Int) throws -> [[Float]] {
    try reference.meanPooled(x, blockSize: blockSize)
  }
  func meanPooledKeys(_ layer: KeyValueLayer, count: Int, blockSize: Int) throws -> [[Float]] {
    try reference.meanPooledKeys(layer, count: count, blockSize: blockSize)
  }
}
