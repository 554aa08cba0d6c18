/// What an answer consists of, in order, in no endpoint's words.
package enum OutputPiece: Sendable {
  case progress(PromptProgress)
  /// Text of the answer, with the tokens that led to it where their log-probabilities are wanted.
  case text(String, [AnswerToken])
  /// Text that the model thinks before its answer.
  case reasoning(String)
  /// A call begins.
  case toolCall(index: Int, id: String, name: String)
  /// More of the JSON text of a call's arguments.
  case toolArguments(index: Int, String)
  case end(OutputEnd)
}

/// How an answer ended.
package struct OutputEnd: Sendable {
  package var reason: Reason
  package var summary: AnswerSummary
  /// Tokens of the answer that were reasoning.
  package var reasoningTokens: Int

  package enum Reason: String, Sendable {
    case stop
    case length
    case toolCalls = "tool_calls"
  }

  /// The stop string that was met; nil where there was none.
  package var stopString: String? {
    if case .stopString(let text) = summary.finish { text } else { nil }
  }
}

/// A whole answer.
package struct CollectedOutput: Sendable {
  package var text = ""
  package var tokens: [AnswerToken] = []
  package var reasoning = ""
  package var toolCalls: [ToolCall] = []
  package var end: OutputEnd?

  package struct ToolCall: Sendable, Equatable {
    package var id: String
    package var name: String
    package var arguments: String

    package init(id: String, name: String, arguments: String) {
      self.id = id
      self.name = name
      self.arguments = arguments
    }
  }

  package init() {}

  package mutating func add(_ piece: OutputPiece) {
    switch piece {
    case .progress: break
    case .text(let more, let tokens):
      text += more
      self.tokens += tokens
    case .reasoning(let more): reasoning += more
    case .toolCall(_, let id, let name):
      toolCalls.append(ToolCall(id: id, name: name, arguments: ""))
    case .toolArguments(let index, let more):
      if toolCalls.indices.contains(index) { toolCalls[index].arguments += more }
    case .end(let end): self.end = end
    }
  }
}
