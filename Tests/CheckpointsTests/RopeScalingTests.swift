import Checkpoints
import Testing

@Suite struct RopeScalingTests {
  private func scaling(
    _ text: String, under field: String = "rope_scaling"
  ) throws(CheckpointError) -> RopeScaling {
    try configuration([field: text]).ropeScaling
  }

  @Test func `The kinds are read under both spellings of their name`() throws {
    for key in ["type", "rope_type"] {
      #expect(try scaling("{\"\(key)\": \"default\"}") == .none)
      #expect(try scaling("{\"\(key)\": \"linear\", \"factor\": 4}") == .linear(factor: 4))
      #expect(try scaling("{\"\(key)\": \"dynamic\", \"factor\": 2.5}") == .dynamic(factor: 2.5))
    }
    #expect(
      try scaling(#"{"type": "mrope", "rope_type": "linear", "factor": 2}"#) == .linear(factor: 2))
  }

  @Test func `Llama 3 takes its four numbers`() throws {
    let text =
      #"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,"#
      + #" "original_max_position_embeddings": 8192}"#
    #expect(
      try scaling(text)
        == .llama3(
          .init(
            factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4,
            originalMaxPositionEmbeddings: 8192)))
  }

  @Test func `YaRN's absent fields take the defaults of transformers`() throws {
    #expect(
      try scaling(#"{"type": "yarn", "factor": 4}"#)
        == .yarn(
          .init(
            factor: 4, originalMaxPositionEmbeddings: 256, betaFast: 32, betaSlow: 1, mscale: nil,
            mscaleAllDimensions: nil, attentionFactor: nil, truncate: true)))
    // Without a factor it is the ratio of the two lengths.
    guard
      case .yarn(let yarn) = try scaling(
        #"{"type": "yarn", "factor": null, "original_max_position_embeddings": 64}"#)
    else {
      Issue.record("not YaRN")
      return
    }
    #expect(yarn.factor == 4)
    #expect(yarn.originalMaxPositionEmbeddings == 64)
  }

  @Test func `YaRN takes all of its fields`() throws {
    let text =
      #"{"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,"#
      + #" "beta_fast": 16, "beta_slow": 2, "mscale": 0.707, "mscale_all_dim": 0.5,"#
      + #" "attention_factor": 1.25, "truncate": false}"#
    #expect(
      try scaling(text)
        == .yarn(
          .init(
            factor: 40, originalMaxPositionEmbeddings: 4096, betaFast: 16, betaSlow: 2,
            mscale: 0.707, mscaleAllDimensions: 0.5, attentionFactor: 1.25, truncate: false)))
  }

  @Test func `LongRoPE is read under its names, its factor from the two lengths`() throws {
    let lists = #""short_factor": [1, 1.5], "long_factor": [2, 30.25]"#
    for type in ["longrope", "su", "yarn"] {
      #expect(
        try scaling(
          "{\"type\": \"\(type)\", \"original_max_position_embeddings\": 64, \(lists)}")
          == .longRope(
            .init(
              shortFactors: [1, 1.5], longFactors: [2, 30.25], originalMaxPositionEmbeddings: 64,
              factor: 4, attentionFactor: nil)))
    }
  }

  @Test func `The rope parameters of transformers 5 are read, theta included`() throws {
    let text =
      #"{"rope_type": "linear", "factor": 2, "rope_theta": 500000, "partial_rotary_factor": 0.5}"#
    let configuration = try configuration(["rope_parameters": text, "rope_theta": "7"])
    #expect(configuration.ropeTheta == 500_000)
    #expect(configuration.partialRotaryFactor == 0.5)
    #expect(configuration.ropeScaling == .linear(factor: 2))
  }

  @Test func `The original length outside wins, and Phi-3 has one of its own`() throws {
    let lists = #""short_factor": [1, 1.5], "long_factor": [2, 30.25]"#
    func length(_ modelType: String, _ outside: String?) throws -> Int? {
      let configuration = try configuration([
        "model_type": modelType, "original_max_position_embeddings": outside,
        "rope_scaling":
          "{\"type\": \"longrope\", \"original_max_position_embeddings\": 64, \(lists)}",
      ])
      guard case .longRope(let longRope) = configuration.ropeScaling else { return nil }
      return longRope.originalMaxPositionEmbeddings
    }
    #expect(try length("\"phi3\"", "128") == 128)
    #expect(try length("\"phi3\"", nil) == 4096)
    #expect(try length("\"llama\"", "128") == 128)
    #expect(try length("\"llama\"", nil) == 64)
  }

  @Test func `A rope scaling that is not empty wins over rope parameters, theta included`() throws {
    let parameters = #"{"rope_type": "linear", "factor": 2, "rope_theta": 70000}"#
    func read(_ scaling: String) throws -> ModelConfiguration {
      try configuration([
        "rope_scaling": scaling, "rope_parameters": parameters, "rope_theta": "9000",
      ])
    }
    #expect(try read("{}").ropeTheta == 70_000)
    #expect(try read("null").ropeScaling == .linear(factor: 2))
    let given = try read(#"{"rope_type": "dynamic", "factor": 4, "rope_theta": 5000000.0}"#)
    #expect(given.ropeTheta == 5_000_000 && given.ropeScaling == .dynamic(factor: 4))
    #expect(try read(#"{"type": "dynamic", "factor": 4}"#).ropeTheta == 9000)
    #expect(try read(#"{"rope_theta": 5000000.0}"#).ropeTheta == 5_000_000)
  }

  static let refused: [(text: String, names: [String])] = [
    (#"{"rope_type": "spiral"}"#, ["rope_type", "\"spiral\"", "llama3", "yarn"]),
    (#"{"type": "mrope"}"#, ["rope_scaling.type", "\"mrope\"", "dynamic"]),
    (#"{"rope_type": "longrope"}"#, ["short_factor", "missing"]),
    (
      #"{"type": "su", "original_max_position_embeddings": 8, "short_factor": [1]}"#,
      ["long_factor", "missing"]
    ),
    (
      #"{"type": "su", "original_max_position_embeddings": 8, "short_factor": [1], "#
        + #""long_factor": [1, 2]}"#, ["long_factor", "2", "short_factor", "1"]
    ),
    (
      #"{"type": "su", "original_max_position_embeddings": 8, "short_factor": [0]}"#,
      ["short_factor", "0"]
    ),
    (#"{"type": 3}"#, ["type", "3"]),
    (#"{"type": "linear"}"#, ["factor", "missing"]),
    (#"{"type": "dynamic", "factor": 0}"#, ["factor", "0"]),
    (#"{"type": "linear", "factor": -2}"#, ["factor", "-2"]),
    (#"{"type": "linear", "factor": NaN}"#, ["factor", "nan"]),
    (#"{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1}"#, ["high_freq_factor"]),
    (
      #"{"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}"#,
      ["low_freq_factor", "4.0", "less than"]
    ),
    (#"{"type": "yarn", "original_max_position_embeddings": 0}"#, ["original", "0"]),
    (#"{"full_attention": {"rope_type": "default"}}"#, ["full_attention", "not supported"]),
    ("[]", ["rope_scaling", "object"]),
  ]

  @Test(arguments: refused.indices)
  func `Scaling that cannot be is refused with field and numbers`(index: Int) {
    let example = Self.refused[index]
    let error = failure { () throws(CheckpointError) in try scaling(example.text) }
    #expect(isOneLine(error, naming: "config.json"))
    let text = error?.description ?? ""
    for name in example.names { #expect(text.contains(name), "\(text)") }
  }
}
