import MInference
import TemporaryCheckpoints
import Testing

/// `generate --chat`, driven by a pipe.
@Suite(.serialized)
struct ChatTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    try directory.write(String(repeating: "a lantern, ", count: 40), to: "document")
  }

  private func chat(_ input: String, flags: String = "") throws -> CommandRun {
    try directory.write(input, to: "input")
    return try CommandRun(
      "$M generate --chat --model $D/model --device cpu --max-tokens 6 --attention dense "
        + "\(flags) < $D/input", in: directory)
  }

  /// What /stats said: tokens read and tokens reused, for each time it was asked.
  private func figures(_ run: CommandRun) -> [(read: Int, reused: Int)] {
    run.errors.split(separator: "\n").filter { $0.contains(" prompt tokens") }.map { line in
      let words = line.split(separator: " ")
      let numbers = line.prefix { $0 != "(" }.split(separator: " ").compactMap {
        Int($0.filter { $0 != "," })
      }
      return (numbers[0], words[3] == "behind" ? numbers[1] : 0)
    }
  }

  @Test func `a document is read once, and each question after it reads itself alone`() throws {
    let run = try chat("first?\n/stats\nsecond?\n/stats\n", flags: "--prompt-file $D/document")
    #expect(run.status == 0)
    let turns = figures(run)
    try #require(turns.count == 2)
    #expect(turns[0].read > 440 && turns[0].reused == 0)
    #expect(turns[1].read < 80 && turns[1].reused >= turns[0].read)
    for word in ["first token after ", "density ", "tokens in the answer", "peak memory"] {
      #expect(run.errors.contains(word), "\(word)")
    }
    #expect(!run.output.contains("prompt tokens") && !run.errors.contains(">"))
  }

  @Test func `the first answer is what generate gives without a conversation`() throws {
    let run = try chat("why?\n", flags: "--prompt-file $D/document")
    let plain = try CommandRun(
      "$M generate --model $D/model --device cpu --max-tokens 6 --attention dense "
        + "--prompt-file $D/document --question 'why?'", in: directory)
    #expect(run.status == 0 && run.output == plain.output && run.output.count > 1)
  }

  @Test func `a file is added before the next question, and the one after reuses it`() throws {
    let added = try chat(
      "/file \(directory.path("document"))\nwhy?\n/stats\nhow?\n/stats\n/quit\nno\n")
    let begun = try chat("why?\nhow?\n", flags: "--prompt-file $D/document")
    #expect(added.status == 0 && added.output == begun.output)
    #expect(figures(added).map(\.reused).last ?? 0 > 440)
  }

  @Test func `/new keeps what the next conversation has in common`() throws {
    let path = directory.path("document")
    let run = try chat("/file \(path)\nwhy?\n/new\n/file \(path)\nhow?\n/stats\n")
    let turns = figures(run)
    try #require(turns.count == 1)
    #expect(turns[0].reused > 440 && turns[0].read < 60)
    // Greedy and dense: the answer is that of a conversation that began with it.
    let fresh = try chat("/file \(path)\nhow?\n")
    #expect(run.output.hasSuffix(fresh.output))
  }

  @Test func `what goes wrong in a turn is one line, and the conversation goes on`() throws {
    try directory.write(String(repeating: "long ", count: 600), to: "long")
    try directory.write([0xFF, 0xFE], to: "binary")
    let input = """
      /stats
      /file
      /file \(directory.path("none"))
      /file \(directory.path("binary"))
      /nonsense
      /quit now
      /file \(directory.path("long"))
      too long?

      why?
      """
    let run = try chat(input, flags: "--context 500")
    #expect(run.status == 0)
    let lines = run.errors.split(separator: "\n")
    #expect(lines.count == 7 && lines.allSatisfy { $0.hasPrefix("minference: ") })
    try #require(lines.count == 7)
    for (line, words) in zip(
      lines,
      [
        ["/stats", "ask first"], ["/file", "PATH"], ["none", "no such file"],
        ["binary", "UTF-8"], ["/nonsense", "/help"], ["/quit", "now"],
        ["context", "document was dropped"],
      ])
    {
      #expect(words.allSatisfy { line.contains($0) }, "\(line)")
    }
    #expect(try chat("why?\n").output == run.output && !run.output.isEmpty)
  }

  @Test func `a conversation that is full says so, and /new begins another`() throws {
    let question = String(repeating: "word ", count: 30)
    let run = try chat("\(question)\n\(question)\n/new\n\(question)\n", flags: "--context 230")
    #expect(run.status == 0)
    #expect(run.errors.filter { $0 == "\n" }.count == 1)
    #expect(run.errors.contains("has room for 230") && run.errors.contains("/new"))
    let once = try chat("\(question)\n")
    #expect(run.output == once.output + once.output)
  }

  @Test func `without a template the conversation is plain text`() throws {
    let run = try chat("one\n/stats\ntwo\n/stats\n", flags: "--raw")
    let turns = figures(run)
    try #require(turns.count == 2)
    #expect(turns[0].read == 3)
    // The answer's last token, a blank line and the question.
    #expect(turns[1].read <= 6 && turns[1].reused >= 3)
  }

  @Test func `a conversation is saved, and loaded by another run`() throws {
    let path = directory.path("saved")
    let first = try chat(
      "why?\n/save \(path)\nhow?\n/stats\n", flags: "--prompt-file $D/document")
    #expect(first.status == 0)
    let second = try chat("/load \(path)\nhow?\n/stats\n", flags: "--context 1000")
    #expect(second.status == 0 && first.output.hasSuffix(second.output))
    #expect(!second.output.isEmpty)
    #expect(figures(second).map(\.reused) == figures(first).map(\.reused))
    #expect(figures(second).map(\.read) == figures(first).map(\.read))

    let wrong = try chat(
      "/save\n/save \(path)\n/load \(path)x\n/load $D\nwhy?\n", flags: "--kv bf16")
    let lines = wrong.errors.split(separator: "\n")
    #expect(wrong.status == 0 && lines.count == 4)
    #expect(lines.first?.contains("/save PATH") == true)
    #expect(lines.dropFirst().first?.contains("nothing to save") == true)
    let format = try chat("/load \(path)\n", flags: "--kv bf16")
    #expect(format.complains(of: "saved", "float32", "--kv"))
  }

  @Test func `a full disk is one line, and leaves no file`() throws {
    // A limit on file sizes stands for the disk: 64 blocks of 512 or 1024 bytes.
    let path = directory.path("saved")
    try directory.write("why?\n/save \(path)\nhow?\n", to: "input")
    let run = try CommandRun(
      "ulimit -f 64; $M generate --chat --model $D/model --device cpu"
        + " --max-tokens 6 --attention dense --prompt-file $D/document < $D/input; ls -A $D >&2",
      in: directory)
    let lines = run.errors.split(separator: "\n")
    #expect(lines.first?.contains("saved: cannot be written") == true)
    #expect(!lines.dropFirst().contains { $0.hasPrefix("saved") || $0.hasPrefix(".saved") })
    #expect(run.output.filter { $0 == "\n" }.count >= 2)
  }

  @Test func `no input, help and flags that do not fit`() throws {
    let none = try chat("")
    #expect(none.status == 0 && none.output.isEmpty && none.errors.isEmpty)
    let help = try chat("/help\n")
    #expect(help.status == 0 && help.errors.contains("/file PATH") && help.output.isEmpty)
    for flags in ["--json", "--prompt x", "--question x", "-"] {
      let run = try chat("", flags: flags)
      #expect(run.status == 64 && run.complains(of: "--chat"), "\(flags)")
    }
    let missing = try chat("", flags: "--prompt-file $D/none")
    #expect(missing.status == 66 && missing.complains(of: "none"))
    let large = try chat("", flags: "--context 1M")
    #expect(large.status == 64 && large.complains(of: "--context", "2,048"))
    let alone = try CommandRun(
      "$M generate --model $D/model --prompt x --context 100", in: directory)
    #expect(alone.status == 64 && alone.complains(of: "--context", "--chat"))
  }
}
