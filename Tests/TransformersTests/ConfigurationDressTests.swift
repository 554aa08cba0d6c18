import Checkpoints
import JSON
import Testing
import Transformers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Configurations in the dresses of transformers 4 and 5, against what its classes make of them:
/// `Goldens/make-configuration-golden.py`.
@Suite struct ConfigurationDressTests {
  private static let lines: [JSONValue] = {
    let path =
      #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/") + "/Goldens/configurations.jsonl"
    let data = FileManager.default.contents(atPath: path) ?? Data()
    return data.split(separator: UInt8(ascii: "\n")).compactMap {
      try? JSONValue(parsing: Array($0))
    }
  }()

  @Test func `There are configurations of every class`() {
    #expect(Self.lines.count == 216)
  }

  @Test(arguments: 0..<216)
  func `A configuration means what transformers makes of it`(line: Int) throws {
    let config = try #require(Self.lines[line]["config"])
    let expect = try #require(Self.lines[line]["expect"])
    let configuration = try ModelConfiguration(json: config, file: "config.json")
    #expect(configuration.numKeyValueHeads == expect["num_key_value_heads"]?.int)
    #expect(configuration.headDimension == expect["head_dim"]?.int)
    #expect(configuration.rmsNormEpsilon == expect["rms_norm_eps"]?.double)
    #expect(.boolean(configuration.tieWordEmbeddings) == expect["tie_word_embeddings"])
    let rope = try #require(expect["rope"])
    #expect(configuration.ropeTheta == rope["rope_theta"]?.double)
    #expect(configuration.ropeScaling == scaling(rope, configuration))
    let checkpoint = try Checkpoint(shapeOf: configuration, named: "shape")
    #expect(
      try ModelDescription.slidingWindows(of: checkpoint)
        == expect["windows"]?.elements?.map(\.int))
    let byDefault = configuration.modelType.hasPrefix("glm") ? 0.5 : 1
    #expect(
      configuration.partialRotaryFactor ?? byDefault == rope["partial_rotary_factor"]?.double ?? 1)
  }

  /// The scaling that the parameters of transformers stand for.
  private func scaling(_ rope: JSONValue, _ configuration: ModelConfiguration) -> RopeScaling? {
    func number(_ name: String) -> Double? { rope[name]?.double }
    let original = rope["original_max_position_embeddings"]?.int ?? 0
    switch rope["rope_type"]?.text {
    case "default": return RopeScaling.none
    case "linear": return number("factor").map { .linear(factor: $0) }
    case "dynamic": return number("factor").map { .dynamic(factor: $0) }
    case "llama3":
      return .llama3(
        .init(
          factor: number("factor") ?? 0, lowFrequencyFactor: number("low_freq_factor") ?? 0,
          highFrequencyFactor: number("high_freq_factor") ?? 0,
          originalMaxPositionEmbeddings: original))
    case "yarn":
      return .yarn(
        .init(
          factor: number("factor") ?? 0, originalMaxPositionEmbeddings: original,
          betaFast: number("beta_fast") ?? 32, betaSlow: number("beta_slow") ?? 1,
          mscale: number("mscale"), mscaleAllDimensions: number("mscale_all_dim"),
          attentionFactor: number("attention_factor"),
          truncate: rope["truncate"] != .boolean(false)))
    case "longrope":
      func numbers(_ name: String) -> [Double] { rope[name]?.elements?.compactMap(\.double) ?? [] }
      return .longRope(
        .init(
          shortFactors: numbers("short_factor"), longFactors: numbers("long_factor"),
          originalMaxPositionEmbeddings: original,
          factor: Double(configuration.maxPositionEmbeddings) / Double(original)))
    default: return nil
    }
  }
}
