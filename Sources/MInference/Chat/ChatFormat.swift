import ChatTemplates
import Tokenizers

/// A checkpoint's chat template, and what it makes of a conversation.
struct ChatFormat {
  private let template: ChatTemplate
  private let configuration: TokenizerConfiguration
  private let variables: [String: ChatTemplateValue]

  /// - Parameters:
  ///   - given: A template in place of the checkpoint's.
  ///   - options: Which of the checkpoint's templates, and what it is told.
  /// - Throws: ``LanguageModelError/noChatTemplate(file:)``,
  ///   ``LanguageModelError/unknownChatTemplate(name:known:file:)``, or `ChatTemplateError` for a
  ///   template that cannot be read.
  init(
    _ tokenizer: Tokenizer, _ given: ChatTemplate? = nil, _ options: ChatOptions = ChatOptions()
  ) throws {
    configuration = tokenizer.configuration
    variables = options.templateVariables
    if let given {
      template = given
      return
    }
    let (named, files) = (
      configuration.namedChatTemplates, configuration.namedChatTemplateFiles
    )
    guard configuration.chatTemplate != nil || !named.isEmpty else {
      throw LanguageModelError.noChatTemplate(file: tokenizer.path)
    }
    let usesTools = !options.tools.isEmpty && named["tool_use"] != nil
    let name = options.templateName ?? (usesTools ? "tool_use" : nil)
    let isDefault = name == nil || name == "default"
    let byDefault = isDefault ? configuration.chatTemplate : nil
    let source = name.flatMap { named[$0] } ?? byDefault
    let file =
      name.flatMap { files[$0] } ?? configuration.chatTemplateFile
    guard let source else {
      throw LanguageModelError.unknownChatTemplate(
        name: name, known: named.keys.sorted(), file: tokenizer.path)
    }
    template = try ChatTemplate(source: source, name: file ?? tokenizer.path)
  }

  /// The messages, and the beginning of the assistant's answer.
  func segments(_ messages: [ChatMessage]) throws -> [TextSegment] {
    try render(messages).map(\.textSegment)
  }

  /// What follows an answer that the model has just given: the end of its turn, a user's message,
  /// and the beginning of the next answer.
  func continuation(_ message: String) throws -> [TextSegment] {
    // The template alone knows how a turn ends, so it is shown a conversation that has one.
    let answer = "answer"
    let segments = try render([
      ChatMessage(role: "user", content: "question"),
      ChatMessage(role: "assistant", content: answer),
      ChatMessage(role: "user", content: message),
    ])
    guard let end = segments.firstIndex(where: { $0.isContent && $0.text == answer }) else {
      throw LanguageModelError.noFollowUp(template: template.name)
    }
    return segments[(end + 1)...].map(\.textSegment)
  }

  private func render(_ messages: [ChatMessage]) throws -> [ChatSegment] {
    try template.render(
      messages: messages, addGenerationPrompt: true,
      beginningOfTextToken: configuration.beginningOfTextToken,
      endOfTextToken: configuration.endOfTextToken, variables: variables)
  }
}

extension ChatSegment {
  /// The segment as `Tokenizer.encode` takes it: control tokens count in the template's own text
  /// alone.
  var textSegment: TextSegment {
    TextSegment(text, specialTokens: isContent ? .asText : .recognise)
  }
}

extension ChatTemplate {
  /// Reads a file with a template.
  ///
  /// - Throws: `TokenizerError` for a file that cannot be read, `ChatTemplateError` naming the line.
  init(contentsOfFile path: String) throws {
    let bytes = try FileContents.utf8(of: path)
    try self.init(source: String(decoding: bytes, as: UTF8.self), name: path)
  }
}
