import JSON
import TemporaryCheckpoints
import Testing

/// `generate` with a model that answers in the channels of the harmony format.
@Suite(.serialized)
struct ChannelTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try HarmonyCheckpoint.write(to: directory)
  }

  private func generate(_ flags: String) throws -> CommandRun {
    try CommandRun(
      "$M generate --model $D/model --device cpu --attention dense \(flags)", in: directory)
  }

  @Test func `the answer is written to standard output, and what was thought to standard error`()
    throws
  {
    let run = try generate("--prompt 'Where?'")
    #expect(run.status == 0 && run.output == "Yes.\n")
    #expect(run.errors.contains("Hm.\n") && !run.errors.contains("analysis"))
    #expect(!run.errors.contains("\u{1B}"))
    let stopped = try generate("--prompt 'Where?' --stop m --stop es")
    #expect(stopped.output == "Y\n")
  }

  @Test func `JSON has both apart, and a text that is no conversation has no channels`() throws {
    let run = try generate("--prompt 'Where?' --json")
    let object = try JSONValue(parsing: Array(run.output.utf8))
    #expect(object["text"]?.text == "Yes." && object["reasoning"]?.text == "Hm.")
    let raw = try generate("--prompt 'Where is the key? assistant' --raw")
    #expect(raw.output == "analysisHm.assistantfinalYes.\n" && !raw.errors.contains("Hm."))
  }

  @Test func `an answer that was cut while the model thought says what to do`() throws {
    let run = try generate("--prompt 'Where?' --max-tokens 5")
    #expect(run.status == 0 && run.output == "\n")
    #expect(run.errors.contains("Hm.\n"))
    #expect(
      run.errors.contains("while the model was thinking; give it more tokens with --max-tokens"))
  }

  @Test func `a conversation has answers alone in standard output`() throws {
    try directory.write("Where?\nWho?\n", to: "input")
    let run = try CommandRun(
      "$M generate --chat --model $D/model --device cpu --attention dense < $D/input",
      in: directory)
    #expect(run.status == 0 && run.output == "Yes.\nYes.\n")
    #expect(run.errors.contains("Hm.\n") && !run.errors.contains("analysis"))
  }
}
