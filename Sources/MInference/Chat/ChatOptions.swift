public import ChatTemplates

/// How a conversation is put in the model's chat form, beside its messages.
public struct ChatOptions: Sendable, Equatable {
  /// The name of one of the checkpoint's templates; nil for `tool_use` where there are tools and a
  /// template of that name, and for the default one otherwise.
  public var templateName: String?
  /// Functions that the model may call, each described by an object as `transformers` takes it.
  public var tools: [ChatTemplateValue]
  /// Further variables of the template, such as `enable_thinking`.
  public var variables: [String: ChatTemplateValue]

  public init(
    templateName: String? = nil, tools: [ChatTemplateValue] = [],
    variables: [String: ChatTemplateValue] = [:]
  ) {
    self.templateName = templateName
    self.tools = tools
    self.variables = variables
  }

  /// What the template sees of them.
  var templateVariables: [String: ChatTemplateValue] {
    tools.isEmpty ? variables : variables.merging(["tools": .list(tools)]) { _, tools in tools }
  }
}
