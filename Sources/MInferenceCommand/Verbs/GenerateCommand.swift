import TextReports
import ArgumentParser
import JSON
import MInference

/// `minference generate`: a prompt's answer.
struct GenerateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Reads a prompt and writes the model's answer.",
    discussion: """
      Example: minference generate --model DIR --prompt-file report.txt --question "What changed?"

      Example: minference generate --model ORG/NAME --chat --prompt-file report.txt
      """)

  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  @OptionGroup var chat: ChatArguments
  @OptionGroup var attention: AttentionArguments
  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var trace: TraceArguments

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of the answer at most; 512 if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var maxTokens: Size = Size(value: 512)

  @Flag(help: "Print one JSON object with the answer and all figures, and nothing else.")
  var json = false

  func validate() throws {
    guard chat.chat else { return try prompt.requirePrompt() }
    guard prompt.prompt == nil, prompt.source == nil, prompt.question == nil else {
      throw ValidationError(
        "--chat takes questions from standard input; of --prompt, --question and - leave out all")
    }
    guard !json else { throw ValidationError("--chat writes plain text; leave out --json") }
  }

  mutating func run() async throws {
    try await model.device.serveRank(
      directory: model.model, configuration: model.configuration)
    if chat.chat { return try await converse() }
    // What can be wrong with the prompt is found before the model is loaded.
    let text = try prompt.text()
    let form = try prompt.chatOptions()
    let (model, ids) = try await loaded(reading: text, form: form)
    // What the context leaves for the answer may be less than what was asked for.
    let session = try model.makeSession(
      capacity: ids.count + min(maxTokens.value, model.contextLength),
      options: attention.sessionOptions())

    try trace.begin(model)
    let progress = ProgressLine(
      label: "prefill", notices: attention.notices(for: model) + prompt.notices(for: model))
    try await session.prefill(ids) {
      progress.update(fraction: $0.fraction, totalTokens: $0.tokens)
    }
    progress.finish()
    if let plan = session.memoryPlan { StandardError.note("memory: \(plan)") }

    var (answer, reasoning) = ("", "")
    var writer = AnswerWriter()
    defer { writer.endThought() }
    let parts = session.generateParts(
      generationOptions(for: model), inChatForm: !prompt.raw && model.hasChatTemplate)
    for try await part in parts {
      switch part {
      case _ where !json: try writer.write(part)
      case .text(let text): answer += text
      case .reasoning(let text): reasoning += text
      }
    }
    try trace.write(model)
    session.metrics.notices.forEach(StandardError.note)
    let figures = GenerationFigures(session.metrics, attention: attention)
    if json {
      try StandardOutput.write(
        figures.json(text: answer, reasoning: reasoning).describingBuild(of: model).serialized()
          + "\n")
    } else {
      try writer.finish(endingLine: true)
      writer.notice.map(StandardError.note)
      StandardError.write(figures.line + "\n")
    }
    if attention.watching.monitor != nil, let report = session.metrics.prefill {
      StandardError.write(MonitorText.lines(report))
    }
  }

  /// The model and the prompt's ids. A prompt beyond the context of config.json is read with the further
  /// configuration of the checkpoint that has a longer one.
  private func loaded(
    reading text: String, form: ChatOptions
  ) async throws -> (model: LanguageModel, ids: [Int32]) {
    var arguments = self.model
    do {
      let model = try await attention.load(arguments, chatTemplate: prompt.chatTemplate)
      return (model, try prompt.encode(text, for: model, chat: form))
    } catch let failure as CommandFailure {
      guard case .promptTooLong(let tokens, let contextLength)? = failure.cause,
        arguments.configuration == nil,
        let longer = try longConfiguration(ofModelAt: arguments.model)
      else { throw failure }
      StandardError.note(
        "\(Quantity.grouped(tokens)) tokens are beyond the context of config.json, "
          + "\(Quantity.grouped(contextLength)): the model is loaded again with \(longer)")
      arguments.configuration = longer
    }
    // The first model is gone by now: two may not fit a device.
    let model = try await attention.load(arguments, chatTemplate: prompt.chatTemplate)
    return (model, try prompt.encode(text, for: model, chat: form))
  }

  private func generationOptions(for model: LanguageModel) -> GenerationOptions {
    GenerationOptions(
      maximumTokens: maxTokens.value, sampling: sampling.options(of: model),
      stopStrings: sampling.stop)
  }

  private func converse() async throws {
    let document = try prompt.promptFile.map { _ in try prompt.text() }
    let form = try prompt.chatOptions()
    let model = try await attention.load(self.model, chatTemplate: prompt.chatTemplate)
    var conversation = Conversation(model, raw: prompt.raw, form: form)
    var tokens = 0
    if let document {
      tokens = try prompt.encode(document, for: model, chat: form).count
      conversation.add(document: document)
    }
    let session = try model.makeSession(
      capacity: try chat.capacity(beginningWith: tokens, of: model),
      options: attention.sessionOptions())
    (attention.notices(for: model) + prompt.notices(for: model)).forEach(StandardError.note)
    var loop = ChatLoop(
      session: session, generation: generationOptions(for: model), attention: attention,
      conversation: conversation)
    try await loop.run()
  }
}
