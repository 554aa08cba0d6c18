public import ChatTemplates

/// What a model is asked.
public enum Prompt: Sendable, Equatable {
  /// Messages in the model's chat form, ending where the assistant begins to answer. A special
  /// token that is spelled out in a message stays text.
  case chat([ChatMessage])
  /// The text as it stands. Special tokens in it count, as in Hugging Face's tokenizers; a
  /// beginning-of-text token comes from the tokenizer's own settings.
  case raw(String)
  case tokens([Int32])

  /// One question or instruction of a user, in chat form.
  public static func user(_ text: String) -> Prompt {
    .chat([ChatMessage(role: "user", content: text)])
  }
}
