import JSON
import TemporaryCheckpoints
import Testing

/// What verbs say and do on several devices of one process.
struct SeveralDevicesTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(
      to: directory, configuration: ["max_position_embeddings": "4096"])
    try directory.write("1 2 3 4 5 6", to: "ids")
    try directory.write(
      String(repeating: "The lantern stands by the river. ", count: 130), to: "book")
    try directory.write(
      String(repeating: "All work and no play makes Jack a dull boy. ", count: 16), to: "prompt")
  }

  private func run(_ arguments: String) throws -> CommandRun {
    try CommandRun("cd \"$D\"; $M \(arguments)", in: directory)
  }

  @Test("pictures of heads are one device's")
  func inspect() throws {
    let arguments =
      "inspect --model model --prompt-file prompt --raw --all --attention vertical-slash --exact "
      + "--vertical 40 --slash 120 --output"
    for (name, devices) in [("one", "--device cpu"), ("two", "--devices cpu,cpu")] {
      let result = try run("\(arguments) \(name).svg --threads 1 \(devices)")
      #expect(result.status == 0, "\(result.errors)")
    }
    let picture = try TemporaryDirectory.read(directory.path("one.svg"))
    #expect(picture.contains("<svg"))
    #expect(try TemporaryDirectory.read(directory.path("two.svg")) == picture)
  }

  @Test("layers are spread by what was measured, which the figures say")
  func spreading() throws {
    let result = try run(
      "bench prefill --model model --prompt-file prompt --lengths 512 --threads 2 --devices cpu,cpu "
        + "--json")
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.errors.contains("layers are spread by measured time: cpu, layers 0..<1: "))
    let json = try JSONValue(parsing: Array(result.output.utf8))
    let stages = json["stages"]?.elements ?? []
    #expect(stages.map { $0["layers"]?.int } == [1, 1])
    #expect(stages.allSatisfy { ($0["measured_layer_s"]?.double ?? 0) > 0 })
    let given = try run(
      "score --model model --tokens ids --threads 2 --devices cpu,cpu --stage-layers 1,1")
    #expect(given.status == 0 && !given.errors.contains("measured"), "\(given.errors)")
  }

  @Test(
    "searches measure every layer where it is",
    arguments: [
      "--recall 0.9 --samples book --space paper",
      "--kl 10 --lengths 4K --positions 64 --passes 40",
    ])
  func search(goal: String) throws {
    let result = try run(
      "search --model model --threads 2 --devices cpu,cpu --output patterns.json \(goal)")
    #expect(result.status == 0, "\(result.errors)")
    // The file is good for one device.
    let used = try run(
      "generate --model model --prompt-file prompt --raw --max-tokens 1 --device cpu "
        + "--patterns patterns.json")
    #expect(used.status == 0, "\(used.errors)")
  }

  @Test(
    "verbs that look at single layers refuse several processes",
    arguments: [
      "inspect --model model --prompt hello --layer 0 --head 0 --output picture.svg",
      "search --model model --samples prompt --output patterns.json --recall 0.9",
      "evaluate overlap --model model",
    ])
  func ranks(arguments: String) throws {
    let result = try run("\(arguments) --devices ranks")
    #expect(result.status == 64)
    #expect(result.complains(of: "the devices of one process"))
  }
}
