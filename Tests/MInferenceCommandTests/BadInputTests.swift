import MInference
import TemporaryCheckpoints
import Testing

/// The built command with input that cannot work: one line that says what and what to do, and an
/// exit code from sysexits.h.
@Suite(.serialized)
struct BadInputTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  private func run(_ script: String) throws -> CommandRun {
    try CommandRun(script, in: directory)
  }

  // MARK: Checkpoints

  @Test func `no such directory`() throws {
    let run = try run("$M generate --model $D/none --prompt hello")
    #expect(run.status == 66 && run.complains(of: "none", "no such directory"))
  }

  @Test func `a directory without weights`() throws {
    try TinyCheckpoint.write(to: directory, withWeights: false)
    let run = try run("$M generate --model $D/model --prompt hello")
    #expect(run.status == 66 && run.complains(of: "model", "safetensors"))
  }

  @Test func `an unknown architecture, with those that are known`() throws {
    try TinyCheckpoint.write(to: directory, configuration: ["model_type": "\"mamba\""])
    let run = try run("$M generate --model $D/model --prompt hello")
    #expect(run.status == 78 && run.complains(of: "mamba", "llama", "qwen2"))
  }

  @Test func `a tokenizer of an unknown kind`() throws {
    try TinyCheckpoint.write(to: directory)
    try directory.write(
      #"{"model": {"type": "Anagram", "vocab": []}}"#, to: "model/tokenizer.json")
    let run = try run("$M generate --model $D/model --prompt hello")
    #expect(run.status == 65 && run.complains(of: "tokenizer.json", "Anagram"))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `weights that are no numbers`(value: Float) throws {
    try TinyCheckpoint.write(to: directory, poison: value)
    let run = try run("$M generate --model $D/model --prompt hello")
    #expect(run.status == 78 && run.complains(of: "safetensors", "post_attention_layernorm.weight"))
  }

  @Test func `heads that key-value heads do not divide`() throws {
    try TinyCheckpoint.write(
      to: directory, configuration: ["num_attention_heads": "3", "num_key_value_heads": "2"])
    let run = try run("$M generate --model $D/model --prompt hello")
    #expect(run.status == 78 && run.complains(of: "config.json", "3", "2"))
  }

  @Test func `weights of another shape than the configuration says`() throws {
    try TinyCheckpoint.write(to: directory, configuration: ["intermediate_size": "100"])
    let run = try run("$M generate --model $D/model --prompt hello")
    #expect(run.status == 78 && run.complains(of: "mlp", "96", "100"))
  }

  @Test func `a truncated weight file`() throws {
    try TinyCheckpoint.write(to: directory)
    let run = try run(
      """
      cp $D/model/model.safetensors $D/whole && head -c 50000 $D/whole > $D/model/model.safetensors
      $M generate --model $D/model --prompt hello
      """)
    #expect(run.status == 78 && run.complains(of: "model.safetensors"))
  }

  @Test func `more memory wanted than there is`() throws {
    try TinyCheckpoint.write(
      to: directory, configuration: ["max_position_embeddings": "2147483647"])
    let run = try run("$M generate --model $D/model --prompt hello --max-tokens 1G")
    #expect(run.status == 71 && run.complains(of: "memory", "wanted"))
  }

  // MARK: Prompts

  @Test(arguments: ["--prompt ''", "--prompt-file $D/empty", "-"])
  func `an empty prompt`(source: String) throws {
    try TinyCheckpoint.write(to: directory)
    try directory.write("", to: "empty")
    let run = try run("$M generate --model $D/model \(source)")
    #expect(run.status == 65 && run.complains(of: "empty"))
  }

  @Test func `a prompt that is not UTF-8, with the first bad byte`() throws {
    try TinyCheckpoint.write(to: directory)
    try directory.write([0x61, 0x62, 0xC3, 0x28], to: "latin")
    for source in ["--prompt-file $D/latin", "- < $D/latin"] {
      let run = try run("$M generate --model $D/model \(source)")
      #expect(run.status == 65 && run.complains(of: "not UTF-8", "byte 2"))
    }
    let run = try run("$M tokenize --model $D/model --file $D/latin")
    #expect(run.status == 65 && run.complains(of: "latin", "not UTF-8", "byte 2"))
  }

  @Test func `a prompt longer than the context, with both numbers`() throws {
    try TinyCheckpoint.write(to: directory)
    try directory.write(String(repeating: "a", count: 5000), to: "long")
    let run = try run("$M generate --raw --model $D/model --prompt-file $D/long")
    #expect(run.status == 65 && run.complains(of: "long", "5,000", "2,048"))
  }

  @Test func `a prompt file that is not there, or is a directory`() throws {
    try TinyCheckpoint.write(to: directory)
    for path in ["$D/none", "$D/model"] {
      let run = try run("$M generate --model $D/model --prompt-file \(path)")
      #expect(run.status == 66 && run.complains(of: "/"))
    }
  }

  @Test func `an id past the vocabulary, or a word that is no id`() throws {
    try TinyCheckpoint.write(to: directory)
    try directory.write("1 2 259 3", to: "ids")
    let past = try run("$M score --model $D/model --tokens $D/ids --json")
    #expect(past.status == 65 && past.complains(of: "ids", "word 3", "259"))
    for text in ["1 two 3", "1 -2", "1 99999999999", ""] {
      try directory.write(text, to: "ids")
      let run = try run("$M score --model $D/model --tokens $D/ids --json")
      #expect(run.status == 65 && run.complains(of: "ids"), "\(text)")
    }
  }

  // MARK: Flags

  @Test(arguments: [
    "--vertical 0", "--vertical -5", "--slash many", "--sink 1.5", "--local 99999999999999999999",
    "--top-k-blocks nan", "--chunk 0", "--max-tokens -1", "--threads 0", "--temperature -1",
    "--temperature nan", "--top-p 0", "--top-p 1.5", "--top-k 0", "--min-p 2",
    "--repetition-penalty 0", "--seed -1", "--kv q4", "--kv-on moon", "--linear q4",
    "--attention sparse", "--device tpu", "--stop ''", "--frobnicate", "--patterns", "extra",
  ])
  func `a flag with a value that makes no sense`(flag: String) throws {
    try TinyCheckpoint.write(to: directory)
    let run = try run("$M generate --model $D/model --prompt hello \(flag)")
    #expect(run.status == 64 && run.complains(), "\(flag): \(run.status) \(run.errors)")
    let name = flag.split(separator: " ").first.map(String.init) ?? ""
    #expect(run.errors.contains(name), "\(flag): \(run.errors)")
  }

  @Test func `no prompt, two prompts, no model, no such verb`() throws {
    for arguments in [
      "generate --model $D/model", "generate --model $D/model --prompt a --prompt-file b",
      "generate --prompt a", "frobnicate",
    ] {
      let run = try run("$M \(arguments)")
      #expect(run.status == 64 && run.complains(), "\(arguments): \(run.errors)")
    }
  }

  static let hasGPU = (try? Device.cuda.makeBackend()) != nil

  @Test(.enabled(if: !hasGPU, "this machine has a GPU"))
  func `a device that this machine does not have`() throws {
    try TinyCheckpoint.write(to: directory)
    for arguments in ["generate --model $D/model --prompt a", "verify"] {
      let run = try run("$M \(arguments) --device cuda")
      #expect(run.status == 69 && run.complains(of: "--device cpu"))
    }
  }

  @Test func `linear layers in eight bits on the CPU`() throws {
    try TinyCheckpoint.write(to: directory)
    for verb in ["generate --prompt a", "evaluate perplexity --text $D/model/config.json"] {
      let run = try run("$M \(verb) --model $D/model --device cpu --linear fp8")
      #expect(
        run.status == 69 && run.complains(of: "--linear bf16", "--device cuda"), "\(run.errors)")
    }
  }

  @Test func `fp8 operands of attention where there is no kernel for them`() throws {
    try TinyCheckpoint.write(to: directory)
    let model = "--model $D/model --prompt a"
    for arguments in ["generate \(model)", "verify", "bench attention --tokens 64"] {
      let run = try run("$M \(arguments) --device cpu --attention-precision fp8")
      #expect(run.status == 69 && run.complains(of: "fp8", "Hopper"), "\(arguments): \(run.errors)")
    }
    let unknown = try run("$M generate \(model) --attention-precision fp9")
    #expect(unknown.status == 64 && unknown.complains(of: "fp9", "native or fp8"))
  }

  @Test func `a pattern file for another shape of model, or none at all`() throws {
    try TinyCheckpoint.write(to: directory)
    try directory.write(
      #"[{"0": ["vertical_and_slash", 30, 50, 1.0], "1": ["stream_llm", 30, 50, 1.0]}]"#,
      to: "one-layer.json")
    let shape = try run("$M generate --model $D/model --prompt a --patterns $D/one-layer.json")
    #expect(shape.status == 78 && shape.complains(of: "one-layer.json", "1 layers", "2 layers"))
    let none = try run("$M generate --model $D/model --prompt a --patterns $D/none.json")
    #expect(none.status == 66 && none.complains(of: "none.json"))
    try directory.write("[1, 2", to: "broken.json")
    let broken = try run("$M generate --model $D/model --prompt a --patterns $D/broken.json")
    #expect(broken.status == 78 && broken.complains(of: "broken.json"))
  }

  // MARK: Output

  @Test func `standard output closed, full, or read by nobody`() throws {
    try TinyCheckpoint.write(to: directory)
    let generate = "$M generate --raw --model $D/model --prompt hello"
    let closed = try run("\(generate) >&-")
    #expect(closed.status == 74 && closed.complains(of: "standard output"))
    let full = try run("[ -e /dev/full ] || exit 74; \(generate) > /dev/full")
    #expect(full.status == 74)
    #expect(full.errors.contains("standard output: the disk is full"))
    let help = try run("[ -e /dev/full ] || exit 74; $M --help > /dev/full")
    #expect(help.status == 74)
    // The reader is gone before the first byte is written.
    let unread = try run("(\(generate); echo $? > $D/status) | true; sleep 0.1; cat $D/status")
    #expect(unread.output.hasPrefix("74") && !unread.errors.contains("standard output"))
  }
}
