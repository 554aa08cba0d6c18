package import Tokenizers

/// The control tokens of OpenAI's harmony format, by id.
///
/// Source: OpenAI, "OpenAI harmony response format", https://cookbook.openai.com/articles/openai-harmony.
package struct HarmonyMarkers: Sendable, Equatable {
  package enum Marker: String, Sendable, CaseIterable {
    case start = "<|start|>"
    case channel = "<|channel|>"
    case message = "<|message|>"
    case constrain = "<|constrain|>"
    case end = "<|end|>"
    case call = "<|call|>"
    case `return` = "<|return|>"
  }

  package let ids: [Int32: Marker]

  package init(ids: [Int32: Marker]) { self.ids = ids }

  /// The markers of a vocabulary; nil where one of them is missing.
  package init?(_ tokenizer: Tokenizer) {
    var ids: [Int32: Marker] = [:]
    for marker in Marker.allCases {
      guard let id = tokenizer.id(ofToken: marker.rawValue) else { return nil }
      ids[id] = marker
    }
    self.ids = ids
  }
}

extension LanguageModel {
  /// The control tokens of the harmony format; nil for a model that does not answer in it.
  package var harmony: HarmonyMarkers? {
    let isInTemplate = tokenizer.configuration.chatTemplate?.contains("<|channel|>") ?? true
    return isInTemplate ? HarmonyMarkers(tokenizer) : nil
  }
}
