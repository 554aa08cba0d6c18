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
