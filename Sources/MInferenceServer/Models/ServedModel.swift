import HTTPTypes
import JSON
public import MInference
import Synchronization

/// A model that clients can ask for, by its name.
public struct ServedModel: Sendable {
  public let name: String
  public let engine: Engine
  /// Seconds since 1970 at which it was loaded.
  public let created: Int

  /// The control tokens of the harmony format; nil for a model that does not answer in it.
  let harmony: HarmonyMarkers?

  private let vocabulary = LazySpelling()

  var model: LanguageModel { engine.model }

  /// What the ids spell. Made when it is first asked for.
  var spelling: TokenSpelling { vocabulary.spelling(of: model) }

  /// - Parameter name: nil for the last part of the model's path.
  public init(name: String? = nil, engine: Engine, created: Int) {
    self.name = name ?? Self.name(of: engine.model.directory)
    self.engine = engine
    self.created = created
    harmony = engine.model.harmony
  }

  /// "minference-tiny" of "Models/minference-tiny/".
  static func name(of path: String) -> String {
    let last = path.split(separator: "/").last.map(String.init) ?? path
    return last.lowercased().hasSuffix(".gguf") ? String(last.dropLast(5)) : last
  }

  /// Whether a chat template knows tools; else the server describes them to the model itself.
  var templateKnowsTools: Bool {
    let configuration = model.tokenizer.configuration
    return configuration.namedChatTemplates["tool_use"] != nil
      || (configuration.chatTemplate?.contains("tools") ?? false)
  }
}

/// The models of a server.
struct ServedModels: Sendable {
  let all: [ServedModel]

  /// The model that a request names. Where there is one alone, it answers whatever name is given, since
  /// clients come with names of their own.
  func model(named name: String?) throws(APIError) -> ServedModel {
    if let found = all.first(where: { $0.name == name }) { return found }
    if all.count == 1 || name == nil, let only = all.first { return only }
    let known = all.map(\.name).joined(separator: ", ")
    throw APIError(
      .notFound, "invalid_request_error",
      "the model \"\((name ?? "").prefix(100))\" is not served here; known are \(known)",
      code: "model_not_found", parameter: "model")
  }
}

/// A vocabulary's bytes, once somebody wants them.
private final class LazySpelling: Sendable {
  private let made = Mutex<TokenSpelling?>(nil)

  func spelling(of model: LanguageModel) -> TokenSpelling {
    made.withLock { made in
      if let made { return made }
      let spelling = TokenSpelling(
        model.tokenizer, count: model.transformer.vocabularySize)
      made = spelling
      return spelling
    }
  }
}
