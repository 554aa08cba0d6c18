import MInference
import TemporaryCheckpoints
import Testing

/// The built command with input that works.
@Suite(.serialized)
struct CommandTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
  }

  private func run(_ script: String) throws -> CommandRun {
    try CommandRun(script, in: directory)
  }

  @Test func `tokenize prints ids on one line, special tokens recognised`() throws {
    try directory.write("ab<|im_end|>\n", to: "text")
    let run = try run("$M tokenize --model $D/model --file $D/text")
    #expect(run.status == 0 && run.errors.isEmpty)
    #expect(run.output == "97 98 258 10\n")
    let piped = try self.run("$M tokenize --model $D/model --file - < $D/text")
    #expect(piped.output == run.output)
    let named = try self.run("$M tokenize --model $D/model --prompt-file $D/text")
    #expect(named.output == run.output)
  }

  @Test func `tokenize needs nothing but tokenizer.json`() throws {
    let run = try run(
      "mkdir $D/bare && cp $D/model/tokenizer.json $D/bare && printf ab > $D/text"
        + " && $M tokenize --model $D/bare --file $D/text")
    #expect(run.status == 0 && run.output == "97 98\n")
  }

  @Test func `generate --json prints one object with every figure and nothing else`() throws {
    let run = try run("$M generate --model $D/model --prompt hello --max-tokens 5 --json")
    #expect(run.status == 0)
    #expect(run.output.hasPrefix("{") && run.output.hasSuffix("}\n"))
    #expect(run.output.filter { $0 == "\n" }.count == 1)
    for name in [
      "text", "prompt_tokens", "completion_tokens", "time_to_first_token_s", "prefill_s",
      "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes", "attention", "mode",
      "density", "index_s", "kernel_s",
    ] {
      #expect(run.output.contains("\"\(name)\": "), "\(name)")
    }
  }

  @Test func `the prompt's source does not matter, and the question follows a blank line`() throws {
    try directory.write("hello", to: "prompt")
    let flags = "--model $D/model --max-tokens 5 --json"
    let outputs = try [
      "--prompt hello --question why", "--prompt-file $D/prompt --question why",
      "- --question why < $D/prompt", "--prompt 'hello\n\nwhy'",
    ].map { try text(of: run("$M generate \(flags) \($0)")) }
    #expect(Set(outputs).count == 1)
  }

  @Test func `text streams to standard output, figures go to standard error`() throws {
    let run = try run("$M generate --raw --model $D/model --prompt hello --max-tokens 5")
    #expect(run.status == 0 && run.output.hasSuffix("\n"))
    #expect(run.errors.contains("5 prompt tokens, first token after "))
    #expect(run.errors.contains("peak memory"))
  }

  @Test func `a seed repeats an answer, and another seed gives another`() throws {
    func sample(_ seed: Int) throws -> String {
      try text(
        of: run(
          "$M generate --raw --model $D/model --prompt hello --max-tokens 30 --json "
            + "--temperature 2 --seed \(seed)"))
    }
    #expect(try sample(1) == sample(1))
    #expect(try sample(1) != sample(2))
  }

  @Test func `score gives a log-probability for each token after the first`() throws {
    let run = try run(
      "$M tokenize --model $D/model --file $D/model/config.json > $D/ids"
        + " && $M score --model $D/model --tokens $D/ids --json")
    #expect(run.status == 0)
    let lists = run.output.split(separator: "[").dropFirst().map {
      $0.prefix { $0 != "]" }.split(separator: ", ").count
    }
    // What a monitor saw may follow.
    #expect(lists.count >= 2 && lists[0] == lists[1] - 1 && lists[0] > 100)
  }

  @Test func `two runs at once do not disturb each other`() throws {
    let generate = "$M generate --raw --model $D/model --max-tokens 20 --json"
    let alone = try run("\(generate) --prompt hello; \(generate) --prompt goodbye")
    let together = try run(
      "\(generate) --prompt hello > $D/a & \(generate) --prompt goodbye > $D/b; wait; cat $D/a $D/b"
    )
    #expect(texts(alone) == texts(together))
    #expect(texts(alone).count == 2)
  }

  @Test func `an interrupted run ends at once, with the code of an interrupt`() throws {
    // Opening a pipe that nobody writes to waits for ever. A shell starts background jobs with
    // interrupts ignored; the handler takes them all the same.
    let run = try run(
      """
      mkfifo $D/pipe
      $M generate --model $D/model --prompt-file $D/pipe &
      sleep 0.3; kill -INT $!; wait $!; echo $?
      """)
    #expect(run.output == "130\n" && run.errors.isEmpty)
  }

  @Test func `benchmarks print a table or one JSON object`() throws {
    let table = try run("$M bench prefill --model $D/model --lengths 64,300 --vertical 30")
    #expect(table.status == 0 && table.output.filter { $0 == "\n" }.count == 6)
    let json = try run("$M bench prefill --model $D/model --lengths 64 --json")
    #expect(json.status == 0 && json.output.hasPrefix("{") && json.output.contains("ratio"))
    let kernels = try run(
      "$M bench attention --device cpu --lengths 512,600 --cases dense,slashes --repeat 1 "
        + "--budgets '30,60;40,99' --settings clustered,scattered --json")
    #expect(kernels.status == 0 && kernels.output.contains("(40, 99) scattered"))
    #expect(kernels.output.split(separator: "\"name\"").count == 11)
    for (flag, value, hint) in [
      ("--kv-heads", "4", "6"), ("--cases", "denes", "slashes"), ("--budgets", "7", "1000,6096"),
      ("--densities", "0", "percents"), ("--linear", "fp8", "layers"),
    ] {
      let wrong = try run("$M bench attention \(flag) \(value)")
      #expect(wrong.status == 64 && wrong.complains(of: flag, hint), "\(wrong.errors)")
    }
  }

  @Test func `--monitor stands alone or before dense, and its figures are in the JSON`() throws {
    let generate =
      "$M generate --raw --model $D/model --max-tokens 2 --attention a-shape --sink 1 --local 9"
      + " --exact --prompt-file $D/text --json"
    try directory.write(String(repeating: "some text to read, ", count: 30), to: "text")
    for (flags, mode) in [("--monitor", "false"), ("--monitor dense --monitor-floor 1", "true")] {
      let run = try run("\(generate) \(flags)")
      #expect(run.status == 0 && run.output.contains("\"monitor\": {\"floor\": "))
      #expect(run.output.contains("\"computes_weak_heads_densely\": \(mode)"))
      #expect(run.output.contains("\"extra_pairs\": 0") == (mode == "false"))
      #expect(run.errors.contains("recall about ") && run.errors.contains("watching took "))
    }
    let piped = try run(generate.replacing("--prompt-file $D/text", with: "- --monitor < $D/text"))
    #expect(piped.status == 0 && piped.output.contains("\"monitor\": "))
    let plain = try run(generate)
    #expect(!plain.output.contains("monitor") && !plain.errors.contains("watching"))
    let wrong = try run("\(generate) --monitor sparse")
    #expect(wrong.status == 64 && wrong.complains(of: "sparse"))
    let alone = try run("\(generate) --monitor-floor 0.5")
    #expect(alone.status == 64 && alone.complains(of: "--monitor-floor", "--monitor"))
  }

  @Test(arguments: ["--columns", "--last"])
  func `a budget whose pattern can do without it may be nothing`(flag: String) throws {
    let generate =
      "$M generate --raw --model $D/model --prompt hi --max-tokens 1 --attention antidiagonal"
    let run = try run("\(generate) \(flag) 0")
    #expect(run.status == 0, "\(run.errors)")
    let wrong = try self.run("\(generate) \(flag) -1")
    #expect(wrong.status == 64 && wrong.complains(of: flag))
  }

  @Test func `inspect without a prompt describes the checkpoint and reads no weights`() throws {
    try TinyCheckpoint.write(to: directory, name: "poisoned", poison: .nan)
    let run = try run("$M inspect --model $D/poisoned")
    #expect(run.status == 0 && run.errors.isEmpty)
    let parameters = 259 * 64 + 64 + 2 * (2 * 64 + 2 * 128 * 64 + 2 * 64 * 64 + 3 * 96 * 64)
    for text in [
      "llama, LlamaForCausalLM", "\(parameters / 1000),\(parameters % 1000) in",
      "2,048 tokens", "theta 10000", "2 for queries, 1 for keys and values (groups of 2)",
      "1,024 bytes a token as float32", "minference search", "beyond context",
    ] {
      #expect(run.output.contains(text), "\(text)")
    }
    let picture = try self.run("$M inspect --model $D/model --layer 0 --head 0")
    #expect(picture.status == 64 && picture.complains(of: "prompt"))
    let unnamed = try self.run("$M inspect --model $D/model --layer 0 --head 0 --prompt x")
    #expect(unnamed.status == 64 && unnamed.complains(of: "--output"))
  }

  @Test func `a chat template may be given in place of the checkpoint's`() throws {
    // The same text in chat form and raw: the template is what differs.
    try directory.write("Q: {{ messages[0].content }}\nA:", to: "form.jinja")
    let flags = "--model $D/model --max-tokens 5 --json"
    let given = try run("$M generate \(flags) --prompt hi --chat-template $D/form.jinja")
    let raw = try run("$M generate \(flags) --raw --prompt 'Q: hi\nA:'")
    #expect(try text(of: given) == text(of: raw))
    try directory.write("a\n{% for m in messages %}\n{% macro x() %}", to: "bad.jinja")
    let bad = try run("$M generate \(flags) --prompt hi --chat-template $D/bad.jinja")
    #expect(bad.status == 78 && bad.complains(of: "bad.jinja", "line 3", "macro"))
    let missing = try run("$M generate \(flags) --prompt hi --chat-template $D/none.jinja")
    #expect(missing.status == 66 && missing.complains(of: "none.jinja"))
  }

  @Test func `help and version are no errors`() throws {
    for arguments in ["--help", "help generate", "--version", "generate --help"] {
      let run = try run("$M \(arguments)")
      #expect(run.status == 0 && !run.output.isEmpty && run.errors.isEmpty, "\(arguments)")
    }
  }

  /// The values of "text" in JSON output, as they stand there.
  private func texts(_ run: CommandRun) -> [String] {
    run.output.split(separator: "\n").compactMap { line in
      guard let start = line.firstRange(of: "\"text\": "),
        let end = line.firstRange(of: ", \"prompt_tokens\"")
      else { return nil }
      return String(line[start.upperBound..<end.lowerBound])
    }
  }

  private func text(of run: CommandRun) throws -> String {
    try #require(texts(run).first)
  }
}
