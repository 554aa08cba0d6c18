import JSON
import MInference
import TemporaryCheckpoints
import Testing

/// `evaluate` and `bench` on a tiny checkpoint, whose tokens are bytes.
@Suite(.serialized)
struct EvaluationTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
  }

  private func run(_ script: String) throws -> CommandRun {
    try CommandRun(script, in: directory)
  }

  private func object(_ run: CommandRun) throws -> JSONValue {
    try JSONValue(parsing: Array(run.output.utf8))
  }

  @Test func `lengths beyond the context are told, the others measured, and the code says so`()
    throws
  {
    let context = TinyCheckpoint.context
    for verb in [
      "bench prefill --json --lengths", "evaluate perplexity --json --lengths",
      "evaluate tasks --raw --kinds number_find --prompts 1 --json --lengths",
    ] {
      let run = try run(
        "$M \(verb.replacing("--json", with: "--model $D/model --json")) 1K,\(context + 1)")
      #expect(run.status == 64, "\(verb): \(run.errors)")
      #expect(run.errors.contains("--lengths: \(context + 1) tokens"), "\(run.errors)")
      #expect(run.output.hasPrefix("{") && run.output.contains("1024"), "\(verb)")
      let alone = try self.run(
        "$M \(verb.replacing("--json", with: "--model $D/model --json")) \(context + 1)")
      #expect(alone.status == 64 && alone.errors.contains("--lengths: \(context + 1) tokens"))
      #expect(alone.output.isEmpty)
    }
  }

  @Test func `a prompt of exactly the context is read`() throws {
    let run = try run(
      "$M bench prefill --model $D/model --json --lengths \(TinyCheckpoint.context)")
    #expect(run.status == 0, "\(run.errors)")
    let rows = try #require(object(run)["runs"]?.elements)
    #expect(
      rows.compactMap { $0["tokens"]?.int } == [TinyCheckpoint.context, TinyCheckpoint.context])
    let text = try self.run(
      "$M evaluate perplexity --model $D/model --json --lengths \(TinyCheckpoint.context)")
    #expect(text.status == 0, "\(text.errors)")
  }

  @Test func `a text that is too short for one length is measured at the other`() throws {
    try directory.write(String(repeating: "a few words. ", count: 50), to: "text")
    let run = try run(
      "$M bench prefill --model $D/model --prompt-file $D/text --lengths 300,1000 --json")
    #expect(run.status == 64 && run.errors.contains("1,000 tokens: "), "\(run.errors)")
    #expect(try object(run)["runs"]?.elements?.count == 2)
  }

  @Test func `tasks and needles take their old flags as well, and results are resumed`() throws {
    let flags = "--model $D/model --raw --lengths 1200 --json --results $D/results"
    let first = try run(
      "$M evaluate tasks --kinds number_find --prompts 2 --attention dense \(flags)")
    #expect(first.status == 0, "\(first.errors)")
    let again = try run("$M evaluate tasks --task number_find --samples 2 --methods dense \(flags)")
    #expect(again.status == 0 && again.output == first.output, "\(again.errors)")
    try directory.write("Rain fell. It fell all day. ", to: "text")
    let needle = "$M evaluate needle --model $D/model --raw --lengths 700 --depths 1 --json"
    let new = try run("\(needle) --text $D/text")
    let old = try run("\(needle) --haystack $D/text")
    #expect(new.status == 0 && old.status == 0, "\(new.errors)\(old.errors)")
    let wrong = try run("$M evaluate tasks --model $D/model --kinds graphs")
    #expect(wrong.status == 64 && wrong.complains(of: "graphs", "graph_bfs"))
  }

  @Test func `scenarios print one table, and name what they lack`() throws {
    let flags = "--model $D/model --raw --lengths 1500 --prompts 2"
    let run = try run("$M evaluate scenarios --scenarios retrieval,mathematics \(flags)")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.output.contains("| retrieval ") && run.output.contains("| mathematics "))
    #expect(run.output.contains("holds") && !run.output.contains("average"))
    let books = try self.run("$M evaluate scenarios \(flags)")
    #expect(books.status == 64 && books.complains(of: "questions", "--books FILE"))
    let code = try self.run("$M evaluate scenarios --scenarios code \(flags)")
    #expect(code.status == 64 && code.complains(of: "code", "--code DIR"))
    let none = try self.run("$M evaluate scenarios --scenarios code --code $D/none \(flags)")
    #expect(none.status == 66 && none.complains(of: "none"))
  }
}
