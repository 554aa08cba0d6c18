import MInference
import TemporaryCheckpoints
import Testing

/// Signals, limits of the system, and names that are not text.
@Suite(.serialized)
struct SystemConditionTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    // Long enough for an answer that nobody waits for.
    try TinyCheckpoint.write(
      to: directory, configuration: ["max_position_embeddings": "262144", "eos_token_id": "null"])
    // Nothing ends a text, and nothing puts it in chat form.
    try directory.write("{}", to: "model/tokenizer_config.json")
  }

  private let generate = "$M generate --model $D/model --device cpu --max-tokens 1 --prompt hi"

  @Test func `an interrupt during an answer stops it and keeps the conversation`() throws {
    let run = try CommandRun(
      """
      (printf 'why?\\n'; sleep 6; printf '/stats\\nhow?\\n/quit\\n') | $M generate --chat --model $D/model \
        --device cpu --attention dense --max-tokens 200K --context 256K &
      command=$!
      sleep 3
      kill -INT $command
      sleep 6
      kill -INT $command
      wait $command
      """, in: directory)
    // The second answer was stopped as well, and after it the input had ended.
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.errors.components(of: "the answer was stopped") == 2, "\(run.errors)")
  }

  @Test func `a second interrupt ends the command`() throws {
    let run = try CommandRun(
      """
      (printf 'why?\\n'; sleep 6) | $M generate --chat --model $D/model \
        --device cpu --attention dense --max-tokens 200K --context 256K &
      command=$!
      sleep 3
      kill -INT $command
      sleep 1
      kill -INT $command
      wait $command
      """, in: directory)
    #expect(run.status == 130, "\(run.errors)")
  }

  @Test func `paths that are not UTF-8 are read, and shown in readable form`() throws {
    let run = try CommandRun(
      """
      name=$(printf "$D/caf\\351")
      mv $D/model "$name"
      $M generate --model "$name" --device cpu --max-tokens 1 --prompt hi && printf 'hello' > "$name.txt" \
        && $M tokenize --model "$name" --file "$name.txt" && $M generate --model "$name-none" --prompt hi
      status=$?
      rm -r "$name" "$name.txt"
      exit $status
      """, in: directory)
    #expect(run.status == 66, "\(run.errors)")
    #expect(run.errors.contains("caf\\xE9-none: no such"), "\(run.errors)")
    #expect(run.output.contains("104 101 108 108 111"), "\(run.output)")
  }

  @Test func `a conversation saves to, loads from and reads files whose names are not UTF-8`()
    throws
  {
    let run = try CommandRun(
      """
      name=$(printf "$D/caf\\351")
      printf 'a document' > "$name.txt"
      printf "hi\\n/save $name\\n/load $name\\n/file $name.txt\\n/load $name-none\\n/n\\351\\n" \
        | $M generate --chat --model $D/model --device cpu --max-tokens 2
      status=$?
      test -s "$name" && rm "$name" "$name.txt" && exit $status
      """, in: directory)
    #expect(run.status == 0, "\(run.errors)")
    let lines = run.errors.split(separator: "\n").filter { $0.hasPrefix("minference: ") }
    #expect(lines.count { $0.contains("\\x") } == 2, "\(run.errors)")
    #expect(run.errors.contains("caf\\xE9-none: ") && run.errors.contains("/n\\xE9: is no command"))
  }

  @Test func `products that the processor does not have are refused by the variable's name`() throws
  {
    let run = try CommandRun(
      "MINFERENCE_CPU_PRODUCTS=fp4 $M generate --model $D/model --device cpu --prompt hi",
      in: directory)
    #expect((64...78).contains(run.status))
    #expect(run.complains(of: "MINFERENCE_CPU_PRODUCTS=fp4", "bf16", "float32"), "\(run.errors)")
  }

  @Test
  func `a conversation of BF16 weights belongs to the products that it was read with`()
    throws
  {
    try TinyCheckpoint.write(
      to: directory, name: "narrow", configuration: ["eos_token_id": "null"], type: .bfloat16)
    let products = try CommandRun("$M version --verbose", in: directory).output
    let hasPairs = products.contains("avx512_bf16") && !products.contains("none, float32")
    let off = "MINFERENCE_CPU_PRODUCTS=float32"
    #expect(
      try CommandRun("\(off) $M version --verbose", in: directory).output.contains("none, float32"))
    for name in ["model", "narrow"] {
      func chat(_ variables: String, _ text: String) throws -> CommandRun {
        try CommandRun(
          """
          printf '\(text)' | \(variables) $M generate --chat --model $D/\(name) --device cpu \
            --max-tokens 2
          """, in: directory)
      }
      let path = directory.path("\(name).kept")
      #expect(try chat(off, "hi\\n/save \(path)\\n").status == 0)
      #expect(try !chat(off, "/load \(path)\\n").errors.contains("was saved"))
      let foreign = try chat("", "/load \(path)\\n").errors
        .contains("products are of other numbers")
      #expect(foreign == (hasPairs && name == "narrow"), "\(name)")
    }
  }

  @Test func `a prompt that is not UTF-8 is refused by its flag`() throws {
    let run = try CommandRun(
      "$M generate --model $D/model --prompt \"$(printf 'caf\\351')\"", in: directory)
    #expect(run.status == 64 && run.complains(of: "--prompt", "UTF-8"), "\(run.errors)")
  }

  @Test func `too few files are a message`() throws {
    let run = try CommandRun("ulimit -n 7; \(generate)", in: directory)
    #expect(run.status == 71 && run.complains(of: "open files", "ulimit -n"), "\(run.errors)")
  }

  @Test(arguments: [500_000, 600_000, 650_000])
  func `too little address space is a message and no wait`(kibibytes: Int) throws {
    let run = try CommandRun(
      "ulimit -v \(kibibytes); timeout 60 \(generate)", in: directory)
    // Enough for a machine with one processor, or without OpenBLAS.
    guard run.status != 0 else { return }
    #expect(run.status == 71 && run.complains(of: "ulimit -v"), "\(run.status) \(run.errors)")
  }

  @Test func `both streams closed is an error`() throws {
    let run = try CommandRun("\(generate) >&- 2>&-", in: directory)
    #expect(run.status == 74)
  }

  @Test func `a slower choice of OpenBLAS kernels is told`() throws {
    let run = try CommandRun("OPENBLAS_CORETYPE=Prescott \(generate)", in: directory)
    let plain = try CommandRun(generate, in: directory)
    #expect(run.status == 0 && plain.status == 0)
    // Nothing to slow down without the library.
    guard !plain.errors.contains("libopenblas") else { return }
    #expect(run.errors.contains("OPENBLAS_CORETYPE is Prescott"), "\(run.errors)")
    #expect(!plain.errors.contains("OPENBLAS"))
  }

  @Test func `names from files reach no terminal as they are`() throws {
    try TinyCheckpoint.write(
      to: directory, name: "hostile",
      configuration: ["architectures": #"["a\u001b[2Jb\nc"]"#, "torch_dtype": #""\u001b]0;x""#])
    try TinyCheckpoint.write(
      to: directory, name: "unknown", configuration: ["model_type": #""x\u001b[2Jy""#])
    let shown = try CommandRun("$M inspect --model $D/hostile", in: directory)
    #expect(shown.status == 0, "\(shown.errors)")
    #expect(!(shown.output + shown.errors).contains("\u{1B}"))
    let refused = try CommandRun("$M inspect --model $D/unknown", in: directory)
    #expect(refused.status == 78 && refused.complains(of: "model_type", "llama"))
    #expect(!refused.errors.contains("\u{1B}"))
  }
}

extension String {
  /// How often `part` stands in it.
  fileprivate func components(of part: String) -> Int {
    var count = 0
    var rest = self[...]
    while let range = rest.firstRange(of: part) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }
}
