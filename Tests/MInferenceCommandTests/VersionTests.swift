import JSON
import TemporaryCheckpoints
import Testing

/// What figures depend on.
@Suite struct VersionTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
  }

  private let keys = [
    "version", "commit", "target", "swift", "c_compiler", "processor", "processor_features",
    "instruction_set", "threads", "blas",
  ]

  @Test func `the version alone is one word`() throws {
    let run = try CommandRun("$M version && $M --version", in: directory)
    let lines = run.output.split(separator: "\n")
    #expect(lines.count == 2 && lines[0] == lines[1] && lines[0].first?.isNumber == true)
  }

  @Test func `the verbose version names build, processor and BLAS, in lines and as JSON`() throws {
    let run = try CommandRun("$M version --verbose", in: directory)
    #expect(run.status == 0)
    for key in keys {
      #expect(run.output.contains(String(key.map { $0 == "_" ? " " : $0 }) + " "), "\(key)")
    }
    let object = try JSONValue(
      parsing: Array(CommandRun("$M version --json", in: directory).output.utf8))
    for key in keys { #expect(object[key]?.text?.isEmpty == false, "\(key)") }
  }

  @Test func `what other verbs print as JSON has the same block`() throws {
    let scripts = [
      "$M generate --model $D/model --device cpu --threads 1 --prompt hi --max-tokens 1 --json",
      "echo 1 2 3 > $D/ids; $M score --model $D/model --device cpu --threads 1 --tokens $D/ids --json",
      "$M verify --device cpu --only add --cases 1 --threads 1 --json",
      "$M bench prefill --model $D/model --device cpu --threads 1 --lengths 512 --repeat 1 --json",
    ]
    for script in scripts {
      let run = try CommandRun(script, in: directory)
      let object = try JSONValue(parsing: Array(run.output.utf8))
      let build = try #require(object["build"], "\(script): \(run.errors)")
      for key in keys { #expect(build[key]?.text?.isEmpty == false, "\(script): \(key)") }
      #expect(build["threads"] == .string("1"), "\(script)")
    }
  }
}
