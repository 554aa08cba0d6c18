import Checkpoints
import Compute

/// A linear layer's tensors.
struct Projection: Sendable {
  /// [outputs, inputs], in the type of the file, or as the backend multiplies by it.
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
  /// [headDim] each, for queries and keys; nil: heads are turned as they are projected.
  let headNorms: (q: Tensor, k: Tensor)?
  /// [hidden, queryWidth]
  let o: Projection
  /// [hidden]; nil: the output is added as it is.
  let attentionOutputNorm: Tensor?
  /// [hidden]
  let postAttentionNorm: Tensor
  /// [intermediate, hidden]
  let gate: Projection
  /// [intermediate, hidden]
  let up: Projection
  /// [hidden, intermediate]
  let down: Projection
  /// [hidden]; nil: the output is added as it is.
  let feedForwardOutputNorm: Tensor?
}

/// All weights of a decoder.
///
/// Matrices stay where they are mapped, in the type of the file, but for those of layers on a backend
/// that multiplies by something narrower; norms and biases, which are small, are copied to float32.
struct DecoderWeights: Sendable {
  /// [vocabulary, hidden]
  let embedding: Tensor
  let layers: [DecoderLayer]
  /// [hidden]
  let norm: Tensor
  /// [vocabulary, hidden]; the embedding itself when the two are tied.
  let output: Projection

  /// Whether layers multiply in eight bits.
  var isNarrow: Bool { layers.first?.q.weight.type == .float8 }

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
      let queryWidth = configuration.queryWidth
      let keyValueWidth = configuration.keyValueWidth
      let qkv = try reader.projections(
        table.qkv, prefix, outputs: [queryWidth, keyValueWidth, keyValueWidth], hidden,
        biased: biases.qkv)
      let gateUp = try reader.projections(
        table.gateUp, prefix, outputs: [intermediate, intermediate], hidden, biased: biases.mlp)
      return DecoderLayer(
        inputNorm: try reader.vector(prefix + table.inputNorm, hidden),
        q: qkv[0], k: qkv[1], v: qkv[2],
        headNorms: try table.headNorms.map { names in
          (
            try reader.vector(prefix + names.q, configuration.headDim),
            try reader.vector(prefix + names.k, configuration.headDim)
          )
        },
        o: try reader.projection(prefix + table.o, hidden, queryWidth, biased: biases.o),
        attentionOutputNorm: try table.attentionOutputNorm.map {
          try reader.vector(prefix + $0, hidden)
        },
        postAttentionNorm: try reader.vector(prefix + table.postAttentionNorm, hidden),
        gate: gateUp[0], up: gateUp[1],
        down: try reader.projection(prefix + table.down, hidden, intermediate, biased: biases.mlp),
        feedForwardOutputNorm: try table.feedForwardOutputNorm.map {
          try reader.vector(prefix + $0, hidden)
        })
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
      weight: try backend.makeLinearWeight(matrix(name + ".weight", outputs, inputs)),
      bias: biased ? try vector(name + ".bias", outputs) : nil)
  }

  /// Projections of one input. Stacked ones share the tensor that holds them.
  func projections(
    _ names: ProjectionNames, _ prefix: String, outputs: [Int], _ inputs: Int, biased: Bool
  ) throws -> [Projection] {
    switch names {
    case .separate(let names):
      return try zip(names, outputs).map { name, outputs in
        try projection(prefix + name, outputs, inputs, biased: biased)
      }
    case .stacked(let name):
      let stack = try projection(prefix + name, outputs.reduce(0, +), inputs, biased: biased)
      var next = 0
      return outputs.map { outputs in
        let rows = next..<next + outputs
        next = rows.upperBound
        return Projection(
          weight: stack.weight.slice(rows: rows), bias: stack.bias?.slice(rows: rows))
      }
    }
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
