import ArgumentParser
import MInference
struct AttentionArguments: ParsableArguments {
  var mode: AttentionOptions.Mode = .minference
  @Flag var monitor = false
  enum CodingKeys: CodingKey { case monitor }
  func load(_ m: ModelArguments) async throws -> LanguageModel {
    try await LanguageModel.load(directory: m.model, device: m.device.device)
  }
  func load(directory: String, device: DeviceArguments) async throws -> LanguageModel {
    try await LanguageModel.load(directory: directory, device: device.device)
  }
  func sessionOptions() -> SessionOptions { SessionOptions() }
  func modeName(for: LanguageModel) -> String { "minference" }
}
