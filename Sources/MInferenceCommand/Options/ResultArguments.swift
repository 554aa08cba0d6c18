import ArgumentParser
import JSON
import MInference

/// Where the results of a run go.
struct ResultArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A file of JSON lines that results are added to, and read from.", valueName: "file"),
    completion: .file())
  var results: String?

  @Flag(help: "Print one JSON object instead of tables.")
  var json = false

  /// Prints the summary of a run in the form that was asked for.
  func write(
    json value: @autoclosure () -> JSONValue, markdown: @autoclosure () -> String,
    of model: LanguageModel
  ) throws {
    try StandardOutput.write(
      json ? value().describingBuild(of: model).serialized() + "\n" : markdown())
  }
}
