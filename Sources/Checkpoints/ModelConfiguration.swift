package import JSON

/// The shape of a decoder model: the `config.json` of a Hugging Face checkpoint, decoded, with the
/// defaults that transformers gives to absent fields of the model type. Which model types exist, and
/// what a type makes of a field, is not decided here; ``notices`` names fields that nothing here knows.
public struct ModelConfiguration: Equatable, Sendable {
  /// `llama`, `qwen2`, ...
  public var modelType: String
  /// Class names of transformers; empty when absent.
  public var architectures: [String]

  public var hiddenSize: Int
  public var intermediateSize: Int
  public var numHiddenLayers: Int
  public var numAttentionHeads: Int
  /// Divides `numAttentionHeads`.
  public var numKeyValueHeads: Int
  /// Even. Need not be `hiddenSize / numAttentionHeads`.
  public var headDimension: Int
  public var vocabularySize: Int
  public var maxPositionEmbeddings: Int

  public var ropeTheta: Double
  public var ropeScaling: RopeScaling
  /// The share of each head's dimensions that turns with the position; nil: not given, and the
  /// model type decides.
  public var partialRotaryFactor: Double?

  /// The mixture of experts in place of MLPs; nil in dense models.
  public var experts: ExpertConfiguration?

  /// How attention reaches past the distances of training; nil in most models.
  public var dualChunkAttention: DualChunkConfiguration?

  public var rmsNormEpsilon: Double
  public var activation: Activation
  /// Whether the output layer uses the embedding's weights.
  public var tieWordEmbeddings: Bool
  /// Nil: not given, and the model type decides.
  public var attentionBias: Bool?
  /// Of the projection of the attention's output, where it is given apart.
  public var attentionOutputBias: Bool?
  public var mlpBias: Bool?

  /// Keys a query sees at most, itself included; nil without a window. Whether it is in force in a
  /// layer is for the model type to say, with the three fields that follow.
  public var slidingWindow: Int?
  public var useSlidingWindow: Bool?
  public var maxWindowLayers: Int?
  /// One of `full_attention`, `sliding_attention` a layer; nil when absent.
  public var layerTypes: [String]?

  /// The `torch_dtype` or `dtype` field, as it is spelled there. Each tensor says its own type.
  public var storedType: String?
  public var beginOfTextTokenIDs: [Int]
  public var endOfTextTokenIDs: [Int]

  /// What a user should know of the file, one line each: fields that contradict one another and which
  /// counts, and fields that are not understood.
  public var notices: [String] = []

  /// The nonlinearity of the MLP.
  public enum Activation: String, Sendable, CaseIterable {
    /// x * sigmoid(x), also called swish.
    case silu
    /// With the error function.
    case gelu
    /// With tanh.
    case geluTanh = "gelu_pytorch_tanh"
    case relu

    init?(configured name: String) {
      switch name {
      case "silu", "swish": self = .silu
      case "gelu", "gelu_python": self = .gelu
      case "gelu_pytorch_tanh", "gelu_new", "gelu_fast": self = .geluTanh
      case "relu": self = .relu
      default: return nil
      }
    }
  }

  /// The most that `max_position_embeddings` may be.
  static let maximumLength = 1 << 31
}

extension ModelConfiguration {
  /// What a GGUF file says of a model; fields that it has no keys for are absent.
  init(
    modelType: String, hiddenSize: Int, intermediateSize: Int, numHiddenLayers: Int,
    numAttentionHeads: Int, numKeyValueHeads: Int, headDimension: Int, vocabularySize: Int,
    maxPositionEmbeddings: Int, ropeTheta: Double, ropeScaling: RopeScaling,
    partialRotaryFactor: Double?, rmsNormEpsilon: Double, tieWordEmbeddings: Bool,
    attentionBias: Bool, slidingWindow: Int?, beginOfTextTokenIDs: [Int],
    endOfTextTokenIDs: [Int], experts: ExpertConfiguration? = nil
  ) {
    self.modelType = modelType
    self.experts = experts
    architectures = []
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.numHiddenLayers = numHiddenLayers
    self.numAttentionHeads = numAttentionHeads
    self.numKeyValueHeads = numKeyValueHeads
    self.headDimension = headDimension
    self.vocabularySize = vocabularySize
    self.maxPositionEmbeddings = maxPositionEmbeddings
    self.ropeTheta = ropeTheta
    self.ropeScaling = ropeScaling
    self.partialRotaryFactor = partialRotaryFactor
    dualChunkAttention = nil
    self.rmsNormEpsilon = rmsNormEpsilon
    activation = .silu
    self.tieWordEmbeddings = tieWordEmbeddings
    self.attentionBias = attentionBias
    attentionOutputBias = nil
    mlpBias = nil
    self.slidingWindow = slidingWindow
    useSlidingWindow = nil
    maxWindowLayers = nil
    layerTypes = nil
    storedType = nil
    self.beginOfTextTokenIDs = beginOfTextTokenIDs
    self.endOfTextTokenIDs = endOfTextTokenIDs
  }
}

extension ModelConfiguration {
  /// Decodes and checks the file at `path`.
  ///
  /// - Throws: `.unreadable`, `.malformedJSON`, `.invalidField`.
  public init(file path: String) throws(CheckpointError) {
    try self.init(json: try readJSON(at: path), file: path)
  }

  /// Decodes and checks `json`, which came from the file at `path`.
  package init(json: JSONValue, file path: String) throws(CheckpointError) {
    let object = try ChatGLMFields.renamed(json, file: path)
    let fields = try FieldReader(file: path, object: object)
    func size(_ field: String, atMost limit: Int) throws(CheckpointError) -> Int {
      try fields.required(field, try fields.integer(field, in: 1...limit))
    }
    // The limits are some 16 times beyond any model, so that products of sizes fit an Int.
    modelType = try fields.required("model_type", try fields.string("model_type"))
    let defaults = ConfigurationClass.of(modelType)
    architectures = try fields.strings("architectures") ?? []
    hiddenSize = try size("hidden_size", atMost: 1 << 18)
    intermediateSize = try size("intermediate_size", atMost: 1 << 22)
    numHiddenLayers = try size("num_hidden_layers", atMost: 1 << 12)
    numAttentionHeads = try size("num_attention_heads", atMost: 1 << 12)
    vocabularySize = try size("vocab_size", atMost: 1 << 24)
    maxPositionEmbeddings = try size("max_position_embeddings", atMost: Self.maximumLength)
    // Null asks for what follows from the sizes, whatever the class gives to an absent field.
    let givenHeads = try fields.integer("num_key_value_heads", in: 1...1 << 12)
    let absentHeads = fields.isAbsent("num_key_value_heads") ? defaults.numKeyValueHeads : nil
    numKeyValueHeads = givenHeads ?? absentHeads ?? numAttentionHeads
    headDimension = try Self.headDimension(
      fields, hiddenSize: hiddenSize, numAttentionHeads: numAttentionHeads,
      whenAbsent: defaults.headDimension)
    guard numAttentionHeads % numKeyValueHeads == 0 else {
      throw fields.failure(
        "num_key_value_heads",
        "is \(numKeyValueHeads): it should divide num_attention_heads, \(numAttentionHeads)")
    }

    let rope = try RopeFields(
      fields, maxPositionEmbeddings: maxPositionEmbeddings,
      absentOriginalLength: defaults.originalMaxPositionEmbeddings,
      absentTheta: defaults.ropeTheta, absentScaling: defaults.ropeScaling)
    ropeTheta = rope.theta
    ropeScaling = rope.scaling
    partialRotaryFactor = rope.partialRotaryFactor

    experts = try ExpertConfiguration(
      fields, layers: numHiddenLayers,
      intermediateSize: defaults.hasExpertsAlone ? intermediateSize : nil)
    dualChunkAttention = nil
    if let nested = try fields.object("dual_chunk_attention_config") {
      dualChunkAttention = try DualChunkConfiguration(
        nested, layers: numHiddenLayers, heads: numAttentionHeads)
    }
    // Outside of dual chunk attention too, so that another publisher's is refused and not ignored.
    let budgets = try DualChunkConfiguration.budgets(
      fields, layers: numHiddenLayers, heads: numAttentionHeads)
    if dualChunkAttention?.sparseAttention == nil, dualChunkAttention?.isSparseByDefault == true {
      dualChunkAttention?.sparseAttention = budgets
    }

    rmsNormEpsilon = try fields.number("rms_norm_eps", in: 0...1) ?? defaults.rmsNormEpsilon
    activation = try Self.activation(fields)
    tieWordEmbeddings = try fields.boolean("tie_word_embeddings") ?? false
    attentionBias = try fields.boolean("attention_bias")
    attentionOutputBias = try fields.boolean("attention_out_bias")
    mlpBias = try fields.boolean("mlp_bias")
    let givenWindow = try fields.integer("sliding_window", in: 1...Self.maximumLength)
    slidingWindow = fields.isAbsent("sliding_window") ? defaults.slidingWindow : givenWindow
    useSlidingWindow = try fields.boolean("use_sliding_window")
    maxWindowLayers = try fields.integer("max_window_layers", in: 0...1 << 20)
    layerTypes = try fields.strings("layer_types")
    if let layerTypes, layerTypes.count != numHiddenLayers {
      throw fields.failure(
        "layer_types",
        "names \(layerTypes.count) layers: it should name num_hidden_layers, \(numHiddenLayers)")
    }
    let olderStoredType = try fields.string("torch_dtype")
    storedType = try fields.string("dtype") ?? olderStoredType
    beginOfTextTokenIDs = try fields.tokenIDs("bos_token_id") ?? []
    endOfTextTokenIDs = try fields.tokenIDs("eos_token_id") ?? []
    notices = rope.notices + Self.notices(ofUnknown: defaults.unknownFields(of: object), path)
  }

  /// One line that names the fields, where there are any.
  private static func notices(ofUnknown fields: [String], _ path: String) -> [String] {
    guard !fields.isEmpty else { return [] }
    let shown = fields.prefix(6).map { printable($0, limit: 60) }.joined(separator: ", ")
    let more = fields.count > 6 ? " and \(fields.count - 6) more" : ""
    return [
      "\(printable(path)): \(fields.count == 1 ? "a field is" : "fields are") not understood and left "
        + "out of account: \(shown)\(more)"
    ]
  }

  private static func headDimension(
    _ fields: FieldReader, hiddenSize: Int, numAttentionHeads: Int, whenAbsent: Int?
  ) throws(CheckpointError) -> Int {
    let named = try fields.integer("head_dim", in: 1...1 << 12)
    let given = fields.isAbsent("head_dim") ? whenAbsent : named
    guard given != nil || hiddenSize % numAttentionHeads == 0 else {
      throw fields.failure(
        "hidden_size",
        "is \(hiddenSize): num_attention_heads, \(numAttentionHeads), should divide it "
          + "where head_dim is not given")
    }
    let headDimension = given ?? hiddenSize / numAttentionHeads
    guard headDimension % 2 == 0 else {
      throw fields.failure(
        "head_dim", "is \(headDimension): it should be even, for rotary embeddings turn pairs")
    }
    return headDimension
  }

  private static func activation(_ fields: FieldReader) throws(CheckpointError) -> Activation {
    guard let name = try fields.string("hidden_act") else { return .silu }
    guard let activation = Activation(configured: name) else {
      let known = Activation.allCases.map(\.rawValue).joined(separator: ", ")
      throw fields.failure("hidden_act", "is \(quoted(name)): known are \(known)")
    }
    return activation
  }
}
