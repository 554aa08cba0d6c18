import TemporaryCheckpoints
import Testing

/// Processes that share a model's layers, as torchrun starts them.
struct RanksTests {
  private static func port() -> Int { 33_000 + Int.random(in: 0..<20_000) }

  /// Two processes with the same command line; what the second one writes goes to $D/second.
  private func run(_ arguments: String, in directory: TemporaryDirectory) throws -> CommandRun {
    try CommandRun(
      """
      cd "$D"; export MASTER_ADDR=127.0.0.1 MASTER_PORT=\(Self.port()) WORLD_SIZE=2
      RANK=1 $M \(arguments) --devices ranks --device cpu --threads 1 >second 2>&1 & second=$!
      RANK=0 $M \(arguments) --devices ranks --device cpu --threads 1; status=$?
      wait $second || { echo "rank 1 ended with $?" >&2; cat second >&2; exit 1; }
      exit $status
      """, in: directory)
  }

  @Test("two processes score as one does, and rank 0 alone talks")
  func scores() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    try directory.write(
      (0..<300).map { "\($0 * 7 % 250)" }.joined(separator: " "), to: "ids")
    let arguments = "score --model model --tokens ids --chunk 64 --chunk-budgets whole --json"
    let alone = try CommandRun("cd \"$D\"; $M \(arguments) --device cpu --threads 1", in: directory)
    let both = try run(arguments, in: directory)
    #expect(alone.status == 0)
    #expect(both.status == 0, "\(both.errors)")
    #expect(both.output == alone.output)
    #expect(try TemporaryDirectory.read(directory.path("second")) == "")
  }

  @Test("two processes generate")
  func generates() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    try directory.write(String(repeating: "All work and no play. ", count: 20), to: "prompt")
    let arguments =
      "generate --model model --prompt-file prompt --raw --max-tokens 5 --attention dense"
    let alone = try CommandRun("cd \"$D\"; $M \(arguments) --device cpu --threads 1", in: directory)
    let both = try run(arguments, in: directory)
    #expect(both.status == 0, "\(both.errors)")
    #expect(both.output == alone.output)
  }

  @Test("a rank that is killed ends the others within seconds, with its name")
  func loss() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    let result = try CommandRun(
      """
      cd "$D"; export MASTER_ADDR=127.0.0.1 MASTER_PORT=\(Self.port()) WORLD_SIZE=2
      mkfifo lines
      RANK=1 $M generate --model model --chat --devices ranks --device cpu >second 2>&1 & second=$!
      RANK=0 $M generate --model model --chat --devices ranks --device cpu <lines & first=$!
      exec 3>lines
      echo "hello" >&3
      sleep 2; kill -9 $second
      wait $first; echo "status $?"
      """, in: directory)
    #expect(result.output.contains("status 69"))
    #expect(result.errors.contains("rank 1 of 2 on "))
    #expect(result.errors.contains("was lost: its connection has closed"))
  }

  @Test("without a launcher's variables the command says what starts processes")
  func noLauncher() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    let result = try CommandRun(
      "$M generate --model $D/model --prompt hello --devices ranks", in: directory)
    #expect(result.status == 64)
    #expect(result.complains(of: "torchrun, srun or mpirun"))
  }
}
