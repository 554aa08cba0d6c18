package import MInference

/// A conversation as the chat template of harmony models takes it.
///
/// The template knows one instruction, in front of all others; reads what the model thought from `thinking`, and
/// refuses it beside content where there is a call; and renders the first call of a message alone, whose
/// name it gives to the results that follow. Source: openai/gpt-oss-120b, `chat_template.jinja`.
package enum HarmonyMessages {
  package static func adapt(_ messages: [ChatMessage]) -> [ChatMessage] {
    var instructions: [String] = []
    var result: [ChatMessage] = []
    var index = 0
    while index < messages.count {
      var message = messages[index]
      index += 1
      switch message.role {
      case "system", "developer":
        if !message.content.isEmpty { instructions.append(message.content) }
      case "function":
        message.role = "tool"
        result.append(message)
      case "assistant":
        moveReasoning(of: &message)
        guard let calls = message.calls, calls.count > 1 else {
          result.append(message)
          continue
        }
        // Every call in a message of its own, with its results behind it.
        var results = Array(messages[index...].prefix { $0.role == "tool" })
        index += results.count
        for (number, call) in calls.enumerated() {
          var part = number == 0 ? message : ChatMessage(role: "assistant", content: "")
          part.members.removeAll { $0.key == "tool_calls" }
          part.members.append(.init("tool_calls", .list([call])))
          result.append(part)
          guard let own = results.firstIndex(where: { $0.callID == call["id"] }) else { continue }
          result.append(results.remove(at: own))
        }
        result += results
      default: result.append(message)
      }
    }
    if !instructions.isEmpty {
      result.insert(
        ChatMessage(role: "system", content: instructions.joined(separator: "\n\n")), at: 0)
    }
    return result
  }

  private static func moveReasoning(of message: inout ChatMessage) {
    guard let index = message.members.firstIndex(where: { $0.key == "reasoning_content" }),
      case .string(var thinking) = message.members.remove(at: index).value
    else { return }
    if message.calls != nil, !message.content.isEmpty {
      thinking += thinking.isEmpty ? message.content : "\n\n" + message.content
      message.content = ""
    }
    message.members.append(.init("thinking", .string(thinking)))
  }

  /// The template's variables: `reasoning_effort` is low, medium or high.
  package static func adapt(
    _ variables: [String: ChatTemplateValue]
  ) -> [String: ChatTemplateValue] {
    var variables = variables
    if [.string("none"), .string("minimal")].contains(variables["reasoning_effort"]) {
      variables["reasoning_effort"] = .string("low")
    }
    return variables
  }
}

extension ChatMessage {
  /// The calls of a message; nil where there are none.
  fileprivate var calls: [ChatTemplateValue]? {
    guard case .list(let calls)? = members.first(where: { $0.key == "tool_calls" })?.value,
      !calls.isEmpty
    else { return nil }
    return calls
  }

  /// The call that a result belongs to.
  fileprivate var callID: ChatTemplateValue? {
    members.first { $0.key == "tool_call_id" }?.value
  }
}

extension ChatTemplateValue {
  fileprivate subscript(key: String) -> ChatTemplateValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.key == key }?.value
  }
}
