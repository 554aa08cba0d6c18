import ArgumentParser
import MInference

/// The command `minference`.
struct Minference: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "minference",
    abstract: "Answers questions about very long prompts, with dynamic sparse attention.",
    version: "0.1.0",
    subcommands: [
      DemoCommand.self, GenerateCommand.self, ScoreCommand.self, TokenizeCommand.self,
      SearchCommand.self, EvaluateCommand.self, InspectCommand.self, VerifyCommand.self,
      BenchCommand.self, ServeCommand.self,
    ])
}

@main enum Main {
  static func main() async {
    do {
      try ProcessSetup.perform()
      Device.onKernelCompilation { StandardError.note($0 + ", once for this machine") }
      var command = try Minference.parseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      FailureReport.exit(with: error)
    }
  }
}
