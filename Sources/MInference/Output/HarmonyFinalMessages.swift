package import Tokenizers

/// Tells from the ids of an answer in the harmony format which of them are the text of a final message.
///
/// Stop strings are looked for there alone: not in what the model thinks, not in arguments of calls, and not in
/// markers and headers.
package struct HarmonyFinalMessages: Sendable {
  private let markers: HarmonyMarkers
  /// The channel's name; a format may follow it in a header.
  private let name: [Int32]
  /// What has come behind the last `<|channel|>` of the header; nil outside.
  private var channel: [Int32]?
  /// Whether the next id is text of a final message unless it is a marker.
  package private(set) var isInText = false

  package init(_ markers: HarmonyMarkers, _ tokenizer: Tokenizer) {
    self.markers = markers
    name = tokenizer.encode("final", addTemplate: false)
  }

  /// Takes the next id of the answer.
  ///
  /// - Returns: Whether it is text of a final message.
  package mutating func take(_ id: Int32) -> Bool {
    guard let marker = markers.ids[id] else {
      if let count = channel?.count, count < name.count { channel?.append(id) }
      return isInText
    }
    switch marker {
    case .channel: (channel, isInText) = ([], false)
    case .constrain: break
    case .message:
      if let found = channel { isInText = found == name }
      channel = nil
    case .start, .end, .call, .return: (channel, isInText) = (nil, false)
    }
    return false
  }
}

extension AnswerRequest {
  /// Asks for an answer that an ``OutputParser`` can tell apart: markers are shown, and stop strings are looked
  /// for in final messages alone.
  package mutating func expectHarmony(_ markers: HarmonyMarkers, _ tokenizer: Tokenizer) {
    showsControlTokens = true
    finalMessages = HarmonyFinalMessages(markers, tokenizer)
  }
}
