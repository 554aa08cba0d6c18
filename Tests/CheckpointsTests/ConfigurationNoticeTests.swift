import Checkpoints
import Testing

/// Fields that contradict one another, or that nothing here understands.
@Suite struct ConfigurationNoticeTests {
  private func notices(_ fields: [String: String?]) throws -> [String] {
    try configuration(fields).notices
  }

  @Test func `A file of known fields is read without a word`() throws {
    #expect(
      try notices([
        "attention_dropout": "0.1", "use_cache": "true", "transformers_version": "\"5.24\"",
        "temperature": "0.7", "rope_theta": "5e5", "torch_dtype": "\"bfloat16\"",
        "rope_scaling": "{\"type\": \"linear\", \"factor\": 2}", "attention_bias": "false",
      ]) == [])
  }

  @Test func `A field that is not understood is named unless it says nothing`() throws {
    let named = try notices(["logits_scaling": "8.0", "attention_multiplier": "0.5"])
    #expect(named.count == 1)
    #expect(named[0].contains("config.json"))
    #expect(named[0].contains("logits_scaling") && named[0].contains("attention_multiplier"))
    for nothing in ["null", "false", "0", "0.0", "\"\"", "[]", "{}"] {
      #expect(try notices(["logits_scaling": nothing]) == [])
    }
  }

  @Test func `A field of another class is named too`() throws {
    #expect(try notices(["sliding_window": "64"]).count == 1)
    let mistral = ["model_type": "\"mistral\"", "num_key_value_heads": "2"] as [String: String?]
    #expect(try notices(mistral.merging(["sliding_window": "64"]) { $1 }) == [])
    #expect(try notices(mistral.merging(["attention_bias": "true"]) { $1 }).count == 1)
  }

  @Test func `Fields of a model type that is not known here are not judged`() throws {
    #expect(try notices(["model_type": "\"novel\"", "anything": "1"]) == [])
  }

  @Test func `A name from the file cannot break the line, and many are counted`() throws {
    let notices = try notices(
      Dictionary(uniqueKeysWithValues: (0..<9).map { ("a\\n\\u001b\($0)", "1") }))
    #expect(notices.count == 1)
    #expect(notices[0].contains("and 3 more") && !notices[0].contains("\n"))
    #expect(!notices[0].contains("\u{1B}"))
  }

  @Test func `Contradictions of rotary fields say which side counts`() throws {
    let both = try notices([
      "rope_scaling": "{\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 5e5}",
      "rope_parameters": "{\"rope_type\": \"default\", \"rope_theta\": 7e4}", "rope_theta": "1e4",
    ])
    #expect(both.contains { $0.contains("rope_scaling stands beside rope_parameters and counts") })
    #expect(both.contains { $0.contains("rope_scaling.rope_theta is 500000.0 and counts") })
    #expect(
      try notices(["rope_scaling": "{\"rope_type\": \"default\", \"factor\": 2}"])[0]
        .contains("rope_scaling.factor is not used"))
  }

  @Test func `The window of Mistral is 4,096 when absent and none when null`() throws {
    let mistral = ["model_type": "\"mistral\"", "num_key_value_heads": "2"] as [String: String?]
    #expect(try configuration(mistral).slidingWindow == 4096)
    #expect(
      try configuration(mistral.merging(["sliding_window": "null"]) { $1 }).slidingWindow == nil)
  }

  @Test func `Numbers that JSON does not have are read as Python and transformers write them`()
    throws
  {
    #expect(try configuration(["initializer_range": "NaN"]).notices == [])
    #expect(try configuration(["rope_theta": "1", "rope_theta ": "NaN"]).ropeTheta == 1)
    for infinite in ["Infinity", "{\"__float__\": \"Infinity\"}", "{\"__float__\": \"NaN\"}"] {
      let error = failure { () throws(CheckpointError) in
        try configuration(["rope_theta": infinite])
      }
      #expect(isOneLine(error, naming: "rope_theta", "1.0"))
    }
  }
}
