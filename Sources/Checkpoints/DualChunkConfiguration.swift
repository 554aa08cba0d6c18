import JSON

/// The `dual_chunk_attention_config` of `config.json`: how a model reaches past the distances that it
/// was trained on without scaling its rotary frequencies.
///
/// Source: Qwen2.5-1M, https://arxiv.org/abs/2501.15383, sections 4.1 and 4.2; the fields and their
/// defaults are those of vLLM's dual chunk attention, which the published models are run with.
public struct DualChunkConfiguration: Equatable, Sendable {
  /// The largest distance that a query may have from a key.
  public var chunkSize: Int
  /// How many of a chunk's first rows see the chunk before at its true distances.
  public var localSize: Int
  /// The length beyond which attention is sharpened with the logarithm of the length; nil: never.
  public var originalMaxPositionEmbeddings: Int?
  /// Budgets of vertical-slash attention for each head of each layer; nil: not given.
  public var sparseAttention: [[Budget]]?
  /// Tokens up to which a prompt is read densely all the same.
  public var sparseAttentionThreshold: Int

  /// The number of columns and offsets that one head computes.
  public struct Budget: Equatable, Sendable {
    public var vertical: Int
    public var slash: Int

    public init(vertical: Int, slash: Int) {
      self.vertical = vertical
      self.slash = slash
    }
  }

  /// Positions of one chunk.
  public var stride: Int { chunkSize - localSize }
}

extension DualChunkConfiguration {
  init(_ fields: FieldReader, layers: Int, heads: Int) throws(CheckpointError) {
    let lengths = 1...ModelConfiguration.maximumLength
    chunkSize = try fields.integer("chunk_size", in: lengths) ?? 8192
    localSize = try fields.integer("local_size", in: lengths) ?? 1024
    guard localSize < chunkSize else {
      throw fields.failure(
        "local_size", "is \(localSize): it should be less than chunk_size, \(chunkSize)")
    }
    let original = try fields.integer(
      "original_max_position_embeddings", in: 0...ModelConfiguration.maximumLength)
    originalMaxPositionEmbeddings = original == 0 ? nil : original
    sparseAttentionThreshold =
      try fields.integer("sparse_attention_threshold", in: 0...ModelConfiguration.maximumLength)
      ?? 32768
    let lastRows = try fields.integer("sparse_attention_last_q", in: lengths) ?? 64
    guard lastRows == 64 else {
      throw fields.failure("sparse_attention_last_q", "is \(lastRows): known is 64 alone")
    }
    let isEnabled = try fields.boolean("sparse_attention_enabled") ?? true
    sparseAttention =
      isEnabled ? try Self.budgets(fields, layers: layers, heads: heads) : nil
  }

  private static func budgets(
    _ fields: FieldReader, layers: Int, heads: Int
  ) throws(CheckpointError) -> [[Budget]]? {
    let field = "sparse_attention_config"
    guard let value = fields.value(field) else { return nil }
    guard case .array(let list) = value, list.count == layers else {
      throw fields.failure(
        field, "is \(value.kind): it should be a list of num_hidden_layers, \(layers), objects")
    }
    var budgets: [[Budget]] = []
    for (layer, entry) in list.enumerated() {
      var row: [Budget] = []
      for head in 0..<heads {
        guard case .array(let parts)? = entry["\(head)"], parts.count >= 3,
          parts[0] == .string("vertical_and_slash"), case .integer(let vertical) = parts[1],
          case .integer(let slash) = parts[2], vertical > 0, slash > 0
        else {
          throw fields.failure(
            field,
            "gives layer \(layer), head \(head), "
              + "\(entry["\(head)"]?.kind ?? "nothing"): it should be "
              + "[\"vertical_and_slash\", columns, offsets, score]")
        }
        // The first 30 columns are always taken; vLLM gives a head that has no more another 100.
        row.append(Budget(vertical: vertical == 30 ? 130 : vertical, slash: slash))
      }
      budgets.append(row)
    }
    return budgets
  }
}
