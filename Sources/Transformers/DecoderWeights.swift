import Checkpoints
import Compute

/// A linear layer's tensors.
struct Projection: Sendable {
  /// [outputs, inputs], in the type of the file.
  let weight: Tensor
  /// [outputs] float32.
  let bias: Tensor?
}

/// The weights of one decoder layer, in the order in which they are used.
struct DecoderLayer: Sendable {
  /// [hidden]
  let inputNorm: Tensor
  /// [queryWidth, hidden]
  let q: Projection
  /// [keyValueWidth, hidden]
  let k: Projection
  /// [keyValueWidth, hidden]
  let v: Projection
  /// [hidden, queryWidth]
  let o: Projection
  /// [hidden]
  let postAttentionNorm: Tensor
  /// [intermediate, hidden]
  let gate: Projection
  /// [intermediate, hidden]
  let up: Projection
  /// [hidden, intermediate]
  let down: Projection
}

/// All weights of a decoder.
///
/// Matrices stay where they are mapped, in the type of the file; norms and biases, which are small,
/// are copied to float32.
struct DecoderWeights: Sendable {
  /// [vocabulary, hidden]
  let embedding: Tensor
  let layers: [DecoderLayer]
  /// [hidden]
  let norm: Tensor
  /// [vocabulary, hidden]; the embedding itself when the two are tied.
  let output: Projection

  /// Throws on a tensor that is missing, misshapen, or not finite.
  init(
    _ checkpoint: Checkpoint, table: WeightTable, configuration: DecoderConfiguration,
    backend: any Backend
  ) throws {
    let reader = WeightReader(checkpoint: checkpoint, backend: backend)
    let hidden = configuration.hiddenSize
    let intermediate = configuration.intermediateSize
    let biases = configuration.biases
    embedding = try reader.matrix(table.embedding, configuration.vocabularySize, hidden)
    layers = try (0..<configuration.layers).map { layer in
      let prefix = table.layer + "\(layer)."
      func projection(
        _ name: String, _ outputs: Int, _ inputs: Int, biased: Bool
      ) throws -> Projection {
        try reader.projection(prefix + name, outputs, inputs, biased: biased)
      }
      let queryWidth = configuration.queryWidth
      let keyValueWidth = configuration.keyValueWidth
      return DecoderLayer(
        inputNorm: try reader.vector(prefix + table.inputNorm, hidden),
        q: try projection(table.q, queryWidth, hidden, biased: biases.qkv),
        k: try projection(table.k, keyValueWidth, hidden, biased: biases.qkv),
        v: try projection(table.v, keyValueWidth, hidden, biased: biases.qkv),
        o: try projection(table.o, hidden, queryWidth, biased: biases.o),
        postAttentionNorm: try reader.vector(prefix + table.postAttentionNorm, hidden),
        gate: try projection(table.gate, intermediate, hidden, biased: biases.mlp),
        up: try projection(table.up, intermediate, hidden, biased: biases.mlp),
        down: try projection(table.down, hidden, intermediate, biased: biases.mlp))
    }
    norm = try reader.vector(table.norm, hidden)
    output = Projection(
      weight: configuration.isOutputTied
        ? embedding : try reader.matrix(table.output, configuration.vocabularySize, hidden),
      bias: nil)
    try checkpoint.verifyUnchanged()
  }
}

/// Takes tensors out of a checkpoint and sees that each is finite.
private struct WeightReader {
  let checkpoint: Checkpoint
  let backend: any Backend

  func matrix(_ name: String, _ rows: Int, _ columns: Int) throws -> Tensor {
    let view = try finite(name, [rows, columns])
    return try backend.makeTensor(
      over: view.bytes, type: view.elementType.dataType, shape: view.shape, owner: checkpoint)
  }

  func vector(_ name: String, _ count: Int) throws -> Tensor {
    let view = try finite(name, [count])
    let tensor = try backend.makeTensor(.float32, [count], purpose: "weights")
    try backend.write(view.floats(), to: tensor)
    return tensor
  }

  func projection(
    _ name: String, _ outputs: Int, _ inputs: Int, biased: Bool
  ) throws -> Projection {
    Projection(
      weight: try matrix(name + ".weight", outputs, inputs),
      bias: biased ? try vector(name + ".bias", outputs) : nil)
  }

  private func finite(_ name: String, _ shape: [Int]) throws -> TensorView {
    let view = try checkpoint.tensor(named: name, shape: shape)
    if let index = view.firstNonFiniteIndex() {
      throw TransformerError.nonFiniteWeight(
        file: view.file, tensor: name, index: index, value: view.floats()[index])
    }
    return view
  }
}

extension ElementType {
  fileprivate var dataType: DataType {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    }
  }
}
