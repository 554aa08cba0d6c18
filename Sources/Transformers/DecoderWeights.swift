import Checkpoints
import Compute

/// A linear layer's weights.
struct Projection: Sendable {
  /// [outputs, inputs]
  let weight: Weight
  /// [outputs]
  let bias: Weight?
}

/// The weights of one decoder layer, in the order in which they are used.
struct DecoderLayer: Sendable {
  /// [hidden]
  let inputNorm: Weight
  /// [queryWidth, hidden]
  let q: Projection
  /// [keyValueWidth, hidden]
  let k: Projection
  /// [keyValueWidth, hidden]
  let v: Projection
  /// [headDim] each, for queries and keys; nil: heads are turned as they are projected.
  let headNorms: (q: Weight, k: Weight)?
  /// [queryHeads] float32: logits that every head's softmax is over too; nil: there are none.
  var sinks: Weight?
  /// [hidden, queryWidth]
  let o: Projection
  /// [hidden]; nil: the output is added as it is.
  let attentionOutputNorm: Weight?
  /// [hidden]
  let postAttentionNorm: Weight
  let feedForward: FeedForward
  /// [hidden]; nil: the output is added as it is.
  let feedForwardOutputNorm: Weight?
}

/// The weights of a decoder, or of a part of it, prepared by the backend that uses them.
struct DecoderWeights: Sendable {
  let part: DecoderPart
  /// [vocabulary, hidden]; nil in a part without it.
  private let embedding: Weight?
  /// Those of the part.
  private let layers: [DecoderLayer]
  /// Behind the last layer; nil in a part without it.
  private let head: OutputHead?

  /// The norm and the output layer.
  struct OutputHead: Sendable {
    /// [hidden]
    let norm: Weight
    /// [vocabulary, hidden]; the embedding itself when the two are tied.
    let output: Projection
  }

  init(part: DecoderPart, embedding: Weight?, layers: [DecoderLayer], head: OutputHead?) {
    precondition(layers.count == part.layers.count)
    self.part = part
    self.embedding = embedding
    self.layers = layers
    self.head = head
  }

  /// A layer, by its number in the model.
  ///
  /// - Precondition: It is in the part.
  subscript(layer: Int) -> DecoderLayer { layers[layer - part.layers.lowerBound] }

  /// - Throws: ``TransformerError/missingPart(what:)``.
  func requireEmbedding() throws -> Weight {
    guard let embedding else { throw TransformerError.missingPart(what: "the embedding") }
    return embedding
  }

  /// - Throws: ``TransformerError/missingPart(what:)``.
  func requireHead() throws -> OutputHead {
    guard let head else { throw TransformerError.missingPart(what: "the output layer") }
    return head
  }

  /// Throws on a tensor that is missing, misshapen, or not finite.
  init(
    _ checkpoint: any WeightSource, table: WeightTable, configuration: DecoderConfiguration,
    backend: any Backend, part: DecoderPart, progress: ((Double) -> Void)? = nil
  ) throws {
    let total = try Self.tensorNames(
      checkpoint, table: table, configuration: configuration, part: part
    ).count
    var taken = 0
    try self.init(
      table: table, configuration: configuration, part: part,
      reader: WeightReader(checkpoint: checkpoint, backend: backend) { _ in
        taken += 1
        progress?(Double(taken) / Double(total))
      })
    try checkpoint.verifyUnchanged()
  }

  /// The names of the tensors that `init` takes out of a checkpoint, in its order. None is looked at.
  static func tensorNames(
    _ checkpoint: any WeightSource, table: WeightTable, configuration: DecoderConfiguration,
    part: DecoderPart
  ) throws -> [String] {
    var names: [String] = []
    _ = try DecoderWeights(
      table: table, configuration: configuration, part: part,
      reader: WeightReader(
        checkpoint: checkpoint, backend: ReferenceBackend(), isNaming: true
      ) { names.append($0) })
    return names
  }

  private init(
    table: WeightTable, configuration: DecoderConfiguration, part: DecoderPart,
    reader: WeightReader
  ) throws {
    self.part = part
    let hidden = configuration.hiddenSize
    let biases = configuration.biases
    let isOutputTied = configuration.isOutputTied
    let vocabulary =
      part.hasEmbedding || part.hasOutput && isOutputTied
      ? try reader.vocabulary(table.embedding, configuration.vocabularySize, hidden) : nil
    embedding = part.hasEmbedding ? vocabulary : nil
    layers = try part.layers.map { layer in
      let prefix = table.layer + "\(layer)."
      let queryWidth = configuration.queryWidth
      let keyValueWidth = configuration.keyValueWidth
      let qkv = try reader.projections(
        table.qkv, prefix, outputs: [queryWidth, keyValueWidth, keyValueWidth], hidden,
        biased: biases.qkv)
      return DecoderLayer(
        inputNorm: try reader.norm(prefix + table.inputNorm, hidden),
        q: qkv[0], k: qkv[1], v: qkv[2],
        headNorms: try (configuration.hasHeadNorms ? table.headNorms : nil).map { names in
          (
            try reader.norm(prefix + names.q, configuration.headDim),
            try reader.norm(prefix + names.k, configuration.headDim)
          )
        },
        sinks: try (configuration.hasSinks ? table.sinks : nil).map {
          try reader.sinks(prefix + $0, configuration.attention[0].queryHeads)
        },
        o: try reader.projection(prefix + table.o, hidden, queryWidth, biased: biases.o),
        attentionOutputNorm: try table.attentionOutputNorm.map {
          try reader.norm(prefix + $0, hidden)
        },
        postAttentionNorm: try reader.norm(prefix + table.postAttentionNorm, hidden),
        feedForward: try reader.feedForward(
          table, prefix, reader.checkpoint.configuration.intermediateSize, configuration,
          layer: layer),
        feedForwardOutputNorm: try table.feedForwardOutputNorm.map {
          try reader.norm(prefix + $0, hidden)
        })
    }
    head =
      part.hasOutput
      ? OutputHead(
        norm: try reader.norm(table.norm, hidden),
        output: Projection(
          weight: try (isOutputTied ? vocabulary : nil)
            ?? reader.vocabulary(table.output, configuration.vocabularySize, hidden), bias: nil))
      : nil
  }
}

/// What stands for a weight that is only named.
private final class NoStorage: DeviceBuffer {
  let byteCount = 0
}

/// Takes tensors out of a checkpoint and sees that each is finite, or only names them.
struct WeightReader {
  let checkpoint: any WeightSource
  let backend: any Backend
  /// Whether tensors are only named: weights are then without numbers.
  var isNaming = false
  /// Told the name of each tensor once it was taken.
  let onTensor: (String) -> Void

  /// The weight of a tensor in the role that it is for.
  func weight(_ name: String, _ shape: [Int], _ role: WeightRole) throws -> Weight {
    defer { onTensor(name) }
    guard !isNaming else { return unread(shape) }
    return try backend.prepare(
      finite(name, shape, keepsFloat8: role == .matrix && keepsFloat8), as: role)
  }

  /// The matrices of all experts, [outputs, inputs] each, as `prepare` makes them of these tensors.
  func experts(
    _ count: Int, shape: [Int], of tensors: [String], _ prepare: () throws -> ExpertWeights
  ) rethrows -> ExpertWeights {
    defer { tensors.forEach(onTensor) }
    return try isNaming ? ExpertWeights((0..<count).map { _ in unread(shape) }) : prepare()
  }

  /// A weight that is only named.
  private func unread(_ shape: [Int]) -> Weight {
    Weight(storage: NoStorage(), format: .dense(.float32), shape: shape)
  }

  /// An embedding or an output layer.
  func vocabulary(_ name: String, _ rows: Int, _ columns: Int) throws -> Weight {
    try weight(name, [rows, columns], .vocabulary)
  }

  /// The factors of a norm.
  func norm(_ name: String, _ count: Int) throws -> Weight {
    try weight(name, [count], .norm)
  }

  /// Logits of attention sinks.
  func sinks(_ name: String, _ heads: Int) throws -> Weight {
    let logits = try norm(name, heads)
    // A backend that reads weights where they are mapped keeps the file's type.
    guard logits.format != .dense(.float32) else { return logits }
    let wide = try backend.makeTensor(.float32, [heads], purpose: "weights")
    try backend.write(backend.read(logits), to: wide)
    return Weight(wide)
  }

  func projection(
    _ name: String, _ outputs: Int, _ inputs: Int, biased: Bool
  ) throws -> Projection {
    Projection(
      weight: try weight(name + ".weight", [outputs, inputs], .matrix),
      bias: biased ? try weight(name + ".bias", [outputs], .bias) : nil)
  }

  /// Projections of one input. Stacked ones share the weight that holds them.
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

  /// Whether the backend multiplies by matrices of float8 as they are stored.
  var keepsFloat8: Bool {
    backend.capabilities.weightFormats.contains(.dense(.float8))
  }

  /// The tensor, every element of it finite.
  ///
  /// - Parameter keepsFloat8: Whether elements of float8 stay so; they become bfloat16 otherwise.
  func finite(
    _ name: String, _ shape: [Int], keepsFloat8: Bool = false
  ) throws -> StoredTensor {
    var view = try checkpoint.tensor(named: name, shape: shape)
    if let index = view.firstNonFiniteIndex() {
      throw TransformerError.nonFiniteWeight(
        file: view.file, tensor: name, index: index, value: view.floats()[index])
    }
    if view.format == .float8, !keepsFloat8 { view = view.widened() }
    return try StoredTensor(
      name: name, bytes: view.bytes, format: view.format.tensorFormat, shape: view.shape,
      owner: view.owner,
      scales: view.scales.map {
        StoredScales(values: $0.values, rows: $0.rows, columns: $0.columns)
      })
  }
}

extension TensorView.Format {
  fileprivate var tensorFormat: TensorFormat {
    switch self {
    case .dense(.float32): .dense(.float32)
    case .dense(.float16): .dense(.float16)
    case .dense(.bfloat16): .dense(.bfloat16)
    case .float8: .dense(.float8)
    case .blocks(let format): .blocks(format)
    }
  }
}
