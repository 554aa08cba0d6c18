import BackendTesting
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
private final class SeparateInputsBackend: ForwardingBackend, @unchecked Sendable {
  override var name: String { "separate inputs" }

  init() { super.init(ReferenceBackend(tile: TileShape(rows: 16, columns: 8))) }

  override var capabilities: DeviceCapabilities {
    var capabilities = super.capabilities
    capabilities.activationType = .bfloat16
    capabilities.linearInputType = .float32
    return capabilities
  }

  override func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    try TensorKeyValueStore(layers: layers, extents: extents, options: options, backend: self)
  }

  override func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    let tensor = try base.makeTensor(.float32, shape, purpose: purpose)
    try base.write(Array(repeating: .nan, count: tensor.count), to: tensor)
    return tensor
  }

  override func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    try base.write(try base.read(gate), to: input)
    try base.swiGLU(gate: input, up: up)
  }

  override func swiGLU(gate: Tensor, up: Tensor) throws {
    throw ComputeError.shapeMismatch(operation: "swiGLU", detail: "in place of the gates")
  }

}
