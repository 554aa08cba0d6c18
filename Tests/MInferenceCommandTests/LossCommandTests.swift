import JSON
import MInference
import TemporaryCheckpoints
import Testing

/// The built command where it measures what sparse attention loses, and searches by it.
@Suite(.serialized)
struct LossCommandTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(
      to: directory, configuration: ["max_position_embeddings": "4096"])
  }

  private func run(_ script: String) throws -> CommandRun {
    try CommandRun(script, in: directory)
  }

  @Test func `agreement compares ways with budgets of their own, generated texts and prompts`()
    throws
  {
    let command =
      "$M evaluate agreement --model $D/model --device cpu --lengths 4K --positions 64 --prompts 1 "
      + "--exact --method a-shape,sink=4,local=64 --method a-shape,local=4K,sink=1"
    let tables = try run(command)
    #expect(tables.status == 0, "\(tables.errors)")
    for part in [
      "| a-shape,sink=4,local=64", "perplexity ratio", "By position", "Retrieval prompts",
      "64 sampled positions",
    ] {
      #expect(tables.output.contains(part), "\(part)")
    }
    let json = try JSONValue(parsing: Array(try run(command + " --json").output.utf8))
    guard case .array(let groups)? = json["groups"], groups.count == 2 else {
      Issue.record("no groups of texts and prompts")
      return
    }
    for group in groups {
      func divergence(_ method: String) -> Double {
        group["methods"]?[method]?["kl"]?["mean"]?.double ?? .nan
      }
      #expect(divergence("dense") == 0)
      #expect(divergence("a-shape,local=4K,sink=1") < 1e-9)
      #expect(divergence("a-shape,sink=4,local=64") > 1e-9)
    }
  }

  @Test(arguments: [
    ("a-shape,sink", "NAME=NUMBER"), ("a-shape,vertical=3", "vertical"), ("slashes", "not known"),
    ("a-shape,sink=0", "at least 1"), ("patterns=", "patterns=FILE"),
    ("a-shape,sink=1,sink=2", "once"),
  ])
  func `a way that means nothing is refused`(method: String, message: String) throws {
    let run = try run("$M evaluate agreement --model $D/model --method \(method)")
    #expect(run.status == 64 && run.errors.contains(message), "\(run.errors)")
  }

  @Test func `dense attention alone and ways named twice are refused`() throws {
    let alone = try run("$M evaluate agreement --model $D/model --attention dense")
    #expect(alone.status == 64 && alone.complains(of: "--method"), "\(alone.errors)")
    let twice = try run(
      "$M evaluate agreement --model $D/model --method a-shape --method a-shape")
    #expect(twice.status == 64 && twice.complains(of: "a-shape"), "\(twice.errors)")
  }

  @Test func `a search with a goal needs no texts, and its file is read`() throws {
    let run = try run(
      "$M search --model $D/model --device cpu --output $D/found.json --kl 10 --lengths 4K "
        + "--positions 64 --passes 40")
    #expect(run.status == 0, "\(run.errors)")
    for part in ["measured in", "goal: KL at most 10", "promised", "not validated"] {
      #expect(run.output.contains(part), "\(part)")
    }
    let found = try PatternConfiguration(contentsOfFile: directory.path("found.json"))
    #expect(found.layers == TinyCheckpoint.layers && found.heads == TinyCheckpoint.heads)
    #expect(found.metadata.search?.goal == "KL at most 10.0")
    let used = try self.run(
      "$M evaluate agreement --model $D/model --device cpu --lengths 4K --positions 64 --prompts 0 "
        + "--method patterns=$D/found.json")
    #expect(used.status == 0 && used.output.contains("| found.json"), "\(used.errors)")
  }

  @Test(arguments: [
    ("--kl 0.1 --time 0.5", "exclude"), ("--kl 0.1 --recall 0.9", "--recall"),
    ("--recall 0.9", "--samples"), ("--kl 0.1 --space paper", "--space"), ("--kl 0", "above 0"),
    ("--perplexity-ratio 1", "above 1"), ("--recall 0.9 --samples x --passes 3", "--passes"),
    ("--kl 1 --lengths 8K", "context"),
  ])
  func `goals that exclude each other or lack something are refused`(
    flags: String, message: String
  ) throws {
    let run = try run("$M search --model $D/model --device cpu --output $D/x.json \(flags)")
    #expect((64...78).contains(run.status) && run.errors.contains(message), "\(run.errors)")
  }
}
