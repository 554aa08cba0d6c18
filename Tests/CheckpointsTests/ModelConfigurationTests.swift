import Checkpoints
import Testing

@Suite struct ModelConfigurationTests {
  @Test func `A fingerprint tells configurations apart by the fields that are given`() throws {
    let plain = try configuration().fingerprint
    #expect(try configuration(["sliding_window": "null"]).fingerprint == plain)
    #expect(try configuration(["a field that nobody knows": "1"]).fingerprint == plain)
    let changes: [[String: String?]] = [
      ["model_type": "\"qwen2\"", "num_key_value_heads": "4"], ["intermediate_size": "256"],
      ["rope_theta": "5e5"],
      ["attention_bias": "false"], ["sliding_window": "64"], ["tie_word_embeddings": "true"],
      ["rope_scaling": "{\"rope_type\": \"linear\", \"factor\": 2}"],
      ["rope_scaling": "{\"rope_type\": \"dynamic\", \"factor\": 2}"],
      ["rope_scaling": "{\"rope_type\": \"yarn\", \"factor\": 2}"],
      ["rope_scaling": "{\"rope_type\": \"yarn\", \"factor\": 4}"],
    ]
    let prints = try changes.map { try configuration($0).fingerprint } + [plain]
    #expect(Set(prints).count == changes.count + 1)
  }

  @Test func `Absent fields take the defaults of transformers`() throws {
    let configuration = try configuration()
    #expect(configuration.modelType == "llama")
    #expect(configuration.numKeyValueHeads == 4)
    #expect(configuration.headDimension == 16)
    #expect(configuration.ropeTheta == 10_000)
    #expect(configuration.ropeScaling == .none)
    #expect(configuration.partialRotaryFactor == nil)
    #expect(configuration.rmsNormEpsilon == 1e-6)
    #expect(configuration.activation == .silu)
    #expect(!configuration.tieWordEmbeddings)
    #expect(configuration.attentionBias == nil)
    #expect(configuration.slidingWindow == nil)
    #expect(configuration.layerTypes == nil)
    #expect(configuration.endOfTextTokenIDs == [])
  }

  @Test func `Given fields are read`() throws {
    let configuration = try configuration([
      "architectures": "[\"Qwen2ForCausalLM\"]", "num_key_value_heads": "2", "head_dim": "96",
      "rope_theta": "1000000", "rms_norm_eps": "1e-05", "hidden_act": "\"gelu_new\"",
      "tie_word_embeddings": "true", "attention_bias": "true", "mlp_bias": "false",
      "sliding_window": "4096", "use_sliding_window": "false", "max_window_layers": "28",
      "layer_types": "[\"full_attention\", \"sliding_attention\"]", "torch_dtype": "\"bfloat16\"",
      "bos_token_id": "1", "eos_token_id": "[2, 0]", "hidden_size": "64.0",
      "some_new_field": "{\"x\": [Infinity]}",
    ])
    #expect(configuration.architectures == ["Qwen2ForCausalLM"])
    #expect(configuration.hiddenSize == 64)
    #expect(configuration.numKeyValueHeads == 2)
    #expect(configuration.headDimension == 96)
    #expect(configuration.ropeTheta == 1_000_000)
    #expect(configuration.rmsNormEpsilon == 1e-5)
    #expect(configuration.activation == .geluTanh)
    #expect(configuration.tieWordEmbeddings)
    #expect(configuration.attentionBias == true)
    #expect(configuration.mlpBias == false)
    #expect(configuration.slidingWindow == 4096)
    #expect(configuration.useSlidingWindow == false)
    #expect(configuration.maxWindowLayers == 28)
    #expect(configuration.layerTypes == ["full_attention", "sliding_attention"])
    #expect(configuration.storedType == "bfloat16")
    #expect(configuration.beginOfTextTokenIDs == [1])
    #expect(configuration.endOfTextTokenIDs == [2, 0])
  }

  @Test func `Null counts as absent`() throws {
    let given = try configuration([
      "head_dim": "null", "num_key_value_heads": "null", "rope_scaling": "null",
      "rope_parameters": "null", "bos_token_id": "null", "sliding_window": "null",
    ])
    #expect(try given == configuration())
  }

  @Test func `Of a key that stands twice the last counts, as in Python`() throws {
    let directory = try TemporaryDirectory()
    let text = configurationText().dropLast() + ", \"rope_theta\": 7, \"rope_theta\": 9}"
    try directory.write(String(text), to: "config.json")
    #expect(try ModelConfiguration(file: directory.path(of: "config.json")).ropeTheta == 9)
  }

  @Test(arguments: [
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "vocab_size", "max_position_embeddings",
  ])
  func `A missing field is named`(field: String) {
    for value in [nil, "null"] {
      let error = failure { () throws(CheckpointError) in try configuration([field: value]) }
      #expect(isOneLine(error, naming: "config.json", field, "missing"))
    }
  }

  /// Field, value, and what the message must name.
  static let refused: [(field: String, value: String, names: [String])] = [
    ("hidden_size", "0", ["0", "from 1"]),
    ("hidden_size", "-64", ["-64"]),
    ("hidden_size", "64.5", ["64.5", "whole"]),
    ("hidden_size", "\"64\"", ["\"64\"", "whole"]),
    ("hidden_size", "1e30", ["1e+30"]),
    ("hidden_size", "99999999999", ["99999999999", "262144"]),
    ("hidden_size", "62", ["num_attention_heads", "4"]),
    ("num_hidden_layers", "1000000", ["4096"]),
    ("vocab_size", "9223372036854775807", ["16777216"]),
    ("max_position_embeddings", "0", ["0"]),
    ("num_key_value_heads", "3", ["3", "4", "divide"]),
    ("num_key_value_heads", "8", ["8", "4", "divide"]),
    ("num_key_value_heads", "0", ["0"]),
    ("head_dim", "63", ["63", "even"]),
    ("head_dim", "0", ["0"]),
    ("rms_norm_eps", "-1", ["-1"]),
    ("rms_norm_eps", "NaN", ["nan"]),
    ("rope_theta", "0", ["0"]),
    ("rope_theta", "Infinity", ["inf"]),
    ("hidden_act", "\"mish\"", ["\"mish\"", "silu", "relu"]),
    ("tie_word_embeddings", "1", ["true or false"]),
    ("sliding_window", "-5", ["-5"]),
    ("layer_types", "[\"full_attention\"]", ["1", "2", "num_hidden_layers"]),
    ("architectures", "\"x\"", ["list"]),
    ("eos_token_id", "-1", ["-1"]),
    ("eos_token_id", "[2, \"x\"]", ["\"x\""]),
    ("model_type", "7", ["7", "string"]),
  ]

  @Test(arguments: refused.indices)
  func `A field that holds what cannot be is refused with its numbers`(index: Int) {
    let example = Self.refused[index]
    let error = failure { () throws(CheckpointError) in
      try configuration([example.field: example.value])
    }
    #expect(isOneLine(error, naming: "config.json", example.field))
    let text = error?.description ?? ""
    for name in example.names { #expect(text.contains(name), "\(text)") }
  }

  @Test func `A head dimension that follows from odd sizes is refused`() {
    let error = failure { () throws(CheckpointError) in try configuration(["hidden_size": "12"]) }
    #expect(isOneLine(error, naming: "head_dim", "3", "even"))
  }

  @Test func `A file that is no JSON object is refused`() throws {
    let directory = try TemporaryDirectory()
    for text in ["", "[]", "{", "null", "\u{FEFF}{}"] {
      try directory.write(text, to: "config.json")
      let error = failure { () throws(CheckpointError) in
        try ModelConfiguration(file: directory.path(of: "config.json"))
      }
      #expect(isOneLine(error, naming: "config.json"))
    }
  }

  @Test func `An absent file is refused by name`() {
    let error = failure { () throws(CheckpointError) in try ModelConfiguration(file: "/no/config") }
    #expect(isOneLine(error, naming: "/no/config", "no such file"))
  }

  /// The fields of a GLM-4-9B-1M config.json, sizes apart.
  private func chatGLM(_ fields: [String: String] = [:]) throws -> ModelConfiguration {
    let directory = try TemporaryDirectory()
    var members = [
      "model_type": "\"chatglm\"", "num_layers": "2", "padded_vocab_size": "96",
      "hidden_size": "64", "ffn_hidden_size": "128", "kv_channels": "16", "seq_length": "1048576",
      "num_attention_heads": "4", "multi_query_attention": "true", "multi_query_group_num": "2",
      "layernorm_epsilon": "1.5625e-07", "add_bias_linear": "false", "add_qkv_bias": "true",
      "rope_ratio": "10000", "rmsnorm": "true", "eos_token_id": "[5, 6]",
    ]
    members.merge(fields) { $1 }
    let text = members.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ")
    try directory.write("{\(text)}", to: "config.json")
    return try ModelConfiguration(file: directory.path(of: "config.json"))
  }

  @Test func `The fields of GLM-4's own code are read under the names of transformers`() throws {
    let configuration = try chatGLM()
    #expect(configuration.numHiddenLayers == 2)
    #expect(configuration.vocabularySize == 96)
    #expect(configuration.intermediateSize == 128)
    #expect(configuration.headDimension == 16)
    #expect(configuration.maxPositionEmbeddings == 1_048_576)
    #expect(configuration.numKeyValueHeads == 2)
    #expect(configuration.rmsNormEpsilon == 1.5625e-07)
    #expect(configuration.attentionBias == true)
    #expect(configuration.mlpBias == false)
    #expect(configuration.ropeTheta == 1e8)
    #expect(configuration.endOfTextTokenIDs == [5, 6])
    #expect(try chatGLM(["multi_query_attention": "false"]).numKeyValueHeads == 4)
    #expect(throws: CheckpointError.self) { try chatGLM(["rmsnorm": "false"]) }
    #expect(throws: CheckpointError.self) { try chatGLM(["rope_ratio": "\"x\""]) }
  }

  @Test func `Dual chunk attention is read with its budgets`() throws {
    let budgets =
      #"{"0": ["vertical_and_slash", 30, 800, 0.9], "1": ["vertical_and_slash", 7, 5, 1]}"#
    func read(_ text: String) throws -> DualChunkConfiguration? {
      try configuration(["num_attention_heads": "2", "dual_chunk_attention_config": text])
        .dualChunkAttention
    }
    #expect(try configuration().dualChunkAttention == nil)
    let defaults = try #require(try read("{}"))
    #expect(defaults.chunkSize == 8192 && defaults.localSize == 1024 && defaults.stride == 7168)
    #expect(defaults.originalMaxPositionEmbeddings == nil && defaults.sparseAttention == nil)
    let given = try #require(
      try read(
        #"{"chunk_size": 262144, "local_size": 8192, "original_max_position_embeddings": 262144, "#
          + "\"sparse_attention_config\": [\(budgets), \(budgets)]}"))
    #expect(given.stride == 253_952)
    #expect(given.originalMaxPositionEmbeddings == 262_144)
    let row = [
      DualChunkConfiguration.Budget(vertical: 130, slash: 800), .init(vertical: 7, slash: 5),
    ]
    #expect(given.sparseAttention == [row, row])
    #expect(
      try read("{\"sparse_attention_enabled\": false, \"sparse_attention_config\": [\(budgets)]}")?
        .sparseAttention == nil)
    for text in [
      #"{"chunk_size": 64, "local_size": 64}"#, #"{"sparse_attention_last_q": 32}"#,
      "{\"sparse_attention_config\": [\(budgets)]}",
      #"{"sparse_attention_config": [{"0": ["dense", 1, 1]}, {}]}"#, "[]",
    ] {
      #expect(throws: CheckpointError.self) { try read(text) }
    }
  }

  @Test(
    "Budgets beside dual chunk attention are Qwen's; those of other publishers are refused by name")
  func budgetsOfPublishers() throws {
    let list = #"[{"0": ["vertical_and_slash", 7, 5, 1], "1": ["vertical_and_slash", 8, 6, 1]}]"#
    let fields = [
      "num_attention_heads": "2", "num_hidden_layers": "1", "sparse_attention_config": list,
    ]
    #expect(try configuration(fields).dualChunkAttention == nil)
    let chunks = try configuration(fields.merging(["dual_chunk_attention_config": "{}"]) { $1 })
    #expect(
      chunks.dualChunkAttention?.sparseAttention
        == [[.init(vertical: 7, slash: 5), .init(vertical: 8, slash: 6)]])
    for (text, publisher) in [
      (#"{"threshold_scale_factor": {"formula": "a * exp(b)"}}"#, "NVIDIA"),
      (#"{"config_groups": {}}"#, "NVIDIA"), (#"{"index_topk": 16}"#, "MiniMax"),
      (#"{"block_size": 128}"#, "MiniMax"), (#"{"kind": 1}"#, "not known"),
    ] {
      let error = #expect(throws: CheckpointError.self) {
        try configuration(["sparse_attention_config": text])
      }
      #expect("\(try #require(error))".contains(publisher))
    }
  }

  @Test("Experts are read with what each model type calls them")
  func experts() throws {
    #expect(try configuration().experts == nil)
    let qwen = [
      "num_experts": "8", "num_experts_per_tok": "2", "moe_intermediate_size": "24",
      "norm_topk_prob": "true", "mlp_only_layers": "[1]", "decoder_sparse_step": "2",
    ]
    let experts = try #require(try configuration(qwen).experts)
    #expect(experts.count == 8 && experts.perToken == 2 && experts.intermediateSize == 24)
    #expect(experts.normalizesWeights == true && experts.denseLayers == [1])
    #expect(experts.layerStep == 2 && experts.sharedCount == nil)
    let glm = [
      "n_routed_experts": "8", "num_experts_per_tok": "2", "moe_intermediate_size": "24",
      "n_group": "4", "topk_group": "2", "n_shared_experts": "1", "routed_scaling_factor": "2.5",
      "first_k_dense_replace": "1", "use_qk_norm": "true",
    ]
    let grouped = try #require(try configuration(glm).experts)
    #expect(grouped.groups == 4 && grouped.chosenGroups == 2 && grouped.scaling == 2.5)
    #expect(grouped.leadingDenseLayers == 1 && grouped.normalizesHeads == true)
    for wrong in [
      ["num_experts_per_tok": "9"], ["num_experts": "100000"], ["moe_intermediate_size": "0"],
    ] {
      #expect(throws: CheckpointError.self) { try configuration(qwen.merging(wrong) { $1 }) }
    }
    for wrong in [["n_group": "3"], ["topk_group": "5"], ["topk_group": "1", "n_group": "8"]] {
      #expect(throws: CheckpointError.self) { try configuration(glm.merging(wrong) { $1 }) }
    }
    // Without a number that decides there is nothing to run; the family says so.
    var some = qwen
    some["num_experts_per_tok"] = nil
    #expect(try configuration(some).experts == nil)
  }
}
