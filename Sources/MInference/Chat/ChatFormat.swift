import Tokenizers

/// How a model marks the turns of a conversation.
///
/// The form is recognised by the control tokens in the checkpoint's chat template.
enum ChatFormat: Sendable {
  /// `<|im_start|>role`, content, `<|im_end|>`.
  case chatML

  /// Throws ``LanguageModelError/noChatFormat(file:)`` for a template of another form, or none.
  init(_ tokenizer: Tokenizer) throws {
    let template = tokenizer.configuration.chatTemplate ?? ""
    guard template.contains("<|im_start|>"), tokenizer.id(ofToken: "<|im_start|>") != nil,
      tokenizer.id(ofToken: "<|im_end|>") != nil
    else {
      throw LanguageModelError.noChatFormat(
        file: tokenizer.configuration.chatTemplateFile ?? tokenizer.path)
    }
    self = .chatML
  }

  /// The messages, and the beginning of the assistant's answer. Control tokens count only where the
  /// form puts them.
  func segments(_ messages: [ChatMessage]) -> [TextSegment] {
    messages.flatMap { turn($0) } + openTurn
  }

  /// What follows an answer that the model has just given, up to where its next one begins.
  func continuation(_ messages: [ChatMessage]) -> [TextSegment] {
    [TextSegment("<|im_end|>\n", specialTokens: .recognise)] + segments(messages)
  }

  private func turn(_ message: ChatMessage) -> [TextSegment] {
    [
      TextSegment("<|im_start|>\(message.role.rawValue)\n", specialTokens: .recognise),
      TextSegment(message.content, specialTokens: .asText),
      TextSegment("<|im_end|>\n", specialTokens: .recognise),
    ]
  }

  private var openTurn: [TextSegment] {
    [TextSegment("<|im_start|>assistant\n", specialTokens: .recognise)]
  }
}
