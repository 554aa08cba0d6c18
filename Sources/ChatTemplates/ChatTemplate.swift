#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// One message of a conversation.
public struct ChatMessage: Sendable, Equatable {
  /// Who speaks: `system`, `user`, `assistant`, or whatever the template knows.
  public var role: String
  /// What is said.
  public var content: String
  /// Further members that the template may ask for, such as `tool_calls`.
  public var members: [ChatTemplateValue.Member]

  public init(role: String, content: String, members: [ChatTemplateValue.Member] = []) {
    self.role = role
    self.content = content
    self.members = members
  }
}

/// A stretch of a rendered conversation.
public struct ChatSegment: Sendable, Equatable {
  /// The text; never empty.
  public var text: String
  /// Whether it is from the content of a message, in which control tokens are only text.
  public var isContent: Bool
}

/// A chat template: the part of Jinja that chat models use, as Hugging Face renders it.
///
/// Supported are output, `if`, `for` with a filter and `else`, `set` and namespaces, all operators but `**`,
/// slices, the filters and tests of `TemplateEvaluator.filters` and `.tests`, the usual methods of texts and
/// objects, and `range`, `namespace`, `raise_exception`, `strftime_now`. Anything else is an error that names the
/// line and the construct, at reading or, for what depends on values, at rendering.
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
    do {
      statements = try TemplateParser.statements(of: source)
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
  /// - Throws: `ChatTemplateError`, of kind `.raised` when the template refuses the conversation.
  public func render(
    messages: [ChatMessage], addGenerationPrompt: Bool, beginningOfTextToken: String? = nil,
    endOfTextToken: String? = nil, variables: [String: ChatTemplateValue] = [:],
    currentTime: Int? = nil
  ) throws(ChatTemplateError) -> [ChatSegment] {
    var values: [String: TemplateValue] = [
      "messages": .list(messages.map(Self.value(of:))),
      "add_generation_prompt": .bool(addGenerationPrompt), "tools": .none, "documents": .none,
    ]
    if let beginningOfTextToken { values["bos_token"] = .string(beginningOfTextToken) }
    if let endOfTextToken { values["eos_token"] = .string(endOfTextToken) }
    for (name, value) in variables { values[name] = TemplateValue(value) }

    var evaluator = TemplateEvaluator(
      variables: values, currentTime: currentTime ?? Int(time(nil)))
    do {
      try evaluator.run(statements)
    } catch {
      throw error.named(name)
    }
    return evaluator.output.runs.map { run in
      ChatSegment(text: String(decoding: run.bytes, as: UTF8.self), isContent: run.isContent)
    }
  }

  private static func value(of message: ChatMessage) -> TemplateValue {
    var members: [(key: String, value: TemplateValue)] = [
      (key: "role", value: .string(message.role)),
      (key: "content", value: .text(TemplateText(message.content, isContent: true))),
    ]
    for member in message.members {
      members.append((key: member.key, value: TemplateValue(member.value)))
    }
    return .object(TemplateObject(members: members))
  }
}

extension ChatTemplateError {
  fileprivate func named(_ name: String) -> ChatTemplateError {
    var error = self
    error.template = name
    return error
  }
}
