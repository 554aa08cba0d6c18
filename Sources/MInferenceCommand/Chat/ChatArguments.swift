import ArgumentParser
import MInference
import TextReports

/// Whether `generate` holds a conversation, and how long it may get.
struct ChatArguments: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Talk over a long document: questions are lines of standard input, /help lists commands."))
  var chat = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens that the conversation has room for; those of --prompt-file and 32K more if not "
        + "given, within the model's context.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var context: Size?

  /// Room that a conversation gets where none is asked for.
  static let room = 32768

  func validate() throws {
    if context != nil, !chat {
      throw ValidationError("--context is of no use without --chat; add it")
    }
  }

  /// The session's capacity for a conversation that begins with so many tokens.
  func capacity(beginningWith tokens: Int, of model: LanguageModel) throws -> Int {
    if let context, context.value > model.contextLength {
      throw CommandFailure(
        .usage,
        "--context: \(Quantity.grouped(context.value)) is more than the model's context, "
          + "\(Quantity.grouped(model.contextLength)); "
          + "give that or less")
    }
    return context?.value ?? min(model.contextLength, tokens + Self.room)
  }
}
