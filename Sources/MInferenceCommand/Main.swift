import ArgumentParser
import MInference

/// The command `minference`.
struct Minference: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "minference",
    abstract: "Answers questions about very long prompts, with dynamic sparse attention.",
    version: BuildDescription.version,
    subcommands: [
      DemoCommand.self, GenerateCommand.self, ScoreCommand.self, TokenizeCommand.self,
      SearchCommand.self, EvaluateCommand.self, InspectCommand.self, VerifyCommand.self,
      BenchCommand.self, ServeCommand.self, VersionCommand.self, ManualCommand.self,
    ])

  mutating func run() async throws {
    try StandardOutput.write(WelcomeText.make())
  }
}

@main enum Main {
  static func main() async {
    do {
      try ProcessSetup.perform()
      Device.onKernelCompilation { PreparationLine.showPreparation($0) }
      var command = try Minference.parseAsRoot(Array(ProcessArguments.all.dropFirst()))
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
      RankService.end()
    } catch {
      FailureReport.exit(with: error)
    }
  }
}
