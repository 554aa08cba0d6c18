import Checkpoints

/// One family of decoder models: how its config.json is understood, and its table of weight names.
///
/// Families differ in these two alone; the arithmetic is shared. To add one, write a file like
/// `Llama.swift` and name it in ``known``; the article "Adding a model" goes through it.
struct DecoderFamily: Sendable {
  /// The `model_type` of config.json.
  let modelType: String
  /// What the family makes of the fields of config.json.
  let configure: @Sendable (any WeightSource) throws -> DecoderConfiguration
  /// The names of its weights.
  let weights: WeightTable

  /// Every family that can be run.
  static let known: [DecoderFamily] = [
    .llama, .mistral, .qwen2, .qwen3, .qwen3MoE, .phi3, .glm, .glm4, .glm4MoE, .chatGLM, .seedOSS,
    .gptOSS,
  ]

  /// The family of a checkpoint. Throws ``TransformerError/unknownArchitecture``.
  static func of(_ checkpoint: any WeightSource) throws -> DecoderFamily {
    let modelType = checkpoint.configuration.modelType
    guard let family = known.first(where: { $0.modelType == modelType }) else {
      throw TransformerError.unknownArchitecture(
        directory: checkpoint.path, found: modelType, known: known.map(\.modelType))
    }
    return family
  }
}
