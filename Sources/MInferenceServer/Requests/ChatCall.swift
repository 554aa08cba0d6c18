import JSON
import MInference

/// A conversation to be answered, in no endpoint's words.
struct ChatCall: Sendable {
  var messages: [ChatMessage] = []
  var tools = Tools()
  /// Variables of the template, such as `enable_thinking`.
  var variables: [String: ChatTemplateValue] = [:]
  var sampling: SamplingOptions?
  var maximumTokens: Int?
  var stopStrings: [String] = []
  var logProbabilities: Int?
  var attention: AttentionOptions?
  var monitor: RecallMonitor?
  var format = ResponseFormat.text
  var ignoresEndOfText = false

  /// The fields that chat completions and their relatives share.
  init(
    common fields: RequestFields, model: ServedModel
  ) throws(APIError) {
    sampling = try fields.sampling(of: model.model)
    attention = try fields.attention(model.engine.options.session.attention)
    if let monitor = fields["monitor"] {
      guard case .boolean(let isOn) = monitor else {
        throw fields.wrong("monitor", monitor, "true or false")
      }
      if isOn { self.monitor = RecallMonitor() }
    }
    ignoresEndOfText = try fields.bool("ignore_eos") ?? false
    if let given = try fields.object("chat_template_kwargs"),
      case .object(let members) = given.value
    {
      for member in members { variables[member.key] = ChatTemplateValue(member.value) }
    }
    if let effort = try fields.text("reasoning_effort") {
      variables["reasoning_effort"] = .string(effort)
      if effort == "none" || effort == "minimal" { variables["enable_thinking"] = .bool(false) }
    }
    if let count = try fields.int("n", in: 1...Int.max), count != 1 {
      throw .invalid("n is \(count): one answer a request is made; send n requests", parameter: "n")
    }
  }

  /// The prompt and how it is answered.
  func request(for model: ServedModel, limit: Int?) throws -> (AnswerRequest, OutputParser) {
    var ids = try encode(for: model, limit: limit)
    // What the answer is held to is its text: nothing is thought before it, and it has no channels.
    if model.harmony != nil, isConstrained {
      ids += model.model.tokenizer.encode(Self.harmonyFinalHeader)
    }
    var request = AnswerRequest(
      prompt: ids, attention: attention, monitor: monitor, sampling: sampling,
      maximumTokens: maximumTokens, stopStrings: stopStrings,
      logProbabilities: logProbabilities)
    request.ignoresEndOfText = ignoresEndOfText
    request.constraint = try format.constraint(
      for: model, tools: tools,
      maximumTokens: min(
        maximumTokens ?? model.engine.options.answerTokens,
        model.model.contextLength - ids.count))
    if let harmony = model.harmony, request.constraint == nil {
      request.expectHarmony(harmony, model.model.tokenizer)
      return (
        request,
        OutputParser(
          harmony, readsToolCalls: tools.areOffered, makeID: { Identifier.make("call") })
      )
    }
    // Some templates begin the answer's reasoning themselves.
    let end = model.model.tokenizer.decode(ids.suffix(8), skipSpecialTokens: false)
    let trimmed = end.utf8.reversed().drop { $0 == 0x20 || (9...13).contains($0) }
    let isThinking = trimmed.starts(with: "<think>".utf8.reversed())
    return (
      request,
      OutputParser(
        beginsInReasoning: isThinking && request.constraint == nil,
        readsToolCalls: tools.areOffered, makeID: { Identifier.make("call") })
    )
  }

  private static let harmonyFinalHeader = "<|channel|>final<|message|>"

  /// Whether the answer is held to a grammar.
  private var isConstrained: Bool {
    if case .json = format { return true }
    return tools.demanded != nil
  }

  /// The ids of the conversation in the model's chat form.
  func encode(for model: ServedModel, limit: Int?) throws -> [Int32] {
    let (messages, options) = try conversation(for: model)
    let ids = try model.model.encode(.chat(messages), chat: options)
    try Self.check(ids, limit: limit)
    return ids
  }

  /// The text of the conversation in the model's chat form.
  func text(for model: ServedModel) throws -> String {
    let (messages, options) = try conversation(for: model)
    return try model.model.text(of: messages, chat: options)
  }

  /// Messages and options as the model's template takes them.
  private func conversation(
    for model: ServedModel
  ) throws -> (messages: [ChatMessage], options: ChatOptions) {
    guard model.model.hasChatTemplate else {
      throw APIError.invalid(
        "the model \(model.name) has no chat template; use /v1/completions", parameter: "model")
    }
    var messages = messages
    var options = ChatOptions(variables: variables)
    if model.harmony != nil {
      messages = HarmonyMessages.adapt(messages)
      options.variables = HarmonyMessages.adapt(variables)
    }
    if tools.areOffered {
      if model.templateKnowsTools {
        options.tools = tools.templateValues
      } else if let first = messages.first, first.role == "system" {
        messages[0].content = first.content + "\n\n" + tools.instructions
      } else {
        messages.insert(ChatMessage(role: "system", content: tools.instructions), at: 0)
      }
    }
    return (messages, options)
  }

  static func check(_ ids: [Int32], limit: Int?) throws(APIError) {
    guard let limit, ids.count > limit else { return }
    throw .invalid(
      "the prompt has \(ids.count) tokens and this server takes \(limit); shorten it",
      parameter: "messages", code: "context_length_exceeded")
  }
}
