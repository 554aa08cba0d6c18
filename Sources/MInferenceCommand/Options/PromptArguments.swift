import ArgumentParser
import Files
import MInference

/// Where the prompt comes from.
struct PromptArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("A UTF-8 file with the prompt.", valueName: "file"), completion: .file())
  var promptFile: String?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("The prompt itself.", valueName: "text"))
  var prompt: String?

  @Argument(help: ArgumentHelp("- reads the prompt from standard input.", valueName: "-"))
  var source: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Appended to the prompt after a blank line.", valueName: "text"))
  var question: String?

  @Flag(help: "Take the prompt as it stands, special tokens included, without the chat form.")
  var raw = false

  @Option(
    help: ArgumentHelp(
      "A Jinja file in place of the checkpoint's chat template.", valueName: "file"),
    completion: .file())
  var chatTemplate: String?

  @Option(
    help: ArgumentHelp(
      "The name of one of the checkpoint's chat templates.", valueName: "name"))
  var chatTemplateName: String?

  @Option(
    help: ArgumentHelp(
      "A JSON file with a list of tools, which the chat template describes to the model.",
      valueName: "file"), completion: .file())
  var tools: String?

  func validate() throws {
    if chatTemplate != nil, chatTemplateName != nil {
      throw ValidationError("--chat-template and --chat-template-name exclude each other; give one")
    }
    if raw,
      let flag = [
        chatTemplateName.map { _ in "--chat-template-name" },
        tools.map { _ in "--tools" },
      ].compactMap({ $0 }).first
    {
      throw ValidationError("--raw uses no chat template; leave out \(flag)")
    }
    if raw, chatTemplate != nil {
      throw ValidationError("--raw uses no chat template; leave out --chat-template")
    }
    if let source, source != "-" {
      throw ValidationError(
        "\"\(source)\" is not expected; name a file with --prompt-file, or give - for standard input"
      )
    }
    for (flag, text) in [("--prompt", prompt), ("--question", question)] {
      guard !SystemPath.isRaw(text ?? "") else {
        throw ValidationError("\(flag): the text is not UTF-8; give it as UTF-8")
      }
    }
    let given = [promptFile != nil, prompt != nil, source != nil].count { $0 }
    guard given <= 1 else {
      throw ValidationError("--prompt-file, --prompt and - exclude one another; give one")
    }
  }

  /// Whether there is a prompt at all.
  var isGiven: Bool { promptFile != nil || prompt != nil || source != nil }

  /// Throws if no prompt was given.
  func requirePrompt() throws {
    guard isGiven else {
      throw ValidationError("there is no prompt; give --prompt-file FILE, --prompt TEXT or -")
    }
  }

  /// What messages call the prompt.
  var name: String { promptFile ?? (prompt == nil ? "standard input" : "--prompt") }

  /// The prompt's text with the question.
  func text() throws -> String {
    let text: String
    if let promptFile {
      text = try InputText.read(path: promptFile)
    } else {
      text = try prompt ?? InputText.readStandardInput()
    }
    guard !text.isEmpty else {
      throw CommandFailure(.inputData, "\(name): the prompt is empty; give it some text")
    }
    return question.map { text + "\n\n" + $0 } ?? text
  }

  /// Which chat template, and what it is told beside the messages.
  func chatOptions() throws -> ChatOptions {
    ChatOptions(
      templateName: chatTemplateName,
      tools: try tools.map { path in
        try ChatTemplateValue.tools(ofJSON: InputText.read(path: path), name: path)
      } ?? [])
  }

  /// What the user should know about the form of the prompt.
  func notices(for model: LanguageModel) -> [String] {
    raw || model.hasChatTemplate
      ? []
      : ["\(model.directory): has no chat template, so the prompt is taken as it stands (--raw)"]
  }

  /// The ids of a prompt with this text, in the form that was asked for.
  func encode(
    _ text: String, for model: LanguageModel, chat: ChatOptions = ChatOptions()
  ) throws -> [Int32] {
    do {
      return try PreparationLine.tokenizing(text.utf8.count) {
        try model.encode(raw || !model.hasChatTemplate ? .raw(text) : .user(text), chat: chat)
      }
    } catch let error as LanguageModelError {
      // The file or flag is known here alone.
      throw CommandFailure(
        ExitStatus(for: error) ?? .inputData, "\(name): \(ErrorText.of(error))",
        cause: error)
    }
  }
}
