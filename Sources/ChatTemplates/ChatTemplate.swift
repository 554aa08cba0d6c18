/// A chat template: Jinja as Hugging Face's `transformers` sets it up, and renders it.
///
/// The language is Jinja 3.1 with `trim_blocks`, `lstrip_blocks`, loop controls, the tag
/// `generation`, and without escaping: all statements that need no other template, macros, call,
/// set and filter blocks, all operators, the filters but `pprint`, `random`, `striptags`, `urlize`
/// and `wordwrap`, the tests, Python's methods of texts, lists and objects that change nothing (a
/// template cannot change a value, as in Jinja's immutable sandbox), `range`, `dict`, `namespace`,
/// `cycler`, `joiner`, `raise_exception`, `strftime_now`. Whole numbers have 64 bits. What is wrong
/// in a branch that is not taken is not found, unless it is not well formed.
///
/// A template is part of an untrusted checkpoint: the work, the memory and the nesting of one
/// rendering are limited, and an error is one short printable line.
public struct ChatTemplate: Sendable {
  private let statements: [TemplateStatement]
  /// The name of the template in errors.
  public let name: String

  /// Reads a template.
  ///
  /// - Parameter name: its file, for errors.
  /// - Throws: `ChatTemplateError` naming the line.
  public init(source: String, name: String = "chat template") throws(ChatTemplateError) {
    self.name = name
    do throws(ChatTemplateError) {
      statements = try RenderingThread.run { () throws(ChatTemplateError) in
        try TemplateParser.statements(of: source)
      }
    } catch {
      throw error.named(name)
    }
  }

  /// Renders a conversation.
  ///
  /// - Parameters:
  ///   - messages: the conversation; the content strings of the result are marked as content.
  ///   - addGenerationPrompt: whether the beginning of the assistant's next turn is added.
  ///   - beginningOfTextToken: the text of the BOS token, empty for the template where nil.
  ///   - endOfTextToken: the text of the EOS token, likewise.
  ///   - variables: further variables, such as `tools` or `enable_thinking`.
  ///   - currentTime: seconds since 1970 for `strftime_now`; now, if nil.
  /// - Returns: stretches of alternating origin; their texts joined are what Hugging Face renders.
  /// - Throws: `ChatTemplateError`, of kind `.raised` when the template refuses the conversation,
  ///   and of kind `.exhausted` when it takes more than one rendering may.
  public func render(
    messages: [ChatMessage], addGenerationPrompt: Bool, beginningOfTextToken: String? = nil,
    endOfTextToken: String? = nil, variables: [String: ChatTemplateValue] = [:],
    currentTime: Int? = nil
  ) throws(ChatTemplateError) -> [ChatSegment] {
    do throws(ChatTemplateError) {
      return try RenderingThread.run { () throws(ChatTemplateError) in
        var size = 0
        for message in messages { size += message.content.utf8.count + 256 }
        let budget = TemplateBudget(inputBytes: size)
        defer { budget.release() }
        var values: [String: TemplateValue] = [
          "messages": try Self.value(of: messages, budget),
          "add_generation_prompt": .bool(addGenerationPrompt), "tools": .none, "documents": .none,
        ]
        if let beginningOfTextToken { values["bos_token"] = .string(beginningOfTextToken) }
        if let endOfTextToken { values["eos_token"] = .string(endOfTextToken) }
        for (name, value) in variables { values[name] = try TemplateValue(value, budget) }
        let evaluator = TemplateEvaluator(
          variables: values, currentTime: currentTime ?? LocalTime.now, budget: budget)
        _ = try evaluator.run(statements)
        return Self.segments(of: evaluator.output)
      }
    } catch {
      throw error.named(name)
    }
  }

  private static func segments(of text: TemplateText) -> [ChatSegment] {
    var start = 0
    var segments: [ChatSegment] = []
    for stretch in text.stretches {
      segments.append(
        ChatSegment(
          text: String(decoding: text.bytes[start..<stretch.end], as: UTF8.self),
          isContent: stretch.isContent))
      start = stretch.end
    }
    return segments
  }

  private static func value(
    of messages: [ChatMessage], _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    var values: [TemplateValue] = []
    for message in messages {
      var builder = TemplateDictionary.Builder()
      try builder.set(.string("role"), to: .string(message.role), budget)
      try builder.set(
        .string("content"), to: .text(TemplateText(message.content, isContent: true)), budget)
      for member in message.members {
        try builder.set(
          .string(member.key), to: TemplateValue(member.value, budget), budget)
      }
      values.append(.dictionary(try builder.dictionary(budget)))
    }
    return try .list(values, budget)
  }
}
